"""What an embedder holds: a Claude that answers chats under the law, and drives each turn over the SDK.

A turn's logic is in `turn`; here is what differs between waiting and awaiting, and between a whole answer and a stream.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import anthropic
import anyio
import anyio.to_thread
from anthropic.types import Message

from lastresort.adapters.assessors.claude import Assessor, AsyncAssessor, AsyncClaudeAssessor, ClaudeAssessor, Opinion
from lastresort.adapters.turns.replies import Outcome, Pending
from lastresort.adapters.turns.steps import Ask, Consult, Failure, InThread, Steps, advance
from lastresort.application.chat import Chat
from lastresort.domain.decider import Refused
from lastresort.domain.values import Actor, ActorKind
from lastresort.projections.said import BETWEEN, ENDING_CALL, spoken

from .history import Histories
from .params import check_client, check_params, check_tools
from .setup import OnChange
from .turn import REFUSES, Interrupted, Terms, go_on, resume, say
from .words import command_id, kept_user, plain

ASKS = "Please end this conversation."
CONFIRMS = "Yes, end it. I know that this is permanent."
Client = TypeVar("Client", bound=anthropic.Anthropic | anthropic.AsyncAnthropic)
Judge = TypeVar("Judge", bound=Assessor | AsyncAssessor)


class _Claude(ABC, Generic[Client, Judge]):
    """What a Claude is made of, whether it waits or awaits."""

    _awaits: ClassVar[bool]

    def __init__(
        self,
        client: Client,
        *,
        system: Any = None,
        tools: Iterable[Any] = (),
        assessor: Judge | None = None,
        patience: float = 60.0,
        rounds: int = 8,
        notes_as: Literal["user", "system"] = "user",
        remembered: int = 256,
        on_setup_change: OnChange = "refuse",
        **params: Any,
    ) -> None:
        """Say how every chat is to be answered.

        Args:
            client: the client of the SDK to ask with.
            system: the system prompt, as the API takes it. Like the tools, it cannot change within a conversation.
            tools: the embedder's tools, as the API takes them.
            assessor: gives a second opinion, if the chat's policy asks for one; a small Claude, if none is passed.
            patience: how long to wait for it, in seconds.
            rounds: how many messages of a turn the model may spend on calls before it has to answer. Results of the
                embedder's tools begin the count anew.
            notes_as: the role in which the model is sent notes, as of a hold: `user`, which every model takes, marked
                as a note; or `system`, which models take from Claude Opus 4.8 on.
            remembered: of how many branches what was said is kept in memory, in plain, to spare reading it for each
                turn.
            on_setup_change: what to do with a conversation that began with another system prompt or other tools:
                `refuse` its turns with SetupChanged, or `keep` to those that it began with.
            params: the rest of each request, as `messages.create` takes it: `max_tokens`, `thinking`, `metadata`, ...

        Raises:
            ValueError: a tool bears the name of one of ours, or a parameter is not the embedder's to pass.
            TypeError: the client is of the other kind, the installed SDK does not take a parameter, or `max_tokens`
                is missing.
        """
        check_client(client, awaits=self._awaits)
        check_params(client, params)
        theirs = plain(list(tools))
        check_tools(theirs)
        self._client = client
        self._assessor = assessor or self._small(client)
        self._patience = patience
        actor = Actor(kind=ActorKind.ASSESSOR, id=getattr(self._assessor, "name", "assessor"))
        self.terms = Terms(system, theirs, params, actor, rounds, notes_as, Histories(remembered), on_setup_change)

    @staticmethod
    @abstractmethod
    def _small(client: Client) -> Judge:
        """The assessor where none is passed: a small Claude."""

    def _start(
        self,
        chat: Chat,
        content: Any = None,
        *,
        pending: Pending | None = None,
        asks: bool = False,
        confirms: bool = False,
        sent_as: str | None = None,
    ) -> Steps:
        if pending is not None:
            return go_on(self.terms, chat, pending, content)
        if content is None:
            return resume(self.terms, chat)
        return say(self.terms, chat, content, asks=asks, confirms=confirms, sent_as=sent_as)


def _edited(chat: Chat, turn: int, content: Any, sent_as: str | None) -> Chat | Refused:
    """Open a branch on which `content`, text or blocks, stands in place of a user turn."""
    words = kept_user(content)
    id = command_id("edit", sent_as or chat.conversations.new_id())
    return chat.edit(turn, words, command_id=id)


class _Shown:
    """Of what a model streams in one turn, lets through what comes before a call to end in a message, and its close.

    The streams of a turn that waited for tools go on with each other.
    """

    def __init__(self, pending: Pending | None) -> None:
        before = pending.messages if pending is not None else ()
        self.nothing = not any(spoken(message["content"]) for message in before if message["role"] == "assistant")
        self._between = ""
        self._muted_from: int | None = None  # by the place of the call in its message
        self._begun = False

    def next_message(self) -> None:
        self._muted_from, self._begun = None, False
        self._between = "" if self.nothing else BETWEEN

    def passing(self, event: Any) -> Iterator[Any]:
        """Yield what is shown of an event: the event itself or nothing, or the end of a message without its rest."""
        self._begun = self._begun or event.type == "message_start"
        if self._muted_from is None and _begins_to_end(event):
            self._muted_from = event.index
        if self._muted_from is None or event.type == "message_delta":
            yield event
        elif event.type == "message_stop":
            said = event.message.model_copy(update={"content": event.message.content[: self._muted_from]})
            yield event.model_copy(update={"message": said})

    def check(self) -> None:
        """Raise Interrupted if nothing has come, which the SDK has no message for."""
        if not self._begun:
            raise Interrupted("the answer of the API ended before it began; ask again")

    def text(self, event: Any) -> str:
        """Return what people read of an event that passes."""
        if event.type != "text" or not event.text:
            return ""
        text: str = self._between + event.text
        self._between, self.nothing = "", False
        return text


def _begins_to_end(event: Any) -> bool:
    """Whether an event begins a call to end."""
    block = event.content_block if event.type == "content_block_start" else None
    return block is not None and block.type == "tool_use" and block.name == ENDING_CALL


class Claude(_Claude[anthropic.Anthropic, Assessor]):
    """Answers chats with Claude. Thread-safe, as far as the client and the store are.

    Errors of the SDK come through as they are, after the retries that the client is set up for; the user's turn is
    then on record, and `resume` answers it.
    """

    _awaits = False

    @staticmethod
    def _small(client: anthropic.Anthropic) -> Assessor:
        return ClaudeAssessor(client)

    def send(
        self,
        chat: Chat,
        content: Any,
        *,
        asks_to_end: bool = False,
        confirms_end: bool = False,
        command_id: str | None = None,
    ) -> Outcome:
        """Record what the user says, text or blocks of content, and answer it.

        Args:
            chat: where.
            content: what the user says.
            asks_to_end, confirms_end: whether the user, by a control of the application, asks with it to end the
                conversation, or confirms that.
            command_id: by which it is said once, and has one answer, however often it is sent.

        Raises:
            anthropic.APIError: the API failed. What the user said is on record.
            Interrupted: its answer broke off.
            SetupChanged: the conversation began with another system prompt or other tools.
        """
        return self._run(self._start(chat, content, asks=asks_to_end, confirms=confirms_end, sent_as=command_id))

    def resume(self, chat: Chat) -> Outcome:
        """Answer what the user said last; if that was answered, return that answer. Raises as `send` does.

        If the user confirmed by it that they wish to end, and that could not be done for want of an opinion, it is done
        now, once there is one.
        """
        return self._run(self._start(chat))

    def answer(self, chat: Chat, pending: Pending, results: Any) -> Outcome:
        """Go on with a turn, given the results of the embedder's tools: blocks, or content by the id of the call."""
        return self._run(self._start(chat, results, pending=pending))

    def request_end(self, chat: Chat, content: Any = ASKS, *, command_id: str | None = None) -> Outcome:
        """Pass on that the user asks to end the conversation. The model asks them to confirm."""
        return self.send(chat, content, asks_to_end=True, command_id=command_id)

    def confirm_end(self, chat: Chat, content: Any = CONFIRMS, *, command_id: str | None = None) -> Outcome:
        """Pass on that the user confirms it. It ends, without asking the model, unless somebody may be at risk.

        Where there is no opinion on that yet, the model answers; `resume`, or this under its `command_id`, ends later.
        """
        return self.send(chat, content, confirms_end=True, command_id=command_id)

    def stream(
        self,
        chat: Chat,
        content: Any = None,
        *,
        pending: Pending | None = None,
        asks_to_end: bool = False,
        confirms_end: bool = False,
        command_id: str | None = None,
    ) -> "Stream":
        """As `send`; as `resume` without content; as `answer` with `pending`, but in pieces, as they come."""
        steps = self._start(chat, content, pending=pending, asks=asks_to_end, confirms=confirms_end, sent_as=command_id)
        return Stream(self, steps, _Shown(pending))

    def edit(self, chat: Chat, turn: int, content: Any, *, command_id: str | None = None) -> Chat | Refused:
        """Open a branch on which `content` stands in place of user turn `turn`, yet to be answered: `resume` does."""
        return _edited(chat, turn, content, command_id)

    def _run(self, steps: Steps) -> Outcome:
        step = advance(steps, None)
        while isinstance(step, Ask | Consult):
            done = self._create(step) if isinstance(step, Ask) else self._consult(step)
            step = advance(steps, done)
        return step

    def _create(self, ask: Ask) -> Message | anthropic.APIStatusError:
        try:
            answer: Message = self._client.messages.create(**ask.request)
        except REFUSES as refusal:
            return refusal
        return answer

    def _consult(self, step: Consult) -> Opinion | Failure | None:
        return _within(self._patience, lambda: self._assessor(step.case))


def _within(seconds: float, ask: Callable[[], Opinion | None]) -> Opinion | Failure | None:
    """Ask in a thread of its own, which is left behind if it takes too long."""
    answers: SimpleQueue[Opinion | Failure | None] = SimpleQueue()

    def answer() -> None:
        try:
            answers.put(_checked(ask()))
        except Exception as error:  # an assessor that fails, in any way, has judged nothing
            answers.put(Failure(error))

    threading.Thread(target=answer, name="assessor", daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except Empty:
        return Failure(TimeoutError(f"no opinion within {seconds} s"))


def _checked(said: Opinion | None) -> Opinion | None:
    if not (said is None or isinstance(said, Opinion)):
        raise TypeError(f"an assessor returns an Opinion or None, not a {type(said).__name__}")
    return said


class Stream:
    """A turn whose text comes in pieces. Read it to its end: only then is it recorded.

    Leaving the `with` block before that cancels the answer, and keeps what the user said.
    """

    def __init__(self, claude: Claude, steps: Steps, shown: _Shown) -> None:
        self._claude = claude
        self._steps = steps
        self._reply: Outcome | None = None
        self._events = self._read()
        self._shown = shown

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
        """What came of the turn. What was not read of it yet is read, and passed over."""
        for _ in self._events:
            pass
        if self._reply is None:
            raise RuntimeError("the stream was closed before its end: this turn has no reply")
        return self._reply

    def close(self) -> None:
        """Close the connection, if the answer is still coming."""
        self._events.close()
        self._steps.close()

    def _read(self) -> Generator[Any, None, None]:
        step = advance(self._steps, None)
        while isinstance(step, Ask | Consult):
            if isinstance(step, Consult):
                step = advance(self._steps, self._claude._consult(step))
                continue
            self._shown.next_message()
            answer: Message | anthropic.APIStatusError
            try:
                with self._claude._client.messages.stream(**step.request) as stream:
                    for event in stream:
                        yield from self._shown.passing(event)
                    self._shown.check()
                    answer = stream.get_final_message()
            except REFUSES as refusal:
                answer = refusal
            step = advance(self._steps, answer)
        self._reply = step


class AsyncClaude(_Claude[anthropic.AsyncAnthropic, AsyncAssessor]):
    """`Claude` on an asynchronous client. What touches the store runs in a worker thread."""

    _awaits = True

    @staticmethod
    def _small(client: anthropic.AsyncAnthropic) -> AsyncAssessor:
        return AsyncClaudeAssessor(client)

    async def send(
        self,
        chat: Chat,
        content: Any,
        *,
        asks_to_end: bool = False,
        confirms_end: bool = False,
        command_id: str | None = None,
    ) -> Outcome:
        """Record what the user says, and answer it. See `Claude.send`."""
        return await self._run(self._start(chat, content, asks=asks_to_end, confirms=confirms_end, sent_as=command_id))

    async def resume(self, chat: Chat) -> Outcome:
        """Answer what the user said last. See `Claude.resume`."""
        return await self._run(self._start(chat))

    async def answer(self, chat: Chat, pending: Pending, results: Any) -> Outcome:
        """Go on with a turn, given the results of the embedder's tools. See `Claude.answer`."""
        return await self._run(self._start(chat, results, pending=pending))

    async def request_end(self, chat: Chat, content: Any = ASKS, *, command_id: str | None = None) -> Outcome:
        """Pass on that the user asks to end the conversation. See `Claude.request_end`."""
        return await self.send(chat, content, asks_to_end=True, command_id=command_id)

    async def confirm_end(self, chat: Chat, content: Any = CONFIRMS, *, command_id: str | None = None) -> Outcome:
        """Pass on that the user confirms it. See `Claude.confirm_end`."""
        return await self.send(chat, content, confirms_end=True, command_id=command_id)

    def stream(
        self,
        chat: Chat,
        content: Any = None,
        *,
        pending: Pending | None = None,
        asks_to_end: bool = False,
        confirms_end: bool = False,
        command_id: str | None = None,
    ) -> "AsyncStream":
        """In pieces, as they come. See `Claude.stream`."""
        steps = self._start(chat, content, pending=pending, asks=asks_to_end, confirms=confirms_end, sent_as=command_id)
        return AsyncStream(self, steps, _Shown(pending))

    async def edit(self, chat: Chat, turn: int, content: Any, *, command_id: str | None = None) -> Chat | Refused:
        """Open a branch on which `content` stands in place of user turn `turn`. See `Claude.edit`."""
        return await anyio.to_thread.run_sync(_edited, chat, turn, content, command_id)

    async def _run(self, steps: Steps) -> Outcome:
        turn = InThread(steps)
        step = await turn.advance(None)
        while isinstance(step, Ask | Consult):
            done = await (self._create(step) if isinstance(step, Ask) else self._consult(step))
            step = await turn.advance(done)
        return step

    async def _create(self, ask: Ask) -> Message | anthropic.APIStatusError:
        try:
            answer: Message = await self._client.messages.create(**ask.request)
        except REFUSES as refusal:
            return refusal
        return answer

    async def _consult(self, step: Consult) -> Opinion | Failure | None:
        try:
            with anyio.fail_after(self._patience):
                return _checked(await self._assessor(step.case))
        except Exception as error:  # as in `_within`
            return Failure(error)


class AsyncStream:
    """`Stream`, read with `async for`; `reply` is awaited."""

    def __init__(self, claude: AsyncClaude, steps: Steps, shown: _Shown) -> None:
        self._claude = claude
        self._turn = InThread(steps)
        self._reply: Outcome | None = None
        self._events = self._read()
        self._shown = shown

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
        """Return what came of the turn. What was not read of it yet is read, and passed over."""
        async for _ in self._events:
            pass
        if self._reply is None:
            raise RuntimeError("the stream was closed before its end: this turn has no reply")
        return self._reply

    async def close(self) -> None:
        """Close the connection, if the answer is still coming."""
        await self._events.aclose()
        await self._turn.close()

    async def _read(self) -> AsyncGenerator[Any, None]:
        step = await self._turn.advance(None)
        while isinstance(step, Ask | Consult):
            if isinstance(step, Consult):
                step = await self._turn.advance(await self._claude._consult(step))
                continue
            self._shown.next_message()
            answer: Message | anthropic.APIStatusError
            try:
                async with self._claude._client.messages.stream(**step.request) as stream:
                    async for event in stream:
                        for passing in self._shown.passing(event):
                            yield passing
                    self._shown.check()
                    answer = await stream.get_final_message()
            except REFUSES as refusal:
                answer = refusal
            step = await self._turn.advance(answer)
        self._reply = step
