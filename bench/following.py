"""How followers keep up: `python -m bench.following [EVENTS] [SECONDS]`, 100,000 events and 30 s if not told.

It is no contender of others, so it stands beside the bench and not in it. First the CPU time in which followers catch
up with a log that is there: the loop alone over rows and over events, the list of holds, and the directory. Then, with
a writer in another process that records 1,000 events a second, how long after it was recorded the directory has one;
and the same while a third process rebuilds the directory, again and again.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles
from typing import Any

from lastresort import RecordedEvent, open_conversations
from lastresort.adapters.followers.directory import ConversationDirectory
from lastresort.adapters.followers.follower import Events, Follower, Mark
from lastresort.adapters.followers.rebuild import rebuild
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.transparency.sequencer import Rows

from .stories import Overheard, many, mixed, write

RATE = 1_000  # events a second, in appends of ten, as a store of many chats has them


def main(events: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'log.db'}"
        with open_conversations(url) as chats:
            write(chats.store, many(mixed(), events // 7))
            _catch_up(chats)
        _lag(url, seconds)
        _lag(url, seconds, rebuilding=True)


class Nothing:
    """A view that holds nothing but its mark, in memory: what the loop costs by itself."""

    name, made_again = "nothing", False

    def __init__(self) -> None:
        self._mark: Mark | None = None

    def mark(self) -> Mark | None:
        return self._mark

    def ready(self, mark: Mark | None, entries: Sequence[Any]) -> int:
        return len(entries)

    @contextmanager
    def transaction(self) -> Iterator["Nothing"]:
        yield self

    def clear(self) -> None:
        """Nothing is held."""

    def apply(self, ready: int) -> None:
        """Nothing is held."""

    def advance(self, mark: Mark) -> None:
        self._mark = mark


def _catch_up(chats: Any) -> None:
    store, ports = chats.store, chats.service.ports
    assert isinstance(store, SQLStore)
    followers = {
        "the loop, over rows": Follower(Rows(store), Nothing()).catch_up,
        "the loop, over events": Follower(Events(store), Nothing()).catch_up,
        "the list of holds": lambda: ports.holds.select(None, ("", ""), 1),
        "the directory": ports.directory.catch_up,
    }
    for name, act in followers.items():
        begun = time.process_time()
        act()
        spent = time.process_time() - begun
        print(f"{name}: {store.head() / spent:,.0f} events/s of CPU, of {store.head():,}")


class Watched:
    """A directory, and how long after they were recorded events were committed to it, in seconds."""

    def __init__(self, directory: ConversationDirectory) -> None:
        self.lags: list[float] = []
        self._taken: Sequence[RecordedEvent] = ()
        self._directory = directory
        self.name, self.made_again = directory.name, directory.made_again
        self.mark, self.ready = directory.mark, directory.ready

    @contextmanager
    def transaction(self) -> Iterator["Watched"]:
        with self._directory.transaction() as self._inner:
            self._taken = list[RecordedEvent]()
            yield self
        now = datetime.now(UTC)
        self.lags += [(now - datetime.fromisoformat(one.recorded_at)).total_seconds() for one in self._taken]

    def clear(self) -> None:
        self._inner.clear()

    def apply(self, ready: Sequence[RecordedEvent]) -> None:
        self._inner.apply(ready)
        self._taken = ready

    def advance(self, mark: Mark) -> None:
        self._inner.advance(mark)


def _lag(url: str, seconds: float, *, rebuilding: bool = False) -> None:
    spawn = get_context("spawn")
    writer = spawn.Process(target=_write, args=(url, seconds, "r" if rebuilding else "w"), daemon=True)
    with open_conversations(url) as chats:
        directory: Any = chats.service.ports.directory
        directory.catch_up()
        watched, before = Watched(directory), chats.store.head()
        writer.start()
        if rebuilding:
            spawn.Process(target=_rebuild, args=(url,), daemon=True).start()
        begun = time.process_time()
        Follower(Events(chats.store), watched).run(lambda: not writer.is_alive(), 0.25)
        writer.join()
        spent = time.process_time() - begun
        found, lags, told = chats.store.head() - before, watched.lags, quantiles(watched.lags, n=100)
        meanwhile = ", rebuilt meanwhile," * rebuilding
        print(
            f"lag of the directory{meanwhile} at {found / seconds:,.0f} events/s for {seconds:g} s: median "
            f"{told[49] * 1e3:.0f} ms, p99 {told[98] * 1e3:.0f} ms, worst {max(lags) * 1e3:.0f} ms; "
            f"{spent / seconds:.0%} of a core"
        )


def _rebuild(url: str) -> None:
    """Make the directory again, and again, until this process is ended."""
    with open_conversations(url) as chats:
        directory = chats.service.ports.directory
        assert isinstance(directory, ConversationDirectory)
        while True:
            begun = time.perf_counter()
            done = rebuild(directory, chats.service.ports.new_id)
            print(f"rebuilt of {done.events:,} events in {time.perf_counter() - begun:.1f} s", flush=True)


def _write(url: str, seconds: float, named: str) -> None:
    """Record events of conversations that go on side by side, at `RATE`."""
    with open_conversations("memory:") as told:
        told.service.ports.store = overheard = Overheard(told.store)
        for number in range(int(RATE * seconds) // 5):
            chat = told.start(model="m", conversation=f"{named}-{number}")
            chat.user_turn("Hello.")
            chat.assistant_turn("Hello.")
            chat.user_turn("Thanks.")
            chat.assistant_turn("Goodbye.")
    appends = overheard.appends
    with open_conversations(url) as chats:
        begun, taken = time.perf_counter(), list[float]()
        for first in range(0, len(appends), 10):
            due = begun + first / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            now, at = datetime.now(UTC).isoformat(timespec="microseconds"), time.perf_counter()
            chats.store.append(*(one._replace(recorded_at=now) for one in appends[first : first + 10]))
            taken.append(time.perf_counter() - at)
    print(f"an append: p99 {quantiles(taken, n=100)[98] * 1e3:.0f} ms, worst {max(taken) * 1e3:.0f} ms", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, float(sys.argv[2]) if len(sys.argv) > 2 else 30.0)
