"""Where the tables of views are: in the database of a log, or in memory if the log is."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from eventsourcing.sqlite import SQLiteDatastore

from lastresort.adapters.databases.errors import reached

from .follower import Mark
from .tables import SQLiteTables, Tables, mark_in, mark_statement

_NUMBERS = count(1)


def in_memory(statements: Sequence[str]) -> SQLiteTables:
    """Return tables that are gone with the process: SQLite's, in memory."""
    name = f"file:lastresort-{next(_NUMBERS)}?mode=memory&cache=shared"
    return SQLiteTables(SQLiteDatastore(name, originator_id_type="text"), statements)


def beside(recorder: Any, statements: Sequence[str]) -> Tables:
    """Return the tables of views in the database of a log, or in memory if the log is."""
    datastore = getattr(recorder, "datastore", None)
    if datastore is None:
        return in_memory(statements)
    if isinstance(datastore, SQLiteDatastore):
        return SQLiteTables(datastore, statements)
    from .postgres_tables import PostgresTables

    return PostgresTables(datastore, statements)


OF_CONVERSATIONS = ("gateway_links", "gateway_aliases", "gateway_parked")
"""Tables of which each row is of one conversation. Its rows go when its words are erased, by any door."""


def forget_beside(recorder: Any, conversations: Sequence[str]) -> None:
    """Drop what a gateway keeps of conversations in the database of their log, if there is one.

    Raises:
        StoreError: the database cannot be read or written now.
    """
    if getattr(recorder, "datastore", None) is not None and is_made(recorder, OF_CONVERSATIONS[0]):
        forget_in(beside(recorder, ()), conversations)


def forget_in(tables: Tables, conversations: Sequence[str]) -> None:
    """Drop what a gateway keeps of conversations."""
    with tables.transaction("gateway") as writing:
        for table in OF_CONVERSATIONS:
            writing.write(f"DELETE FROM {{schema}}{table} WHERE conversation = %s", [(one,) for one in conversations])


def is_made(recorder: Any, table: str) -> bool:
    """Whether the database of a log has a table.

    Raises:
        StoreError: the database cannot be read now.
    """
    made, params = "SELECT 1 FROM sqlite_master WHERE name = ?", (table,)
    if not isinstance(recorder.datastore, SQLiteDatastore):
        made, params = "SELECT to_regclass(%s)::oid", (f"{recorder.datastore.schema}.{table}",)
    with reached(), recorder.datastore.transaction(commit=False) as cursor:
        cursor.execute(made, params)
        row = cursor.fetchone()
    return row is not None and next(iter(dict(row).values())) is not None


def tally(recorder: Any, table: str, column: str) -> tuple[int, Any] | None:
    """Return how many rows a table of a view has, and the least value of a column; None if it is not made.

    Raises:
        StoreError: the database cannot be read now.
    """
    made: Any = "SELECT 1 FROM sqlite_master WHERE name = ?"
    params: tuple[str, ...] = (table,)
    asked: Any = f"SELECT count(*) AS number, min({column}) AS least FROM {table}"
    if not isinstance(recorder.datastore, SQLiteDatastore):
        from .postgres_tables import tally_in

        made, params, asked = tally_in(recorder.datastore.schema, table, column)
    with reached(), recorder.datastore.transaction(commit=False) as cursor:
        cursor.execute(made, params)
        if cursor.fetchone() is None:
            return None
        cursor.execute(asked)
        row = cursor.fetchone()
        return row["number"], row["least"]


def came_to(recorder: Any, name: str) -> Mark | None:
    """Return how far a view has come in the database of a log; None if it has not begun. Writes nothing.

    Raises:
        StoreError: the database cannot be read now.
    """
    made: str = "SELECT 1 FROM sqlite_master WHERE name='followers'"
    params: tuple[str, ...] = ()
    mark: Any = mark_statement("tracking").replace("{schema}", "").replace("%s", "?")
    if not isinstance(recorder.datastore, SQLiteDatastore):
        from .postgres_tables import asked_in

        made, params, mark = asked_in(recorder.datastore.schema)
    with reached(), recorder.datastore.transaction(commit=False) as cursor:
        cursor.execute(made, params)
        if cursor.fetchone() is None:
            return None
        cursor.execute(mark, (name,))
        return mark_in([dict(row) for row in cursor.fetchall()])
