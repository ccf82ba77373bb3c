"""What the store asks of a recorder, beside the interface of `eventsourcing`; and the recorder in memory.

A recorder of the library writes rows that it is given. Ours write an append: a command takes effect once, a branch's
versions have no holes (which no recorder of the library checks), and sealed words come and go with the events that
they belong to, all in one transaction. Topics are event kinds, never Python paths, so nothing that a stored topic names
is imported.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from eventsourcing import popo
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from lastresort.adapters.databases.errors import StoreError
from lastresort.application.ports import CommandRecorded, List, Place, VersionConflict
from lastresort.domain.events import ConversationEnded

from .codec import Stored

SCHEMA = 2
"""The version of the tables. A store of another version is migrated, or refused with the reason.

1 had no `branches` and no `snapshots`.
"""

_FROM_THE_LOG = ("branches", "snapshots")
"""Tables that can be made anew; version 1 had none."""

RESTORING = "restoring"
"""What stands in place of a version while a backup is being restored, and is not known to be whole."""


ENDS = ConversationEnded.kind
"""The kind of event with which a branch goes over from the list of those that are active to those that ended."""


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
    recorded_at: str | int  # what `LogRecorder.time` makes of it
    command_id: str
    nth: int  # among the events of its command, from 0
    correlation_id: str | None  # None: the command's


class Entry(NamedTuple):
    """A row to write, and what goes with it."""

    row: Row
    begins: bool  # the branch with this event
    sealed: bytes | None
    joins: str | None = None  # the root of the tree that the branch joins with this event
    snapshot: bytes | None = None  # of the state after it


class Listed(NamedTuple):
    """A branch in a list: where the events stand in the log that began it, began its root, and ended it."""

    position: int
    root: int
    ended: int | None
    version: int  # of its latest event


class LogRecorder(ApplicationRecorder):
    """What the store asks of a recorder, besides the library's interface."""

    def time(self, recorded_at: str) -> str | int:
        """Return a time as this recorder keeps it."""
        return recorded_at

    @abstractmethod
    def append(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        """Write `entries` and erase words in one transaction; return the position of the first, which others follow.

        Raises:
            VersionConflict: an entry does not follow what its branch holds, or begins a branch that has begun.
            CommandRecorded: one of the commands is in the log.
        """

    @abstractmethod
    def select_branch(self, branch: str, after: int, upto: int | None, limit: int | None) -> Sequence[tuple[Any, ...]]:
        """Return rows of a branch, each as the fields of `Stored` with position 0, ordered by version."""

    @abstractmethod
    def select_log(self, after: int, limit: int) -> Sequence[tuple[Any, ...]]:
        """Return the `limit` rows that follow position `after`, each as the fields of `Stored`."""

    @abstractmethod
    def select_command(self, command_id: str) -> Sequence[tuple[Any, ...]]:
        """Return the rows that a command wrote, each as the fields of `Stored`, in log order."""

    @abstractmethod
    def select_contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """Return the sealed words that are kept of what stands at `places`."""

    @abstractmethod
    def select_at(self, positions: Sequence[int]) -> Sequence[tuple[Any, ...]]:
        """Return the rows at positions, each as the fields of `Stored`, in any order."""

    @abstractmethod
    def select_list(self, which: List, after: int, limit: int) -> list[Listed]:
        """Return the first branches of a list that began after position `after`."""

    @abstractmethod
    def count_stale(self, prefix: bytes) -> tuple[int, int]:
        """Return how many branches are not listed as the log has them, and how many snapshots do not begin so."""

    @abstractmethod
    def select_misplaced(self) -> list[tuple[str, int]]:
        """Return where the events of those commands begin that are not counted from 0, as they stand in the log.

        By that count a command that comes again is known.
        """

    @abstractmethod
    def rebuild_lists(self) -> None:
        """Make the lists of branches anew from the log."""

    @abstractmethod
    def select_long(self, least: int) -> list[str]:
        """Return the branches with at least so many events of their own, or with snapshots."""

    @abstractmethod
    def note(self, name: str, value: str) -> None:
        """Keep a note about the store, in place of another of that name."""

    @abstractmethod
    def noted(self, name: str) -> str | None:
        """Return a note about the store, None if there is none."""

    @abstractmethod
    def select_snapshot(self, branch: str, upto: int, prefix: bytes) -> tuple[int, bytes] | None:
        """Return the latest snapshot of a branch up to a version that begins with `prefix`, after its version."""

    @abstractmethod
    def select_versions(self, branch: str) -> list[int]:
        """Return the versions of which a branch has snapshots."""

    @abstractmethod
    def replace_snapshots(self, branch: str, snapshots: Mapping[int, bytes]) -> None:
        """Keep `snapshots`, by version, and no others of a branch."""

    @abstractmethod
    def close(self) -> None:
        """Release connections."""


class Tables(NamedTuple):
    """What a database holds: which tables, of which version they say they are, what of it is ours."""

    made: Set[str]
    version: str | None
    log: bool  # there is one
    names_words: bool  # there is a log that names words, and no table that holds any


def tables_of(made: Set[str], events: str, ask: Callable[[str], Any]) -> Tables:
    """Look at the tables that were `made`, the log in `events`.

    `ask` returns the first row of a query, None if there is none. `{schema}` stands there for what comes before a
    table's name, `{events}` for the log.
    """
    row = ask("SELECT value FROM {schema}meta WHERE name = 'schema'") if "meta" in made else None
    log = events in made
    lost = log and row is not None and "contents" not in made
    named = lost and ask("SELECT 1 FROM {events} WHERE digest IS NOT NULL LIMIT 1") is not None
    return Tables(made, row and str(row[0]), log, named)


def check_schema(tables: Tables) -> None:
    """Check that the tables of a store are all there, and those that this program works with; or that there are none.

    Raises:
        StoreError: they are not; it says which they are.
    """
    version = tables.version
    if version is None and not tables.log:
        return
    if not tables.log:
        raise _gone("its log")
    if version is None and tables.made & {"meta", *_FROM_THE_LOG}:
        raise _gone("its table meta, or the version of the tables that stood in it,")
    if version is None:
        raise StoreError(
            "its tables were made by a version of this program before the first release; "
            "export the log with that version, and import it into a new store"
        )
    if version == RESTORING:
        raise StoreError("a backup was being restored into it, and that did not come to its end; restore it again")
    if version != str(SCHEMA):
        if version.isdecimal() and int(version) < SCHEMA:
            todo = "stop what uses it, back it up, and run `lastresort migrate URL`"
        else:
            todo = "it was written by a later version of this program; use that one"
        raise StoreError(f"its tables are of version {version}, and this program works with version {SCHEMA}: {todo}")
    _check_words(tables)
    if gone := [name for name in _FROM_THE_LOG if name not in tables.made]:
        raise StoreError(
            f"it has no table {gone[0]} any more: run `lastresort migrate URL`, which makes it from the log"
        )


def check_migration(tables: Tables) -> None:
    """Check that tables can be brought up to date: those of this version too, since what follows from the log is made
    anew.

    Raises:
        StoreError: they cannot; it says why.
    """
    version = tables.version
    if not tables.log:
        raise StoreError("it has no tables; there is nothing to migrate") if version is None else _gone("its log")
    if version is None or not version.isdecimal() or not 0 < int(version) <= SCHEMA:
        check_schema(tables)
    _check_words(tables)


def _check_words(tables: Tables) -> None:
    if tables.names_words:
        raise _gone("its table contents, and with it the words of every turn,")


def _gone(what: str) -> StoreError:
    """Say what cannot be made anew: to make an empty one would hide that it was lost."""
    todo = "restore the latest backup. If there is none, docs/how-to/operate.md says what else can be done"
    return StoreError(f"{what} is gone: {todo}")


def by_branch(places: Iterable[Place]) -> dict[str, dict[int, Place]]:
    """Group places by branch and version, since what stands close together is read together."""
    grouped: dict[str, dict[int, Place]] = {}
    for place in places:
        branch, version = place
        grouped.setdefault(branch, {})[version] = place
    return grouped


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
        self._listed: dict[int, Listed] = {}
        self._snapshots: dict[str, dict[int, bytes]] = {}
        self._notes: dict[str, str] = {}

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
        for row, begins, *_ in entries:
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
            if entry.snapshot is not None:
                self._snapshots.setdefault(entry.row.branch, {})[entry.row.version] = entry.snapshot
            self._list(position, entry)
        for place in erased:
            self._contents.pop(place, None)
        return positions

    def _list(self, position: int, entry: Entry) -> None:
        if entry.begins:
            root = self._first(entry.joins) if entry.joins else position
            self._listed[position] = Listed(position, root, None, 0)
        elif entry.row.kind == ENDS and (first := self._first(entry.row.branch)) in self._listed:
            ended = self._listed[first].ended
            self._listed[first] = self._listed[first]._replace(ended=ended or position)

    def _first(self, branch: str) -> int:
        """The position of what began a branch, 0 if there is none."""
        index = self._stored_events_index.get(branch, {})
        return index[min(index)] + 1 if index else 0

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

    def select_at(self, positions: Sequence[int]) -> list[Stored]:
        with self._database_lock:
            return [self._stored(position) for position in positions if 0 < position <= len(self._stored_events)]

    def select_list(self, which: List, after: int, limit: int) -> list[Listed]:
        with self._database_lock:
            trees = Counter(one.root for one in self._listed.values())
            holds: dict[List, Callable[[Listed], bool]] = {
                "active": lambda one: one.ended is None,
                "ended": lambda one: one.ended is not None,
                "branched": lambda one: trees[one.root] > 1,
            }
            found = [one for one in self._listed.values() if one.position > after and holds[which](one)][:limit]
            return [one._replace(version=max(self._stored_events_index[self._branch_at(one)])) for one in found]

    def _branch_at(self, one: Listed) -> Any:
        return self._stored_events[one.position - 1].originator_id

    def count_stale(self, prefix: bytes) -> tuple[int, int]:
        with self._database_lock:
            kept = [data for of_branch in self._snapshots.values() for data in of_branch.values()]
        return 0, sum(not data.startswith(prefix) for data in kept)

    def select_misplaced(self) -> list[tuple[str, int]]:
        return []  # nobody counts here

    def rebuild_lists(self) -> None:
        """They came about with the log, and do not outlive it."""

    def select_long(self, least: int) -> list[str]:
        with self._database_lock:
            return [str(b) for b, own in self._stored_events_index.items() if len(own) >= least or b in self._snapshots]

    def note(self, name: str, value: str) -> None:
        self._notes[name] = value

    def noted(self, name: str) -> str | None:
        return self._notes.get(name)

    def select_snapshot(self, branch: str, upto: int, prefix: bytes) -> tuple[int, bytes] | None:
        with self._database_lock:
            kept = self._snapshots.get(branch, {})
            versions = [v for v, data in kept.items() if v <= upto and data.startswith(prefix)]
            return (max(versions), kept[max(versions)]) if versions else None

    def select_versions(self, branch: str) -> list[int]:
        with self._database_lock:
            return sorted(self._snapshots.get(branch, ()))

    def replace_snapshots(self, branch: str, snapshots: Mapping[int, bytes]) -> None:
        with self._database_lock:
            self._snapshots[branch] = dict(snapshots)

    def close(self) -> None:
        """There is nothing to release."""


class Factory(popo.POPOFactory):
    """Makes recorders that share nothing: each keeps what it is given, until it is gone."""

    def application_recorder(self) -> MemoryRecorder:
        return MemoryRecorder()
