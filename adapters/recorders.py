"""The recorders of `eventsourcing`, with what a log of law needs written in the same transaction.

Beside the events of an append stand the command that caused it (so that it takes effect once) and the sealed words. A
branch's versions have no holes, which no recorder of the library checks: each append is asked for the version
before its first. Topics are event kinds, never Python paths, so nothing that a stored topic names is imported.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from eventsourcing.persistence import ApplicationRecorder, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
    SQLiteTransaction,
)

from lastresort.domain.ports import CommandRecorded, VersionConflict


class Span(NamedTuple):
    """The versions that a command wrote on a branch, which is the `ordinal`th of the branches that it wrote to."""

    command_id: str
    ordinal: int
    branch: str
    first: int
    last: int


class Beside(NamedTuple):
    """What is written with the events of an append."""

    spans: tuple[Span, ...] = ()
    contents: tuple[tuple[str, bytes], ...] = ()  # digest, sealed bytes
    erased: tuple[str, ...] = ()  # digests
    starts: Mapping[str, int] = {}  # for a branch that begins now, the version before its first

    @property
    def command_ids(self) -> list[str]:
        return sorted({span.command_id for span in self.spans})


class LogRecorder(ApplicationRecorder):
    """What the store asks of a recorder, besides the library's interface."""

    def select_spans(self, command_id: str) -> list[Span]:
        """Return what a command wrote, in log order."""
        raise NotImplementedError

    def select_contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return the sealed bytes that are kept under `digests`."""
        raise NotImplementedError

    def close(self) -> None:
        """Release connections."""


def first_versions(events: Sequence[StoredEvent]) -> dict[str, int]:
    """Return the first version of each branch in an append.

    Raises:
        VersionConflict: the versions of a branch are not contiguous among themselves.
    """
    firsts: dict[str, int] = {}
    lasts: dict[str, int] = {}
    for event in events:
        branch = str(event.originator_id)
        if lasts.setdefault(branch, event.originator_version - 1) != event.originator_version - 1:
            raise VersionConflict(f"branch {branch}: a gap before version {event.originator_version} in the append")
        lasts[branch] = event.originator_version
        firsts.setdefault(branch, event.originator_version)
    return firsts


def check_follows(branch: str, first: int, last_stored: int | None, begins_after: int | None) -> None:
    """Check that `first` is the version that comes next on `branch`.

    Raises:
        VersionConflict: it is taken, or would leave a gap.
    """
    if last_stored is not None and begins_after is not None:
        raise VersionConflict(f"branch {branch} has begun")
    last = last_stored if last_stored is not None else begins_after
    if first != (last or 0) + 1:
        raise VersionConflict(f"branch {branch} is at version {last or 0}; version {first} does not follow it")


class MemoryRecorder(POPOApplicationRecorder, LogRecorder):
    """Keeps everything in memory, for tests and trials."""

    def __init__(self) -> None:
        super().__init__()
        self._spans: dict[str, list[Span]] = {}
        self._contents: dict[str, bytes] = {}

    def _assert_uniqueness(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        beside: Beside = kwargs.get("beside", Beside())
        for command_id in beside.command_ids:
            if command_id in self._spans:
                raise CommandRecorded(command_id)
        for branch, first in first_versions(stored_events).items():
            versions = self._stored_events_index[branch]
            check_follows(branch, first, max(versions, default=None), beside.starts.get(branch))
        super()._assert_uniqueness(stored_events)

    def _update_table(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        beside: Beside = kwargs.get("beside", Beside())
        for span in beside.spans:
            self._spans.setdefault(span.command_id, []).append(span)
        self._contents.update(beside.contents)
        for digest in beside.erased:
            self._contents.pop(digest, None)
        return super()._update_table(stored_events)

    def select_spans(self, command_id: str) -> list[Span]:
        with self._database_lock:
            return list(self._spans.get(command_id, ()))

    def select_contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        with self._database_lock:
            return {digest: self._contents[digest] for digest in digests if digest in self._contents}


class _ImmediateTransaction(SQLiteTransaction):
    """Takes the write lock at once: a transaction that reads first and writes later could find its reads outdated."""

    def __enter__(self) -> SQLiteCursor:
        cursor = self.connection.cursor()
        cursor.execute("BEGIN IMMEDIATE" if self.commit else "BEGIN")
        return cursor


class _Connection(SQLiteConnection):
    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        with _ImmediateTransaction(self, commit=commit) as cursor, cursor:
            yield cursor


class _Pool(SQLiteConnectionPool):
    """Connections that survive power loss (with a WAL only `synchronous=FULL` does), and that delete for good."""

    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        connection._sqlite_conn.execute("PRAGMA synchronous=FULL")
        connection._sqlite_conn.execute("PRAGMA secure_delete=ON")
        return _Connection(connection._sqlite_conn, max_age=self.max_age)


class SQLiteRecorder(SQLiteApplicationRecorder, LogRecorder):
    """Keeps the log in an SQLite file."""

    def __init__(self, path: str) -> None:
        datastore = SQLiteDatastore(path, originator_id_type="text")
        datastore.pool.close()
        datastore.pool = _Pool(db_name=path)
        super().__init__(datastore)

    def create_table(self) -> None:
        """Make the tables that are missing: who only looks at a store need not be able to write to it."""
        with self.datastore.transaction(commit=False) as c:
            c.execute("SELECT name FROM sqlite_master WHERE type='table'")
            missing = {self.events_table_name, "commands", "contents"} - {row[0] for row in c.fetchall()}
        if missing:
            super().create_table()

    def construct_create_table_statements(self) -> list[str]:
        return [
            *super().construct_create_table_statements(),
            "CREATE TABLE IF NOT EXISTS commands (command_id TEXT, ordinal INTEGER, branch TEXT, first INTEGER, "
            "last INTEGER, PRIMARY KEY (command_id, ordinal)) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS contents (digest TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID",
        ]

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Write an append. What it erases is erased from the write-ahead log too, where it would stay readable."""
        positions = super().insert_events(stored_events, **kwargs)
        if kwargs.get("beside", Beside()).erased:
            with self.datastore.get_connection(commit=True) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return positions

    def _insert_events(
        self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        beside: Beside = kwargs.get("beside", Beside())
        for command_id in beside.command_ids:
            c.execute("SELECT 1 FROM commands WHERE command_id=? LIMIT 1", (command_id,))
            if c.fetchone():
                raise CommandRecorded(command_id)
        for branch, first in first_versions(stored_events).items():
            c.execute(f"SELECT MAX(originator_version) FROM {self.events_table_name} WHERE originator_id=?", (branch,))
            check_follows(branch, first, c.fetchone()[0], beside.starts.get(branch))
        c.executemany("INSERT INTO commands VALUES (?,?,?,?,?)", beside.spans)
        c.executemany("INSERT INTO contents VALUES (?,?)", beside.contents)
        c.executemany("DELETE FROM contents WHERE digest=?", [(digest,) for digest in beside.erased])
        return super()._insert_events(c, stored_events)

    def select_spans(self, command_id: str) -> list[Span]:
        with self.datastore.transaction(commit=False) as c:
            c.execute("SELECT * FROM commands WHERE command_id=? ORDER BY ordinal", (command_id,))
            return [Span(*row) for row in c.fetchall()]

    def select_contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        found = {}
        with self.datastore.transaction(commit=False) as c:
            for digest in digests:
                c.execute("SELECT data FROM contents WHERE digest=?", (digest,))
                if row := c.fetchone():
                    found[digest] = row[0]
        return found

    def close(self) -> None:
        self.datastore.close()
