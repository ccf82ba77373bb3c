"""The report of a whole log, on one core."""

from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter, process_time

from lastresort import RecordedEvent, open_conversations
from lastresort.adapters.importers.log_file import appends_of, read_log
from lastresort.adapters.importers.streamed import streamed
from lastresort.adapters.upkeep.audited import without_collector
from lastresort.projections.reports.report import report

from .logs import write_log
from .measure import Line, Round, Work, at_most, one_core, ratio, value
from .place import Place

_READ, _ALL, _BY = "read the log, no report", "a report", "a report by model, policy, arm, month"
_FILE = "a report of the exported log"
_GOAL = 10.0  # seconds for a million events


def work(place: Place, lines: int) -> Work:
    """Measure on a log of about `lines` events, every kind of them, many conversations abreast."""
    path = place.new_file().with_suffix(".jsonl")
    recorded = write_log(path, lines)
    url = f"sqlite:///{place.new_file()}"
    with open_conversations(url) as ours, without_collector():
        ours.store.import_log(appends_of(entry for _, entry in read_log(path) if isinstance(entry, RecordedEvent)))

    def read() -> Round:
        with one_core(), open_conversations(url) as chats, without_collector():
            return _timed(_READ, recorded, lambda: sum(1 for _ in chats.store.log()))

    def counted(name: str, source: str | Path, by: tuple[str, ...]) -> Round:
        def run() -> int:
            with streamed(source) as log:
                return report(log.events, by=by, forks=log.forks).events

        with one_core(), without_collector():
            return _timed(name, recorded, run)

    return Work(
        "report",
        f"reports of a log of {recorded:,} events, in SQLite and in a file, in seconds for a million",
        [
            read,
            lambda: counted(_ALL, url, ()),
            lambda: counted(_BY, url, ("model", "policy", "arm", "month")),
            lambda: counted(_FILE, path, ()),
        ],
        [
            value(_READ, "s"),
            *(line for name in (_ALL, _BY, _FILE) for line in _lines(name)),
            ratio("a report, in readings of the log", _ALL, _READ),
        ],
        lambda: [f"peak of memory of the bench so far: {getrusage(RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB"],
    )


def _lines(name: str) -> tuple[Line, ...]:
    return value(name, "s", at_most(_GOAL)), value(f"{name}, processor time", "s")


def _timed(name: str, events: int, run: Callable[[], int]) -> Round:
    start, processor = perf_counter(), process_time()
    found = run()
    million = 1_000_000 / events
    assert found == events
    return {name: million * (perf_counter() - start), f"{name}, processor time": million * (process_time() - processor)}
