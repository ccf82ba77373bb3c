"""The log in memory, for tests and trials: gone with its process."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from eventsourcing import popo
from eventsourcing.persistence import IntegrityError
from eventsourcing.persistence import StoredEvent as LibraryEvent
from eventsourcing.popo import POPOApplicationRecorder

from lastresort.application.ports import Append, CommandRecorded, Head, List, ListRow, Place, VersionConflict
from lastresort.domain.events import RecordedEvent, Unreadable

from .codec import Encoding, StoredEvent, is_id
from .rows import (
    AT_ONCE,
    ENDS,
    LAST,
    BranchRow,
    Entry,
    Row,
    checked_places,
    conflict,
    entries_of,
    head_of,
    list_rows,
    positions_of,
    readable,
    recorded_of,
)
from .signal import Commits


class MemoryStore(POPOApplicationRecorder):
    """An event store in memory, on the library's recorder. Threads may share it.

    Args:
        encoding: reads and writes events.
    """

    def __init__(self, encoding: Encoding | None = None) -> None:
        super().__init__()
        self._encoding = encoding or Encoding()
        self._rows: list[Row | None] = []  # beside the library's events; None beside one that the library inserted
        self._contents: dict[Place, bytes] = {}
        self._commands: dict[tuple[str, str], list[int]] = {}  # by tree and id, the positions of what each wrote
        self._branches: dict[int, BranchRow] = {}
        self._begun: dict[str, int] = {}  # positions of what began branches
        self._latest: dict[str, int] = {}  # versions
        self._snapshots: dict[str, dict[int, bytes]] = {}
        self._commits = Commits()

    # --- writing --------------------------------------------------------------------------------------------------

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        """Write appends in one transaction. See `application.ports.EventStore`."""
        entries = [entry for append in appends for entry in entries_of(append, self._encoding)]
        return recorded_of(
            appends, self.write(entries, [place for append in appends for place in checked_places(append.erased)])
        )

    def barrier(self) -> None:
        """There is nothing to wait for: what was acknowledged goes with the process too."""

    @contextmanager
    def still(self) -> Iterator[None]:
        """Keep others from writing. See `application.ports.EventStore`."""
        with self._database_lock:
            yield

    def import_log(self, appends: Iterable[Append]) -> int:
        """Write appends, all or none of them. See `application.ports.EventStore`."""
        return len(self.append(*appends))

    def write(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        """Write rows and erase words in one transaction; return the position of the first row."""
        events = [
            LibraryEvent(entry.row.branch, entry.row.version, entry.row.kind, entry.row.state) for entry in entries
        ]
        with self._database_lock:
            first = len(self._stored_events) + 1
            try:
                super().insert_events(events, entries=entries, erased=erased)
            except IntegrityError as error:
                raise VersionConflict(str(error)) from None
        self._commits.set()
        return first

    def insert_events(self, stored_events: Sequence[LibraryEvent], **kwargs: Any) -> Sequence[int] | None:
        """Write events of the library's, as they are."""
        positions = super().insert_events(stored_events, **kwargs)
        self._commits.set()
        return positions

    def _assert_uniqueness(
        self, stored_events: Sequence[LibraryEvent], *, entries: Sequence[Entry] = (), **kwargs: Any
    ) -> None:
        self._check_commands(entries)
        self._check_versions(entries)
        super()._assert_uniqueness(stored_events, **kwargs)

    def _check_commands(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            command = self._tree(entry.row.branch, entry.joins), entry.row.command_id
            if entry.row.nth == 0 and command in self._commands:
                raise CommandRecorded(entry.row.command_id)

    def _check_versions(self, entries: Sequence[Entry]) -> None:
        latest: dict[str, int] = {}
        for row, begins, *_ in entries:
            last = latest.get(row.branch) or self._latest.get(row.branch)
            if begins != (last is None) or last not in (None, row.version - 1):
                raise conflict(row, begins)
            latest[row.branch] = row.version

    def _update_table(
        self,
        stored_events: Sequence[LibraryEvent],
        *,
        entries: Sequence[Entry] = (),
        erased: Sequence[Place] = (),
        **kwargs: Any,
    ) -> Sequence[int] | None:
        positions = super()._update_table(stored_events, **kwargs)
        for event in stored_events:
            branch = str(event.originator_id)
            self._latest[branch] = max(event.originator_version, self._latest.get(branch, 0))
        self._rows += [entry.row for entry in entries] or [None] * len(stored_events)
        for position, entry in zip(positions or (), entries, strict=False):
            command = self._tree(entry.row.branch, entry.joins), entry.row.command_id
            self._commands.setdefault(command, []).append(position)
            if entry.sealed is not None:
                self._contents[Place(entry.row.branch, entry.row.version)] = entry.sealed
            if entry.snapshot is not None:
                self._snapshots.setdefault(entry.row.branch, {})[entry.row.version] = entry.snapshot
            self._list(position, entry)
        for place in erased:
            self._contents.pop(place, None)
        return positions

    def _list(self, position: int, entry: Entry) -> None:
        if entry.begins:
            root = self._begun.get(entry.joins, 0) if entry.joins else position
            self._begun[entry.row.branch] = position
            self._branches[position] = BranchRow(position, root, None, 0)
        elif entry.row.kind == ENDS and (began := self._begun.get(entry.row.branch)) is not None:
            ended = self._branches[began].ended
            self._branches[began] = self._branches[began]._replace(ended=ended or position)

    def _tree(self, branch: str, joins: str | None) -> str:
        """The tree of a branch that stands in the log, or begins now and joins one."""
        return joins or self.tree_of(branch) or branch

    # --- reading --------------------------------------------------------------------------------------------------

    def _stored(self, position: int) -> StoredEvent:
        row, event = self._rows[position - 1], self._stored_events[position - 1]
        if row is None:
            branch, version = str(event.originator_id), event.originator_version
            return StoredEvent(position, branch, version, event.topic, event.state, None, 1, None, None, None)
        return StoredEvent(position, *row[:8], row.correlation_id)

    def _read(self, *positions: int) -> list[RecordedEvent]:
        return readable(self._encoding.entries([self._stored(position) for position in positions]))

    def read(
        self, tree: str, branch: str, *, after: int = 0, upto: int | None = None, limit: int | None = None
    ) -> Sequence[RecordedEvent]:
        """Return events of a branch's own stream. See `application.ports.EventStore`."""
        most = LAST if upto is None else upto
        with self._database_lock:
            index = self._stored_events_index.get(branch, {})
            asked = range(max(0, after) + 1, min(most, self._latest.get(branch, 0)) + 1)
            there = (
                (version for version in asked if version in index)
                if len(asked) <= len(index)
                else (version for version in sorted(index) if version in asked)
            )
            versions = islice(there, _count(limit))
            rows = [self._stored(index[version] + 1)._replace(position=0) for version in versions]
        return readable(self._encoding.entries(rows))

    def tree_of(self, branch: str) -> str | None:
        """Return the tree that a branch belongs to. See `application.ports.EventStore`."""
        if not is_id(branch):
            return None
        with self._database_lock:
            row = self._branches.get(self._begun.get(branch, 0))
            return self._branch_at(row.root) if row is not None and row.root else None

    def heads(self, tree: str) -> Sequence[Head]:
        """Return every branch of a tree. See `application.ports.EventStore`."""
        with self._database_lock:
            root = self._begun.get(tree, 0)
            rows = [self._with_version(row) for row in self._branches.values() if row.root == root]
            began = self._read(*(row.position for row in rows))
        return [head_of(row.version, event) for row, event in zip(rows, began, strict=True)]

    def log(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent]:
        """Yield events in log order. See `application.ports.EventStore`."""
        for page in self._pages(after, limit):
            yield from readable(page)

    def entries(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent | Unreadable]:
        """Yield entries in log order, what cannot be read as Unreadable. See `application.ports.EventStore`."""
        for page in self._pages(after, limit):
            yield from page

    def _pages(self, after: int, limit: int | None) -> Iterator[list[RecordedEvent | Unreadable]]:
        after = max(0, after)
        last = LAST if limit is None else after + max(0, limit)
        while after < last:
            with self._database_lock:
                end = min(after + AT_ONCE, last, len(self._stored_events))
                rows = [self._stored(position) for position in range(after + 1, end + 1)]
            if not rows:
                return
            yield self._encoding.entries(rows)
            after = end

    def head(self) -> int:
        """Return the position of the newest event. See `application.ports.EventStore`."""
        return len(self._stored_events)

    def wait(self, after: int, timeout: float) -> bool:
        """Wait for an event after a position. See `application.ports.EventStore`."""
        return self._commits.wait_for(lambda: self.head() > after, timeout)

    def recorded_by(self, tree: str, command_id: str) -> Sequence[RecordedEvent]:
        """Return the events that a command wrote. See `application.ports.EventStore`."""
        with self._database_lock:
            return self._read(*self._commands.get((tree, command_id), ()))

    def contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """Return sealed words. See `application.ports.EventStore`."""
        with self._database_lock:
            return {place: self._contents[place] for place in places if place in self._contents}

    def with_words(self, trees: Iterable[str]) -> set[str]:
        """Return trees of which words are kept. See `application.ports.EventStore`."""
        with self._database_lock:
            wanted, held = set(trees), {place.branch for place in self._contents}
            return wanted & {tree for branch in held if (tree := self.tree_of(branch)) is not None}

    def drop(self, places: Iterable[Place]) -> None:
        """Erase sealed words. See `application.ports.EventStore`."""
        self.write([], checked_places(places))

    def page(self, which: List, *, after: int = 0, limit: int = 50) -> Sequence[ListRow]:
        """Return branches of a list. See `application.ports.EventStore`."""
        with self._database_lock:
            rows = self.branch_rows(which, after, limit)
            events = {event.position: event for event in self._read(*positions_of(rows))}
        return list_rows(rows, events)

    def branch_rows(self, which: List, after: int, limit: int) -> list[BranchRow]:
        """Return the first branches of a list that began after position `after`."""
        with self._database_lock:
            trees = Counter(row.root for row in self._branches.values())
            holds: dict[List, Callable[[BranchRow], bool]] = {
                "active": lambda row: row.ended is None,
                "ended": lambda row: row.ended is not None,
                "branched": lambda row: trees[row.root] > 1,
            }
            rows = [row for row in self._branches.values() if row.position > after and holds[which](row)][:limit]
            return [self._with_version(row) for row in rows]

    def _with_version(self, row: BranchRow) -> BranchRow:
        return row._replace(version=self._latest[self._branch_at(row.position)])

    def _branch_at(self, position: int) -> str:
        return str(self._stored_events[position - 1].originator_id)

    # --- snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self, branch: str, upto: int, prefix: bytes) -> tuple[int, bytes] | None:
        """Return the latest snapshot of a branch. See `vault.snapshots.SnapshotRows`."""
        with self._database_lock:
            kept = self._snapshots.get(branch, {})
            versions = [v for v, data in kept.items() if v <= upto and data.startswith(prefix)]
            return (max(versions), kept[max(versions)]) if versions else None

    def ending(self, branch: str) -> int | None:
        """Return the version at which a branch ended. See `vault.snapshots.SnapshotRows`."""
        return next((one.version for one in self.read(branch, branch) if one.kind == ENDS), None)

    def snapshot_versions(self, branch: str) -> list[int]:
        """Return the versions of which a branch has snapshots. See `vault.snapshots.SnapshotRows`."""
        with self._database_lock:
            return sorted(self._snapshots.get(branch, ()))

    def replace_snapshots(self, branch: str, snapshots: Mapping[int, bytes]) -> None:
        """Replace the snapshots of a branch. See `vault.snapshots.SnapshotRows`."""
        with self._database_lock:
            self._snapshots[branch] = dict(snapshots)

    def long_branches(self, least: int) -> list[str]:
        """Return branches with so many events, or with snapshots. See `vault.snapshots.SnapshotRows`."""
        with self._database_lock:
            return [str(b) for b, own in self._stored_events_index.items() if len(own) >= least or b in self._snapshots]

    def close(self) -> None:
        """There is nothing to release."""


def _count(limit: int | None) -> int | None:
    return None if limit is None else max(0, limit)


class Factory(popo.POPOFactory):
    """Makes recorders that share nothing, for `InfrastructureFactory.construct` with `PERSISTENCE_MODULE` set to this
    module.
    """

    def application_recorder(self) -> MemoryStore:
        return MemoryStore()
