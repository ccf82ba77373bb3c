"""A turn takes the short way or the long one, and nobody can tell which: asked by the searches of every state."""

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from lastresort import Refused
from lastresort.adapters.opening import open_store
from lastresort.adapters.stores.rows import recorded_of
from lastresort.application.ports import Append, Ports, SealedWords
from lastresort.application.service import Service
from lastresort.application.words import role_of
from lastresort.domain.commands import TakeAssistantTurn, TakeUserTurn
from lastresort.domain.events import RecordedEvent, content_of
from lastresort.domain.state import Conversation
from lastresort.domain.values import Risk

from .narrow import present
from .service_kit import NOON

BRANCH, SAID = "b0", "hello"
EVERY_ACT = os.environ.get("EVERY_ACT") == "1"
"""Whether the searches look at everything, for which `make test` has no time."""


class Asked:
    """A store whose branches are where the states in memory say, and which keeps what it was asked to write."""

    def __init__(self) -> None:
        self.asked: list[Append] = []

    def append(self, *appends: Append) -> Sequence[RecordedEvent]:
        self.asked += appends
        return recorded_of(appends, 1)

    def read(self, *args: object, **part: object) -> Sequence[RecordedEvent]:
        return ()

    def recorded_by(self, *args: object) -> Sequence[RecordedEvent]:
        return ()

    def barrier(self) -> None: ...


def check_both_ways(command: TakeUserTurn | TakeAssistantTurn, state: Conversation) -> None:
    """Check that the same is written and kept in memory on both ways, and that a refusal is left to the long way."""
    ports, asked = _ports()
    asked.clear()
    short, long = Service(ports), Service(ports)
    short.reading.hot.put(BRANCH, state)
    long.reading.hot.put(BRANCH, state)
    taken = short._writing.plain_turn(BRANCH, command, SAID)
    came = long._carried_out(BRANCH, command, SAID, None, 0)
    if isinstance(came, Refused):
        assert (taken, asked) == (None, []), "the short way recorded what the law refuses"
        return
    one, other = (told(ports, append) for append in asked)
    assert one == other, "the short way writes something else"
    assert present(taken).state == came.state, "the short way comes to another state"
    assert short.reading.hot.get(BRANCH) == long.reading.hot.get(BRANCH) == came.state, "another state is kept"


@cache
def _ports() -> tuple[Ports, list[Append]]:
    _, vault, _ = open_store("memory:")
    store: Any = Asked()
    return Ports(store, vault, lambda: NOON, lambda: "new", lambda words: Risk.NONE), store.asked


def told(ports: Ports, append: Append) -> tuple[object, ...]:
    """Return what an append says, with the words in place of their seal, which is another each time."""
    (new,) = append.events
    words = SealedWords(present(content_of(new.event)), present(new.sealed))
    said = ports.vault.open(append.tree, new.branch, new.version, words, role_of(new.event.kind, new.event.by))
    event = new.event.model_dump(exclude={"content"})
    return (*append[:4], new.branch, new.version, type(new.event), event, said, new.snapshot, append.erased)
