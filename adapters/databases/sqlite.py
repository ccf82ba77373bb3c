"""Connections to an SQLite file that delete for good, survive power loss, and obey nothing that was planted in it.

Triggers and views are code, and they travel in the file: someone who can write it could have words kept that were
erased, or dropped that were acknowledged. This program makes none, so a file that has one is refused, and what is
planted while it is open is not carried out.
"""

import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from .errors import StoreError
from .files import uri as uri_of
from .settings import LEVELS, Settings

_PAGE_BYTES = 2_048  # an append touches four pages, and each of them is written whole


_DEFAULT = Settings()


def connect(
    path: str, settings: Settings = _DEFAULT, *, uri: bool = False, named_queries: bool = False
) -> sqlite3.Connection:
    """Open a connection that deletes for good, and that survives power loss (with a WAL only `FULL` does).

    Args:
        path: of the file, or its URI.
        settings: how durable, and how long to wait.
        uri: whether `path` is a URI.
        named_queries: whether statements may read from a query by name (WITH): SQLite shows those as it shows views.

    Raises:
        StoreError: SQLite does not accept a setting, or the file holds code.
        sqlite3.Error: the file cannot be opened, or is no database.
    """
    connection = sqlite3.connect(
        path, uri=uri, isolation_level=None, check_same_thread=False, timeout=settings.deadline, cached_statements=128
    )
    try:
        _distrust(connection, named_queries)
        if settings.mode == "rw":
            _set_up(connection, settings)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def looking_into(path: Path, timeout: float = 2.0, mode: str = "rw") -> Iterator[sqlite3.Connection]:
    """Open a file as it is, and close it: to look at it or to copy it, whatever it is."""
    opened = sqlite3.connect(uri_of(path, mode), uri=True, isolation_level=None, timeout=timeout)
    with closing(opened) as connection:
        connection.execute("PRAGMA trusted_schema=OFF")
        yield connection


def code_in(connection: sqlite3.Connection) -> list[str]:
    """Return the kinds of code that a file holds, `trigger` or `view`, once for each that there is."""
    found = connection.execute("SELECT type FROM sqlite_master WHERE type NOT IN ('table', 'index') ORDER BY name")
    return [kind for (kind,) in found]


def check_has_no_code(connection: sqlite3.Connection) -> None:
    """Check that a file holds tables and indexes alone.

    Raises:
        StoreError: it has a trigger or a view. Their names are not repeated: somebody else chose them.
    """
    if code := code_in(connection):
        raise StoreError(
            f"somebody planted code in it that this program did not make ({', '.join(sorted(set(code)))}): what it did "
            "to the log or the words is not known. Keep a copy, and restore a backup from before; "
            "`SELECT type, name, sql FROM sqlite_master` shows it"
        )


def _distrust(connection: sqlite3.Connection, named_queries: bool) -> None:
    connection.execute("PRAGMA trusted_schema=OFF")
    check_has_no_code(connection)
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    connection.set_authorizer(_direct_or_read if named_queries else _direct)


def _direct(action: int, one: str | None, other: str | None, schema: str | None, source: str | None) -> int:
    """Allow what a statement of ours does itself, and nothing that a trigger or a view does in its course."""
    return sqlite3.SQLITE_OK if source is None else sqlite3.SQLITE_DENY


def _direct_or_read(action: int, one: str | None, other: str | None, schema: str | None, source: str | None) -> int:
    """Allow what `_direct` does, and reading by way of a query that has a name."""
    return sqlite3.SQLITE_OK if source is None or action in _READING else sqlite3.SQLITE_DENY


_READING = {sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION}


def _set_up(connection: sqlite3.Connection, settings: Settings) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode not in ("wal", "memory"):
        connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        mode = _turned_to_wal(connection, time.monotonic() + settings.deadline)
    connection.execute(f"PRAGMA synchronous={settings.synchronous}")
    connection.execute("PRAGMA secure_delete=ON")
    connection.execute("PRAGMA temp_store=MEMORY")
    (level,) = connection.execute("PRAGMA synchronous").fetchone()
    (erases,) = connection.execute("PRAGMA secure_delete").fetchone()
    if mode not in ("wal", "memory") or level != LEVELS[settings.synchronous] or erases != 1:
        raise StoreError(
            f"SQLite gives journal_mode={mode}, synchronous={level}, secure_delete={erases} where wal, "
            f"{settings.synchronous} and ON were asked for; is the file on a network drive?"
        )


def _turned_to_wal(connection: sqlite3.Connection, until: float) -> str:
    """Turn a database to WAL. Where several processes do so at once, SQLite has some of them fail without waiting."""
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return str(mode)


def truncate_log(connection: sqlite3.Connection, deadline: float) -> None:
    """Truncate the write-ahead log, in which what was deleted stays readable.

    Raises:
        StoreError: readers kept it from being truncated for `deadline` seconds.
    """
    until = time.monotonic() + deadline
    (usual,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout=0")  # SQLite would wait for one reader after the other
    try:
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() >= until:
                raise StoreError(
                    "what was erased is gone from the tables, but a reader keeps it in the write-ahead log; "
                    "send the command again when that reader is done"
                )
            time.sleep(0.005)
    finally:
        connection.execute(f"PRAGMA busy_timeout={usual}")
