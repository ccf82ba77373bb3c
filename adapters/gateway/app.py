"""The gateway as an ASGI app: `/v1/messages` under the law, and what else the API has, passed through as it is.

Pure ASGI: nothing stands between that hides from it that a client has gone. An answer is sent piece by piece, one at a
time, and a client that takes none for a minute is let go.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import aiohttp

from lastresort.adapters.messages_api import wire
from lastresort.application.outcomes import Contention
from lastresort.application.ports import Locked, StoreError

from .driving import Driver
from .matching import UNTRACKED
from .request import read
from .session import Recent, Session, open_session, to_count
from .upstream import FAILURES, Upstream, passed_back, passed_on, told_of
from .visitors import Declined, Reception, Visitor

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOST_BYTES = 32 * 2**20
STALLED = 60.0
THREADS = 32
_NAME = r"/(?!\.+(/|$))[\w.:@-]+"  # no dots alone, and nothing that an address means something by
_MODELS = re.compile(rf"/v1/models({_NAME})?", re.ASCII)
_ACCOUNT_S = re.compile(rf"/v1/(messages/batches|files|skills)({_NAME}){{0,4}}", re.ASCII)
"""What is passed through: of models, and of what the account of the upstream has, all callers' alike."""


class Gateway:
    """The gateway. It belongs to one event loop."""

    def __init__(self, upstream: Upstream, reception: Reception) -> None:
        self.upstream, self._reception = upstream, reception
        self._threads = ThreadPoolExecutor(THREADS, "gateway")
        self._recent = Recent()

    async def close(self) -> None:
        """Close what is open upstream."""
        await self.upstream.close()
        self._threads.shutdown(wait=False)

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call what touches a store, which blocks, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        out = _Out(send)
        id = f"req_lastresort{uuid4().hex[:20]}"
        try:
            await self._serve(scope, receive, out)
        except Declined as declined:
            await out.decline(declined, id)
        except (StoreError, Locked, Contention):
            await out.decline(Declined(529, "The store cannot be written now", {"retry-after": "1"}), id)
        except FAILURES as error:
            await out.decline(Declined(502, told_of(error)), id)
        except ClientGone:
            pass
        except Exception as error:  # the client is told its kind, and nothing of words
            await out.decline(Declined(500, f"Internal error: {type(error).__name__}"), id)

    async def _serve(self, scope: Scope, receive: Receive, out: "_Out") -> None:
        path, method = scope["path"], scope["method"]
        headers = {name.lower(): value for name, value in scope["headers"]}
        visitor = await self._reception(headers, path)
        body = await _body(receive)
        with visitor.stream:
            if path == "/v1/messages" and method == "POST":
                await self._messages(scope, visitor, body, receive, out)
            elif path == "/v1/messages/count_tokens" and method == "POST":
                await self._count(scope, visitor, body, receive, out)
            elif _MODELS.fullmatch(path) or (visitor.owns_account and _ACCOUNT_S.fullmatch(path)):
                await self.pass_through(scope, visitor, body, receive, out)
            else:
                raise Declined(404, "Not found")

    async def _messages(self, scope: Scope, visitor: Visitor, raw: bytes, receive: Receive, out: "_Out") -> None:
        asked = read(raw, _text(scope))
        if asked.why_untracked(visitor.track) is not None:
            await self.pass_through(scope, visitor, raw, receive, out)
            return
        session: Session = await self.in_thread(open_session, visitor, asked, self._recent)
        driver = Driver(self, session, _path(scope), self._sent_on(scope, visitor), out)
        await _while_there(receive, driver.run)

    async def _count(self, scope: Scope, visitor: Visitor, raw: bytes, receive: Receive, out: "_Out") -> None:
        """Count what would be sent: with our tools, and what the log has in place of what the client shows."""
        asked = read(raw, _text(scope))
        if asked.why_untracked(visitor.track) is None:
            raw = wire.as_json(await self.in_thread(to_count, visitor, asked))
        await self.pass_through(scope, visitor, raw, receive, out)

    def _sent_on(self, scope: Scope, visitor: Visitor) -> list[tuple[str, str]]:
        return passed_on(scope["headers"], visitor.credentials, plain=True)

    async def pass_through(self, scope: Scope, visitor: Visitor, raw: bytes, receive: Receive, out: "_Out") -> None:
        """Pass a request on as it came, and its answer back as it comes."""
        path = _path(scope)
        headers = passed_on(scope["headers"], visitor.credentials, plain=False)

        async def run() -> None:
            async with self.upstream.ask(scope["method"], path, headers, raw or None) as answer:
                await out.start(answer.status, [*_named(answer), (b"lastresort-matched", UNTRACKED.encode())])
                async for piece in answer.content.iter_any():
                    await out.body(piece)
                await out.end()

        await _while_there(receive, run)


def _path(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return str(scope["path"]) + (f"?{query}" if query else "")


def _named(answer: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    return passed_back(answer.headers.items(), whole=True)


def _text(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


class ClientGone(Exception):
    """Nobody reads any more."""


async def _body(receive: Receive) -> bytes:
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MOST_BYTES:
            raise Declined(413, f"Request exceeds the maximum size of {MOST_BYTES:,} bytes")
        if not message.get("more_body"):
            return b"".join(pieces)


async def _while_there(receive: Receive, run: Callable[[], Awaitable[None]]) -> None:
    """Run something until it is done, or cancel it as soon as the client has gone.

    Raises:
        ClientGone: it has.
    """

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(run()), asyncio.ensure_future(gone())
    try:
        await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait([working])
            raise ClientGone
        working.result()
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait([working])


class _Out:
    """What is sent to a client."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send status and headers."""
        self.started = True
        await self._sent({"type": "http.response.start", "status": status, "headers": headers})

    async def body(self, piece: bytes) -> None:
        """Send a piece of the body."""
        if piece:
            await self._sent({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        """Say that this is all."""
        await self._sent({"type": "http.response.body", "body": b""})

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send an answer whose body is at hand."""
        await self.start(status, [*headers, (b"content-length", str(len(body)).encode())])
        await self._sent({"type": "http.response.body", "body": body})

    async def _sent(self, message: MutableMapping[str, Any]) -> None:
        try:
            await asyncio.wait_for(self._send(message), STALLED)
        except (TimeoutError, OSError):
            raise ClientGone from None

    async def decline(self, declined: Declined, id: str) -> None:
        """Answer with an error in the API's form; within a stream, as an event."""
        error = wire.error(declined.status, declined.said, id)
        if declined.details:
            error["error"]["details"] = declined.details
        if self.started:
            await self.body(wire.line({**error, "type": "error"}))
            await self.end()
            return
        headers = [(name.encode(), value.encode()) for name, value in declined.headers.items()]
        named = [(b"content-type", b"application/json"), (b"request-id", id.encode())]
        await self.whole(declined.status, [*named, *headers], wire.as_json(error))
