"""The tables in an SQLite file, and the library's recorders on our connections.

stored_events   the log: a row an event, whose rowid is its position; the columns of the library, and the envelope's
contents        sealed words, by the position of the event that they belong to, so that both grow at their end
branches        which are active, ended, branched; and
snapshots       states of branches at versions: both can be made from the log again
meta            the version of these tables, and notes
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from eventsourcing.persistence import OperationalError, ProcessRecorder
from eventsourcing.persistence import StoredEvent as LibraryEvent
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
from lastresort.adapters.databases.files import check_may_write
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.sqlite import check_has_no_code, connect, looking_into

from .derived import COMMANDS, ENDINGS, INDEX, MAKE_COMMANDS, MAKE_ENDINGS, REBUILD, TABLES, in_sqlite
from .rows import WRITTEN
from .schema import SCHEMA, Tables, check_migration, check_schema, tables_of

_OURS = {"originator_id", "originator_version", "topic", "state"}  # columns that the log has had in every version
_DEFAULT = Settings()
_TABLES = (
    "CREATE TABLE IF NOT EXISTS {events} (rowid INTEGER PRIMARY KEY, originator_id TEXT NOT NULL, "
    "originator_version INTEGER NOT NULL, topic TEXT NOT NULL, state BLOB NOT NULL, digest BLOB, "
    "schema_version INTEGER, recorded_at, command_id TEXT, nth INTEGER, correlation_id TEXT, "
    "UNIQUE (originator_id, originator_version))",
    "CREATE TABLE IF NOT EXISTS contents (position INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    *(in_sqlite(statement, "") for statement in TABLES),
    MAKE_ENDINGS,
    MAKE_COMMANDS,
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
        connection = connect(self.db_name, self.settings, uri=True, named_queries=True)
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


class SQLiteRecorder(SQLiteApplicationRecorder):
    """The library's recorder on our tables."""

    datastore: Datastore

    def __init__(self, datastore: SQLiteDatastore, events_table_name: str = "stored_events") -> None:
        super().__init__(datastore, events_table_name)
        self.insert_events_statement = (
            f"INSERT INTO {self.events_table_name} (originator_id, originator_version, topic, state) VALUES (?,?,?,?)"
        )

    def construct_create_table_statements(self) -> list[str]:
        return [statement.format(events=self.events_table_name) for statement in _TABLES]

    def create_table(self) -> None:
        """Make the tables, once: someone who only looks at a store need not be able to write to it.

        Raises:
            StoreError: the tables are of another version of this program.
        """
        with self.datastore.transaction(commit=False) as c:
            missing = self._missing(c)
        if missing:
            try:
                super().create_table()
            except (OperationalError, sqlite3.OperationalError):
                if missing - {INDEX, ENDINGS, COMMANDS}:  # without which all is read as well, if more slowly
                    raise

    def _create_table(self, c: SQLiteCursor) -> None:
        if self._missing(c):  # or another process has made them meanwhile
            super()._create_table(c)

    def _missing(self, c: SQLiteCursor) -> set[str]:
        tables = self._made(c)
        check_schema(tables)
        return self._wanted() - tables.made

    def _made(self, c: SQLiteCursor) -> Tables:
        def ask(statement: str) -> Any:
            c.execute(in_sqlite(statement, self.events_table_name))
            return c.fetchone()

        c.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index')")
        return tables_of({row[0] for row in c.fetchall()}, self.events_table_name, ask)

    def _wanted(self) -> set[str]:
        return {self.events_table_name, "contents", "meta", "branches", INDEX, ENDINGS, COMMANDS, "snapshots"}

    def migrate(self) -> str:
        """Bring the tables up to date in one transaction, and return the version that they were of.

        Raises:
            StoreError: there are none, or they cannot be brought up to date; it says why.
        """
        with self.datastore.transaction(commit=True) as c:
            check_migration(tables := self._made(c))
            before, table = tables.version, self.events_table_name
            anew = before in ("1", "2")  # a column of times that would make text of numbers; ids unique in the store
            if anew:
                c.execute(f"ALTER TABLE {table} RENAME TO events_before")
                c.execute(f"DROP INDEX IF EXISTS {ENDINGS}")  # which has gone over to the table that goes
            for statement in self.construct_create_table_statements():
                c.execute(statement)
            if anew:
                c.execute(f"INSERT INTO {table} (rowid, {WRITTEN}) SELECT rowid, {WRITTEN} FROM events_before")
                c.execute("DROP TABLE events_before")
            for rebuild, _ in REBUILD:
                c.execute(in_sqlite(rebuild, self.events_table_name))
            c.execute("UPDATE meta SET value=? WHERE name='schema'", (str(SCHEMA),))
        return str(before)


class SQLiteProcessRecorder(SQLiteTrackingRecorder, SQLiteRecorder, ProcessRecorder):
    """A log in which a projection's own events and its place in another log are written together."""

    def _wanted(self) -> set[str]:
        return super()._wanted() | {"tracking"}

    def _insert_events(
        self, c: SQLiteCursor, stored_events: Sequence[LibraryEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        positions = super()._insert_events(c, stored_events, **kwargs)
        if (tracking := kwargs.get("tracking")) is not None:
            self._insert_tracking(c, tracking)
        return positions


def check_is_a_log(path: Path, settings: Settings) -> "Contents | None":
    """Look into a file, and write nothing; return what a store's holds, None if it is empty.

    Raises:
        StoreError: it is the database of something else, or this user may not write it.
    """
    if settings.mode == "rw":
        check_may_write(path)
    with looking_into(path, settings.deadline, settings.mode) as connection:
        connection.execute("BEGIN")  # all of it as it is at one moment: others may be making a store of it
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        columns = _columns(connection, "stored_events")
        if not columns and _columns(connection, "meta") == {"name", "value"}:  # a store's: its log is gone
            row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
            check_schema(
                Tables(tables, row and str(row[0]), log=False, names_words=False)
            )  # a store's: its log is gone
        if tables and not columns >= _OURS:
            raise StoreError("not a lastresort store, but the database of something else; nothing was written to it")
        check_has_no_code(connection)
        words = "contents" in tables and connection.execute("SELECT 1 FROM contents LIMIT 1").fetchone() is not None
    return Contents(words) if tables else None


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}


class Contents(NamedTuple):
    """What a store's file holds."""

    words: bool
