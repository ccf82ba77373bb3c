"""Logs in Parquet of any size, audited part by part: how fast on a core, how much by two processes, in how much memory.

The log is made of some thousand conversations that are told through the service, and told again under other names and
with other words: of 100, 96 are harmless, one branches, two end on request and one as a last resort.

`python -m bench.large FOLDER EVENTS` writes such a log alone.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lastresort import open_conversations
from lastresort.adapters.large_logs.rows import Database, table
from lastresort.adapters.parquet import PARTITION, PARTS, SCHEMA, write_parquet

from .contenders import MODEL
from .measure import Round, Work, at_least, at_most, ratio, value
from .place import Place
from .stories import Overheard, goes_on, many, mixed, write

_EXCHANGES = 8  # in a harmless conversation
_TOLD = 4_000  # conversations that are told before they are told again
_ONE, _TWO, _TWICE = "one process", "two processes", "one process, all read twice"
_CPU, _PEAK = "of processor time", "peak of memory"

_PROCESS = """
import json, sys, time
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from lastresort.adapters.large_logs import audit_folder
from lastresort.adapters.upkeep.audited import without_collector

def spent():
    return sum(sum(getrusage(who)[:2]) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))

folder, workers, read_twice = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
wall, cpu = time.perf_counter(), spent()
with without_collector():
    report = audit_folder(folder, workers, read_twice)
wall, cpu = time.perf_counter() - wall, spent() - cpu
assert not report.findings, report.findings[:3]
peak = getrusage(RUSAGE_CHILDREN if workers > 1 else RUSAGE_SELF).ru_maxrss
print(json.dumps({"events": report.events, "wall": wall, "cpu": cpu, "mebibytes": peak / 1024}))
"""
"""What each contender runs. The memory is that of the largest worker."""


def work(place: Place, events: int) -> Work:
    """Measure on a log of at least so many events."""
    folder = place.new_file().with_suffix(".parquet")
    recorded = write_large(folder, events)
    size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    return Work(
        "large",
        f"audits of {recorded:,} events in Parquet, {PARTS} parts, {size / recorded:.0f} bytes an event",
        [
            _audited(_ONE, folder, 1, 0, recorded),
            _audited(_TWO, folder, 2, 0, recorded),
            _audited(_TWICE, folder, 1, None, recorded),
        ],
        [
            value(_ONE, "events/s"),
            value(f"{_ONE}, {_CPU}", "events/s", at_least(250_000)),
            value(_TWO, "events/s"),
            value(f"{_TWO}, {_CPU}", "events/s"),
            value(f"{_TWICE}, {_CPU}", "events/s"),
            ratio("two processes, against one", _TWO, _ONE, at_least(1.6)),
            value(f"{_ONE}, {_PEAK}", "MiB"),
            value(f"{_TWO}, {_PEAK}", "MiB", at_most(300)),
        ],
    )


def _audited(name: str, folder: Path, workers: int, read_twice: int | None, events: int) -> Callable[[], Round]:
    def contender() -> Round:
        arguments = [str(folder), str(workers), json.dumps(read_twice)]
        done = subprocess.run([sys.executable, "-c", _PROCESS, *arguments], check=True, stdout=subprocess.PIPE)
        told: dict[str, Any] = json.loads(done.stdout)
        assert told["events"] == events, f"{name}: {told['events']:,} of {events:,} events"
        return {
            name: events / told["wall"],
            f"{name}, {_CPU}": events / told["cpu"],
            f"{name}, {_PEAK}": told["mebibytes"],
        }

    return contender


def write_large(folder: Path, events: int) -> int:
    """Write a lawful log of at least so many events into a folder, and return how many it has."""
    with TemporaryDirectory(prefix="lastresort-bench-") as told:
        base = Path(told) / "base"
        each = _tell(base)
        times = -(-events // each)
        parts = [folder / f"{PARTITION}={part:x}" / "log.parquet" for part in range(PARTS)]
        for file in parts:
            file.parent.mkdir(parents=True)
        writers = [pq.ParquetWriter(file, SCHEMA, compression="zstd") for file in parts]
        with Database(1_000) as database:
            database.sql.execute(f"CREATE TABLE base AS FROM {table([next(base.rglob('*.parquet'))])}")
            for number in range(times):
                for writer, rows in zip(writers, _again(database, number, each), strict=True):
                    writer.write_table(rows)
        for writer in writers:
            writer.close()
    return times * each


def _tell(base: Path) -> int:
    with open_conversations("memory:") as told:
        told.service.ports.store = overheard = Overheard(told.store)
        harmless = told.start(model=MODEL)
        for _ in range(_EXCHANGES):
            goes_on(harmless)
    stories = [*[overheard.appends] * 96, *mixed()[6:]]
    with open_conversations("memory:") as chats:
        write(chats.store, many(stories, _TOLD))
        return write_parquet(chats.store.log(), base, 1)


def _named(kind: str, number: int, *fields: str) -> str:
    """Return the SQL of events of a kind with other names in some fields."""
    changed = ", ".join(f"{field} := '{number}-' || {kind}.{field}" for field in fields)
    return f"CASE WHEN {kind} IS NOT NULL THEN struct_update({kind}, {changed}) END AS {kind}"


def _worded(kind: str, number: int) -> str:
    content = f"'sha256:' || sha256('{number}' || command_id || {kind}.content)"
    return f"CASE WHEN {kind} IS NOT NULL THEN struct_update({kind}, content := {content}) END AS {kind}"


def _again(database: Database, number: int, each: int) -> list[pa.Table]:
    """Return the rows of each part of the conversations, told once more."""
    replaced = [
        f"place + {number * each} AS place",
        f"position + {number * each} AS position",
        *(f"'{number}-' || {name} AS {name}" for name in ("branch", "conversation", "command_id", "correlation_id")),
        _named("ConversationStarted", number, "conversation"),
        _named("BranchOpened", number, "conversation", "parent"),
        _named("BranchedOff", number, "child"),
        _worded("UserTurnTaken", number),
        _worded("AssistantTurnTaken", number),
    ]
    told = f"SELECT * REPLACE ({', '.join(replaced)}) FROM base"
    hashed = database.sql.sql(f"SELECT *, sha256(conversation)[1] AS part FROM ({told}) ORDER BY part, place")
    rows = hashed.to_arrow_table()
    starts = [0]
    parts = rows.column("part").to_pylist()
    for part in range(PARTS):
        starts.append(starts[-1] + parts.count(f"{part:x}"))
    rows = rows.drop_columns(["part"]).cast(SCHEMA)
    return [rows.slice(start, end - start) for start, end in pairwise(starts)]


if __name__ == "__main__":
    print(f"{write_large(Path(sys.argv[1]), int(sys.argv[2])):,} events")
