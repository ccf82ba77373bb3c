"""The app: the native API from the table of routes, the gateway beside it, and what stands before both: which host, how
large a request, whose key, how much of it.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import cookie_parser

from lastresort.adapters.service import problems
from lastresort.adapters.service.jobs import Jobs
from lastresort.adapters.service.keys import TooMuch, presented
from lastresort.adapters.service.people import COOKIE
from lastresort.adapters.service.problems import KINDS, Failed, Problem
from lastresort.adapters.service.tenants import Caller, House
from lastresort.adapters.service.under_way import UnderWay
from lastresort.application.ports import Locked, StoreError

from . import acts, admin, answering, audits, following, reads, sign_in, turns_to_judge
from .answering import Models
from .following import Followers
from .routes import ENDPOINTS, Endpoint, may_call

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BYTES, MOST_GATEWAY_BYTES = 2**20, 32 * 2**20
MOST_HEADERS, MOST_DEPTH = 32 * 2**10, 64
_ROOMS = (acts, admin, answering, audits, following, reads, turns_to_judge)  # whose routes are in the table
_ALWAYS = ("malformed", "unauthenticated", "not-allowed", "not-found", "too-large", "invalid", "too-many", "store")
_OF_ACTS = ("overtaken", "contended", "command-id-reused")
_OF_ANSWERS = ("upstream", "stopping")


def make_app(
    house: House, gateway: ASGI | None = None, *, on_close: Callable[[], Awaitable[None]] | None = None
) -> "Door":
    """Return the app of a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await app.state.under_way.drained(house.config.server.graceful)
        app.state.jobs.close()
        if on_close is not None:
            await on_close()

    app = FastAPI(
        title="lastresort", version=version("lastresort"), openapi_url="/api/v1/openapi.json", docs_url=None,
        redoc_url=None, lifespan=lifespan, description="Conversations under the law of last resort.",
        redirect_slashes=False,
    )  # fmt: skip
    app.state.house, app.state.jobs, app.state.models = house, Jobs(house.now), Models(house)
    app.state.under_way, app.state.stopping = UnderWay(), asyncio.Event()
    app.state.followers = Followers(app.state.stopping)
    problems.install(app)
    sign_in.install(app, house)
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
    described: dict[int | str, dict[str, Any]] = {
        status: {"description": "; or: ".join(titles), "content": {"application/problem+json": {"schema": _PROBLEM}}}
        for status, titles in by_status.items()
    }
    if one.streams:
        described[one.status] = {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
    app.add_api_route(
        one.path, one.run, methods=[one.method], response_model=one.returns, responses=described,
        status_code=one.status, dependencies=[Depends(may_call(one.scopes, one.whole))], name=one.run.__name__,
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
        began, answered = time.monotonic(), _Answered(send, not scope["path"].startswith("/v1/"))
        metrics = self._house.metrics
        metrics.begun()
        try:
            await self._serve(scope, receive, answered)
        finally:
            metrics.answered(_route_of(scope), answered.status, time.monotonic() - began)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        if refused is None and self._gateway is not None and scope["path"].startswith("/v1/"):
            await self._gateway(scope, receive, send)
            return
        if refused is None:
            try:
                receive = await self._entered(scope, headers, receive)
            except (Failed, TooMuch, StoreError, Locked) as error:
                refused = problems.answered(error)
            except _Gone:
                return
        await (self.app if refused is None else refused)(scope, receive, send)

    def _refused(self, scope: Scope, headers: dict[bytes, bytes]) -> JSONResponse | None:
        """Refuse what nobody needs to read: another host, headers without end, a length that is no length."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
            return problems.answer("too-large", "the headers")
        names = [name.lower() for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in _ONCE):
            return problems.answer("malformed", "a header is there twice that is sent once")
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts and _without_port(host) not in self._hosts:
            return problems.answer("malformed", "host: this service is not asked under that name")
        if b"transfer-encoding" in headers and b"content-length" in headers:
            return problems.answer("malformed", "transfer-encoding and content-length are not sent together")
        if b"%00" in scope.get("query_string", b""):
            return problems.answer("malformed", "the address: a byte of nothing is in it, which no database holds")
        length = headers.get(b"content-length", b"0")
        most = MOST_GATEWAY_BYTES if scope["path"].startswith("/v1/") else MOST_BYTES
        if not length.isdigit() or len(length) > _DIGITS or int(length) > most:
            return problems.answer("too-large" if length.isdigit() else "malformed", "content-length")
        return None

    async def _entered(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Find who calls, and read what they send: all of it, since it is small.

        Raises:
            Failed, TooMuch: it is not carried out.
            StoreError, Locked: nobody can be looked up now.
        """
        caller = await self._caller(scope, headers)
        needed = scope["path"].startswith("/api/") and scope["path"] != "/api/v1/openapi.json"
        if caller is None and needed:
            raise Failed("unauthenticated", headers={"www-authenticate": "Bearer"})
        scope.setdefault("state", {})["caller"] = caller
        if caller is not None:
            self._house.meter.request(caller.key)
        body = await _body(receive, MOST_BYTES)
        if body is None:
            raise Failed("too-large", f"a body has at most {MOST_BYTES:,} bytes")
        if needed and body and (wrong := await run_in_threadpool(_unreadable, body)):
            raise Failed("malformed", wrong)
        return _again(body, receive)

    async def _caller(self, scope: Scope, headers: dict[bytes, bytes]) -> Caller | None:
        if key := presented(headers):
            return await run_in_threadpool(self._house.caller, key)
        token = cookie_parser(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
        caller = None if token is None else await run_in_threadpool(self._house.signed_in, token)
        if caller is not None and not scope["path"].startswith("/auth/"):
            sign_in.check_page(headers, scope["method"])
        return caller


_ONCE = (b"host", b"content-length", b"transfer-encoding", b"authorization", b"x-api-key", b"lastresort-key", b"cookie")
_DIGITS = 18


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _route_of(scope: Scope) -> str:
    """Return the route that was asked for, as the table has it: what stands in an address, anybody may have chosen."""
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    return next((name for name in ("/v1/messages/count_tokens", "/v1/messages") if scope["path"] == name), "other")


# Not `no-referrer`: with that Chromium sends `Origin: null` with a form, and nobody could sign in by a link.
_OF_OURS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin")]


_NOT_KEPT = [(b"cache-control", b"no-store")]  # a cache before the service knows neither our keys nor our cookies


class _Answered:
    """Sends on, and notes the status. What is not the gateway's is taken for nothing but what it says it is."""

    def __init__(self, send: Send, plain: bool) -> None:
        self._send, self._plain = send, plain
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._plain:
                headers = list(message.get("headers", ()))
                kept = [] if any(name.lower() == b"cache-control" for name, _ in headers) else _NOT_KEPT
                message["headers"] = [*headers, *_OF_OURS, *kept]
        await self._send(message)


class _Gone(Exception):
    """A client has gone that had begun to send."""


async def _body(receive: Receive, most: int) -> bytes | None:
    """Return what is sent, None if it is too much.

    Raises:
        _Gone: the client has gone before it had sent all.
    """
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
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
