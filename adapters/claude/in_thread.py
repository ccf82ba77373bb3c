"""A turn whose steps run in a worker thread, for drivers that are awaited: stores block."""

from collections.abc import Callable
from threading import Lock
from typing import Any

import anyio
import anyio.to_thread

from lastresort.adapters.turns.replies import Outcome
from lastresort.adapters.turns.steps import Ask, BrokenOff, Consult, Steps, Wait, advance, break_off


class InThread:
    """A turn whose steps run in a worker thread.

    anyio keeps its own cancellation from a running step, but not asyncio's. So a caller that is cancelled waits until
    the step has ended and has recorded all that it was to record; and a lock keeps a turn from being closed while it
    runs.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._lock = Lock()

    async def advance(self, value: Any) -> Ask | Consult | Wait | Outcome:
        """Take the next step. If that is cancelled, it is waited for; then `close` the turn, or `break_off`."""
        try:
            return await anyio.to_thread.run_sync(self._advance, value)
        except BaseException:
            await self._settled(lambda: None)
            raise

    async def break_off(self, cut: BrokenOff) -> Outcome | None:
        """Break the turn off, even if a task is cancelled meanwhile; return what it keeps, if anything was shown."""
        outcome: Outcome | None = None
        try:
            with anyio.CancelScope(shield=True):
                outcome = await anyio.to_thread.run_sync(self._break_off, cut)
        except BaseException:
            await self._settled(lambda: None)
            raise
        return outcome

    async def close(self) -> None:
        """Give the turn up, once its step has ended."""
        await self._settled(self._steps.close)

    async def _settled(self, act: Callable[[], None]) -> None:
        """Call `act` once no step is under way."""
        if self._lock.acquire(blocking=False):
            try:
                act()
            finally:
                self._lock.release()
            return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._locked, act)

    def _advance(self, value: Any) -> Ask | Consult | Wait | Outcome:
        with self._lock:
            return advance(self._steps, value)

    def _break_off(self, cut: BrokenOff) -> Outcome | None:
        with self._lock:
            return break_off(self._steps, cut)

    def _locked(self, act: Callable[[], None]) -> None:
        with self._lock:
            act()
