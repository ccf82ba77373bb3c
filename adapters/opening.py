"""Opening the conversations in a store, with a clock, ids, a screen and a vault that are real."""

import os
import random
import time
from base64 import b64encode
from datetime import UTC, datetime
from functools import partial

from lastresort.adapters.assessors.screen import phrase_screen
from lastresort.adapters.followers.directory import STATEMENTS, ConversationDirectory
from lastresort.adapters.followers.tables import beside
from lastresort.adapters.stores.recorder_store import open_store
from lastresort.adapters.vault.keys import MasterKey
from lastresort.adapters.vault.snapshots import EVERY
from lastresort.application.conversations import Conversations
from lastresort.application.ports import Clock, Monotonic, NewId, Observer, Ports, RiskScreen
from lastresort.application.reading import state_of
from lastresort.application.service import Service

_DIGITS = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"  # as ASCII has them
_IN_ORDER = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", _DIGITS.encode())


def new_id() -> str:
    """Return an id that nobody has used: 18 letters, digits, `-` and `_`, for microseconds and 48 random bits.

    Ids that rise with time, as UUIDs of version 7 do, go to the end of the indexes that hold them: a store of any
    size touches the same few pages for each turn. And since an id is stored several times, a short one is better.
    """
    made = (time.time_ns() // 1_000).to_bytes(7, "big") + os.urandom(6)
    return b64encode(made).translate(_IN_ORDER)[:18].decode()


def open_conversations(
    url: str,
    *,
    create: bool = True,
    clock: Clock = lambda: datetime.now(UTC),
    new_id: NewId = new_id,
    screen: RiskScreen = phrase_screen,
    master_key: MasterKey | None = None,
    snapshot_every: int = EVERY,
    observer: Observer | None = None,
    monotonic: Monotonic = time.perf_counter,
) -> Conversations:
    """Open the conversations in the store at `url`.

    Args:
        url: `memory:`, `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`, with settings
            perhaps: see `store.open_store`.
        create: whether to make a store that is not there.
        clock: tells the time that envelopes carry.
        new_id: names what the caller leaves unnamed.
        screen: looks at what a user writes after an ending, for risk.
        master_key: returns the 32 bytes that the keys of conversations are wrapped with: see `store.open_store`.
        snapshot_every: how many versions apart the states are that are kept beside the log; with 0 none is taken.
        observer: is told what was committed, refused and contended, and how long it took, without a word that was said.
        monotonic: measures that, in seconds.

    Raises:
        StoreError: the store cannot be opened; the message says why and what to do.
    """
    store, vault = open_store(url, create=create, master_key=master_key, snapshot_every=snapshot_every)
    directory = ConversationDirectory(
        store, partial(beside, store.recorder, STATEMENTS), partial(state_of, store, store.snapshots)
    )
    ports = Ports(
        store,
        vault,
        clock,
        new_id,
        screen,
        snapshots=store.snapshots,
        pause=_wait_a_little,
        observer=observer,
        monotonic=monotonic,
        directory=directory,
    )
    return Conversations(Service(ports))


def _wait_a_little(conflicts: int) -> None:
    """Wait a random time, longer with each conflict: writers that collided would otherwise collide again."""
    time.sleep(random.uniform(0, 0.002 * 2 ** min(conflicts, 6)))
