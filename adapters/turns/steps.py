"""What a turn asks of its driver, and how it is gone on with."""

from collections.abc import Generator
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.to_thread

from lastresort.adapters.assessors.claude import Case, Opinion

from .replies import Outcome


class Ask(NamedTuple):
    """Send this request. The answer is the message that comes back."""

    request: dict[str, Any]


class Consult(NamedTuple):
    """Let the assessor judge this. The answer is its opinion, None if it has none yet, or a `Failure`."""

    case: Case


class Failure(NamedTuple):
    """The assessor could not judge."""

    error: Exception


Steps = Generator[Ask | Consult, Any, Outcome]
"""A turn: yields what to do, takes what came of it, and returns how it went."""

Found = TypeVar("Found")
Consultation = Generator[Consult, Opinion | Failure | None, Found]
"""A part of one that may ask the assessor, and what it returns."""


def advance(steps: Steps, value: Any) -> Ask | Consult | Outcome:
    """Go on with a turn; return what it asks for next, or what came of it."""
    try:
        return steps.send(value)
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome


class InThread:
    """A turn whose steps run in a worker thread, since stores block.

    anyio keeps its own cancellation from a step that runs, but not asyncio's. So whoever is cancelled waits until the
    step has ended, and has recorded all that it was to record; and a lock keeps a turn from being closed while it runs.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._lock = Lock()

    async def advance(self, value: Any) -> Ask | Consult | Outcome:
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

    def _advance(self, value: Any) -> Ask | Consult | Outcome:
        with self._lock:
            return advance(self._steps, value)

    def _close(self) -> None:
        with self._lock:
            self._steps.close()
