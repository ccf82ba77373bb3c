"""The rows of a folder as entries again: a part tree by tree, or the whole log in its order."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lastresort.adapters.parquet import UnreadableParquet
from lastresort.domain.events import RecordedEvent, Unreadable
from lastresort.projections import fork_points
from lastresort.projections.replay import Turn

from .plan import check_whole, parts_of
from .rows import Database, EntryReader, Placed, table

PLANNING = 512
SORTING = 100
"""Megabytes that DuckDB takes at most, to look at the whole log and to sort a part."""
_EVENTS_AT_ONCE = 10_000
"""Events whose trees are looked at together, at least: to begin takes as long as some hundred of them."""
_SORTED_AT_ONCE = 400_000
"""Rows of a part that are sorted at a time, about: of a larger part, some of its trees after the others. DuckDB puts on
disk what it sorts, but not all that it needs for that."""
_BEGINNINGS = "kind = 'BranchOpened' OR place IN (SELECT min(place) FROM {rows} GROUP BY branch)"
_BRANCHED = "conversation IN (SELECT conversation FROM {rows} WHERE kind = 'BranchOpened')"


def by_tree(database: Database, files: Sequence[Path], rows: str, tree: str) -> Iterator[tuple[Any, Placed]]:
    """Yield the entries of a part tree by tree, each with what says which tree it is of.

    Args:
        database: reads them.
        files: that they are in.
        rows, tree: SQL of them, and of what says which tree a row is of.
    """
    reader = EntryReader()
    slices = max(1, -(-rows_in(files) // _SORTED_AT_ONCE))
    for number in range(slices):
        some = rows if slices == 1 else f"(SELECT * FROM {rows} WHERE hash({tree}) % {slices} = {number})"
        yield from reader.entries(database, some, tree, f"{tree}, place")


def rows_in(files: Sequence[Path]) -> int:
    """Return how many rows files have."""
    return sum(pq.read_metadata(file).num_rows for file in files)


def in_batches(entries: Iterable[tuple[Any, Placed]], least: int = _EVENTS_AT_ONCE) -> Iterator[Iterator[Placed]]:
    """Yield entries of whole groups, at least so many at a time, but for the last. Take all of one before the next."""
    coming = iter(entries)
    following = next(coming, None)

    def batch() -> Iterator[Placed]:
        nonlocal following
        count, group = 0, None
        while following is not None and (count < least or following[0] == group):
            group, placed = following
            yield placed
            count += 1
            following = next(coming, None)

    while following is not None:
        yield batch()


def conversations_in(
    database: Database, folder: Path, files: Sequence[Path]
) -> Iterator[Iterable[tuple[int, RecordedEvent]]]:
    """Yield the events of a part of which all conversations are apart, some conversations at a time, with their places.

    Those of an item are in the order of the log. A long conversation is by itself, and not held.

    Raises:
        UnreadableParquet: something is no event.
    """
    held: list[tuple[int, RecordedEvent]] = []
    for _, placed in groupby(by_tree(database, files, table(files), "conversation"), itemgetter(0)):
        events = _events(folder, (one for _, one in placed))
        first = list(islice(events, _EVENTS_AT_ONCE))
        if len(first) == _EVENTS_AT_ONCE:
            yield chain(first, events)
            continue
        held += first
        if len(held) >= _EVENTS_AT_ONCE:
            yield sorted(held, key=itemgetter(0))
            held = []
    yield sorted(held, key=itemgetter(0))


def forks_of(database: Database, files: Sequence[Path]) -> frozenset[Turn]:
    """Return the turns at which branches of a part open, as `fork_points` does."""
    rows = table(files)
    condition = f"{_BRANCHED} AND ({_BEGINNINGS})".format(rows=rows)
    return fork_points(entry for _, (_, entry) in _ordered(database, files, condition))


def events_in(folder: Path) -> Generator[RecordedEvent, None, None]:
    """Yield the events of a folder that an export wrote, in the order of the log.

    Raises:
        UnreadableParquet: it is none, is not whole, or holds something that is no event.
    """
    with Database(PLANNING) as database:
        entries = _ordered(database, _checked(database, folder), "true")
        for _, event in _events(folder, (placed for _, placed in entries)):
            yield event


def forks_in(folder: Path) -> frozenset[Turn]:
    """Return the turns at which branches of the log open, as `fork_points` does, and raise what `events_in` does."""
    with Database(PLANNING) as database:
        files = _checked(database, folder)
        condition = _BEGINNINGS.format(rows=table(files))
        return fork_points(entry for _, (_, entry) in _ordered(database, files, condition))


def _checked(database: Database, folder: Path) -> list[Path]:
    files = [file for part in parts_of(folder) for file in part.files]
    check_whole(database, folder, files)
    return files


def _ordered(database: Database, files: Sequence[Path], condition: str) -> Iterator[tuple[object, Placed]]:
    chosen = f"(SELECT * FROM {table(files)} WHERE {condition})"
    return EntryReader().entries(database, chosen, "NULL", "place")


def _events(folder: Path, entries: Iterable[Placed]) -> Iterator[tuple[int, RecordedEvent]]:
    for place, entry in entries:
        if isinstance(entry, Unreadable):
            raise UnreadableParquet(f"{folder}: at place {place}: {entry.why}")
        yield place, entry
