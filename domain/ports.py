"""What the domain needs from outside: a store of events, a vault for words, a clock, and new ids."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from .events import Event, Recorded, Unreadable
from .values import Risk


class Place(NamedTuple):
    """Where an event stands: its branch, and its version there."""

    branch: str
    version: int


class Placed(NamedTuple):
    """An event, the place that it is to take, and the sealed words that it stands for, where they are to be kept."""

    branch: str
    version: int
    event: Event
    sealed: bytes | None = None


class Sealed(NamedTuple):
    """Words that only the key of their conversation opens; `digest` is the SHA-256 of `data`, as events carry it."""

    digest: str
    data: bytes


class Append(NamedTuple):
    """What one command writes, all of it or nothing: events of one or more branches, and the words to erase."""

    command_id: str
    correlation_id: str
    recorded_at: str  # ISO 8601, UTC
    events: tuple[Placed, ...]
    erased: tuple[Place, ...] = ()  # the turns whose words are erased


class VersionConflict(Exception):
    """Somebody else wrote to a branch of the append first, or it would leave a gap. Nothing was written."""


class CommandRecorded(Exception):
    """The command was carried out before. Nothing was written now."""


class EventStore(Protocol):
    """An append-only log of events in branches, and the sealed words beside it."""

    def append(self, *appends: Append) -> tuple[Recorded, ...]:
        """Write `appends` in one transaction and return their events as recorded.

        Raises:
            VersionConflict: the first version of a branch in it is not the next one, or not free.
            CommandRecorded: one of the command ids is in the log.
        """
        ...

    def read(
        self, branch: str, *, after: int = 0, upto: int | None = None, limit: int | None = None
    ) -> Sequence[Recorded]:
        """Return the events of a branch's own stream with `after` < version <= `upto`, the first `limit` of them.

        Their position is 0: only `append`, `log` and `entries` know an event's place among all branches.
        """
        ...

    def log(self) -> Iterator[Recorded]:
        """Yield every event in log order."""
        ...

    def entries(self) -> Iterator[Recorded | Unreadable]:
        """Yield every entry in log order, those too that this program cannot read: for the audit."""
        ...

    def recorded_by(self, command_id: str) -> Sequence[Recorded]:
        """Return the events that a command wrote, in log order; none if it is not in the log."""
        ...

    def contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """Return the sealed words that are kept of what stands at `places`."""
        ...

    def close(self) -> None:
        """Release what the store holds open."""
        ...


class SealBroken(Exception):
    """Sealed bytes are not what was sealed for this place: truncated, edited, or moved from another."""


class Vault(Protocol):
    """Seals words under a key of their conversation, bound to the place where they stand."""

    def seal(self, conversation: str, branch: str, version: int, words: str) -> Sealed:
        """Seal `words`, under a new key if the conversation has none."""
        ...

    def open(self, conversation: str, branch: str, version: int, sealed: Sealed) -> str | None:
        """Return the words that were sealed; None if their key was destroyed.

        Raises:
            SealBroken: the bytes were not sealed for this place.
        """
        ...

    def renew(self, conversation: str) -> None:
        """Look at the conversation's key anew before it is used again: somebody else may have destroyed it."""
        ...

    def forget(self, conversation: str) -> None:
        """Destroy the conversation's key, and with it all that was sealed under it."""
        ...

    def close(self) -> None:
        """Release what the vault holds open."""
        ...


Clock = Callable[[], datetime]
"""Returns the time, aware of its zone."""

NewId = Callable[[], str]
"""Returns an id that nobody has used."""

RiskScreen = Callable[[str], Risk]
"""Looks at a text and says what risk it shows; `unknown` if it cannot tell. If it fails, the risk is `possible`."""
