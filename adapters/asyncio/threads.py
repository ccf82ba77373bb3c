"""Calls that block, awaited: each runs in a worker thread, whole or not at all."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from lastresort.application.ports import StoreClosed

P = ParamSpec("P")
R = TypeVar("R")

MOST_THREADS = 2**15
"""The most that can be asked for; they are made only as calls need them."""


class Threads:
    """Worker threads for the calls of a store, apart from those of the event loop: a database that is slow holds up
    nothing else, and nothing else holds up a turn.

    Args:
        most: how many calls may be under way at once; more wait in line.

    Raises:
        ValueError: `most` is no such number.
    """

    def __init__(self, most: int) -> None:
        if type(most) is not int or not 1 <= most <= MOST_THREADS:
            raise ValueError(f"threads: a whole number from 1 to {MOST_THREADS:,} is needed")
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="lastresort")

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` in a worker thread, with the context variables of the caller.

        A call that has begun cannot be stopped. If this is cancelled before it begins, it never does; if after, the
        cancellation waits until it is done, so that what it recorded is there when the caller goes on.

        Raises:
            StoreClosed: the threads were let go.
        """
        try:
            call = self._pool.submit(copy_context().run, partial(function, *args, **kwargs))
        except RuntimeError:  # the pool was shut down, and takes no more calls
            raise StoreClosed from None
        try:
            return await asyncio.shield(asyncio.wrap_future(call))
        except asyncio.CancelledError:
            if not call.cancel():
                await _done(call)
            raise

    def shut_down(self) -> None:
        """Let the threads go, once they are done. It waits for that, and is called in none of them."""
        self._pool.shutdown()


async def _done(call: Future[R]) -> None:
    """Wait until a call is done, however often that is cancelled. What came of it is nobody's any more."""
    waiting = asyncio.wrap_future(call)
    while not waiting.done():
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            continue
    waiting.exception()
