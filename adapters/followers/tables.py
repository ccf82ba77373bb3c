"""The tables of views, in SQLite and in PostgreSQL, on the tracking recorders of `eventsourcing`.

The SQL of a view is what both engines understand, with `%s` for a parameter and `{schema}` before the name of a table.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
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
_MADE = re.compile(r"^CREATE (?:UNIQUE )?(TABLE|INDEX) IF NOT EXISTS (?:\{schema\})?(\w+)")
_ALL = "SELECT name FROM sqlite_master"
OTHER = "_2"
"""Ends the second name of an index, which it has in every other generation of its table: see `rebuild`."""
NAMES_LOG = "ALTER TABLE {schema}followers ADD COLUMN log TEXT"
"""Makes the table what it is now where it was made before marks named their log."""


def not_made(statements: Iterable[str], made: Container[str]) -> list[str]:
    """Return the statements that make what is not among the names of what is made. An index may have either name."""
    return [one for one in statements if not any(name in made for name in _names(one))]


def _names(statement: str) -> tuple[str, ...]:
    """Return the names that what a statement makes may have; none if it makes no table and no index."""
    found = _MADE.search(statement)
    if found is None:
        return ()
    return (found[2],) if found[1] == "TABLE" else (found[2], f"{found[2]}{OTHER}")


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

    def transaction(self, name: str, *others: str) -> AbstractContextManager["Transaction"]:
        """Begin a transaction of the view `name`, which excludes others of that view; commit unless the block raises.

        Args:
            name: of the view.
            others: further views of which it excludes others.

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

    def made(self) -> set[str]:
        """Return the names of all that is made where the tables are.

        Raises:
            StoreError: the database cannot be read now.
        """
        ...

    @property
    def one_writer(self) -> bool:
        """Whether a transaction that writes keeps all others waiting who write to the same database, as SQLite's."""
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

    def execute(self, statement: str, *params: Any) -> None:
        """Execute a statement once."""
        self._cursor.execute(self._written(statement), params)

    def of(self, name: str, instead: Callable[[str], str]) -> "Transaction":
        """Return this transaction as one of another view, whose statements `instead` words first."""
        return Transaction(
            name,
            self._recorder,
            self._cursor,
            self._tracking_table,
            lambda statement: self._written(instead(statement)),
        )

    def take_mark_of(self, other: str) -> None:
        """Have the view come as far as another one has, which then has not begun."""
        for table, column in (("followers", "name"), (self._tracking_table, "application_name")):
            self.execute(f"DELETE FROM {{schema}}{table} WHERE {column} = %s", self._name)
            self.execute(f"UPDATE {{schema}}{table} SET {column} = %s WHERE {column} = %s", self._name, other)

    def forget_marks(self, like: str) -> None:
        """Forget how far the views have come whose names are like this (LIKE)."""
        for table, column in (("followers", "name"), (self._tracking_table, "application_name")):
            self.execute(f"DELETE FROM {{schema}}{table} WHERE {column} LIKE %s", like)

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

    one_writer = True

    def __init__(self, datastore: SQLiteDatastore, statements: Sequence[str]) -> None:
        super().__init__(datastore)
        if self._all_made(statements):
            return  # without the lock, for which others may have one wait
        with reached(), datastore.transaction(commit=True) as cursor:  # alone: the library's own way trips over others
            cursor.execute("SELECT 1 FROM sqlite_master WHERE name='tracking'")
            if cursor.fetchone() is None:
                self._create_table(cursor)
            cursor.execute(_ALL)
            for statement in not_made((MARKS, *statements), {row["name"] for row in cursor.fetchall()}):
                cursor.execute(_in_sqlite(statement))
            cursor.execute("SELECT 1 FROM pragma_table_info('followers') WHERE name = 'log'")
            if cursor.fetchone() is None:
                cursor.execute(_in_sqlite(NAMES_LOG))

    def _all_made(self, statements: Sequence[str]) -> bool:
        """Say whether the file has all that the statements make."""
        with reached(), self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master")
            made = {row["name"]: row["sql"] for row in cursor.fetchall()}
        return not not_made((MARKS, *statements), made) and "tracking" in made and "log TEXT" in made["followers"]

    @contextmanager
    def transaction(self, name: str, *others: str) -> Iterator[Transaction]:
        with reached(), self.datastore.transaction(commit=True) as cursor:  # BEGIN IMMEDIATE: others wait here
            yield Transaction(name, self, cursor, "tracking", _in_sqlite)

    def rows(self, statement: str, *params: Any) -> list[Any]:
        with reached(), self.datastore.transaction(commit=False) as cursor:
            cursor.execute(_in_sqlite(statement), params)
            return [dict(row) for row in cursor.fetchall()]

    def mark(self, name: str) -> Mark | None:
        return mark_in(self.rows(mark_statement("tracking"), name))

    def made(self) -> set[str]:
        return {row["name"] for row in self.rows(_ALL)}


def _in_sqlite(statement: str) -> str:
    return statement.replace("{schema}", "").replace("%s", "?")
