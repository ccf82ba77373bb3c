"""Messages that are being answered in this process, so that one that is sent again meanwhile is not answered twice.

What is sent under a command id has one answer, as the log says, and so have the results of tools. But someone who
presses a button twice sends it again before there is one, and a model that was asked twice is paid twice. So someone
who sends it again waits for the one under way, and then looks in the log as anybody does. Which store they mean does
not matter: someone who waits in vain, for a branch of the same name elsewhere, has lost a moment.

An answer that is read in pieces may be left half-read, perhaps by the very thread that would wait. So nobody waits for
one that nobody has read from for a while: someone who has waited in vain asks too, and the log decides whose answer
stands.
"""

import hashlib
import json
from collections.abc import Generator
from threading import Event, Lock
from time import monotonic
from typing import Any, NamedTuple

from .replies import Outcome
from .steps import Wait

LEFT_AFTER = 2.0
"""How long an answer that is read in pieces may lie before it counts as left half-read, in seconds."""

_under_way: dict["Key", "Sending"] = {}
_lock = Lock()


class Key(NamedTuple):
    """What makes two messages one: their branch, their command id, and what the user presses with them."""

    branch: str
    sent_as: str
    asks: bool
    confirms: bool


def results_key(branch: str, brought: Any) -> Key:
    """Return what makes two messages one that bring results of tools: their branch, and what they bring."""
    text = json.dumps(brought, sort_keys=True, default=str)
    return Key(branch, f"results {hashlib.sha256(text.encode()).hexdigest()}", False, False)


class Sending:
    """A message that somebody sends.

    Args:
        key: what it is known by.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._over = Event()
        self._lies_since: float | None = None
        self._came: tuple[object, Outcome] | None = None
        self._joined: Sending | None = None

    def wait(self) -> Generator[Wait, Any, None]:
        """Wait until no other one is under way, or the other one was left half-read. End with `over`, whatever
        happens."""
        while (other := self._enter()) is not None:
            yield Wait(other._until_over_or_left)
            if not other._over.is_set():
                return
            self._joined = other

    def _enter(self) -> "Sending | None":
        with _lock:
            return None if (other := _under_way.setdefault(self._key, self)) is self else other

    def _until_over_or_left(self) -> None:
        left = LEFT_AFTER
        while left > 0 and not self._over.wait(left):
            lies_since = self._lies_since
            left = LEFT_AFTER if lies_since is None else lies_since + LEFT_AFTER - monotonic()

    def lies(self, whether: bool) -> None:
        """Note that a piece of the answer lies to be read, or that its reader has come back for more."""
        self._lies_since = monotonic() if whether else None

    def joined(self, said: object) -> Outcome | None:
        """Return what came of the one that this one waited for, if it is what was `said` that it answered."""
        if self._joined is None or self._joined._came is None:
            return None
        answered, outcome = self._joined._came
        return outcome if answered == said else None

    def came(self, said: object, outcome: Outcome) -> None:
        """Note what came of what was `said`: not all of it may be on record, as an answer that waits for tools."""
        self._came = said, outcome

    def over(self) -> None:
        """Let go those who wait."""
        with _lock:
            if _under_way.get(self._key) is self:
                del _under_way[self._key]
        self._over.set()
