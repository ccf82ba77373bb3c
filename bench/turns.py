"""W1: many conversations, every turn durable, sealed and idempotent; and what a turn takes on disk.

The conversations take turns, as those of a server do: first the first exchange of each, then the second of each. After
each step the next contender makes it, all stores being open at once: a disk that is shared may be ten times slower
for a second, and this way it is so for everybody.
"""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

from . import contenders, peers
from .contenders import Contender, Missing
from .measure import Line, Round, Work, at_least, at_most, ratio, value
from .place import Place

STEPS = 10  # of one exchange, which is two turns
THREADS = 32
OURS, PLAIN = "lastresort, FULL", "plain sqlite3, FULL"
SEALED = "plain sqlite3 that seals, {}"
THREADED = f"lastresort, FULL, {THREADS} threads"


def work(place: Place, conversations: int) -> Work:
    """Measure `conversations` of 20 turns of 200 characters, in new stores each round."""
    entrants = [*_on_sqlite(place), *_on_postgres(place)]
    labels = [entrant.label for entrant in entrants]
    told: dict[str, str] = {}
    if "lastresort, NORMAL" not in labels:
        told["NORMAL"] = "NORMAL was not measured: this store has no such setting"

    def run() -> Round:
        entrants.reverse()
        measured: dict[str, float] = {}
        with ExitStack() as open_ones:
            for entrant in entrants:
                entrant.begin(conversations)
                open_ones.callback(entrant.end)
            for _ in range(STEPS):
                for entrant in entrants:
                    entrant.step()
            for entrant in entrants:
                entrant.check()
                measured.update(entrant.measured())
        for entrant in entrants:
            sizes = entrant.size()
            if sizes:
                measured[f"{entrant.label}: bytes"] = sum(sizes.values())
            if entrant.label == OURS:
                told["bytes"] = _in_words(sizes)
        return measured

    goals = [
        ratio("FULL: lastresort / plain", OURS, PLAIN, at_least(0.75)),
        ratio("NORMAL: lastresort / plain", "lastresort, NORMAL", "plain sqlite3, NORMAL", at_least(0.5)),
        ratio("PostgreSQL: lastresort / plain", "lastresort, PostgreSQL", "plain, PostgreSQL", at_least(0.75)),
        ratio(f"{THREADS} threads / plain's one writer", THREADED, PLAIN, at_least(5)),
        value("bytes on disk a turn", "bytes", at_most(600), of=f"{OURS}: bytes"),
    ]
    needs = [OURS, "lastresort, NORMAL", "lastresort, PostgreSQL", THREADED, OURS]
    lines: list[Line] = [goal for goal, need in zip(goals, needs, strict=True) if need in labels]
    lines += [value(label, "turns/s") for label in labels]
    lines.append(value(f"{OURS}, starts counted", "turns/s", of=f"{OURS}: with starts"))
    lines += [
        value(f"bytes on disk a turn, {entrant.label}", "bytes", of=f"{entrant.label}: bytes")
        for entrant in entrants
        if entrant.on_disk and entrant.label != OURS
    ]
    title = f"{conversations:,} conversations x {2 * STEPS} turns of {len(contenders.WORDS)} characters"
    return Work("W1", title, [run], lines, lambda: list(told.values()))


class _Entrant:
    """A contender in W1: opened again each round, and its time taken step by step."""

    def __init__(
        self,
        label: str,
        place: Callable[[], Any],
        opened: Callable[[Any], Contender],
        *,
        threads: int = 1,
        on_disk: bool = False,
    ) -> None:
        self.label = label
        self.on_disk = on_disk
        self._place = place
        self._opened = opened
        self._threads = threads

    def begin(self, conversations: int) -> None:
        """Open a new store, and start the conversations in it: enough of them that each thread has some."""
        self._at = self._place()
        self._contender = self._opened(self._at)
        count = conversations if self._threads == 1 else max(conversations, 2 * self._threads)
        self._names = [contenders.new_name() for _ in range(count)]
        self._pool = ThreadPoolExecutor(self._threads)
        start = perf_counter()
        for name in self._names:
            self._contender.start(name)
        self._starting, self._stepping = perf_counter() - start, 0.0

    def step(self) -> None:
        """Take one exchange in each conversation."""
        shares = [self._names[number :: self._threads] for number in range(self._threads)]
        start = perf_counter()
        if self._threads == 1:
            self._exchange(self._names)
        else:
            list(self._pool.map(self._exchange, shares))
        self._stepping += perf_counter() - start

    def _exchange(self, names: Sequence[str]) -> None:
        for name in names:
            self._contender.exchange(name)

    def check(self) -> None:
        """See that the work was done."""
        for name in (self._names[0], self._names[-1]):
            words = list(self._contender.load(name))
            assert words == [contenders.WORDS] * 2 * STEPS, f"{self.label} has lost turns"

    @property
    def turns(self) -> int:
        return len(self._names) * STEPS * 2

    def measured(self) -> Round:
        return {
            self.label: self.turns / self._stepping,
            f"{self.label}: with starts": self.turns / (self._stepping + self._starting),
        }

    def end(self) -> None:
        self._pool.shutdown()
        self._contender.close()

    def size(self) -> dict[str, float]:
        """Return the bytes that a turn takes, by table and index, and forget the store. Nothing on PostgreSQL."""
        if not isinstance(self._at, Path):
            return {}
        sizes = size(self._at)
        shutil.rmtree(self._at.parent)
        return {name: count / self.turns for name, count in sizes.items()} if self.on_disk else {}


def _on_sqlite(place: Place) -> list[_Entrant]:
    new = place.new_file
    entrants = [
        _Entrant(OURS, new, contenders.ours_on_sqlite, on_disk=True),
        _Entrant(PLAIN, new, contenders.PlainSQLite, on_disk=True),
        _Entrant(SEALED.format("FULL"), new, contenders.SealedSQLite),
        _Entrant("eventsourcing, FULL", new, contenders.library_on_sqlite, on_disk=True),
        *(_Entrant(f"{peer.label}, FULL", new, peer.opened, on_disk=True) for peer in peers.on_sqlite()),
        _Entrant(THREADED, new, contenders.ours_on_sqlite, threads=THREADS),
    ]
    if _has_normal(place):
        entrants += [
            _Entrant("lastresort, NORMAL", new, lambda at: contenders.ours_on_sqlite(at, synchronous="NORMAL")),
            _Entrant("plain sqlite3, NORMAL", new, lambda at: contenders.PlainSQLite(at, "NORMAL")),
            _Entrant(SEALED.format("NORMAL"), new, lambda at: contenders.SealedSQLite(at, "NORMAL")),
        ]
    return entrants


def _on_postgres(place: Place) -> list[_Entrant]:
    new = place.new_database
    if new is None:
        return []
    return [
        _Entrant("lastresort, PostgreSQL", new, contenders.ours_on_postgres),
        _Entrant("plain, PostgreSQL", new, contenders.PlainPostgres),
        _Entrant("eventsourcing, PostgreSQL", new, contenders.library_on_postgres),
        *(_Entrant(f"{peer.label}, PostgreSQL", new, peer.opened) for peer in peers.on_postgres()),
    ]


def _has_normal(place: Place) -> bool:
    path = place.new_file()
    try:
        contenders.ours_on_sqlite(path, synchronous="NORMAL").close()
    except Missing:
        return False
    finally:
        shutil.rmtree(path.parent)
    return True


def size(path: Path) -> dict[str, int]:
    """Checkpoint the SQLite files beside `path`, and return their bytes, by table and index.

    By file, where SQLite was built without `dbstat`.
    """
    sizes: dict[str, int] = {}
    for file in sorted(path.parent.iterdir()):
        if file.name.endswith(("-wal", "-shm")) or file.read_bytes()[:6] != b"SQLite":
            continue
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        try:
            found = connection.execute("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name").fetchall()
        except sqlite3.OperationalError:
            found = []
        connection.close()
        sizes.update({f"{file.name}:{name}": count for name, count in found})
        sizes[f"{file.name}:else"] = file.stat().st_size - sum(count for _, count in found)
    beside = [file for file in path.parent.iterdir() if file.name.endswith("-wal") and file.stat().st_size]
    return sizes | {file.name: file.stat().st_size for file in beside}


def _in_words(sizes: dict[str, float]) -> str:
    ordered = sorted(sizes.items(), key=lambda item: -item[1])
    return "bytes a turn, lastresort: " + ", ".join(f"{name} {count:.0f}" for name, count in ordered if count >= 1)
