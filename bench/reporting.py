"""The report of a whole log in SQLite, on one core."""

from collections.abc import Callable
from resource import RUSAGE_SELF, getrusage
from time import perf_counter, process_time

from lastresort import open_conversations
from lastresort.adapters.importers.streamed import streamed
from lastresort.adapters.upkeep.audited import without_collector
from lastresort.projections.reports.report import KEYS, report

from .diverse import diverse
from .measure import Round, Work, at_most, one_core, ratio, value
from .place import Place
from .stories import write

_READ, _ALL, _BY = "read the log, no report", "a report", "a report by model, policy, arm, month"
_GOAL = 10.0  # seconds for a million events


def work(place: Place, events: int) -> Work:
    """Measure on a log of about `events` events in which everything happens."""
    url = f"sqlite:///{place.new_file()}"
    with open_conversations(url) as ours:
        write(ours.store, diverse(events))
        recorded = ours.store.head()

    def read() -> Round:
        with one_core(), open_conversations(url) as chats, without_collector():
            return _timed(_READ, recorded, lambda: sum(1 for _ in chats.store.log()))

    def counted(name: str, by: tuple[str, ...]) -> Round:
        def run() -> int:
            with streamed(url) as log:
                return report(log.events, by=by, forks=log.forks).events

        with one_core(), without_collector():
            return _timed(name, recorded, run)

    return Work(
        "report",
        f"reports of a log of {recorded:,} events in SQLite, in seconds for a million",
        [read, lambda: counted(_ALL, ()), lambda: counted(_BY, KEYS)],
        [
            value(_READ, "s"),
            value(_ALL, "s", at_most(_GOAL)),
            value(f"{_ALL}, processor time", "s"),
            value(_BY, "s", at_most(_GOAL)),
            value(f"{_BY}, processor time", "s"),
            ratio("a report, in readings of the log", _ALL, _READ),
        ],
        lambda: [f"peak of memory of the whole bench so far: {getrusage(RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB"],
    )


def _timed(name: str, events: int, run: Callable[[], int]) -> Round:
    start, processor = perf_counter(), process_time()
    found = run()
    million = 1_000_000 / events
    assert found == events
    return {name: million * (perf_counter() - start), f"{name}, processor time": million * (process_time() - processor)}
