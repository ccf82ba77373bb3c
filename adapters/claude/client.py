"""What an embedder holds: a Claude that answers chats under the law, and drives each turn over the SDK.

A turn's logic is in `turn`, streams are in `streams`. Here is what an embedder calls, said once, and the two ways to
drive a turn: waiting and awaiting.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable
from contextlib import closing
from typing import Any, ClassVar, Generic, Literal, TypeVar

import anthropic
import anyio
import anyio.to_thread

from lastresort.adapters.assessors.claude import AsyncClaudeAssessor, ClaudeAssessor
from lastresort.adapters.assessors.clients import AsyncClient, SyncClient
from lastresort.adapters.turns.assessor import Assessor, AsyncAssessor, Failure, Opinion, assess, checked
from lastresort.adapters.turns.ids import command_id, named_as_sent
from lastresort.adapters.turns.replies import Outcome, Pending
from lastresort.adapters.turns.steps import Ask, Consult, Steps, Wait, advance
from lastresort.application.chat import Chat
from lastresort.domain.decider import Refused
from lastresort.domain.values import Actor, ActorKind

from .answered import Answer
from .history import Histories
from .in_thread import InThread
from .leaving_out import OnFull
from .params import check_choices, check_client, check_params, check_system, check_tools, messages_of
from .running import Functions, once
from .setup import OnChange, SetupChanged
from .streams import AsyncStream, Stream
from .turn import REFUSES, Terms, go_on, resume, say
from .words import carried, kept_user, plain

MOST_SYSTEM = 1_000_000
"""How many characters a conversation's own system prompt may have, as JSON."""
ASKS = "Please end this conversation."
CONFIRMS = "Yes, end it. I know that this is permanent."

Client = TypeVar("Client", bound=SyncClient | AsyncClient)
Judge = TypeVar("Judge", bound=Assessor | AsyncAssessor)
Done = TypeVar("Done", bound=Outcome | Coroutine[Any, Any, Outcome])
"""What came of a turn, or what is awaited for it."""
Pieces = TypeVar("Pieces", bound=Stream | AsyncStream)


class _Claude(ABC, Generic[Client, Judge, Done, Pieces]):
    """What an embedder calls. It is written once: `Claude` returns what `AsyncClaude` returns to be awaited."""

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
        on_setup_change: OnChange = "keep",
        on_full: OnFull = "raise",
        **params: Any,
    ) -> None:
        """Set how every chat is answered.

        Args:
            client: the client of the SDK to ask with: of the API, or of a platform (Bedrock, Vertex, Foundry).
            system: the system prompt, as the API takes it. Like the tools, it cannot change within a conversation.
            tools: the embedder's tools, as the API takes them; or functions of the SDK's `beta_tool`, for `run`.
            assessor: gives a second opinion, if the chat's policy asks for one; a small Claude, if you pass none. On a
                platform that names models in its own way, you have to pass one.
            patience: how long to wait for the assessor, in seconds.
            rounds: how many messages of a turn the model may spend on calls before it has to answer. Results of the
                embedder's tools restart the count.
            notes_as: the role in which notes (of a hold, say) are sent to the model: `user`, marked as a note, which
                every model takes; or `system`, which models take from Claude Opus 4.8 on.
            remembered: for how many branches what was said is kept in memory, in plain, so that it is not read for
                each turn.
            on_setup_change: what to do with a conversation that began with another system prompt or other tools:
                `keep` to those that it began with, or `refuse` its turns with SetupChanged.
            on_full: what to do with a conversation that has outgrown the model's window: `raise` the error of the API;
                `drop-oldest`, to send its later half; or a function that gets it as a `Full`, and returns the version
                of the user's turn to send from, or None to raise the error. The record keeps everything.
            params: the rest of each request, as `messages.create` takes it: `max_tokens`, `thinking`, `metadata`, ...

        Raises:
            ValueError: a tool has the name of one of ours, a parameter is not the embedder's to pass, or the platform
                has not the assessor's usual model; it says what to pass.
            TypeError: the client is of the other kind, the installed SDK does not take a parameter, or `max_tokens`
                is missing.
        """
        check_client(client, awaits=self._awaits)
        check_choices(on_full, on_setup_change, notes_as, patience=patience, rounds=rounds, remembered=remembered)
        self._messages = messages_of(client, params)
        check_params(self._messages, params)
        self._functions = Functions(tools, awaits=self._awaits)
        theirs = self._functions.declared
        check_tools(theirs)
        self._assessor = assessor or self._small(client)
        self._patience = patience
        actor = Actor(kind=ActorKind.ASSESSOR, id=getattr(self._assessor, "name", "assessor"))
        self.terms = Terms(
            system, theirs, params, actor, rounds, notes_as, Histories(remembered), on_setup_change, on_full
        )

    @staticmethod
    @abstractmethod
    def _small(client: Client) -> Judge:
        """Return the assessor to use if none is passed: a small Claude."""

    @abstractmethod
    def _run(self, steps: Steps) -> Done:
        """Drive a turn, and return what came of it."""

    @abstractmethod
    def _stream(self, steps: Steps, pending: Pending | None) -> Pieces:
        """Drive a turn in pieces."""

    def send(
        self,
        chat: Chat,
        content: Any,
        *,
        asks_to_end: bool = False,
        confirms_end: bool = False,
        command_id: str | None = None,
    ) -> Done:
        """Record what the user says, text or blocks of content, and answer it.

        Args:
            chat: where.
            content: what the user says. None is an error here: `resume` answers what was said last.
            asks_to_end, confirms_end: whether the user also asks to end the conversation, or confirms that, by a
                control of the application.
            command_id: sent again under the same id, it is said once and has one answer. Someone who sends it again
                in this process before there is one waits for it.

        Raises:
            anthropic.APIError: the API failed. What the user said is on record.
            Interrupted: its answer broke off.
            SetupChanged: the conversation began with another system prompt or other tools, and is not to keep to them.
            ValueError, TypeError: nothing was said, or what no request can carry. Nothing was recorded.
        """
        return self._run(say(self.terms, chat, content, asks=asks_to_end, confirms=confirms_end, sent_as=command_id))

    @abstractmethod
    def run(self, chat: Chat, content: Any = None, **how: Any) -> Done:
        """As `send`, or as `resume` without content; and call the functions that the model calls for.

        A function that fails, or returns neither text nor content blocks, is an error for the model; so is one that
        runs the same branch itself. If the model calls for a tool that is no function, nothing is called, and the reply
        says what it waits for; so it does after `rounds` messages with calls.

        Args:
            chat: where.
            content: what the user says.
            how: as `send` takes it.
        """

    def resume(self, chat: Chat) -> Done:
        """Answer what the user said last; if that was answered, return that answer. Raises as `send` does.

        If the user confirmed with it that they wish to end, and there was no opinion on the risk, the conversation ends
        now if there is one by now.
        """
        return self._run(self._start(chat))

    def answer(self, chat: Chat, pending: Pending, results: Any) -> Done:
        """Go on with a turn, given the results of the embedder's tools: blocks, or content by the id of the call."""
        return self._run(self._start(chat, results, pending))

    def request_end(self, chat: Chat, content: Any = ASKS, *, command_id: str | None = None) -> Done:
        """Pass on that the user asks to end the conversation. The model asks them to confirm."""
        return self.send(chat, content, asks_to_end=True, command_id=command_id)

    def confirm_end(self, chat: Chat, content: Any = CONFIRMS, *, command_id: str | None = None) -> Done:
        """Pass on that the user confirms it. It ends, without asking the model, unless somebody may be at risk.

        If there is no opinion on that yet, the model answers; `resume`, or this under its `command_id`, ends later.
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
    ) -> Pieces:
        """As `send`; as `resume` without content; as `answer` with `pending`, but in pieces, as they come.

        Of two with the same `command_id` at once, one asks, and both give its answer; the second one in one piece. One
        that is left half-read is not waited for: then both ask, and one of them is `Overtaken`.
        """
        steps = self._start(chat, content, pending, asks_to_end, confirms_end, command_id, streams=True)
        return self._stream(steps, pending)

    def _start(
        self,
        chat: Chat,
        content: Any = None,
        pending: Pending | None = None,
        asks: bool = False,
        confirms: bool = False,
        sent_as: str | None = None,
        streams: bool = False,
    ) -> Steps:
        if pending is not None:
            return go_on(self.terms, chat, pending, content, streams=streams)
        if content is None:
            return resume(self.terms, chat, streams=streams)
        return say(self.terms, chat, content, asks=asks, confirms=confirms, sent_as=sent_as, streams=streams)


def _instructed(chat: Chat, system: Any) -> None:
    """Give a conversation its own system prompt."""
    prompt = carried(plain(system))
    check_system(prompt)
    words = json.dumps(prompt, ensure_ascii=False)
    if len(words) > MOST_SYSTEM:
        raise ValueError(f"system: {len(words):,} characters were passed, where {MOST_SYSTEM:,} is the limit")
    conversations, tree = chat.conversations, chat.state.conversation
    answered = any(state.answered_by for state in conversations.tree(tree).values())
    had = conversations.service.annotator.instructions(tree)
    if had is None and answered:
        raise SetupChanged("this conversation was answered before it had a system prompt of its own; start another one")
    if conversations.service.annotator.instruct(tree, words) != words:
        raise SetupChanged("this conversation has another system prompt of its own; start another one")


def _edited(chat: Chat, turn: int, content: Any, sent_as: str | None) -> Chat | Refused:
    """Open a branch on which `content`, text or blocks, stands in place of a user turn."""
    words = kept_user(content)
    sent_as = chat.conversations.new_id() if sent_as is None else sent_as
    with named_as_sent(sent_as):
        return chat.edit(turn, words, command_id=command_id("edit", sent_as))


class Claude(_Claude[SyncClient, Assessor, Outcome, Stream]):
    """Answers chats with Claude. Thread-safe, as far as the client and the store are.

    Errors of the SDK come through as they are, after the retries that the client is set up for; the user's turn is
    then on record, and `resume` answers it.
    """

    _awaits = False

    @staticmethod
    def _small(client: SyncClient) -> Assessor:
        return ClaudeAssessor(client)

    def instruct(self, chat: Chat, system: Any) -> None:
        """Give a conversation a system prompt of its own, before its first answer, in place of that of this Claude.

        It is kept beside the log, sealed, and erased with the words; every Claude that answers the conversation uses
        it, in another process too. Given again, the same one does no harm.

        Args:
            chat: any branch of the conversation.
            system: the prompt, as the API takes it; 1,000,000 characters at most.

        Raises:
            SetupChanged: the conversation has another one, or was answered without.
            ValueError, TypeError: no request can carry it, or the API takes no such prompt.
        """
        _instructed(chat, system)

    def edit(self, chat: Chat, turn: int, content: Any, *, command_id: str | None = None) -> Chat | Refused:
        """Open a branch on which `content` stands in place of user turn `turn`, yet to be answered: `resume` does."""
        return _edited(chat, turn, content, command_id)

    def run(self, chat: Chat, content: Any = None, **how: Any) -> Outcome:
        """Answer, and call the functions that the model calls for. See `Claude.send` and `Claude.resume`."""
        with once(chat.branch):
            outcome = self.resume(chat) if content is None else self.send(chat, content, **how)
            for _ in range(self.terms.rounds):
                if (pending := self._functions.pending(outcome)) is None:
                    break
                outcome = self.answer(chat, pending, [self._functions.result(call) for call in pending.calls])
            return outcome

    def _run(self, steps: Steps) -> Outcome:
        with closing(steps):  # an error keeps it, and would keep others waiting
            step = advance(steps, None)
            while isinstance(step, Ask | Consult | Wait):
                done = self._create(step) if isinstance(step, Ask) else self._consult(step)
                step = advance(steps, done)
            return step

    def _stream(self, steps: Steps, pending: Pending | None) -> Stream:
        return Stream(self._messages, self._consult, steps, pending)

    def _create(self, ask: Ask) -> Answer | anthropic.APIStatusError:
        try:
            answer: Answer = self._messages.create(**ask.request)
        except REFUSES as refusal:
            return refusal
        return answer

    def _consult(self, step: Consult | Wait) -> Opinion | Failure | None:
        if isinstance(step, Wait):
            step.until()
            return None
        return assess(self._assessor, step.case, self._patience)


class AsyncClaude(_Claude[AsyncClient, AsyncAssessor, Coroutine[Any, Any, Outcome], AsyncStream]):
    """`Claude` on an asynchronous client: what `Claude` returns is awaited. What touches the store runs in a worker
    thread."""

    _awaits = True

    @staticmethod
    def _small(client: AsyncClient) -> AsyncAssessor:
        return AsyncClaudeAssessor(client)

    async def instruct(self, chat: Chat, system: Any) -> None:
        """Give a conversation a system prompt of its own. See `Claude.instruct`."""
        await anyio.to_thread.run_sync(_instructed, chat, system)

    async def edit(self, chat: Chat, turn: int, content: Any, *, command_id: str | None = None) -> Chat | Refused:
        """Open a branch on which `content` stands in place of user turn `turn`. See `Claude.edit`."""
        return await anyio.to_thread.run_sync(_edited, chat, turn, content, command_id)

    async def run(self, chat: Chat, content: Any = None, **how: Any) -> Outcome:
        """Answer, and call the functions that the model calls for, those that are not awaited in a worker thread."""
        with once(chat.branch):
            outcome = await (self.resume(chat) if content is None else self.send(chat, content, **how))
            for _ in range(self.terms.rounds):
                if (pending := self._functions.pending(outcome)) is None:
                    break
                results = [await self._functions.awaited(call, anyio.to_thread.run_sync) for call in pending.calls]
                outcome = await self.answer(chat, pending, results)
            return outcome

    async def _run(self, steps: Steps) -> Outcome:
        turn = InThread(steps)
        try:
            step = await turn.advance(None)
            while isinstance(step, Ask | Consult | Wait):
                done = await (self._create(step) if isinstance(step, Ask) else self._consult(step))
                step = await turn.advance(done)
            return step
        finally:
            await turn.close()

    def _stream(self, steps: Steps, pending: Pending | None) -> AsyncStream:
        return AsyncStream(self._messages, self._consult, steps, pending)

    async def _create(self, ask: Ask) -> Answer | anthropic.APIStatusError:
        try:
            answer: Answer = await self._messages.create(**ask.request)
        except REFUSES as refusal:
            return refusal
        return answer

    async def _consult(self, step: Consult | Wait) -> Opinion | Failure | None:
        if isinstance(step, Wait):  # in a thread of its own: of those of the loop, the one that goes on needs some
            await anyio.to_thread.run_sync(step.until, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
            return None
        try:
            with anyio.fail_after(self._patience):
                return checked(await self._assessor(step.case))
        except Exception as error:  # as in `assess`
            return Failure(error)
