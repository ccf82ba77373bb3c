"""Backups of a PostgreSQL database: the rows of the log and the words in one file, those of the keys in another.

A file is text: a line that says what it is, then for each table its name, the rows in PostgreSQL's own text form (what
`COPY` writes), and a line `\\.`. It is read as that and nothing else: the names of tables and columns are this
program's, and the rows are handed to `COPY ... FROM STDIN`, which takes them for data. No program of PostgreSQL's is
run.

What can be made from the log again is not in a backup, nor are tables: those that it is restored into are of this
program.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, LiteralString

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.postgres import address_of
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.opening import open_log
from lastresort.adapters.stores.schema import RESTORING, SCHEMA
from lastresort.projections import Report, audit

_LOG: Mapping[str, tuple[str, ...]] = {
    "stored_events": (
        "notification_id", "originator_id", "originator_version", "topic", "state", "digest", "schema_version",
        "recorded_at", "command_id", "nth", "correlation_id",
    ),
    "contents": ("position", "data"),
}  # fmt: skip
_KEYS: Mapping[str, tuple[str, ...]] = {
    "lastresort_keys.keys": ("name", "key", "conversation"),
    "lastresort_keys.master": ("fingerprint",),
    "lastresort_keys.annotations": ("owner", "name", "data"),
}
_ANNOTATIONS = "lastresort_keys.annotations"  # which a store from before may not have
_ROLES = {"log": _LOG, "keys": _KEYS}
_END = b"\\.\n"
_AT_A_TIME = 2**16
_PATIENCE = 5.0  # seconds that a server may keep silent


def dump(url: str, log: Path, keys: Path) -> int:
    """Write the rows of the log as they are at one moment, then those of the keys; return how many events there are.

    Raises:
        StoreError: there is no store, or not all of one.
    """
    with psycopg.connect(**address_of(url, _PATIENCE), autocommit=True) as connection:
        for table in (*_LOG, *_KEYS):
            if table != _ANNOTATIONS and not _is_there(connection, table):
                raise StoreError(f"it has no table {table}: this is no store, or not all of one")
        events = _dumped(connection, "log", log)
        _dumped(connection, "keys", keys)
    return events


def _dumped(connection: psycopg.Connection[Any], role: str, path: Path) -> int:
    """Write the tables of a file, as they are at one moment; return how many rows the first has."""
    counts = []
    with path.open("wb") as file, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        file.write(_first_line(role))
        for table, columns in _ROLES[role].items():
            file.write(f"{table}\n".encode())
            if table == _ANNOTATIONS and not _is_there(connection, table):
                file.write(_END)
                continue
            with connection.cursor().copy(_copying("COPY {} ({}) TO STDOUT", table, columns)) as copy:
                rows = 0
                for some in copy:
                    rows += bytes(some).count(b"\n")  # within a row a line's end is written as two characters
                    file.write(some)
            counts.append(rows)
            file.write(_END)
    return counts[0]


def load(log: Path, keys: Path, url: str, settings: Settings) -> Report:
    """Load rows into a database whose tables are empty, in one transaction, and audit them; take them out on findings.

    Until the audit is done the tables say that a backup is being restored, and nobody can open them as a store.

    Raises:
        StoreError: the tables are not empty, or a file is no backup. The tables are left empty.
    """
    with psycopg.connect(**address_of(url, _PATIENCE), autocommit=True) as connection:
        _resumed(connection)
    store = open_log(url, settings)
    try:
        with psycopg.connect(**address_of(url, _PATIENCE), autocommit=True) as connection:
            for table in (*_LOG, "lastresort_keys.keys"):  # which master key it is for is noted when a store is opened
                if _asked(connection, f"SELECT EXISTS (SELECT 1 FROM {table})"):
                    raise StoreError(f"table {table} is not empty; a backup is restored into an empty place only")
            _marked(connection, RESTORING)
            report = None
            try:
                _emptied(connection)
                with connection.transaction():
                    for role, path in (("log", log), ("keys", keys)):
                        _loaded(connection, role, path)
                report = audit(store.entries())
            finally:
                if report is None or report.findings:
                    _emptied(connection)
                else:
                    store.rebuild_lists()
                _marked(connection, str(SCHEMA))
    finally:
        store.close()
    return report


def _loaded(connection: psycopg.Connection[Any], role: str, path: Path) -> None:
    """Load the tables of a file."""
    with path.open("rb") as file:
        if file.readline() != _first_line(role):
            raise StoreError(f"{path.name} is no backup of the {role} of a PostgreSQL store by this program")
        for table, columns in _ROLES[role].items():
            if file.readline() != f"{table}\n".encode():
                raise StoreError(
                    f"{path.name} is damaged: where the table {table} should begin there is something else"
                )
            with connection.cursor().copy(_copying("COPY {} ({}) FROM STDIN", table, columns)) as copy:
                for rows in _rows(file, path):
                    copy.write(rows)


def _rows(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield rows up to the line that ends a table, some at a time. No row that `COPY` writes looks like that line."""
    some: list[bytes] = []
    size = 0
    while (line := file.readline()) != _END:
        if not line.endswith(b"\n"):
            raise StoreError(f"{path.name} is damaged: it ends within a table")
        some.append(line)
        size += len(line)
        if size > _AT_A_TIME:
            yield b"".join(some)
            some, size = [], 0
    yield b"".join(some)


def _first_line(role: str) -> bytes:
    return f"lastresort backup, form 1: {role}\n".encode()


def _copying(statement: LiteralString, table: str, columns: tuple[str, ...]) -> Composed:
    return SQL(statement).format(Identifier(*table.split(".")), SQL(", ").join(map(Identifier, columns)))


def _resumed(connection: psycopg.Connection[Any]) -> None:
    """Take away what a restoring that was interrupted left."""
    if _asked(connection, "SELECT to_regclass('meta')") is None:
        return
    if _asked(connection, "SELECT value FROM meta WHERE name = 'schema'") == RESTORING:
        _emptied(connection)
        _marked(connection, str(SCHEMA))


def _emptied(connection: psycopg.Connection[Any]) -> None:
    keys = [table for table in _KEYS if table != _ANNOTATIONS or _is_there(connection, table)]
    connection.execute(f"TRUNCATE {', '.join((*_LOG, *keys, 'branches', 'snapshots'))}")


def _is_there(connection: psycopg.Connection[Any], table: str) -> bool:
    return _asked(connection, "SELECT to_regclass(%s)", table) is not None


def _marked(connection: psycopg.Connection[Any], version: str) -> None:
    connection.execute("UPDATE meta SET value = %s WHERE name = 'schema'", (version,))


def _asked(connection: psycopg.Connection[Any], statement: str, *params: Any) -> Any:
    row = connection.execute(statement, params).fetchone()
    return row[0] if row else None
