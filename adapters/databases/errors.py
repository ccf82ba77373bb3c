"""What goes wrong with a database, told as a person needs it: what, where, and what to do."""

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from eventsourcing.persistence import ConnectionPoolClosedError, PersistenceError

from lastresort.application.ports import Locked, StoreClosed
from lastresort.application.ports import StoreError as StoreError


class StoreLocked(StoreError, Locked):
    """Others wrote for as long as a call may take, and nothing was written."""


def failures(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what a database raises if something goes wrong with it, and the others: `except failures()` asks once
    something has.

    psycopg, a fifth of a second to import, raises nothing that is caught here before a store on PostgreSQL has it.
    """
    raised: tuple[type[Exception], ...] = (*others, PersistenceError, ConnectionPoolClosedError, sqlite3.Error)
    if (psycopg := sys.modules.get("psycopg")) is not None:
        raised = (*raised, psycopg.Error)
    return raised


@contextmanager
def reached() -> Iterator[None]:
    """Say what the engine said if it cannot be read or written now.

    Raises:
        StoreError: in place of what the engine raised.
    """
    try:
        yield
    except failures() as error:
        raise unreached(error) from error


def unreached(error: Exception) -> StoreError:
    """Say what the engine said, and what it means where that is not obvious."""
    said = engine_message(error)
    if isinstance(error, ConnectionPoolClosedError) or "closed database" in said or "is already closed" in said:
        return StoreClosed()
    if "locked" in said or "lock timeout" in said:
        return StoreLocked(f"another program held the store's lock until the deadline: {said}; nothing was written")
    if "not a database" in said:
        return StoreError(f"this is no store: {said}; name the file of one")
    if _DAMAGED in said:
        return StoreError(f"the store is damaged: {said}{what_to_do(error)}")
    if "not authorized" in said or "is prohibited" in said:
        return StoreError(
            "a trigger or a view was planted in the store while it was open: nothing was written; stop it"
        )
    return StoreError(f"the store cannot be read or written now: {said}; try again")


def unwritten(error: Exception, unknown_after: float | None = None) -> StoreError:
    """Say what kept an append from being written; or that nobody knows if it was, after so many seconds."""
    said = engine_message(error)
    if unknown_after is not None:
        return StoreError(
            f"the store cannot be written to now: no answer within {unknown_after:g} s ({said}); it may have been "
            "written: send the command again under the same id"
        )
    found = unreached(error)
    if isinstance(found, StoreLocked):
        return found
    return StoreError(f"the store cannot be written to now: {said}; nothing was written, try again")


def not_durable(said: str) -> StoreError:
    """Say that what the log holds may yet be lost, and what kept it from being made durable."""
    return StoreError(
        f"the store cannot be relied on now: what is in the log is not known to be durable, as {said}; the command may "
        "have been written: send it again under the same id"
    )


def what_to_do(error: Exception) -> str:
    """Return what to do about a store that is damaged, to be said after the message; empty where it is not that."""
    said = engine_message(error)
    return _KEEP if _DAMAGED in said and _KEEP not in said else ""


def engine_message(error: Exception) -> str:
    """Return what an engine said, on one line and without the password of a URL that it cannot make sense of."""
    said = "; ".join(filter(None, map(str.strip, str(error).splitlines())))
    if _OF_A_URL.search(said):
        return "the URL has a parameter, or a part, that PostgreSQL's library does not know"
    return said


_DAMAGED = "malformed"  # as SQLite says it
_KEEP = "; keep a copy of it, and restore the latest backup"
_OF_A_URL = re.compile(r"\bURI\b|percent-encoded")  # libpq repeats what it stumbled over, which may be a secret
