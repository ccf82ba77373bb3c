"""Connections to an SQLite file that delete for good and survive power loss."""

import sqlite3
import time

from .errors import StoreError
from .settings import LEVELS, Settings

_PAGE_BYTES = 2_048  # an append touches four pages, and each of them is written whole


_DEFAULT = Settings()


def connect(path: str, settings: Settings = _DEFAULT, *, uri: bool = False) -> sqlite3.Connection:
    """Open a connection that deletes for good, and that survives power loss (with a WAL only `FULL` does).

    Raises:
        StoreError: SQLite does not accept a setting.
        sqlite3.Error: the file cannot be opened, or is no database.
    """
    connection = sqlite3.connect(
        path, uri=uri, isolation_level=None, check_same_thread=False, timeout=settings.deadline, cached_statements=128
    )
    try:
        _set_up(connection, settings)
    except BaseException:
        connection.close()
        raise
    return connection


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
