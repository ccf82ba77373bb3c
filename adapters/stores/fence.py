"""The fence round a store that is moved: nobody writes to its log any more, whenever they opened it.

It is a note in the store's own database, which each append looks at in its own transaction. So no process can write on
the strength of what it knew before. PostgreSQL asks nothing of an append: there the log has a constraint, which no new
row meets, however it is written.
"""

from collections.abc import Sequence
from typing import Any

from lastresort.adapters.databases.errors import StoreError

from .derived import Statement

FENCE = "SELECT value FROM {schema}meta WHERE name = 'fence'"
"""Says why nobody may write to the log, if nobody may: it begins with one of these."""

FROZEN, MOVED = "frozen", "moved"
FENCED = "it is frozen, or was moved to another store, and nothing was written: open the shards.toml again, later"
_CONSTRAINT = "lastresort_fence"


def fencing(why: str | None) -> tuple[Statement, ...]:
    """Return the statements that note a fence, or take it away."""
    gone: Statement = ("DELETE FROM {schema}meta WHERE name = 'fence'", ())
    return (gone,) if why is None else (gone, ("INSERT INTO {schema}meta VALUES ('fence', %s)", (why,)))


def constraint(fenced: bool) -> tuple[Statement, ...]:
    """Return the statements that put PostgreSQL's constraint on the log, or take it off."""
    log = "ALTER TABLE {events}"
    drop: Statement = (f"{log} DROP CONSTRAINT IF EXISTS {_CONSTRAINT}", ())
    add: Statement = (f"{log} ADD CONSTRAINT {_CONSTRAINT} CHECK ({{position}} < 0) NOT VALID", ())
    return (drop, add) if fenced else (drop,)


def check_fence(row: Sequence[Any] | None) -> None:
    """Check what `FENCE` found.

    Raises:
        StoreError: nobody may write.
    """
    if row is None:
        return
    if str(row[0]).startswith(MOVED):
        raise StoreError("it was moved to another store, and nothing was written: open the shards.toml again")
    raise StoreError("it is frozen while it is moved to another store, and nothing was written: try again later")
