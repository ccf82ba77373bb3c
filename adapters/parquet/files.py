"""A folder of Parquet files, one for each part of the conversations, by a hash of their ids; and the log in it."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from heapq import merge
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lastresort.domain.events import BranchOpened, RecordedEvent

from .columns import PARTITION, SCHEMA, event_of, row_of

PARTS = 16
_ROWS = 4_000
"""Rows in a group: what is in memory of a part at a time."""


class UnreadableParquet(ValueError):
    """Files are not what `write_parquet` writes; the message says which, and what is wrong."""


def part_of(conversation: str) -> str:
    """Return the name of the part that a conversation is in: the first hexadecimal digit of the hash of its id."""
    return sha256(conversation.encode()).hexdigest()[0]


def write_parquet(log: Iterable[RecordedEvent], folder: Path) -> int:
    """Write a log into a folder that is not there yet, or is empty; return how many events that are.

    Raises:
        FileExistsError: there is something in the folder.
        OSError: it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder}: is not empty")
    trees: dict[str, str] = {}
    parts: dict[str, _Part] = {}
    events = 0
    try:
        for recorded in log:
            event = recorded.event
            if recorded.branch not in trees:
                trees[recorded.branch] = event.conversation if isinstance(event, BranchOpened) else recorded.branch
            tree = trees[recorded.branch]
            name = part_of(tree)
            if name not in parts:
                parts[name] = _Part(folder / f"{PARTITION}={name}")
            parts[name].take(row_of(recorded, tree, datetime.fromisoformat(recorded.recorded_at)))
            events += 1
    finally:
        for part in parts.values():
            part.close()
    return events


class _Part:
    """The file of one part, written group by group."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._writer = pq.ParquetWriter(folder / "log.parquet", SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def take(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._write()

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows = []

    def close(self) -> None:
        if self._rows:
            self._write()
        self._writer.close()


def read_parquet(folder: Path) -> Iterator[RecordedEvent]:
    """Yield the events of a folder that `write_parquet` wrote, in the order of the log.

    Raises:
        UnreadableParquet: it holds something else.
    """
    files = sorted(folder.glob(f"{PARTITION}=*/*.parquet"))
    if not files:
        raise UnreadableParquet(f"{folder}: holds no {PARTITION}=*/*.parquet")
    yield from merge(*map(_events_in, files), key=lambda recorded: recorded.position)


def _events_in(path: Path) -> Iterator[RecordedEvent]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS):
                for row in batch.to_pylist():
                    yield event_of(row)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        said = str(error) if type(error) is ValueError else "is no Parquet file that an export wrote"
        raise UnreadableParquet(f"{path}: {said}") from None
