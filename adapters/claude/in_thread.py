"""A turn whose steps run in a worker thread, for drivers that are awaited: stores block."""

from threading import Lock
from typing import Any

import anyio
import anyio.to_thread

from lastresort.adapters.turns.replies import Outcome
from lastresort.adapters.turns.steps import Ask, Consult, Steps, Wait, advance


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
        """Take the next step. If that is cancelled, the turn is over."""
        try:
            return await anyio.to_thread.run_sync(self._advance, value)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give the turn up, once its step has ended."""
        if self._lock.acquire(blocking=False):
            try:
                self._steps.close()
            finally:
                self._lock.release()
            return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._close)

    def _advance(self, value: Any) -> Ask | Consult | Wait | Outcome:
        with self._lock:
            return advance(self._steps, value)

    def _close(self) -> None:
        with self._lock:
            self._steps.close()
