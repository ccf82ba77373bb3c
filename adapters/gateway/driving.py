"""Driving a turn: asking upstream, and sending the client what it is to see, whole or as it comes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from lastresort.adapters.messages_api import sse, wire
from lastresort.adapters.turns.assessor import Failure, Opinion, checked
from lastresort.adapters.turns.replies import DROPPED, STOPPED, Ended, Outcome, Overtaken, Reply
from lastresort.adapters.turns.steps import Ask, BrokenOff, Consult, Wait, advance, break_off

from . import answers
from .answers import Broken
from .canon import Block, Message
from .merging import Stream, Whole, as_stream, given_again, shown_of
from .session import Session
from .turn import expansions, since_results
from .upstream import FAILURES, Upstream, passed_back, told_of
from .visitors import Declined

PING = 10.0
PATIENCE = 60.0
BREAKS: tuple[type[Exception], ...] = (Broken, sse.TooLong, *FAILURES)
_PING = sse.event("ping", {"type": "ping"})


class Refusal(Exception):
    """The upstream answers with an error, which goes to the client as it is."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


class Out(Protocol):
    """What sends to a client."""

    started: bool

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None: ...
    async def body(self, piece: bytes) -> None: ...
    async def end(self) -> None: ...
    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None: ...
    async def decline(self, declined: Declined, id: str) -> None: ...


class Behind(Protocol):
    """What stands behind a driver."""

    upstream: Upstream

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any: ...


class Driver:
    """Drives one turn."""

    def __init__(self, behind: Behind, session: Session, path: str, headers: list[tuple[str, str]], out: Out) -> None:
        self._behind, self._session, self._out = behind, session, out
        self._path, self._headers = path, headers
        self._streams = session.asked.streams
        self._stream, self._whole = Stream(), Whole()
        self._back: list[tuple[bytes, bytes]] = []
        self._step: asyncio.Future[Any] | None = None
        session.turn.on_record = lambda turn: session.record_links(self._seen())

    async def run(self) -> None:
        """Carry the turn out."""
        try:
            answer: Any = None
            step = await self._advance(None)
            while isinstance(step, Ask | Consult | Wait):
                if isinstance(step, Ask):
                    answer = await self._ask(step.request)
                elif isinstance(step, Consult):
                    answer = await self._consult(step)
                else:
                    await asyncio.to_thread(step.until)  # not among the threads that who is waited for needs
                    answer = None
                step = await self._advance(answer)
            await self._answered(step)
        except asyncio.CancelledError:
            await asyncio.shield(self._break_off(STOPPED))
            raise
        except Refusal as refusal:
            await self._break_off(DROPPED)
            await self._refused(refusal)
        except BREAKS as error:
            await self._break_off(DROPPED)
            if not self._out.started:
                raise Declined(502, told_of(error)) from None
            if not self._stream.failed:
                await self._out.body(wire.line(wire.error(500, "The upstream broke off", "")))
            await self._out.end()
        finally:
            with suppress(ValueError):  # a step may be running yet, of a turn that was cancelled
                self._session.steps.close()

    async def _advance(self, value: Any) -> Ask | Consult | Wait | Outcome:
        """Take a step in a thread. One that has begun is waited for, even by who is cancelled."""
        self._step = asyncio.ensure_future(self._behind.in_thread(advance, self._session.steps, value))
        step: Ask | Consult | Wait | Outcome = await asyncio.shield(self._step)
        return step

    async def _break_off(self, reason: str) -> None:
        """Keep what the client had of an answer that breaks off."""
        if self._step is not None and not self._step.done():
            with suppress(Exception):
                await self._step
        message = self._stream.partial() if self._streams else None
        with suppress(BrokenOff, StopIteration, Exception):
            await self._behind.in_thread(break_off, self._session.steps, BrokenOff(reason, message))

    # --- asking -------------------------------------------------------------------------------------------------

    async def _ask(self, request: dict[str, Any]) -> Message:
        body = wire.as_json(request)
        async with self._behind.upstream.ask("POST", self._path, self._headers, body) as answer:
            self._back = passed_back(answer.headers.items(), whole=False)
            if answer.status != 200:
                raise Refusal(answer.status, self._back, await answer.read())
            if not self._streams:
                message = _read(await answer.read())
                self._whole.add(message)
                return message
            self._stream.next_round()
            if not self._out.started:
                await self._out.start(200, [*self._back, *self._named()])
            reader = sse.Reader()
            async for piece in self._pieces(answer.content.iter_any()):
                if piece is None:
                    await self._out.body(_PING)
                    continue
                passing = b"".join(self._stream.feed(event) for event in reader.feed(piece))
                await self._out.body(passing)
                if self._stream.failed:
                    raise Broken("the upstream sent an error")
            if not self._stream.stopped:
                raise Broken("the stream ended before the message had")
            return self._stream.take()

    async def _pieces(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
        """Yield what comes; None where nothing has for a while, though the client was promised something."""
        coming: asyncio.Future[bytes] | None = None
        try:
            while True:
                if coming is None:
                    coming = asyncio.ensure_future(anext(content))
                done, _ = await asyncio.wait([coming], timeout=PING)
                if not done:
                    yield None
                    continue
                try:
                    piece = coming.result()
                except StopAsyncIteration:
                    return
                coming = None
                yield piece
        finally:
            if coming is not None:
                coming.cancel()

    async def _consult(self, step: Consult) -> Opinion | Failure | None:
        asking = asyncio.ensure_future(self._opinion(step))
        while not (await asyncio.wait([asking], timeout=PING))[0]:
            if self._out.started:
                await self._out.body(_PING)
        return asking.result()

    async def _opinion(self, step: Consult) -> Opinion | Failure | None:
        try:
            async with asyncio.timeout(PATIENCE):
                return checked(await self._session.visitor.assessor(step.case))
        except Exception as error:  # an assessor that fails, in any way, has judged nothing
            return Failure(error)

    # --- answering ----------------------------------------------------------------------------------------------

    def _named(self) -> list[tuple[bytes, bytes]]:
        session = self._session
        named = [
            (b"lastresort-conversation", session.conversation.encode()),
            (b"lastresort-branch", session.chat.branch.encode()),
            (b"lastresort-matched", session.found.how.encode()),
        ]
        return [*named, (b"lastresort-hold", b"1")] if session.turn.guard.state.risks else named

    def _seen(self) -> list[Block]:
        if not self._streams:
            return list(self._whole.blocks)
        partial = None if self._stream.stopped else self._stream.partial()
        return [*self._stream.whole.blocks, *shown_of(partial["content"] if partial is not None else [])]

    async def _answered(self, outcome: Outcome) -> None:
        session = self._session
        if self._has_asked and (usage := outcome.usage) is not None:
            session.visitor.used(usage.input_tokens + usage.output_tokens)
        if isinstance(outcome, Ended):
            await self._ended(outcome)
            return
        if not self._has_asked:
            await self._again(outcome)
            return
        if isinstance(outcome, Reply) and outcome.pending is not None:
            await self._behind.in_thread(session.park, outcome.pending, self._seen())
        if self._streams:
            for piece in self._stream.closing(None):
                await self._out.body(piece)
            await self._out.end()
            return
        await self._send_whole(self._whole.message())

    @property
    def _has_asked(self) -> bool:
        return self._stream.begun or self._whole.first is not None

    async def _ended(self, ended: Ended) -> None:
        session = self._session
        model = session.chat.model.id
        if session.visitor.ended_as == "error" and not self._out.started:
            raise of_ending(ended)
        if self._stream.begun:
            shown = [*self._seen(), {"type": "text", "text": ended.notice}]
            await self._behind.in_thread(session.record_links, shown)
            for piece in self._stream.closing(ended):
                await self._out.body(piece)
            await self._out.end()
            return
        message = self._whole.ended(ended, model)
        if ended.handed_back is None:
            await self._behind.in_thread(session.record_links, message["content"])
        await self._send_whole(message)

    async def _again(self, outcome: Reply | Overtaken) -> None:
        """Give an answer that was recorded before, or that waits for the client's tools, to what was sent again."""
        session = self._session
        waits = outcome.pending if isinstance(outcome, Reply) else None
        if isinstance(outcome, Overtaken) or (outcome.version is None and waits is None):
            raise Declined(409, "Another request has gone on with this conversation", {"x-should-retry": "false"})
        turn = session.turn.guard.seen
        if waits is not None:
            messages: Sequence[Message] = waits.messages
        else:
            messages = (await self._behind.in_thread(expansions, session.chat, [turn])).get(turn, [])
        if session.asked.results:
            messages = since_results(messages)
        said = [one["content"] for one in messages if one["role"] == "assistant"]
        blocks = [block for content in said for block in shown_of(content, theirs=waits is not None)]
        id, model = f"msg_lastresort_{outcome.version or turn}", outcome.model or session.chat.model.id
        await self._send_whole(given_again(id, model, blocks, outcome.stop_reason))

    async def _send_whole(self, message: Message) -> None:
        if self._streams:
            if not self._out.started:
                await self._out.start(200, [(b"content-type", b"text/event-stream; charset=utf-8"), *self._named()])
            for piece in as_stream(message):
                await self._out.body(piece)
            await self._out.end()
            return
        back = [one for one in self._back if one[0] not in (b"content-type", b"content-encoding")]
        headers = [(b"content-type", b"application/json"), *back, *self._named()]
        await self._out.whole(200, headers, wire.as_json(message))

    async def _refused(self, refusal: Refusal) -> None:
        if not self._out.started:
            await self._out.whole(refusal.status, [*refusal.headers, *self._named()], refusal.body)
            return
        try:
            error = json.loads(refusal.body)
        except (ValueError, RecursionError):
            error = None
        if not isinstance(error, dict):
            error = wire.error(refusal.status, None, "")
        await self._out.body(wire.line({**error, "type": "error"}))
        await self._out.end()


def _read(raw: bytes) -> Message:
    try:
        return answers.message(answers.parsed(raw))
    except ValueError:
        raise Broken("the upstream's answer is not JSON") from None


def of_ending(ended: Ended) -> Declined:
    """Return what a client is told of an ending that wants it as an error."""
    details = {"error_code": "conversation_ended", "branch": ended.branch, "ground": str(ended.ground)}
    return Declined(400, ended.notice, {"x-should-retry": "false"}, details)
