"""Messages that are being answered in this process, so that one that is sent again meanwhile is not answered twice.

What is sent under a command id has one answer, as the log says. But someone who presses a button twice sends it again
before there is one, and a model that was asked twice is paid twice. So someone who sends it again waits for the one
under way, and then looks in the log as anybody does. Which store they mean does not matter: someone who waits in vain,
for a branch of the same name elsewhere, has lost a moment.
"""

from collections.abc import Generator
from threading import Event, Lock
from typing import Any, NamedTuple

from lastresort.application.outcomes import Receipt
from lastresort.domain.events import content_of

from .replies import Outcome
from .steps import Wait

_under_way: dict["Key", "Sending"] = {}
_lock = Lock()


class Key(NamedTuple):
    """What makes two messages one: their branch, their command id, and what the user presses with them."""

    branch: str
    sent_as: str
    asks: bool
    confirms: bool


class Sending:
    """A message that somebody sends.

    Args:
        key: what it is known by.
        leads: whether others wait for this one. One that is read in pieces may be left half-read, and then nobody
            should.
    """

    def __init__(self, key: Key, *, leads: bool) -> None:
        self._key, self._leads = key, leads
        self._over = Event()
        self._came: tuple[str | None, Outcome] | None = None
        self._joined: Sending | None = None

    def wait(self) -> Generator[Wait, Any, None]:
        """Wait until no other one is under way. End with `over`, whatever happens."""
        while (other := self._enter()) is not None:
            yield Wait(other._over.wait)
            self._joined = other

    def _enter(self) -> "Sending | None":
        with _lock:
            other = _under_way.get(self._key)
            if other is None and self._leads:
                _under_way[self._key] = self
            return other

    def joined(self, heard: Receipt) -> Outcome | None:
        """Return what came of the one that this one waited for, if it is what was `heard` that it answered."""
        if self._joined is None or self._joined._came is None:
            return None
        said, outcome = self._joined._came
        return outcome if said == content_of(heard.events[-1].event) else None

    def came(self, heard: Receipt, outcome: Outcome) -> None:
        """Note what came of what was `heard`: not all of it may be on record, as an answer that waits for tools."""
        self._came = content_of(heard.events[-1].event), outcome

    def over(self) -> None:
        """Let go those who wait."""
        with _lock:
            if _under_way.get(self._key) is self:
                del _under_way[self._key]
        self._over.set()
