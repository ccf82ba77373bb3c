"""Where the tables of views are: in the database of a log, or in memory if the log is."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from eventsourcing.sqlite import SQLiteDatastore

from lastresort.adapters.databases.errors import reached

from .tables import SQLiteTables, Tables

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


def came_to(recorder: Any, name: str) -> int | None:
    """Return the position that a view has come to in the database of a log; None if it has not begun. Writes nothing.

    Raises:
        StoreError: the database cannot be read now.
    """
    made: str = "SELECT 1 FROM sqlite_master WHERE name='tracking'"
    params: tuple[str, ...] = ()
    position: Any = "SELECT max(notification_id) AS position FROM tracking WHERE application_name=?"
    if not isinstance(recorder.datastore, SQLiteDatastore):
        from .postgres_tables import position_in

        made, params, position = position_in(recorder.datastore.schema)
    with reached(), recorder.datastore.transaction(commit=False) as cursor:
        cursor.execute(made, params)
        if cursor.fetchone() is None:
            return None
        cursor.execute(position, (name,))
        row = cursor.fetchone()
    return None if row["position"] is None else int(row["position"])
