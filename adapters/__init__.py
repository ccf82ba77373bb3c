"""What touches the world: stores, the vault, transcripts, the offline partner, the command line.

>>> chats = open_conversations("memory:")
>>> chats.start(model="claude-opus-4-1").branch in chats.tree(chats.start(model="m").branch)
False
"""

import random
import time
import uuid
from datetime import UTC, datetime

from lastresort.domain.chat import Conversations
from lastresort.domain.ports import Clock, NewId, RiskScreen

from .screen import phrase_screen
from .store import StoreError, open_store

__all__ = ["StoreError", "open_conversations"]


def open_conversations(
    url: str,
    *,
    create: bool = True,
    clock: Clock = lambda: datetime.now(UTC),
    new_id: NewId = lambda: uuid.uuid4().hex,
    screen: RiskScreen = phrase_screen,
) -> Conversations:
    """Open the conversations in the store at `url`.

    Args:
        url: `memory:`, `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`.
        create: whether to create an SQLite file that is not there.
        clock: tells the time that envelopes carry.
        new_id: names what the caller leaves unnamed.
        screen: looks at what a user writes after an ending, for risk.

    Raises:
        StoreError: the store cannot be opened; the message says why and what to do.
    """
    store, vault = open_store(url, create=create)
    return Conversations(store, vault, clock=clock, new_id=new_id, screen=screen, pause=_wait_a_little)


def _wait_a_little(conflicts: int) -> None:
    """Wait a random time, longer with each conflict: writers that collided would otherwise collide again."""
    time.sleep(random.uniform(0, 0.002 * 2 ** min(conflicts, 6)))
