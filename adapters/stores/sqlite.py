"""The log in an SQLite file.

    stored_events   the log: a row an event, whose rowid is its position; the columns of the library, and the envelope's
    contents        sealed words, by the position of the event that they belong to, so that both grow at their end
    branches        which are active, ended, branched; and
    snapshots       states of branches at versions: both can be made anew from the log
    meta            the version of these tables

A write takes the write lock at once (`BEGIN IMMEDIATE`), and checks what it must while it writes: that a branch goes on
where it stands is a condition of the insert, that a command takes effect once a unique index. Writes go through one
connection, those that wait share a transaction; reads go through the library's pool.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from eventsourcing import sqlite as library  # its factory is not named here: the library takes a module to have one
from eventsourcing.persistence import ProcessRecorder, StoredEvent
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
    SQLiteTrackingRecorder,
    SQLiteTransaction,
)

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.sqlite import _DEFAULT, connect, truncate_log
from lastresort.application.ports import CommandRecorded, Place, VersionConflict

from .beside import REBUILD, TABLES, BesideTheLog, Statement, in_sqlite
from .codec import packed
from .groups import GroupCommit, Job
from .recorders import (
    ENDS,
    READ,
    SCHEMA,
    WRITTEN,
    Entry,
    Row,
    Tables,
    by_branch,
    check_migration,
    check_schema,
    conflict,
    tables_of,
)

_TABLES = (
    "CREATE TABLE IF NOT EXISTS {events} (rowid INTEGER PRIMARY KEY, originator_id TEXT NOT NULL, "
    "originator_version INTEGER NOT NULL, topic TEXT NOT NULL, state BLOB NOT NULL, digest BLOB, "
    "schema_version INTEGER, recorded_at, command_id TEXT, nth INTEGER, correlation_id TEXT, "
    "UNIQUE (originator_id, originator_version), UNIQUE (command_id, nth))",
    "CREATE TABLE IF NOT EXISTS contents (position INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    *(in_sqlite(statement, "") for statement in TABLES),
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    f"INSERT OR IGNORE INTO meta VALUES ('schema', '{SCHEMA}')",
)


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
    settings = _DEFAULT

    def _create_connection(self) -> SQLiteConnection:
        connection = connect(self.db_name, self.settings, uri=True)
        connection.row_factory = sqlite3.Row
        return _Connection(connection, max_age=self.max_age)


class Datastore(SQLiteDatastore):
    """The library's, with our connections."""

    def __init__(self, path: str, settings: Settings = _DEFAULT, *, single_row_tracking: bool = True) -> None:
        super().__init__(path, single_row_tracking=single_row_tracking, originator_id_type="text")
        self.pool.close()
        self.pool = _Pool(db_name=path, pool_timeout=settings.deadline)
        self.pool.settings = settings
        self.settings = settings


class SQLiteRecorder(BesideTheLog, SQLiteApplicationRecorder):
    """Keeps the log in an SQLite file."""

    datastore: Datastore

    def __init__(self, datastore: SQLiteDatastore, events_table_name: str = "stored_events") -> None:
        super().__init__(datastore, events_table_name)
        table = self.events_table_name
        self.insert_events_statement = (
            f"INSERT INTO {table} (originator_id, originator_version, topic, state) VALUES (?,?,?,?)"
        )
        insert = f"INSERT INTO {table} ({WRITTEN}) SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10 WHERE"
        exists = f"EXISTS (SELECT 1 FROM {table} WHERE originator_id=?1"
        self._begin = f"{insert} NOT {exists})"
        self._follow = f"{insert} {exists} AND originator_version=?2-1)"
        self._group = GroupCommit(self._commit, self.datastore.settings.deadline)
        self._writer: sqlite3.Connection | None = None
        self._opening = Lock()
        self._residue = False  # words that were erased may still be in the write-ahead log

    # --- the tables -----------------------------------------------------------------------------------------------

    def construct_create_table_statements(self) -> list[str]:
        return [statement.format(events=self.events_table_name) for statement in _TABLES]

    def create_table(self) -> None:
        """Make the tables, once: who only looks at a store need not be able to write to it.

        Raises:
            StoreError: the tables are of another version of this program.
        """
        with self.datastore.transaction(commit=False) as c:
            made = self._is_made(c)
        if not made:
            super().create_table()

    def _create_table(self, c: SQLiteCursor) -> None:
        if not self._is_made(c):  # by another process, meanwhile
            super()._create_table(c)

    def _is_made(self, c: SQLiteCursor) -> bool:
        tables = self._made(c)
        check_schema(tables)
        return self._tables() <= tables.made

    def _made(self, c: SQLiteCursor) -> Tables:
        def ask(statement: str) -> Any:
            c.execute(in_sqlite(statement, self.events_table_name))
            return c.fetchone()

        c.execute("SELECT name FROM sqlite_master WHERE type='table'")
        return tables_of({row[0] for row in c.fetchall()}, self.events_table_name, ask)

    def _tables(self) -> set[str]:
        return {self.events_table_name, "contents", "meta", "branches", "snapshots"}

    # --- writing --------------------------------------------------------------------------------------------------

    def time(self, recorded_at: str) -> str | int:
        """Times are kept as numbers, in a column of no type: one that would lose something by that stays text."""
        return packed(recorded_at)

    def append(self, entries: Sequence[Entry], erased: Sequence[Place] = ()) -> int:
        try:
            return self._group.write((entries, erased))
        finally:
            if erased:  # also where the command was carried out before: it may not have come this far
                self._truncate_log(self.datastore.settings.deadline)
            elif self._residue:
                with suppress(StoreError):  # who erased has been told; nobody else need be
                    self._truncate_log(0)

    def _commit(self, jobs: Sequence[Job[tuple[Sequence[Entry], Sequence[Place]]]]) -> None:
        """Write what waits in one transaction; what is refused leaves nothing behind, and does no harm to the rest."""
        writer = self._writer or self._open_writer()
        execute = writer.cursor().execute  # one for all statements, since making one takes half as long as using it
        alone = len(jobs) == 1
        execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                entries, erased = job.work
                several = not alone and len(entries) + len(erased) > 1
                if several:
                    execute("SAVEPOINT append")
                try:
                    job.position = self._insert(execute, entries)
                    for place in erased:
                        execute(self._erase, place)
                except (VersionConflict, CommandRecorded) as error:
                    if alone:
                        raise
                    if several:
                        execute("ROLLBACK TO append")
                    job.error = error
            execute("COMMIT")
        except BaseException:
            if writer.in_transaction:
                execute("ROLLBACK")
            raise

    def _insert(self, execute: Any, entries: Sequence[Entry]) -> int:
        """Write entries, and return the position of the first."""
        first = 0
        for row, begins, sealed, joins, snapshot in entries:
            try:
                written = execute(self._begin if begins else self._follow, row)
            except sqlite3.IntegrityError:
                written = None
            if written is None or written.rowcount == 0:
                known = f"SELECT 1 FROM {self.events_table_name} WHERE command_id=?"
                if row.nth == 0 and execute(known, (row.command_id,)).fetchone():
                    raise CommandRecorded(row.command_id)
                raise conflict(row, begins)
            if sealed is not None:
                execute("INSERT INTO contents VALUES (?,?)", (written.lastrowid, sealed))
            if begins or row.kind == ENDS:
                self._list(execute, row, begins, joins, written.lastrowid)
            if snapshot is not None:
                execute("INSERT OR REPLACE INTO snapshots VALUES (?,?,?)", (row.branch, row.version, snapshot))
            first = first or written.lastrowid
        return first

    def _list(self, execute: Any, row: Row, begins: bool, joins: str | None, position: int) -> None:
        """Keep the lists of branches. Few events change them, so that an ordinary turn pays nothing for them."""
        if not begins:
            execute(
                f"UPDATE branches SET ended=? WHERE position={self._first} AND ended IS NULL", (position, row.branch)
            )
        elif joins is None:
            execute("INSERT INTO branches VALUES (?1, ?1, NULL, 0)", (position,))
        else:
            execute(f"INSERT INTO branches VALUES (?, coalesce({self._first}, 0), NULL, 1)", (position, joins))
            execute(f"UPDATE branches SET branched=1 WHERE position={self._first} AND branched=0", (joins,))

    @property
    def _first(self) -> str:
        """What began a branch."""
        table = self.events_table_name
        return f"(SELECT rowid FROM {table} WHERE originator_id=? ORDER BY originator_version LIMIT 1)"

    @property
    def _erase(self) -> str:
        place = "originator_id=? AND originator_version=?"
        return f"DELETE FROM contents WHERE position=(SELECT rowid FROM {self.events_table_name} WHERE {place})"

    def _open_writer(self) -> sqlite3.Connection:
        with self._opening:
            if self._writer is None:
                self._writer = connect(self.datastore.pool.db_name, self.datastore.settings, uri=True)
            return self._writer

    def _truncate_log(self, deadline: float) -> None:
        """Have what was erased leave the write-ahead log too, where it would stay readable.

        Raises:
            StoreError: a reader kept it from being truncated until the deadline.
        """
        with self.datastore.get_connection(commit=True) as connection:  # the writer's may be in use by now
            try:
                truncate_log(connection._sqlite_conn, deadline)
            except StoreError:
                self._residue = True
                raise
        self._residue = False

    # --- reading --------------------------------------------------------------------------------------------------

    def _select(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.datastore.get_connection(commit=False) as connection:
            cursor = connection._sqlite_conn.cursor()
            cursor.row_factory = None
            return cursor.execute(statement, params).fetchall()

    def select_branch(self, branch: str, after: int, upto: int | None, limit: int | None) -> list[tuple[Any, ...]]:
        return self._select(
            f"SELECT 0, {READ} FROM {self.events_table_name} WHERE originator_id=? AND originator_version>? "
            "AND originator_version<=? ORDER BY originator_version LIMIT ?",
            *(branch, after, 2**62 if upto is None else upto, -1 if limit is None else limit),
        )

    def select_log(self, after: int, limit: int) -> list[tuple[Any, ...]]:
        return self._select(
            f"SELECT rowid, {READ} FROM {self.events_table_name} WHERE rowid>? ORDER BY rowid LIMIT ?", after, limit
        )

    def select_command(self, command_id: str) -> list[tuple[Any, ...]]:
        return self._select(
            f"SELECT rowid, {READ} FROM {self.events_table_name} WHERE command_id=? ORDER BY nth", command_id
        )

    def select_contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        kept: dict[Place, bytes] = {}
        for branch, versions in by_branch(places).items():
            for version, data in self._select(
                f"SELECT originator_version, data FROM {self.events_table_name} e JOIN contents c "
                "ON c.position=e.rowid WHERE originator_id=? AND originator_version BETWEEN ? AND ?",
                *(branch, min(versions), max(versions)),
            ):
                if (place := versions.get(version)) is not None:
                    kept[place] = data
        return kept

    def select_at(self, positions: Sequence[int]) -> list[tuple[Any, ...]]:
        marks = ",".join("?" * len(positions))
        return self._select(f"SELECT rowid, {READ} FROM {self.events_table_name} WHERE rowid IN ({marks})", *positions)

    def _rows(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        return self._select(in_sqlite(statement, self.events_table_name), *params)

    def _change(self, *statements: Statement) -> None:
        with self.datastore.transaction(commit=True) as c:
            for statement, params in statements:
                c.execute(in_sqlite(statement, self.events_table_name), tuple(params))

    def migrate(self) -> str:
        """Bring the tables up to date in one transaction, and return the version that they were of.

        Raises:
            StoreError: there are none, or they cannot be brought up to date; it says why.
        """
        with self.datastore.transaction(commit=True) as c:
            check_migration(tables := self._made(c))
            before, table = tables.version, self.events_table_name
            if before == "1":  # whose column of times would make text of numbers
                c.execute(f"ALTER TABLE {table} RENAME TO events_before")
            for statement in self.construct_create_table_statements():
                c.execute(statement)
            if before == "1":
                c.execute(f"INSERT INTO {table} (rowid, {WRITTEN}) SELECT rowid, {WRITTEN} FROM events_before")
                c.execute("DROP TABLE events_before")
            for rebuild, _ in REBUILD:
                c.execute(in_sqlite(rebuild, self.events_table_name))
            c.execute("UPDATE meta SET value=? WHERE name='schema'", (str(SCHEMA),))
        return str(before)

    def close(self) -> None:
        with self._opening:
            if self._writer is not None:
                self._writer.close()
        self.datastore.close()


class SQLiteProcessRecorder(SQLiteTrackingRecorder, SQLiteRecorder, ProcessRecorder):
    """A log in which a projection's own events and its place in another log are written together."""

    def _tables(self) -> set[str]:
        return super()._tables() | {"tracking"}

    def _insert_events(
        self, c: SQLiteCursor, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        positions = super()._insert_events(c, stored_events, **kwargs)
        if (tracking := kwargs.get("tracking")) is not None:
            self._insert_tracking(c, tracking)
        return positions


class Factory(library.SQLiteFactory):
    """Makes our recorders, for `InfrastructureFactory.construct` with `PERSISTENCE_MODULE` set to this module."""

    application_recorder_class = SQLiteRecorder
    process_recorder_class = SQLiteProcessRecorder  # type: ignore[assignment]  # the library has no protocol for it

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.datastore.close()
        self.datastore = Datastore(self.datastore.pool.db_name, single_row_tracking=self.datastore.single_row_tracking)


def open_recorder(path: Path, settings: Settings) -> SQLiteRecorder:
    """Open the recorder of the file at `path`, and make what is missing in it."""
    recorder = recorder_of(path, settings)
    recorder.create_table()
    return recorder


def recorder_of(path: Path, settings: Settings) -> SQLiteRecorder:
    """Return the recorder of the file at `path`, as it is."""
    address = str(path.absolute())  # SQLite would read `file:...` as a URI, and a folder may change meanwhile
    return SQLiteRecorder(Datastore(address, settings))
