"""A log in Parquet, read from its beginning in its order, without holding it in memory."""

from collections.abc import Iterator
from pathlib import Path

from lastresort.adapters.parquet import UnreadableParquet
from lastresort.domain.events import RecordedEvent, Unreadable
from lastresort.projections import fork_points
from lastresort.projections.replay import Turn

from .plan import check_whole, parts_of
from .rows import Database, EntryReader, Placed, table

_MEGABYTES = 512
_BEGINNINGS = "kind = 'BranchOpened' OR place IN (SELECT min(place) FROM {rows} GROUP BY branch)"


def events_in(folder: Path) -> Iterator[RecordedEvent]:
    """Yield the events of a folder that an export wrote, in the order of the log.

    Raises:
        UnreadableParquet: it is none, is not whole, or holds something that is no event.
    """
    with Database(_MEGABYTES) as database:
        for _, (place, entry) in _entries(database, folder, "true"):
            if isinstance(entry, Unreadable):
                raise UnreadableParquet(f"{folder}: at place {place}: {entry.why}")
            yield entry


def forks_in(folder: Path) -> frozenset[Turn]:
    """Return the turns at which branches of the log open, as `fork_points` does, and raise what `events_in` does."""
    with Database(_MEGABYTES) as database:
        return fork_points(entry for _, (_, entry) in _entries(database, folder, _BEGINNINGS))


def _entries(database: Database, folder: Path, condition: str) -> Iterator[tuple[object, Placed]]:
    files = [file for part in parts_of(folder) for file in part.files]
    check_whole(database, folder, files)
    rows = table(files)
    chosen = f"(SELECT * FROM {rows} WHERE {condition.format(rows=rows)})"
    return EntryReader().entries(database, chosen, "NULL", "place")
