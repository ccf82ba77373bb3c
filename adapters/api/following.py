"""Following the log over HTTP: committed events as server-sent events, with one thread a tenant for all its readers.

A thread waits for what is next committed, and tells all who follow; so a hundred of them keep nobody from being served.
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from lastresort.adapters.messages_api import sse
from lastresort.adapters.native_api import shapes
from lastresort.adapters.service.tenants import Caller, Tenant
from lastresort.application.ports import Locked, StoreError

from .given import event_of
from .reads import After
from .routes import By, Here, endpoint
from .streamed import Streamed

_AT_ONCE, _WAIT, _PING = 500, 1.0, 10.0


class _Waiting:
    """Waits for what is next committed in a store, while anybody follows it."""

    def __init__(self, tenant: Tenant) -> None:
        self._store = tenant.conversations.store
        self.more = asyncio.Event()
        self.followers = 0
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        after = 0
        while self.followers:
            try:
                head = await run_in_threadpool(self._store.head)
                if head == after and not await run_in_threadpool(self._store.wait, after, _WAIT):
                    continue
                after = max(head, after)
            except (StoreError, Locked):
                await asyncio.sleep(_WAIT)
                continue
            more, self.more = self.more, asyncio.Event()
            more.set()


class Followers:
    """Who follows the logs of the tenants. It belongs to one event loop."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self.stopping = stopping
        self._by_tenant: dict[str, _Waiting] = {}

    async def follow(self, caller: Caller, after: int, limit: int | None) -> AsyncIterator[bytes]:
        """Yield the events of a log after a position, and those that are committed later, as they are sent."""
        name, store, left = caller.tenant.name, caller.tenant.conversations.store, limit
        waiting = self._by_tenant.setdefault(name, _Waiting(caller.tenant))
        waiting.followers += 1
        if waiting.task is None or waiting.task.done():
            waiting.task = asyncio.create_task(waiting.run())
        try:
            yield sse.comment("the log")
            while not self.stopping.is_set() and left != 0:
                more = waiting.more
                most = _AT_ONCE if left is None else min(left, _AT_ONCE)
                some = await run_in_threadpool(
                    lambda begin, n: list(islice(store.log(after=begin, limit=n), n)), after, most
                )
                for one in some:
                    after = one.position
                    yield sse.event("event", event_of(one).model_dump(mode="json"), id=str(after))
                left = None if left is None else left - len(some)
                if not some and not await self._told(more):
                    yield sse.comment("still here")
        finally:
            waiting.followers -= 1
            if not waiting.followers:
                self._by_tenant.pop(name, None)

    async def _told(self, more: asyncio.Event) -> bool:
        """Wait until there is more, the service stops, or it is time to say that somebody is still here."""
        waits = [asyncio.ensure_future(more.wait()), asyncio.ensure_future(self.stopping.wait())]
        try:
            await asyncio.wait(waits, timeout=_PING, return_when=asyncio.FIRST_COMPLETED)
            return more.is_set()
        finally:
            for one in waits:
                one.cancel()


@endpoint("GET", "/log/stream", "audit", returns=shapes.EventOut, streams=True, whole=True)
async def follow(
    request: Request,
    caller: By,
    house: Here,
    after: After = 0,
    limit: Annotated[int | None, Query(ge=1, le=10_000)] = None,
) -> StreamingResponse:
    """Stream the events of the log after a position, and go on with those that are committed later.

    `Last-Event-ID`, which browsers send when they come back, takes the place of `after`.
    """
    last = request.headers.get("last-event-id", "")
    begin = int(last) if last.isascii() and last.isdigit() and len(last) < 16 else after
    followers: Followers = request.app.state.followers
    return Streamed(followers.follow(caller, begin, limit), house.meter, caller.key)
