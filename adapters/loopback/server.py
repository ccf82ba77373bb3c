"""The server: HTTP on 127.0.0.1, in a thread of its own, until the block of `with loopback(...)` is left."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import count
from threading import Lock, Thread
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lastresort.adapters.messages_api import wire
from lastresort.adapters.messages_api.wire import Block

from .answers import Answer, Fault, FaultKind, Request, Script, Scripted, text
from .checks import Invalid, check, check_messages, check_tools
from .ledger import Conversation, Ledger, Place, Report, estimate
from .shapes import misshapen

_ON_PLATFORMS = (
    "/projects/{project}/locations/{region}/publishers/anthropic/models/{model}:{call}",  # Vertex
    "/model/{model}/invoke",  # Bedrock, which streams in a form of its own
)
"""Where platforms serve the same, with the model in the path, and what is a header here in the body."""

_MOST_BYTES = 32 * 1024 * 1024
_PATIENCE = 5  # seconds for what is under way to end, once the server is told to stop


class _DropConnection(Exception):
    """Raised to have the server close a connection in the middle of a response."""


class _Status(Exception):
    """An error to answer with."""

    def __init__(self, status: int, message: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


class _Server(uvicorn.Server):
    """Stops when it is told to: uvicorn looks for that ten times a second, and then waits a tenth more. A test that has
    a server of its own would spend most of its time so.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.closing = asyncio.Event()

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        until = asyncio.get_running_loop().time() + _PATIENCE
        while (state.connections or state.tasks) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.001)
        for task in state.tasks:
            task.cancel()


class Loopback:
    """A Messages API on this machine; what it was asked, what it cost, and what was wrong, as it goes on."""

    def __init__(self, script: Script, *, enforce: bool = False, port: int = 0) -> None:
        self.ledger = Ledger(enforce=enforce)
        self.refused: list[str] = []
        """Why requests were refused, but for those that the script refused."""
        self._script = _as_function(script)
        self._enforce = enforce
        self._ids = count(1)
        self._socket = socket.create_server(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer waits 40 ms for an ACK
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._app(), log_config=None, log_level="critical", access_log=False, lifespan="off", ws="none"
        )
        self._server = _Server(config)
        self._closing: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- figures ------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> int:
        """How many messages were asked for, those that a fault answered included; refused requests are not."""
        return self.ledger.calls

    @property
    def tokens(self) -> int:
        """What all of them cost, in and out: bytes of UTF-8 by four."""
        return sum(one.input_tokens + one.output_tokens for one in self.ledger.conversations)

    @property
    def conversations(self) -> list[Conversation]:
        """What each conversation has cost, in the order in which they began."""
        return self.ledger.conversations

    @property
    def reports(self) -> list[Report]:
        """The promises that were not kept."""
        return self.ledger.reports

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The bodies of the last thousand requests that passed the checks."""
        return list(self.ledger.requests)

    # --- serving ------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serve in this thread until `close`, or until the process is told to end."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._closing, self._loop = self._server.closing, asyncio.get_running_loop()
        await self._server.serve(sockets=[self._socket])

    def close(self) -> None:
        """Close every connection, and stop serving."""
        self._server.should_exit = True
        if self._loop is not None and self._closing is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closing.set)

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/messages", self._messages, methods=["POST"]),
                *(Route(path, self._messages, methods=["POST"]) for path in _ON_PLATFORMS),
                Route("/v1/messages/count_tokens", self._count_tokens, methods=["POST"]),
            ],
            exception_handlers={_Status: self._failed, HTTPException: self._failed, Invalid: self._failed},
        )

    async def _failed(self, _: HttpRequest, error: Exception) -> Response:
        status, message, retry_after = 400, str(error), None
        if isinstance(error, _Status):
            status, message, retry_after = error.status, error.message or "", error.retry_after
        elif isinstance(error, HTTPException):
            status, message = error.status_code, error.detail
        else:
            self.refused.append(str(error))
        id = self._request_id()
        headers = {"request-id": id} | ({"retry-after": f"{retry_after:g}"} if retry_after is not None else {})
        return JSONResponse(wire.error(status, message or None, id), status, headers)

    def _request_id(self) -> str:
        return f"req_loopback{next(self._ids):012}"

    async def _count_tokens(self, http: HttpRequest) -> Response:
        body = await _body(http, counting=True)
        check_tools(body)
        check_messages(body, self.ledger)
        tokens = estimate([body.get("tools"), body.get("system")]) + sum(map(estimate, body["messages"]))
        return JSONResponse({"input_tokens": tokens}, headers={"request-id": self._request_id()})

    async def _messages(self, http: HttpRequest) -> Response:
        body = await _body(http, beta=_asks_for_beta(http))
        check(body, self.ledger)
        place = self.ledger.enter(body)
        if place.reports and self._enforce:
            raise Invalid("loopback: " + "; ".join(report.detail for report in place.reports))
        request = Request(body, http.headers, place.seed, place.conversation)
        scripted = self._scripted(request)
        if isinstance(scripted, Fault) and scripted.kind is FaultKind.STATUS:
            raise _Status(scripted.status, scripted.message, scripted.retry_after)
        fault = scripted if isinstance(scripted, Fault) else None
        answer = fault.answer if fault else scripted
        assert isinstance(answer, Answer)
        whole = self._whole(body, place, answer)
        return _Sent(self._request_id(), whole, answer, bool(body.get("stream")), fault, self._closing)

    def _scripted(self, request: Request) -> Answer | Fault:
        try:
            scripted = self._script(request)
        except Exception as error:  # a mistake in a test, to be seen there and not as an outage to be waited for
            self.ledger.note("script", f"{type(error).__name__}: {error}", request.conversation)
            raise Invalid(f"loopback: the script failed: {type(error).__name__}: {error}") from error
        return Answer([text(scripted)]) if isinstance(scripted, str) else scripted

    def _whole(self, body: dict[str, Any], place: Place, answer: Answer) -> dict[str, Any]:
        content = [self._finished(block, place.seed, n) for n, block in enumerate(answer.content)]
        if answer.half_a_call is not None:
            content[-1] = {**content[-1], "input": answer.half_a_call[1]}
        tokens = self.ledger.leave(body, place, content, answer)
        usage: dict[str, Any] = {
            "input_tokens": place.input_tokens - place.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": place.cached_tokens,
            "output_tokens": tokens,
            "service_tier": "standard",
        }
        if answer.iterations is not None:
            usage["iterations"] = answer.iterations
        return wire.message(
            f"msg_{_id(place.seed)}", answer.model or body["model"], content, usage, stop_reason=answer.stop_reason,
            stop_sequence=answer.stop_sequence, stop_details=answer.stop_details, container=answer.container,
            applied_edits=answer.applied_edits,
        )  # fmt: skip

    def _finished(self, block: Block, seed: str, n: int) -> Block:
        if block["type"] == "tool_use":
            return {"type": "tool_use", "id": f"toolu_{_id(f'{seed}.{n}')}", "caller": {"type": "direct"}, **block}
        return self.ledger.sign(block) if block["type"] in ("thinking", "redacted_thinking") else block


class _Sent(Response):
    """A message on its way, and what goes wrong with it."""

    def __init__(
        self, id: str, whole: dict[str, Any], answer: Answer, stream: bool, fault: Fault | None,
        closing: asyncio.Event | None,
    ) -> None:  # fmt: skip
        self._named = [(b"request-id", id.encode())]
        self._id, self._whole = id, whole
        self._written = answer.half_a_call[0] if answer.half_a_call else None
        self._stream, self._fault, self._closing = stream, fault, closing
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._stream:
            await self._send_whole(scope, receive, send)
            return
        headers = [
            *self._named,
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for piece in self._pieces(receive):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # lets the server notice a client that is gone, instead of writing on
        await send({"type": "http.response.body", "body": b""})

    async def _pieces(self, receive: Receive) -> AsyncIterator[bytes]:
        """Yield what is sent of the stream, up to where it breaks off."""
        fault, left = self._fault, self._fault.bytes if self._fault else 0
        for n, event in enumerate(wire.events(self._whole, self._written)):
            line = wire.line(event)
            if fault is not None and n >= fault.events and left < len(line):
                yield line[:left]
                break
            if n >= (fault.events if fault else 0):
                left -= len(line)
            yield line
        if fault is None:
            return
        if fault.kind is FaultKind.MALFORMED:
            yield b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "del\n\n'
        elif fault.kind is FaultKind.ERROR_EVENT:
            yield wire.line(wire.error(fault.status, fault.message, self._id))
        elif fault.kind is not FaultKind.END:
            await self._break(receive)

    async def _send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault, headers = self._fault, {"request-id": self._id}
        if fault is None:
            body = wire.as_json(self._whole)
            await Response(body, headers=headers, media_type="application/json")(scope, receive, send)
            return
        if fault.kind not in (FaultKind.HANG, FaultKind.DROP):
            status = fault.status if fault.kind is FaultKind.ERROR_EVENT else 500
            await JSONResponse(wire.error(status, fault.message, self._id), status, headers)(scope, receive, send)
            return
        body = wire.as_json(self._whole)
        start = [*self._named, (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        if fault.bytes:
            await send({"type": "http.response.body", "body": body[: fault.bytes], "more_body": True})
        await self._break(receive)

    async def _break(self, receive: Receive) -> None:
        assert self._fault is not None
        if self._fault.kind is FaultKind.HANG:
            assert self._closing is not None
            waiting = [asyncio.ensure_future(self._closing.wait()), asyncio.ensure_future(_gone(receive))]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in waiting:
                one.cancel()
        raise _DropConnection


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _asks_for_beta(http: HttpRequest) -> bool:
    return http.query_params.get("beta") == "true" or "anthropic-beta" in http.headers


async def _body(http: HttpRequest, *, counting: bool = False, beta: bool = False) -> dict[str, Any]:
    """Return the body of a request, once its headers and its shape are right."""
    model = http.path_params.get("model")
    if not {"x-api-key", "api-key", "authorization"} & set(http.headers):
        raise _Status(401)
    if model is None and "anthropic-version" not in http.headers:
        raise Invalid("anthropic-version: header is required")
    raw = await http.body()
    if len(raw) > _MOST_BYTES:
        raise _Status(413, f"Request exceeds the maximum size of {_MOST_BYTES:,} bytes")
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise Invalid(f"The request body is not valid JSON: {error}") from None
    if model is not None and isinstance(body, dict):
        if body.pop("anthropic_version", None) is None:
            raise Invalid("anthropic_version: Field required")
        beta = bool(body.pop("anthropic_beta", None)) or beta
        body["model"] = model
    if wrong := misshapen(body, counting=counting, beta=beta):
        raise Invalid(wrong)
    assert isinstance(body, dict)
    return body


def _id(seed: str) -> str:
    return "01" + sha256(seed.encode()).hexdigest()[:22]


def _as_function(script: Script) -> Callable[[Request], Scripted]:
    if callable(script):
        return script
    if isinstance(script, str):
        raise TypeError("a script is a function, or answers in order; one answer for all is `lambda request: answer`")
    return _AnswersInOrder(script)


class _AnswersInOrder:
    """Answers in order; to be asked for more of them is a mistake of the test."""

    def __init__(self, answers: Iterable[Scripted]) -> None:
        self._answers, self._given, self._lock = iter(answers), 0, Lock()

    def __call__(self, _: Request) -> Scripted:
        with self._lock:
            try:
                answer = next(self._answers)
            except StopIteration:
                raise LookupError(f"the script has {self._given} answers, and one more was asked for") from None
            self._given += 1
            return answer


@contextmanager
def loopback(script: Script, *, enforce: bool = False, port: int = 0) -> Iterator[Loopback]:
    """Serve a Messages API on 127.0.0.1 that answers from a script, until the block is left.

    `enforce` makes it refuse, with a 400, requests that do not keep the promises; otherwise they stand in `reports`. A
    port of 0 is a free one. OSError if the port is taken.
    """
    api = Loopback(script, enforce=enforce, port=port)
    thread = Thread(target=api.serve, name="loopback", daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.close()
        thread.join()
