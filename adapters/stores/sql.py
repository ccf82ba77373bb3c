"""An event store in a database: all that SQLite and PostgreSQL do alike."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any

from lastresort.adapters.databases.errors import StoreError, failures, reached, unreached
from lastresort.adapters.databases.times import unpacked
from lastresort.application.ports import Append, Head, List, ListRow, Place
from lastresort.domain.events import RecordedEvent, Unreadable

from .codec import Encoding, is_id
from .derived import LISTS, MISCOUNTED, REBUILD, STALE_BRANCHES, WRONGLY_LISTED, Statement, of_command
from .fence import fencing
from .groups import GroupCommit
from .incoming import Begun, Incoming, KnownStates
from .rows import (
    AT_ONCE,
    ENDS,
    LAST,
    PAGE,
    READ,
    WRITTEN,
    BranchRow,
    Entry,
    by_branch,
    checked_places,
    entries_of,
    head_of,
    list_rows,
    positions_of,
    readable,
    recorded_of,
)

_READ_OF = ", ".join(f"e.{column}" for column in READ.split(", "))
_FIRST = "(SELECT {position} FROM {events} WHERE originator_id = %s ORDER BY originator_version LIMIT 1)"
"""The position of what began a branch."""

_LATEST = "(SELECT max(originator_version) FROM {events} WHERE originator_id = e.originator_id)"
_MOST_AT_ONCE = 10_000  # parameters of one statement
_SNAPSHOTS_AT_ONCE = 64  # among which the latest of a form is looked for
_MOST_OF_A_SNAPSHOT = 2**20  # bytes: some 200 are usual, and a policy has 32 KiB at most


class SQLStore(ABC):
    """An event store on the recorder of an engine, which a subclass names as its next base."""

    _encoding: Encoding
    _group: GroupCommit[Any]
    read_only: str | None = None
    """Why nothing may be written to the log, if nothing may: the message says what to do."""

    @property
    def appends_waiting(self) -> int:
        """How many appends of this process wait for the transaction under way."""
        return self._group.waiting

    # --- what an engine brings ------------------------------------------------------------------------------------

    @abstractmethod
    def write(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        """Write rows and erase words in one transaction; return the position of the first row, which others follow.

        Raises:
            VersionConflict: a row does not follow what its branch holds, or begins a branch that has begun.
            CommandRecorded: one of the commands is in the log.
        """

    @abstractmethod
    def barrier(self) -> None:
        """Have what can be read last as long as what was acknowledged. See `application.ports.EventStore`."""

    @abstractmethod
    def still(self) -> AbstractContextManager[None]:
        """Keep others from writing. See `application.ports.EventStore`."""

    @abstractmethod
    def import_log(self, appends: Iterable[Append]) -> int:
        """Write appends, all or none of them. See `application.ports.EventStore`."""

    @abstractmethod
    def wait(self, after: int, timeout: float) -> bool:
        """Wait for an event after a position. See `application.ports.EventStore`."""

    @abstractmethod
    def close(self) -> None:
        """Release connections."""

    @abstractmethod
    def _rows(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query in the SQL of `derived`."""

    @abstractmethod
    def _change(self, *statements: Statement) -> None:
        """Execute statements in the SQL of `derived`, in one transaction that no append comes between."""

    def _time(self, recorded_at: str) -> str | int:
        """Return a time as the engine keeps it."""
        return recorded_at

    def _check_may_write(self) -> None:
        """Raises:
        StoreError: nothing may be written.
        """
        if self.read_only is not None:
            raise StoreError(self.read_only)

    def _incoming(self, position: int) -> Incoming:
        """Return what makes chunks of a log whose first event is to stand at `position`."""
        self._check_may_write()
        states = KnownStates(self._encoding)
        return Incoming(lambda append: entries_of(append, states, self._time), self._begun, self.recorded_by, position)

    def _begun(self, branches: Collection[str]) -> dict[str, Begun]:
        """Return where branches began that there are, and how far they have come."""
        found: dict[str, Begun] = {}
        wanted = list(branches)
        for start in range(0, len(wanted), _MOST_AT_ONCE):
            some = wanted[start : start + _MOST_AT_ONCE]
            marks = ", ".join(["%s"] * len(some))
            for branch, position, version in self._read(
                "SELECT own.branch, e.{position}, own.last FROM (SELECT originator_id AS branch, "
                "min(originator_version) AS first, max(originator_version) AS last FROM {events} "
                f"WHERE originator_id IN ({marks}) GROUP BY originator_id) AS own "
                "JOIN {events} e ON e.originator_id = own.branch AND e.originator_version = own.first",
                *some,
            ):
                found[branch] = Begun(position, version)
        return found

    # --- while it is moved ----------------------------------------------------------------------------------------

    def fence(self, why: str | None) -> None:
        """Have no process write to the log from now on, whenever it was opened; None: have them write again.

        Args:
            why: `frozen`, while it is moved, or `moved`, and what else is to be known of it.
        """
        self._change(*fencing(why), *self._fencing(why is not None))

    def _fencing(self, fenced: bool) -> Sequence[Statement]:
        return ()  # what an engine does beside the note, in its transaction

    # --- the log --------------------------------------------------------------------------------------------------

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        """Write appends in one transaction. See `application.ports.EventStore`."""
        self._check_may_write()
        entries: list[Entry] = []
        erased: list[Place] = []
        for append in appends:
            entries += entries_of(append, self._encoding, self._time)
            erased += checked_places(append.erased)
        try:
            position = self.write(entries, erased)
        except failures() as error:
            raise unreached(error) from error
        return recorded_of(appends, position)

    def read(
        self, tree: str, branch: str, *, after: int = 0, upto: int | None = None, limit: int | None = None
    ) -> Sequence[RecordedEvent]:
        """Return events of a branch's own stream. See `application.ports.EventStore`.

        Raises:
            StoreError: one of them cannot be read.
        """
        if not is_id(branch):
            return ()
        rows = self._read(
            f"SELECT 0, {READ} FROM {{events}} WHERE originator_id = %s AND originator_version > %s "
            "AND originator_version <= %s ORDER BY originator_version LIMIT %s",
            *(branch, _bounded(after), _bounded(upto), _bounded(limit)),
        )
        return readable(self._encoding.entries(rows))

    def tree_of(self, branch: str) -> str | None:
        """Return the tree that a branch belongs to. See `application.ports.EventStore`."""
        if not is_id(branch):
            return None
        rows = self._read(
            "SELECT e.originator_id FROM {schema}branches JOIN {events} e ON e.{position} = root "
            f"WHERE position = {_FIRST}",
            branch,
        )
        return str(rows[0][0]) if rows else None

    def heads(self, tree: str) -> Sequence[Head]:
        """Return every branch of a tree. See `application.ports.EventStore`.

        Raises:
            StoreError: what began one of them cannot be read.
        """
        if not is_id(tree):
            return ()
        rows = self._read(
            f"SELECT {_LATEST}, e.{{position}}, {_READ_OF} FROM {{schema}}branches b "
            f"JOIN {{events}} e ON e.{{position}} = b.position WHERE b.root = {_FIRST} ORDER BY b.position",
            tree,
        )
        began = readable(self._encoding.entries([row[1:] for row in rows]))
        return [head_of(row[0], event) for row, event in zip(rows, began, strict=True)]

    def log(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent]:
        """Return the events in log order. See `application.ports.EventStore`.

        Raises:
            StoreError: one of them cannot be read. It is raised when that is its turn.
        """
        return chain.from_iterable(map(readable, self._pages(after, limit)))  # no call of ours for each event

    def entries(self, *, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent | Unreadable]:
        """Yield entries in log order, what cannot be read as Unreadable. See `application.ports.EventStore`."""
        for page in self._pages(after, limit):
            yield from page

    def _pages(self, after: int, limit: int | None) -> Iterator[list[RecordedEvent | Unreadable]]:
        left = _bounded(limit)
        while left > 0:
            rows = self._read(
                f"SELECT {{position}}, {READ} FROM {{events}} WHERE {{position}} > %s ORDER BY {{position}} LIMIT %s",
                *(_bounded(after), min(left, PAGE)),
            )
            if not rows:
                return
            for start in range(0, len(rows), AT_ONCE):
                yield self._encoding.entries(rows[start : start + AT_ONCE])
            if rows[-1][0] <= after:
                return  # the pages of a damaged file go round in a ring; an audit has seen the gap by now
            after = rows[-1][0]
            left -= len(rows)

    def stored(self, *, after: int = 0, upto: int | None = None, limit: int | None = None) -> list[tuple[Any, ...]]:
        """Return rows in log order, as they are written: the position, and then the fields of `rows.Row`.

        Nothing in them is looked at: a transparency log is over what is stored, whether it can be read or not.
        """
        return self._read(
            f"SELECT {{position}}, {WRITTEN} FROM {{events}} WHERE {{position}} > %s AND {{position}} <= %s "
            "ORDER BY {position} LIMIT %s",
            *(_bounded(after), _bounded(upto), _bounded(limit)),
        )

    def position_of(self, branch: str, version: int) -> int | None:
        """Return where an event of a branch's own stands in the log, None if there is none."""
        rows = self._read(
            "SELECT {position} FROM {events} WHERE originator_id = %s AND originator_version = %s",
            *(branch, _bounded(version)),
        )
        return int(rows[0][0]) if rows else None

    def head(self) -> int:
        """Return the position of the newest event. See `application.ports.EventStore`."""
        return self._read("SELECT max({position}) FROM {events}")[0][0] or 0

    def recorded_by(self, tree: str, command_id: str) -> Sequence[RecordedEvent]:
        """Return the events that a command wrote. See `application.ports.EventStore`."""
        if not (is_id(command_id) and is_id(tree)):
            return ()
        rows = self._read(
            f"SELECT {{position}}, {READ} FROM {{events}} k WHERE {of_command('%s', '%s')} ORDER BY nth",
            *(command_id, tree, tree),
        )
        return readable(self._encoding.entries(rows))

    def contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """Return sealed words. See `application.ports.EventStore`."""
        found: dict[Place, bytes] = {}
        for branch, versions in by_branch(places).items():
            for version, data in self._read(
                "SELECT originator_version, data FROM {events} e JOIN {schema}contents c ON c.position = e.{position} "
                "WHERE originator_id = %s AND originator_version BETWEEN %s AND %s",
                *(branch, min(versions), max(versions)),
            ):
                if (place := versions.get(version)) is not None:
                    found[place] = data
        return found

    def with_words(self, trees: Iterable[str]) -> set[str]:
        """Return trees of which words are kept. See `application.ports.EventStore`."""
        wanted = [tree for tree in dict.fromkeys(trees) if is_id(tree)]
        found: set[str] = set()
        for start in range(0, len(wanted), _MOST_AT_ONCE):
            some = wanted[start : start + _MOST_AT_ONCE]
            marks = ", ".join(["%s"] * len(some))
            rows = self._read(
                f"SELECT r.originator_id FROM {{events}} r WHERE r.originator_id IN ({marks}) AND EXISTS "
                "(SELECT 1 FROM {schema}branches b JOIN {events} f ON f.{position} = b.position "
                "JOIN {events} e ON e.originator_id = f.originator_id JOIN {schema}contents c "
                "ON c.position = e.{position} WHERE b.root = r.{position})",
                *some,
            )
            found.update(str(tree) for (tree,) in rows)
        return found

    def sealed_beginnings(self, most: int, length: int) -> list[bytes]:
        """Return the first bytes of the oldest and the newest sealed words, half of them each."""
        some = "SELECT substr(data, 1, %s) FROM {schema}contents ORDER BY position"
        found = (self._read(f"{some}{order} LIMIT %s", length, most // 2) for order in ("", " DESC"))
        return [bytes(data) for rows in found for (data,) in rows]

    def drop(self, places: Iterable[Place]) -> None:
        """Erase sealed words. See `application.ports.EventStore`."""
        self._check_may_write()
        with reached():
            self.write([], checked_places(places))

    def _read(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query.

        Raises:
            StoreError: the database cannot be read now.
        """
        with reached():
            return self._rows(statement, *params)

    # --- lists ----------------------------------------------------------------------------------------------------

    def page(self, which: List, *, after: int = 0, limit: int = 50) -> Sequence[ListRow]:
        """Return branches of a list. See `application.ports.EventStore`.

        Raises:
            StoreError: what began or ended one of them cannot be read.
        """
        rows = self.branch_rows(which, after, limit)
        return list_rows(rows, {event.position: event for event in self._at(positions_of(rows))})

    def branch_rows(self, which: List, after: int, limit: int) -> list[BranchRow]:
        """Return the first branches of a list that began after position `after`."""
        # The page first, then what is joined to it: a planner that knows nothing of the tables yet would join it all.
        page = (
            f"SELECT * FROM {{schema}}branches {{by}}branches_{which}{{_}} "
            f"WHERE {LISTS[which]} AND position > %s ORDER BY position LIMIT %s"
        )
        rows = self._read(
            f"SELECT b.position, root, ended, {_LATEST} FROM ({page}) AS b "
            "JOIN {events} e ON e.{position} = b.position ORDER BY b.position",
            *(after, limit),
        )
        return [BranchRow._make(row) for row in rows]

    def _at(self, positions: Sequence[int]) -> Iterator[RecordedEvent]:
        """Yield the events at positions."""
        for start in range(0, len(positions), _MOST_AT_ONCE):
            some = positions[start : start + _MOST_AT_ONCE]
            marks = ", ".join(["%s"] * len(some))
            rows = self._read(f"SELECT {{position}}, {READ} FROM {{events}} WHERE {{position}} IN ({marks})", *some)
            yield from readable(self._encoding.entries(rows))

    def rebuild_lists(self) -> None:
        """Make the lists of branches again, from the log."""
        self._change(*REBUILD)

    def stale_branches(self) -> int:
        """Return how many branches are not listed as the log has them."""
        return int(self._read(STALE_BRANCHES)[0][0])

    def wrongly_listed(self) -> list[tuple[str, int]]:
        """Return where the branches begin that are not listed as the log has them.

        What is listed and is not in the log goes by its position there: `position-7`, and version 0.
        """
        rows = self._read(WRONGLY_LISTED)
        return [
            (f"position-{position}" if branch is None else branch, version or 0) for position, branch, version in rows
        ]

    # --- snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self, branch: str, upto: int, prefix: bytes) -> tuple[int, bytes] | None:
        """Return the latest snapshot of a branch. See `vault.snapshots.SnapshotRows`.

        It is one of the latest few that stand there, and not too large: anything may, in a file that others can write.
        """
        rows = self._read(
            "SELECT originator_version, data FROM {schema}snapshots WHERE originator_id = %s AND originator_version IN "
            "(SELECT originator_version FROM {schema}snapshots WHERE originator_id = %s AND originator_version <= %s "
            "ORDER BY originator_version DESC LIMIT %s) "
            "AND length(data) <= %s AND substr(data, 1, %s) = %s ORDER BY originator_version DESC LIMIT 1",
            *(branch, branch, min(upto, LAST), _SNAPSHOTS_AT_ONCE, _MOST_OF_A_SNAPSHOT, len(prefix), prefix),
        )
        return (rows[0][0], bytes(rows[0][1])) if rows else None

    def ending(self, branch: str) -> int | None:
        """Return the version at which a branch ended. See `vault.snapshots.SnapshotRows`."""
        ended = f"SELECT min(originator_version) FROM {{events}} WHERE originator_id = %s AND topic = '{ENDS}'"
        version = self._read(ended, branch)[0][0]
        return None if version is None else int(version)

    def snapshot_versions(self, branch: str) -> list[int]:
        """Return the versions of which a branch has snapshots. See `vault.snapshots.SnapshotRows`."""
        rows = self._read("SELECT originator_version FROM {schema}snapshots WHERE originator_id = %s", branch)
        return [version for (version,) in rows]

    def replace_snapshots(self, branch: str, snapshots: Mapping[int, bytes]) -> None:
        """Replace the snapshots of a branch. See `vault.snapshots.SnapshotRows`."""
        with reached():
            self._change(
                ("DELETE FROM {schema}snapshots WHERE originator_id = %s", (branch,)),
                *(("INSERT INTO {schema}snapshots VALUES (%s, %s, %s)", (branch, *one)) for one in snapshots.items()),
            )

    def long_branches(self, least: int) -> list[str]:
        """Return branches with so many events, or with snapshots. See `vault.snapshots.SnapshotRows`."""
        rows = self._read(
            "SELECT originator_id FROM {events} GROUP BY originator_id HAVING count(*) >= %s "
            "UNION SELECT originator_id FROM {schema}snapshots ORDER BY originator_id",
            min(least, LAST),
        )
        return [branch for (branch,) in rows]

    def stale_snapshots(self, prefix: bytes) -> int:
        """Return how many snapshots begin otherwise than with `prefix`."""
        rows = self._read("SELECT count(*) FROM {schema}snapshots WHERE substr(data, 1, %s) <> %s", len(prefix), prefix)
        return int(rows[0][0])

    # --- upkeep ---------------------------------------------------------------------------------------------------

    def miscounted(self) -> list[tuple[str, int]]:
        """Return where the events of those commands begin that are not counted from 0, as they stand in the log."""
        return [(str(branch), int(version)) for branch, version in self._read(MISCOUNTED)]

    def newest(self) -> str | None:
        """Return the time that the newest event bears, None if there is no event."""
        rows = self._read("SELECT recorded_at FROM {events} ORDER BY {position} DESC LIMIT 1")
        time = rows[0][0] if rows else None
        return unpacked(time) if isinstance(time, int) else time

    def note(self, name: str, value: str) -> None:
        """Keep a note about the store, in place of another of that name."""
        with reached():
            self._change(
                (
                    "INSERT INTO {schema}meta VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (name, value),
                )
            )

    def noted(self, name: str) -> str | None:
        """Return a note about the store, None if there is none."""
        rows = self._read("SELECT value FROM {schema}meta WHERE name = %s", name)
        return str(rows[0][0]) if rows else None


def _bounded(number: int | None) -> int:
    """Return a number that a database takes; no count and no place in a log is less than 0."""
    return LAST if number is None else max(0, min(number, LAST))
