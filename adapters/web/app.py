"""The app: the native API from the table of routes, the gateway beside it, and what stands before both: which host, how
large a request, whose key, how much of it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from lastresort.application.ports import Locked, StoreError

from . import acts, admin, answering, problems, reads
from .admin import Jobs
from .answering import Models
from .keys import TooMuch, presented
from .problems import KINDS, Problem
from .routes import ENDPOINTS, Endpoint, may_call
from .tenants import House
from .under_way import UnderWay

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES, MOST_GATEWAY_BYTES = 2**20, 32 * 2**20
MOST_HEADERS, MOST_DEPTH = 32 * 2**10, 64
_ROOMS = (acts, admin, answering, reads)  # whose routes are in the table
_ALWAYS = ("malformed", "unauthenticated", "not-allowed", "not-found", "too-large", "invalid", "too-many", "store")
_OF_ACTS = ("overtaken", "contended", "command-id-reused")
_OF_ANSWERS = ("upstream", "stopping")


def make_app(
    house: House, gateway: ASGI | None = None, *, on_close: Callable[[], Awaitable[None]] | None = None
) -> ASGI:
    """Return the app of a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await app.state.under_way.drained(house.config.server.graceful)
        if on_close is not None:
            await on_close()

    app = FastAPI(
        title="lastresort", version=version("lastresort"), openapi_url="/api/v1/openapi.json", docs_url=None,
        redoc_url=None, lifespan=lifespan, description="Conversations under the law of last resort.",
        redirect_slashes=False,
    )  # fmt: skip
    app.state.house, app.state.jobs, app.state.models = house, Jobs(), Models(house)
    app.state.under_way, app.state.stopping = UnderWay(), asyncio.Event()
    problems.install(app)
    for one in ENDPOINTS:
        _add(app, one)
    app.add_api_route("/healthz", _healthy, include_in_schema=False)
    app.add_api_route("/readyz", _ready(house, app), include_in_schema=False)
    return Door(app, house, gateway)


def _add(app: FastAPI, one: Endpoint) -> None:
    kinds = (*_ALWAYS, *(_OF_ACTS if one.method == "POST" else ()), *(_OF_ANSWERS if one.streams else ()))
    by_status: dict[int, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(KINDS[kind][0], []).append(KINDS[kind][1])
    described = {
        status: {"description": "; or: ".join(titles), "content": {"application/problem+json": {"schema": _PROBLEM}}}
        for status, titles in by_status.items()
    }
    if one.streams:
        described[one.status] = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
    app.add_api_route(
        one.path, one.run, methods=[one.method], response_model=one.returns, responses=described,  # type: ignore[arg-type]
        status_code=one.status, dependencies=[Depends(may_call(one.scopes))], name=one.run.__name__,
        operation_id=one.run.__name__, openapi_extra={"security": [{"key": []}], "x-scopes": list(one.scopes)},
        summary=one.run.__name__.replace("_", " "),
    )  # fmt: skip


_PROBLEM = Problem.model_json_schema()


async def _healthy() -> dict[str, str]:
    return {"status": "ok"}


def _ready(house: House, app: FastAPI) -> Callable[[], Awaitable[JSONResponse]]:
    async def ready() -> JSONResponse:
        if app.state.stopping.is_set():
            return JSONResponse({"status": "stopping"}, 503)
        try:
            for tenant in house.tenants.values():
                await run_in_threadpool(tenant.conversations.store.head)
        except (StoreError, Locked):
            return JSONResponse({"status": "store"}, 503)
        return JSONResponse({"status": "ok"})

    return ready


class Door:
    """What stands before the app. Pure ASGI, so that nothing hides from a handler that its client has gone."""

    def __init__(self, app: FastAPI, house: House, gateway: ASGI | None) -> None:
        self.app, self._house, self._gateway = app, house, gateway
        self._hosts = {host.lower() for host in house.config.server.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        path: str = scope["path"]
        refused = self._refused(scope, headers)
        if refused is None and self._gateway is not None and path.startswith("/v1/"):
            await self._gateway(scope, receive, send)
            return
        if refused is None and path.startswith("/api/"):
            refused, receive = await self._entered(scope, headers, receive)
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refused(self, scope: Scope, headers: dict[bytes, bytes]) -> JSONResponse | None:
        """Refuse what nobody needs to read: another host, headers without end, a length that is no length."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
            return problems.answer("too-large", "the headers")
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts and host.rpartition(":")[0 if ":" in host else 2] not in self._hosts:
            return problems.answer("malformed", "host: this service is not asked under that name")
        if b"transfer-encoding" in headers and b"content-length" in headers:
            return problems.answer("malformed", "transfer-encoding and content-length are not sent together")
        length = headers.get(b"content-length", b"0")
        most = MOST_BYTES if not scope["path"].startswith("/v1") else MOST_GATEWAY_BYTES
        if not length.isdigit() or int(length) > most:
            return problems.answer("too-large" if length.isdigit() else "malformed", "content-length")
        return None

    async def _entered(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive
    ) -> tuple[JSONResponse | None, Receive]:
        """Find who calls, and read what they send: all of it, since it is small."""
        if scope["path"] == "/api/v1/openapi.json":
            return None, receive
        caller = await run_in_threadpool(self._house.caller, presented(headers))
        if caller is None:
            return problems.answer("unauthenticated", headers={"www-authenticate": "Bearer"}), receive
        scope.setdefault("state", {})["caller"] = caller
        try:
            self._house.meter.request(caller.key)
        except TooMuch as error:
            return problems.answer("too-many", str(error), {"retry-after": str(error.retry_after)}), receive
        body = await _body(receive, MOST_BYTES)
        if body is None:
            return problems.answer("too-large", f"a body has at most {MOST_BYTES:,} bytes"), receive
        if body and (wrong := _unreadable(body)):
            return problems.answer("malformed", wrong), receive
        return None, _again(body, receive)


async def _body(receive: Receive, most: int) -> bytes | None:
    """Return what is sent, None if it is too much, and nothing more if the client has gone."""
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > most:
            return None
        if not message.get("more_body"):
            break
    return b"".join(pieces)


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _unreadable(body: bytes) -> str | None:
    """Return why a body is not JSON that this service reads, None if it is."""
    if deeper_than(body, MOST_DEPTH):
        return f"the body: it is nested deeper than {MOST_DEPTH}"
    try:
        json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return "the body is not JSON"
    return None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def deeper_than(body: bytes, most: int) -> bool:
    """Whether JSON is nested deeper than that; without reading it, so that reading cannot fail for it."""
    depth, in_text, escaped = 0, False, False
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    for byte in body:
        if in_text:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_text = False
        elif byte == 0x22:
            in_text = True
        elif byte in b"[{":
            depth += 1
            if depth > most:
                return True
        elif byte in b"]}":
            depth -= 1
    return False
