"""W4: the whole log replayed, on one core, with every rule asked of every event."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from time import perf_counter

from pydantic_core import from_json

from lastresort import RecordedEvent, open_conversations
from lastresort.adapters.importers.log_file import export_line
from lastresort.adapters.stores.sqlite import SQLiteStore
from lastresort.adapters.upkeep.audited import without_collector
from lastresort.application.ports import Append
from lastresort.domain.events import Unreadable
from lastresort.projections import audit
from lastresort.projections.second_log import SecondReading

from . import contenders
from .diverse import diverse
from .measure import Round, Work, at_least, one_core, ratio, value
from .place import Place
from .stories import many, mixed, write

AUDIT, READ = "replay and audit", "read the log, no rules"
EXPORT, REBUILD = "export, line by line", "lists made again from the log"


def work(place: Place, events: int, open_ones: ExitStack, everything: bool = False) -> Work:
    """Measure on a log of about `events` events, in SQLite: of a few stories, or in which `everything` happens."""
    ours = open_conversations(f"sqlite:///{place.new_file()}")
    open_ones.callback(ours.close)
    write(ours.store, diverse(events) if everything else _mixed(events))
    log = list(ours.store.log())
    plain = _plain(place, log, open_ones)
    library = contenders.library_on_sqlite(place.new_file())
    open_ones.callback(library.close)
    _fill(library, len(log))

    def audited(entries: Callable[[], Iterable[RecordedEvent | Unreadable]], read_twice: int | None = 0) -> int:
        report = audit(entries(), read_twice=read_twice)
        assert not report.findings, report.findings[:3]
        return report.events

    def second_reading() -> int:
        reading = SecondReading()
        assert not any(reading.take(recorded) for recorded in log)
        return len(log)

    def selected() -> int:
        return sum(1 for *_, state in plain.execute("SELECT * FROM log ORDER BY id") if from_json(state))

    def as_the_command_does() -> int:
        with without_collector():
            return audited(ours.store.entries)

    def rebuilt() -> int:
        assert isinstance(ours.store, SQLiteStore)
        ours.store.rebuild_lists()
        return len(log)

    works: dict[str, Callable[[], int]] = {
        AUDIT: as_the_command_does,
        "replay and audit, with the garbage collector": lambda: audited(ours.store.entries),
        "audit of a log in memory": lambda: audited(lambda: log),
        "audit of a log in memory, with its second reading": lambda: audited(lambda: log, None),
        "second reading alone, of a log in memory": second_reading,
        READ: lambda: sum(1 for _ in ours.store.log()),
        EXPORT: lambda: sum(1 for _ in map(export_line, ours.store.log())),
        REBUILD: rebuilt,
        "plain select and parse": selected,
        "eventsourcing's scan, no rules": lambda: _scanned(library),
    }
    goals = {
        AUDIT: at_least(250_000),
        EXPORT: at_least(200_000),
        REBUILD: at_least(200_000),
        "second reading alone, of a log in memory": at_least(50_000),
    }
    return Work(
        "diverse" if everything else "W4",
        f"a log of {len(log):,} events" + (", in which everything happens" if everything else ""),
        [_rate(name, run, len(log)) for name, run in works.items()],
        [
            *(value(name, "events/s", goals.get(name)) for name in works),
            ratio("replay and audit, against reading the log", AUDIT, READ, at_least(0.5)),
        ],
    )


def _mixed(events: int) -> Iterator[Append]:
    stories = mixed()
    each = sum(len(append.events) for story in stories for append in story) / len(stories)
    return many(stories, round(events / each))


def _plain(place: Place, log: Iterable[RecordedEvent], open_ones: ExitStack) -> sqlite3.Connection:
    """Write the same log as a plain table of JSON."""
    connection = sqlite3.connect(place.new_file(), isolation_level=None)
    open_ones.callback(connection.close)
    connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, branch TEXT, version INTEGER, event TEXT)")
    connection.execute("BEGIN")
    rows = ((one.position, one.branch, one.version, one.event.model_dump_json()) for one in log)
    connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", rows)
    connection.execute("COMMIT")
    return connection


def _rate(name: str, run: Callable[[], int], events: int) -> Callable[[], Round]:
    def contender() -> Round:
        with one_core():
            start = perf_counter()
            read = run()
            seconds = perf_counter() - start
        assert read == events, f"{name} read {read:,} of {events:,} events"
        return {name: events / seconds}

    return contender


def _fill(library: contenders.Library, events: int) -> None:
    """Give the library as many events of its own, in conversations of ten."""
    while events > 0:
        dialogue = contenders.Dialogue()
        for number in range(min(10, events) - 1):
            dialogue.take(contenders.ROLES[number % 2], contenders.WORDS)
        library.app.save(dialogue)
        events -= 10


def _scanned(library: contenders.Library) -> int:
    """Read every event of the library's log as the domain event that it is."""
    count, start = 0, 1
    while page := library.app.recorder.select_notifications(start, 1_000):
        for notification in page:
            library.app.mapper.to_domain_event(notification)
        count, start = count + len(page), page[-1].id + 1
    return count
