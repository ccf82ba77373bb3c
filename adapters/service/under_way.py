"""Answers under way in this process, event by event: who comes back with `Last-Event-ID` gets what they missed, and
then the rest. An answer does not stop because nobody reads it; someone has to stop it.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

KEPT = 300.0
"""For how many seconds an answer that is over can be read again, event by event."""
MOST_KEPT = 2_000
PING = 10.0


class Said(NamedTuple):
    """An event of an answer."""

    name: str
    data: dict[str, Any]


class Running:
    """An answer under way, or over."""

    def __init__(self) -> None:
        self.events: list[Said] = []
        self.over_at: float | None = None
        self.task: asyncio.Task[None] | None = None
        self._more = asyncio.Event()

    def say(self, name: str, data: dict[str, Any]) -> None:
        """Add an event, for all who read."""
        self.events.append(Said(name, data))
        self._wake()

    def end(self) -> None:
        """Note that no more events come."""
        self.over_at = time.monotonic()
        self._wake()

    def _wake(self) -> None:
        more, self._more = self._more, asyncio.Event()
        more.set()

    async def read(self, after: int = 0) -> AsyncIterator[tuple[int, Said | None]]:
        """Yield the events after the one of a number, from 1, as they come; None now and then, if none does."""
        while True:
            while after < len(self.events):
                after += 1
                yield after, self.events[after - 1]
            if self.over_at is not None:
                return
            more = self._more
            if after < len(self.events):
                continue
            try:
                await asyncio.wait_for(more.wait(), PING)
            except TimeoutError:
                yield after, None

    async def last(self) -> Said:
        """Return the last event, once it has come."""
        async for _ in self.read(len(self.events)):
            pass
        return self.events[-1]


class UnderWay:
    """The answers of this process. It belongs to one event loop."""

    def __init__(self) -> None:
        self._by_place: OrderedDict[tuple[str, str, int], Running] = OrderedDict()
        self.running: set[Running] = set()

    def begin(self, work: Callable[[Running], Any]) -> Running:
        """Begin an answer: `work` is awaited with it."""
        running = Running()
        self.running.add(running)

        async def carried_out() -> None:
            try:
                await work(running)
            finally:
                running.end()
                self.running.discard(running)

        running.task = asyncio.create_task(carried_out())
        return running

    def place(self, tenant: str, branch: str, turn: int, running: Running) -> None:
        """Note which turn an answer is to."""
        self._by_place[tenant, branch, turn] = running
        self._by_place.move_to_end((tenant, branch, turn))
        now = time.monotonic()
        for key, one in list(self._by_place.items()):
            if len(self._by_place) > MOST_KEPT or (one.over_at is not None and now - one.over_at > KEPT):
                if one.over_at is not None:
                    del self._by_place[key]
            else:
                break

    def find(self, tenant: str, branch: str, turn: int) -> Running | None:
        """Return the answer to a turn, if it is under way here, or was a moment ago."""
        return self._by_place.get((tenant, branch, turn))

    def on(self, tenant: str, branch: str) -> list[Running]:
        """Return the answers that are under way on a branch."""
        found = [one for place, one in self._by_place.items() if place[:2] == (tenant, branch)]
        return [one for one in found if one.over_at is None]

    async def drained(self, timeout: float) -> int:
        """Wait until no answer is under way; break off those that are after `timeout`, and return how many."""
        tasks = [one.task for one in self.running if one.task is not None]
        if not tasks:
            return 0
        _, left = await asyncio.wait(tasks, timeout=timeout)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5)
        return len(left)
