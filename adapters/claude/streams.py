"""An answer that comes in pieces: what of it is shown, waiting or awaiting."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import TracebackType
from typing import Any, Self

import anthropic

from lastresort.adapters.turns.assessor import Failure, Opinion
from lastresort.adapters.turns.replies import DROPPED, STOPPED, Outcome, Pending
from lastresort.adapters.turns.steps import Ask, BrokenOff, Consult, Steps, Wait, advance, break_off
from lastresort.domain.turn_text import BETWEEN, not_shown_from, spoken

from .answered import Answer, with_request_id
from .in_thread import InThread
from .turn import REFUSES, Interrupted


class _Shown:
    """The part of a stream that is shown: of each message, what comes before a call to end, what another model wrote
    that took over after it, and the message's close.

    A turn that waited for tools has several streams, which continue each other.
    """

    def __init__(self, pending: Pending | None) -> None:
        before = pending.messages if pending is not None else ()
        self.nothing = not any(spoken(message["content"]) for message in before if message["role"] == "assistant")
        self._between = ""
        self._muted = False
        self._hidden: set[int] = set()  # blocks, by their places in the message
        self.coming: Any = None  # the SDK's stream of the message under way
        self.begun = False  # something of that message has come

    def next_message(self) -> None:
        self._muted, self._hidden, self.begun = False, set(), False
        self._between = "" if self.nothing else BETWEEN

    def passing(self, event: Any) -> Iterator[Any]:
        """Yield what is shown of an event: the event itself or nothing, or the end of a message without its rest."""
        self.begun = self.begun or event.type == "message_start"
        if event.type == "content_block_start":
            self._muted = not_shown_from(_as_block(event.content_block), self._muted)
            self._hidden |= {event.index} if self._muted else set()
        if event.type == "message_stop" and self._hidden:
            shown = [block for n, block in enumerate(event.message.content) if n not in self._hidden]
            yield event.model_copy(update={"message": event.message.model_copy(update={"content": shown})})
        elif not self._muted or event.type in ("message_delta", "message_stop"):
            yield event

    def check(self) -> None:
        """Raise Interrupted if the message did not come whole: the SDK has no error of its own for that."""
        if not self.begun:
            raise Interrupted("the answer of the API ended before it began; ask again")
        if self.coming.current_message_snapshot.stop_reason is None:
            raise Interrupted("the answer of the API ended before the model had stopped")

    def broken_off(self, reason: str) -> BrokenOff:
        """Return what tells a turn that it breaks off here, with what has come of the message under way."""
        coming = self.coming is not None and self.begun
        return BrokenOff(reason, self.coming.current_message_snapshot if coming else None)

    def text(self, event: Any) -> str:
        """Return what people read of an event that passes."""
        if event.type != "text" or not event.text:
            return ""
        text: str = self._between + event.text
        self._between, self.nothing = "", False
        return text


def _as_block(block: Any) -> dict[str, Any]:
    return {"type": block.type, "name": getattr(block, "name", None)}


class Stream:
    """A turn whose text comes in pieces.

    Leaving the `with` block before all of it was read cancels the answer. What was shown is recorded all the same, with
    the stop reason `stopped`, or `dropped` where it broke off on its way; and then `reply` has it. It counts as no
    redirection and no warning. If nothing was shown, the user's turn waits for its answer.
    """

    def __init__(
        self,
        messages: Any,
        consult: Callable[[Consult | Wait], Opinion | Failure | None],
        steps: Steps,
        pending: Pending | None,
    ) -> None:
        self._messages = messages
        self._consult = consult
        self._steps = steps
        self._reply: Outcome | None = None
        self._events = self._read()
        self._shown = _Shown(pending)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        """Yield the text that people read, as it comes."""
        for event in self._events:
            if text := self._shown.text(event):
                yield text
        if self._shown.nothing and self._reply is not None and self._reply.text:
            yield self._reply.text  # given before, to the same turn

    def events(self) -> Iterator[Any]:
        """Yield the events of the SDK instead: thinking, citations and calls too.

        Of a message with a call to end, nothing comes from that call on but the close of the message, with its usage.
        """
        return self._events

    @property
    def reply(self) -> Outcome:
        """What came of the turn. What is left of the stream is read first."""
        for _ in self._events:
            pass
        if self._reply is None:
            raise RuntimeError("the stream was closed before it showed anything: this turn has no reply")
        return self._reply

    def close(self) -> None:
        """Close the connection, if the answer is still coming."""
        self._events.close()
        if self._reply is None:
            self._broke_off(STOPPED)
        self._steps.close()

    def _broke_off(self, reason: str) -> None:
        self._reply = break_off(self._steps, self._shown.broken_off(reason))

    def _read(self) -> Generator[Any, None, None]:
        step = advance(self._steps, None)
        while isinstance(step, Ask | Consult | Wait):
            if isinstance(step, Consult | Wait):
                step = advance(self._steps, self._consult(step))
                continue
            self._shown.next_message()
            answer: Answer | anthropic.APIStatusError
            try:
                with self._messages.stream(**step.request) as stream:
                    self._shown.coming = stream
                    for event in stream:
                        for passing in self._shown.passing(event):
                            step.lies(True)
                            yield passing
                            step.lies(False)
                    self._shown.check()
                    answer = with_request_id(stream.get_final_message(), stream.request_id)
            except Exception as error:  # however it broke off, what was shown is kept before it is raised
                if self._shown.begun or not isinstance(error, REFUSES):
                    self._broke_off(DROPPED)
                    raise
                answer = error
            self._shown.coming = None
            step = advance(self._steps, answer)
        self._reply = step


class AsyncStream:
    """`Stream`, read with `async for`; `reply` is awaited."""

    def __init__(
        self,
        messages: Any,
        consult: Callable[[Consult | Wait], Awaitable[Opinion | Failure | None]],
        steps: Steps,
        pending: Pending | None,
    ) -> None:
        self._messages = messages
        self._consult = consult
        self._turn = InThread(steps)
        self._reply: Outcome | None = None
        self._events = self._read()
        self._shown = _Shown(pending)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[str]:
        async for event in self._events:
            if text := self._shown.text(event):
                yield text
        if self._shown.nothing and self._reply is not None and self._reply.text:
            yield self._reply.text

    def events(self) -> AsyncIterator[Any]:
        """Yield the events of the SDK instead. See `Stream.events`."""
        return self._events

    async def reply(self) -> Outcome:
        """Return what came of the turn. What is left of the stream is read first."""
        async for _ in self._events:
            pass
        if self._reply is None:
            raise RuntimeError("the stream was closed before it showed anything: this turn has no reply")
        return self._reply

    async def close(self) -> None:
        """Close the connection, if the answer is still coming."""
        try:
            await self._events.aclose()
        finally:
            if self._reply is None:
                await self._broke_off(STOPPED)
            await self._turn.close()

    async def _broke_off(self, reason: str) -> None:
        self._reply = await self._turn.break_off(self._shown.broken_off(reason))

    async def _read(self) -> AsyncGenerator[Any, None]:
        step = await self._turn.advance(None)
        while isinstance(step, Ask | Consult | Wait):
            if isinstance(step, Consult | Wait):
                step = await self._turn.advance(await self._consult(step))
                continue
            self._shown.next_message()
            answer: Answer | anthropic.APIStatusError
            try:
                async with self._messages.stream(**step.request) as stream:
                    self._shown.coming = stream
                    async for event in stream:
                        for passing in self._shown.passing(event):
                            step.lies(True)
                            yield passing
                            step.lies(False)
                    self._shown.check()
                    answer = with_request_id(await stream.get_final_message(), stream.request_id)
            except Exception as error:  # however it broke off, what was shown is kept before it is raised
                if self._shown.begun or not isinstance(error, REFUSES):
                    await self._broke_off(DROPPED)
                    raise
                answer = error
            self._shown.coming = None
            step = await self._turn.advance(answer)
        self._reply = step
