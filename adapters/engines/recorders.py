"""What the store asks of a recorder, beside the interface of `eventsourcing`; and the recorder in memory.

A recorder of the library writes rows that it is given. Ours write an append: a command takes effect once, a branch's
versions have no holes (which no recorder of the library checks), and sealed words come and go with the events that
they belong to, all in one transaction. Topics are event kinds, never Python paths, so nothing that a stored topic names
is imported.
"""

import sqlite3
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from eventsourcing import popo
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, PersistenceError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from lastresort.adapters.encoding import Stored
from lastresort.domain.ports import CommandRecorded, Place, VersionConflict

SCHEMA = 1
"""The version of the tables. A store of another version is migrated, or refused with the reason."""


class StoreError(Exception):
    """The store cannot be opened, read or written: the message says what, where, and what to do."""


try:
    import psycopg

    FAILURES: tuple[type[Exception], ...] = (PersistenceError, sqlite3.Error, psycopg.Error)
except ImportError:  # PostgreSQL is an extra
    FAILURES = (PersistenceError, sqlite3.Error)


@contextmanager
def reached() -> Iterator[None]:
    """Say what the engine said if it cannot be read or written now.

    Raises:
        StoreError: in place of what the engine raised.
    """
    try:
        yield
    except FAILURES as error:
        raise unreached(error) from error


def unreached(error: Exception) -> StoreError:
    return StoreError(f"the store cannot be read or written now: {error}; try again")


class Settings(NamedTuple):
    """How durable a write is, and how many seconds a call may take."""

    synchronous: str = "FULL"  # SQLite's; one of LEVELS
    deadline: float = 2.0


LEVELS = {"FULL": 2, "NORMAL": 1}
"""What SQLite calls them. With a write-ahead log only FULL survives power loss."""


WRITTEN = (
    "originator_id, originator_version, topic, state, digest, schema_version, recorded_at, command_id, nth, "
    "correlation_id"
)
"""The columns of a row as it is written: the fields of `Row`."""

READ = WRITTEN.replace(" nth,", "")
"""The columns that are read: after the position, the fields of `Stored`."""


class Row(NamedTuple):
    """A row of the log as it is written, but for its position."""

    branch: str
    version: int
    kind: str
    state: bytes
    digest: bytes | None  # of its words
    schema_version: int
    recorded_at: str
    command_id: str
    nth: int  # among the events of its command, from 0
    correlation_id: str | None  # None: the command's


class Entry(NamedTuple):
    """A row to write, and what goes with it."""

    row: Row
    begins: bool  # the branch with this event
    sealed: bytes | None


class LogRecorder(ApplicationRecorder):
    """What the store asks of a recorder, besides the library's interface."""

    @abstractmethod
    def append(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        """Write `entries` and erase words in one transaction; return the position of the first, which others follow.

        Raises:
            VersionConflict: an entry does not follow what its branch holds, or begins a branch that has begun.
            CommandRecorded: one of the commands is in the log.
        """

    @abstractmethod
    def select_branch(self, branch: str, after: int, upto: int | None, limit: int | None) -> Iterable[tuple[Any, ...]]:
        """Return rows of a branch, each as the fields of `Stored` with position 0, ordered by version."""

    @abstractmethod
    def select_log(self, after: int, limit: int) -> Sequence[tuple[Any, ...]]:
        """Return the `limit` rows that follow position `after`, each as the fields of `Stored`."""

    @abstractmethod
    def select_command(self, command_id: str) -> Iterable[tuple[Any, ...]]:
        """Return the rows that a command wrote, each as the fields of `Stored`, in log order."""

    @abstractmethod
    def select_contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """Return the sealed words that are kept of what stands at `places`."""

    @abstractmethod
    def close(self) -> None:
        """Release connections."""


def check_schema(version: str | None) -> None:
    """Check that the tables of a store are those that this program works with.

    Raises:
        StoreError: they are not; it says which they are.
    """
    if version is None:
        raise StoreError(
            "its tables were made by a version of this program before the first release; "
            "export the log with that version, and import it into a new store"
        )
    if version != str(SCHEMA):
        raise StoreError(f"its tables are of version {version}, and this program works with version {SCHEMA}")


def by_branch(places: Iterable[Place]) -> dict[str, set[int]]:
    """Group places, since what stands close together is read together."""
    versions: dict[str, set[int]] = {}
    for branch, version in places:
        versions.setdefault(branch, set()).add(version)
    return versions


def conflict(row: Row, begins: bool) -> VersionConflict:
    """Say what keeps `row` from being written where it is to stand."""
    if begins:
        return VersionConflict(f"branch {row.branch} has begun, or version {row.version} is not how a branch begins")
    return VersionConflict(f"branch {row.branch}: version {row.version} is taken, or leaves a gap")


class MemoryRecorder(POPOApplicationRecorder, LogRecorder):
    """Keeps everything in memory, for tests and trials."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Row | None] = []  # beside the library's events; None beside one that the library inserted
        self._contents: dict[Place, bytes] = {}
        self._commands: dict[str, list[int]] = {}  # the positions of what each of them wrote

    def append(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        events = [
            StoredEvent(entry.row.branch, entry.row.version, entry.row.kind, entry.row.state) for entry in entries
        ]
        with self._database_lock:
            first = len(self._stored_events) + 1
            try:
                super().insert_events(events, entries=entries, erased=erased)
            except IntegrityError as error:
                raise VersionConflict(str(error)) from None
            return first

    def _assert_uniqueness(
        self, stored_events: Sequence[StoredEvent], *, entries: Sequence[Entry] = (), **kwargs: Any
    ) -> None:
        self._check_commands(entries)
        self._check_versions(entries)
        super()._assert_uniqueness(stored_events, **kwargs)

    def _check_commands(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.row.command_id in self._commands:
                raise CommandRecorded(entry.row.command_id)

    def _check_versions(self, entries: Sequence[Entry]) -> None:
        latest: dict[str, int] = {}
        for row, begins, _ in entries:
            last = latest.get(row.branch) or max(self._stored_events_index.get(row.branch, ()), default=None)
            if begins != (last is None) or last not in (None, row.version - 1):
                raise conflict(row, begins)
            latest[row.branch] = row.version

    def _update_table(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        entries: Sequence[Entry] = (),
        erased: Sequence[Place] = (),
        **kwargs: Any,
    ) -> Sequence[int] | None:
        positions = super()._update_table(stored_events, **kwargs)
        self._rows += [entry.row for entry in entries] or [None] * len(stored_events)
        for position, entry in zip(positions or (), entries, strict=False):
            self._commands.setdefault(entry.row.command_id, []).append(position)
            if entry.sealed is not None:
                self._contents[Place(entry.row.branch, entry.row.version)] = entry.sealed
        for place in erased:
            self._contents.pop(place, None)
        return positions

    def _stored(self, position: int) -> Stored:
        row, event = self._rows[position - 1], self._stored_events[position - 1]
        if row is None:
            branch, version = str(event.originator_id), event.originator_version
            return Stored(position, branch, version, event.topic, event.state, None, 1, None, None, None)
        return Stored(position, *row[:8], row.correlation_id)

    def select_branch(self, branch: str, after: int, upto: int | None, limit: int | None) -> list[Stored]:
        with self._database_lock:
            index = self._stored_events_index.get(branch, {})
            versions = [version for version in sorted(index) if after < version and (upto is None or version <= upto)]
            return [self._stored(index[version] + 1)._replace(position=0) for version in versions[:limit]]

    def select_log(self, after: int, limit: int) -> list[Stored]:
        with self._database_lock:
            end = min(after + limit, len(self._stored_events))
            return [self._stored(position) for position in range(after + 1, end + 1)]

    def select_command(self, command_id: str) -> list[Stored]:
        with self._database_lock:
            return [self._stored(position) for position in self._commands.get(command_id, ())]

    def select_contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        with self._database_lock:
            return {place: self._contents[place] for place in places if place in self._contents}

    def close(self) -> None:
        """There is nothing to release."""


class Factory(popo.POPOFactory):
    """Makes recorders that share nothing: each keeps what it is given, until it is gone."""

    def application_recorder(self) -> MemoryRecorder:
        return MemoryRecorder()
