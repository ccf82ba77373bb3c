"""The version of the tables, and whether those of a database are all there: what is missing is named, and
never made again where that would hide a loss.
"""

from collections.abc import Callable, Set
from typing import Any, NamedTuple

from lastresort.adapters.databases.errors import StoreError

SCHEMA = 3
"""The version of the tables. A store of another version is migrated, or refused with the reason.

1 had no `branches` and no `snapshots`. In 2 the id of a command was unique in the store, and not in its tree.
"""

_FROM_THE_LOG = ("branches", "snapshots")
"""Tables that can be made again; version 1 had none."""

_LOG = "its log, the table stored_events,"
RESTORING = "restoring"
"""What stands in place of a version while a backup is being restored, and is not known to be whole."""


class Tables(NamedTuple):
    """What a database holds: which tables, of which version they say they are, what of it is ours."""

    made: Set[str]
    version: str | None
    log: bool  # there is one
    names_words: bool  # there is a log that names words, and no table that holds any


def tables_of(made: Set[str], events: str, ask: Callable[[str], Any]) -> Tables:
    """Look at the tables that were `made`, the log in `events`.

    `ask` returns the first row of a query, None if there is none. `{schema}` stands there for what comes before a
    table's name, `{events}` for the log.
    """
    row = ask("SELECT value FROM {schema}meta WHERE name = 'schema'") if "meta" in made else None
    log = events in made
    lost = log and row is not None and "contents" not in made
    named = lost and ask("SELECT 1 FROM {events} WHERE digest IS NOT NULL LIMIT 1") is not None
    return Tables(made, row and str(row[0]), log, named)


def check_schema(tables: Tables) -> None:
    """Check that the tables of a store are all there, and those that this program works with; or that there are none.

    Raises:
        StoreError: they are not; the message says what is missing.
    """
    version = tables.version
    if version is None and not tables.log:
        return
    if not tables.log:
        raise _gone(_LOG)
    if version is None and tables.made & {"meta", *_FROM_THE_LOG}:
        raise _gone("its table meta, or the version of the tables that stood in it,")
    if version is None:
        raise StoreError(
            "its tables were made by a version of this program before the first release; "
            "export the log with that version, and import it into a new store"
        )
    if version == RESTORING:
        raise StoreError("a restore into it was interrupted; restore the backup again")
    if version != str(SCHEMA):
        if version.isdecimal() and int(version) < SCHEMA:
            todo = "stop what uses it, back it up, and run `lastresort migrate URL`"
        else:
            todo = "it was written by a later version of this program; use that one"
        raise StoreError(f"its tables are of version {version}, and this program works with version {SCHEMA}: {todo}")
    _check_words(tables)
    if gone := [name for name in _FROM_THE_LOG if name not in tables.made]:
        raise StoreError(
            f"it has no table {gone[0]} any more: run `lastresort migrate URL`, which makes it from the log"
        )


def check_migration(tables: Tables) -> None:
    """Check that tables can be brought up to date: those of this version too, since what follows from the log is made
    again.

    Raises:
        StoreError: they cannot; the message says why.
    """
    version = tables.version
    if not tables.log:
        raise (StoreError("it has no tables; there is nothing to migrate") if version is None else _gone(_LOG))
    if version is None or not version.isdecimal() or not 0 < int(version) <= SCHEMA:
        check_schema(tables)
    _check_words(tables)


def _check_words(tables: Tables) -> None:
    if tables.names_words:
        raise _gone("its table contents, and with it the words of every turn,")


def _gone(what: str) -> StoreError:
    """Say what cannot be made again: to make an empty one would hide that it was lost."""
    todo = "restore the latest backup. If there is none, docs/how-to/operate.md says what else can be done"
    return StoreError(f"{what} is gone: {todo}")
