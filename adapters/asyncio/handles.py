"""`Conversations` and `Chat`, awaited.

Every method of the synchronous handles is here under its own name and with its own arguments. It runs in a worker
thread, since stores block; the event loop never waits for a commit. What those handles have as properties that read the
log are methods here. asyncio alone is needed, and no extra.
"""

from asyncio import Lock
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from lastresort.adapters.opening import open_conversations
from lastresort.application.accounts import ExportedConversation
from lastresort.application.arguments import Content
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.domain.decider import Refused
from lastresort.domain.events import RecordedEvent
from lastresort.domain.state import Conversation
from lastresort.domain.values import Actor

from .threads import Threads

P = ParamSpec("P")
R = TypeVar("R")
Handle = TypeVar("Handle", covariant=True)

THREADS = 32
_AT_ONCE = 500  # rows that are read in one go


class _Awaits(Protocol[Handle]):
    """Calls functions of a synchronous handle in a worker thread."""

    async def _call(self, function: Callable[Concatenate[Handle, P], R], *args: P.args, **kwargs: P.kwargs) -> R: ...


def _awaited(
    method: Callable[Concatenate[Handle, P], R],
) -> Callable[Concatenate[_Awaits[Handle], P], Coroutine[Any, Any, R]]:
    """Return a method of a synchronous handle as one of its counterpart here."""

    @wraps(method)
    async def call(self: _Awaits[Handle], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self._call(method, *args, **kwargs)

    return call


class AsyncChat:
    """A `Chat` whose acts are awaited. Get it from `AsyncConversations.start` or `AsyncConversations.chat`.

    Tasks may share it: its acts are carried out one after another, in the order in which they were called. An act
    that is cancelled is recorded whole or not at all; sent again under its `command_id`, it returns what came of it.

    `state` and `path` are awaited methods; `branch`, `user`, `model`, `seen` and `answered` are at hand. Arguments,
    outcomes and errors are those of `Chat`.

    Attributes:
        handle: the `Chat`, for what takes one, as `AsyncClaude` does.
    """

    def __init__(self, handle: Chat, threads: Threads) -> None:
        self.handle = handle
        self._threads = threads
        self._turn = Lock()

    def __repr__(self) -> str:
        return f"<AsyncChat {self.branch} with {self.model.id}>"

    async def _call(self, function: Callable[Concatenate[Chat, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        async with self._turn:
            return await self._threads.run(function, self.handle, *args, **kwargs)

    @property
    def branch(self) -> str:
        return self.handle.branch

    @property
    def user(self) -> Actor:
        return self.handle.user

    @property
    def model(self) -> Actor:
        return self.handle.model

    @property
    def seen(self) -> int | None:
        return self.handle.seen

    @property
    def answered(self) -> int | None:
        return self.handle.answered

    async def state(self) -> Conversation:
        """Return the state of the branch as the log has it now."""
        return await self._call(lambda handle: handle.state)

    async def path(self) -> list[RecordedEvent]:
        """Return the events on the path, the inherited prefix first."""
        return await self._call(lambda handle: handle.path)

    async def edit(
        self, turn: int, words: Content, *, child: str | None = None, command_id: str | None = None
    ) -> "AsyncChat | Refused":
        """Open a branch on which `words`, text or content blocks, stand in place of user turn `turn`, and return it."""
        return self._beside(await self._call(Chat.edit, turn, words, child=child, command_id=command_id))

    async def retry(
        self, turn: int, *, child: str | None = None, command_id: str | None = None
    ) -> "AsyncChat | Refused":
        """Open a branch on which assistant turn `turn` is yet to be given, and return it."""
        return self._beside(await self._call(Chat.retry, turn, child=child, command_id=command_id))

    def _beside(self, opened: Chat | Refused) -> "AsyncChat | Refused":
        return opened if isinstance(opened, Refused) else AsyncChat(opened, self._threads)

    refresh = _awaited(Chat.refresh)
    metadata = _awaited(Chat.metadata)
    describe = _awaited(Chat.describe)
    why = _awaited(Chat.why)
    transcript = _awaited(Chat.transcript)
    user_turn = _awaited(Chat.user_turn)
    assistant_turn = _awaited(Chat.assistant_turn)
    judge = _awaited(Chat.judge)
    redirect = _awaited(Chat.redirect)
    warn = _awaited(Chat.warn)
    withhold_warning = _awaited(Chat.withhold_warning)
    raise_risk = _awaited(Chat.raise_risk)
    clear_risk = _awaited(Chat.clear_risk)
    request_end = _awaited(Chat.request_end)
    confirm_end = _awaited(Chat.confirm_end)
    declare_hope_exhausted = _awaited(Chat.declare_hope_exhausted)
    propose = _awaited(Chat.propose)
    end = _awaited(Chat.end)
    leave = _awaited(Chat.leave)
    feedback = _awaited(Chat.feedback)
    appeal = _awaited(Chat.appeal)
    decide_appeal = _awaited(Chat.decide_appeal)
    change_policy = _awaited(Chat.change_policy)
    change_model = _awaited(Chat.change_model)
    hold = _awaited(Chat.hold)
    release_hold = _awaited(Chat.release_hold)
    erase = _awaited(Chat.erase)


def _opens(
    method: Callable[Concatenate[Conversations, P], Chat],
) -> "Callable[Concatenate[AsyncConversations, P], Coroutine[Any, Any, AsyncChat]]":
    """Return a method that opens a handle as one of `AsyncConversations`."""

    @wraps(method)
    async def call(self: "AsyncConversations", /, *args: P.args, **kwargs: P.kwargs) -> AsyncChat:
        return AsyncChat(await self._call(method, *args, **kwargs), self._threads)

    return call


class AsyncConversations:
    """The conversations in a store, awaited. Get it from `lastresort.open_async_conversations`, in one event loop.

        async with await open_async_conversations("sqlite:///chats.db") as chats:
            chat = await chats.start(model="claude-opus-4-1")
            await chat.user_turn("Hello.")

    Arguments, outcomes and errors are those of `Conversations`.

    Attributes:
        conversations: the `Conversations`, for what takes them: an audit, an export.
    """

    def __init__(self, conversations: Conversations, *, threads: int = THREADS) -> None:
        self.conversations = conversations
        self._threads = Threads(threads)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, function: Callable[Concatenate[Conversations, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        own = getattr(type(self.conversations), function.__name__, function)  # of several stores, it is another
        return await self._threads.run(own, self.conversations, *args, **kwargs)

    def new_id(self) -> str:
        """Return an id that nobody has used."""
        return self.conversations.new_id()

    async def close(self) -> None:
        """Release the store and the vault, once the calls that are under way are done."""
        last = Threads(1)
        await last.run(self._close)
        last.shut_down()

    def _close(self) -> None:
        self._threads.shut_down()
        self.conversations.close()

    async def branch_rows(self) -> AsyncIterator[str]:
        """Yield a row of every branch as JSON, in the order in which the branches began: see `projections.Branch`."""
        rows = await self._call(Conversations.branch_rows)
        while some := await self._threads.run(lambda: tuple(islice(rows, _AT_ONCE))):
            for row in some:
                yield row

    async def export_account(
        self, account: str | None = None, *, person: str | None = None
    ) -> AsyncIterator[ExportedConversation]:
        """Yield everything that the store has of an account. See `Conversations.export_account`."""
        exported = await self._call(Conversations.export_account, account, person=person)
        while (one := await self._threads.run(next, exported, None)) is not None:
            yield one

    start = _opens(Conversations.start)
    chat = _opens(Conversations.chat)
    state = _awaited(Conversations.state)
    path = _awaited(Conversations.path)
    tree = _awaited(Conversations.tree)
    tree_log = _awaited(Conversations.tree_log)
    appeal_until = _awaited(Conversations.appeal_until)
    words = _awaited(Conversations.words)
    erase_conversation = _awaited(Conversations.erase_conversation)
    erase_account = _awaited(Conversations.erase_account)
    pseudonym = _awaited(Conversations.pseudonym)
    person_of = _awaited(Conversations.person_of)
    retain = _awaited(Conversations.retain)
    hold_account = _awaited(Conversations.hold_account)
    release_account = _awaited(Conversations.release_account)
    holds = _awaited(Conversations.holds)
    page = _awaited(Conversations.page)
    list = _awaited(Conversations.list)


async def open_async_conversations(url: str, *, threads: int = THREADS, **options: Any) -> AsyncConversations:
    """Open the conversations in the store at `url`, for asyncio: see `open_conversations`, which says what `url` is.

    Args:
        url: of the store.
        threads: how many calls may be under way at once; more wait in line.
        options: the other arguments of `open_conversations`.

    Raises:
        StoreError: the store cannot be opened; the message says why and what to do.
        ValueError: a number is out of range.
    """
    Threads(threads).shut_down()  # before a store is open that nobody could close
    opening = Threads(1)
    try:
        return AsyncConversations(await opening.run(open_conversations, url, **options), threads=threads)
    finally:
        opening.shut_down()
