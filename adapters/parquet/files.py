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
MOST_PARTS = 256
_ROWS = 4_000
"""Rows in a group: what is in memory of a part at a time."""


class UnreadableParquet(ValueError):
    """Files are not what `write_parquet` writes; the message says which, and what is wrong."""


def part_of(conversation: str, parts: int = PARTS) -> str:
    """Return the name of the part that a conversation is in: of 16, the first hexadecimal digit of the hash of its id.

    Of another number it is that share of the range of hashes which this one is in, from 0, in hexadecimal digits.
    """
    share = int.from_bytes(sha256(conversation.encode()).digest()[:4]) * parts >> 32
    return f"{share:0{len(f'{parts - 1:x}')}x}"


def write_parquet(log: Iterable[RecordedEvent], folder: Path, parts: int = PARTS) -> int:
    """Write a log into a folder that is not there yet, or is empty; return how many events that are.

    Args:
        log: the events, in the order in which they are to be read again.
        folder: where to.
        parts: how many files at most, 1 to `MOST_PARTS`.

    Raises:
        FileExistsError: there is something in the folder.
        OSError: it cannot be written.
    """
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder}: is not empty")
    trees: dict[str, str] = {}
    written: dict[str, _Part] = {}
    place = 0
    try:
        for place, recorded in enumerate(log, 1):
            event = recorded.event
            if recorded.branch not in trees:
                trees[recorded.branch] = event.conversation if isinstance(event, BranchOpened) else recorded.branch
            tree = trees[recorded.branch]
            name = part_of(tree, parts)
            if name not in written:
                written[name] = _Part(folder / f"{PARTITION}={name}")
            written[name].take(row_of(place, recorded, tree, datetime.fromisoformat(recorded.recorded_at)))
    finally:
        for part in written.values():
            part.close()
    return place


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
    yield from (recorded for _, recorded in merge(*map(_events_in, files), key=lambda placed: placed[0]))


def _events_in(path: Path) -> Iterator[tuple[int, RecordedEvent]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS):
                for row in batch.to_pylist():
                    yield row.get("place", row["position"]), event_of(row)  # earlier versions wrote no place
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        said = str(error) if type(error) is ValueError else "is no Parquet file that an export wrote"
        raise UnreadableParquet(f"{path}: {said}") from None
