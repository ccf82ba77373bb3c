"""Import: a log in a file that is audited and written, or only audited, by a process of its own, with its memory."""

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .logs import write_log
from .measure import Line, Round, Work, at_least, at_most, value
from .place import Place

_PROCESS = """
import json, resource, sys, time
from contextlib import nullcontext
from pathlib import Path
from lastresort import open_conversations
from lastresort.adapters.importers.log_file import audit_file, import_log
from lastresort.adapters.upkeep.audited import without_collector

file, url = Path(sys.argv[1]), sys.argv[2]
store = open_conversations(url).store if url else None
wall, cpu = time.perf_counter(), time.process_time()
with without_collector():
    report = audit_file(file) if store is None else import_log(file, nullcontext(store))
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
assert not report.findings, report.findings[:3]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"events": report.events, "wall": wall, "cpu": cpu, "mebibytes": peak / 1024}))
"""
"""What each contender runs: opening the store is not counted, all else is, and the memory is that of the process."""

GOALS = {"import into SQLite": 50_000, "import into PostgreSQL": 30_000, "audit of a file": None}


def work(place: Place, lines: int) -> Work:
    """Measure with a log of at least so many lines, in which hundreds of conversations go on at a time."""
    file = place.new_file().with_name("log.jsonl")
    written = write_log(file, lines)
    urls: dict[str, Callable[[], str]] = {"import into SQLite": lambda: f"sqlite:///{place.new_file()}"}
    if place.new_database is not None:
        urls["import into PostgreSQL"] = place.new_database
    urls["audit of a file"] = str
    return Work(
        "import",
        f"a log of {written:,} lines, {file.stat().st_size / 2**20:,.0f} MiB",
        [_contender(name, file, url, written) for name, url in urls.items()],
        [line for name in urls for line in _lines(name)],
    )


def _lines(name: str) -> list[Line]:
    bound = GOALS[name]
    return [
        value(name, "events/s", None if bound is None else at_least(bound)),
        value(f"{name}, processor time", "µs/event"),
        value(f"{name}, peak of memory", "MiB", at_most(500)),
    ]


def _contender(name: str, file: Path, url: Callable[[], str], events: int) -> Callable[[], Round]:
    def contender() -> Round:
        done = subprocess.run(
            [sys.executable, "-c", _PROCESS, str(file), url()],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env={"LASTRESORT_MASTER_KEY": b64encode(os.urandom(32)).decode(), **os.environ},
        )
        told: dict[str, Any] = json.loads(done.stdout)
        assert told["events"] == events, f"{name}: {told['events']:,} of {events:,} events"
        return {
            name: events / told["wall"],
            f"{name}, processor time": told["cpu"] / events * 1e6,
            f"{name}, peak of memory": told["mebibytes"],
        }

    return contender
