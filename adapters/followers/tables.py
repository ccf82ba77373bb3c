"""The tables of views, in SQLite and in PostgreSQL, on the tracking recorders of `eventsourcing`.

The SQL of a view is what both engines understand, with `%s` for a parameter and `{schema}` before the name of a table.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from eventsourcing.persistence import Tracking, TrackingRecorder
from eventsourcing.sqlite import SQLiteDatastore, SQLiteTrackingRecorder

from lastresort.adapters.databases.errors import reached

from .follower import Mark

MARKS = (
    "CREATE TABLE IF NOT EXISTS {schema}followers (name TEXT PRIMARY KEY, branch TEXT NOT NULL, "
    "version BIGINT NOT NULL, command_id TEXT NOT NULL, log TEXT)"
)
_MADE = re.compile(r"^CREATE (?:UNIQUE )?(?:TABLE|INDEX) IF NOT EXISTS (?:\{schema\})?(\w+)")
NAMES_LOG = "ALTER TABLE {schema}followers ADD COLUMN log TEXT"
"""Makes the table what it is now where it was made before marks named their log."""


def mark_statement(tracking_table: str) -> str:
    """Return what asks how far a follower has come, by its name."""
    return (
        "SELECT t.notification_id AS position, f.* "
        f"FROM {{schema}}{tracking_table} t JOIN {{schema}}followers f ON f.name = t.application_name "
        "WHERE t.application_name = %s"
    )


def mark_in(rows: Sequence[Mapping[str, Any]]) -> Mark | None:
    """Return what `mark_statement` found; the mark may have no name of the log yet."""
    if not rows:
        return None
    (row,) = rows
    return Mark(row["position"], row["branch"], row["version"], row["command_id"], row.get("log") or "")


class Tables(Protocol):
    """The tables of views in one database."""

    def transaction(self, name: str) -> AbstractContextManager["Transaction"]:
        """Begin a transaction of the view `name`, which excludes others of that view; commit unless the block raises.

        Raises:
            StoreError: the database cannot be read or written now.
        """
        ...

    def rows(self, statement: str, *params: Any) -> list[Any]:
        """Return the rows of a query, each by the names of its columns.

        Raises:
            StoreError: the database cannot be read now.
        """
        ...

    def mark(self, name: str) -> Mark | None:
        """Return how far the view `name` has come, without a lock; None if it has not begun.

        Raises:
            StoreError: the database cannot be read now.
        """
        ...


class Transaction:
    """A transaction of a view. `recorder` keeps its position, by the view's name."""

    def __init__(self, name: str, recorder: TrackingRecorder, cursor: Any, tracking_table: str, written: Any) -> None:
        self._name = name
        self._recorder: Any = recorder
        self._cursor = cursor
        self._tracking_table = tracking_table
        self._written = written  # a statement, as the engine wants it

    def rows(self, statement: str, *params: Any) -> list[Any]:
        """Return the rows of a query, each by the names of its columns."""
        self._cursor.execute(self._written(statement), params)
        return list(self._cursor.fetchall())

    def write(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement once a row of parameters."""
        if rows:
            self._cursor.executemany(self._written(statement), rows)

    def clear(self, *tables: str) -> None:
        """Empty tables, and forget how far the view has come."""
        for table in tables:
            self._cursor.execute(self._written(f"DELETE FROM {{schema}}{table}"))
        self._cursor.execute(self._written("DELETE FROM {schema}followers WHERE name = %s"), (self._name,))
        forget = f"DELETE FROM {{schema}}{self._tracking_table} WHERE application_name = %s"
        self._cursor.execute(self._written(forget), (self._name,))

    def mark(self) -> Mark | None:
        """Return how far the view has come; None if it has not begun."""
        return mark_in([dict(row) for row in self.rows(mark_statement(self._tracking_table), self._name)])

    def advance(self, mark: Mark) -> None:
        """Set how far the view has come, in the tracking table of `eventsourcing`."""
        self._recorder._insert_tracking(self._cursor, Tracking(self._name, mark.position))
        self.write(
            "INSERT INTO {schema}followers VALUES (%s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET "
            "branch = excluded.branch, version = excluded.version, command_id = excluded.command_id, "
            "log = excluded.log",
            [(self._name, mark.branch, mark.version, mark.command_id, mark.log)],
        )


class SQLiteTables(SQLiteTrackingRecorder):
    """Tables of views in an SQLite file, or in memory.

    Args:
        datastore: of the file.
        statements: make the views' own tables.
    """

    def __init__(self, datastore: SQLiteDatastore, statements: Sequence[str]) -> None:
        super().__init__(datastore)
        if self._all_made(statements):
            return  # without the lock, for which others may have one wait
        with reached(), datastore.transaction(commit=True) as cursor:  # alone: the library's own way trips over others
            cursor.execute("SELECT 1 FROM sqlite_master WHERE name='tracking'")
            if cursor.fetchone() is None:
                self._create_table(cursor)
            for statement in (MARKS, *statements):
                cursor.execute(_in_sqlite(statement))
            cursor.execute("SELECT 1 FROM pragma_table_info('followers') WHERE name = 'log'")
            if cursor.fetchone() is None:
                cursor.execute(_in_sqlite(NAMES_LOG))

    def _all_made(self, statements: Sequence[str]) -> bool:
        """Say whether the file has all that the statements make."""
        named = [_MADE.search(statement) for statement in (MARKS, *statements)]
        wanted = {found[1] for found in named if found is not None} | {"tracking"}
        with reached(), self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master")
            made = {row["name"]: row["sql"] for row in cursor.fetchall()}
        return None not in named and wanted <= made.keys() and "log TEXT" in made["followers"]

    @contextmanager
    def transaction(self, name: str) -> Iterator[Transaction]:
        with reached(), self.datastore.transaction(commit=True) as cursor:  # BEGIN IMMEDIATE: others wait here
            yield Transaction(name, self, cursor, "tracking", _in_sqlite)

    def rows(self, statement: str, *params: Any) -> list[Any]:
        with reached(), self.datastore.transaction(commit=False) as cursor:
            cursor.execute(_in_sqlite(statement), params)
            return [dict(row) for row in cursor.fetchall()]

    def mark(self, name: str) -> Mark | None:
        return mark_in(self.rows(mark_statement("tracking"), name))


def _in_sqlite(statement: str) -> str:
    return statement.replace("{schema}", "").replace("%s", "?")
