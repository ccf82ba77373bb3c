"""The handles for asyncio: the same names, awaited, and an event loop that nobody blocks."""

import asyncio
import inspect
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from lastresort import (
    AsyncChat,
    AsyncConversations,
    BranchEnded,
    Chat,
    CommandIdReused,
    Conversations,
    ErasureCause,
    Ground,
    Receipt,
    Refused,
    Risk,
    StoreError,
    Verdict,
    open_async_conversations,
    open_conversations,
)
from lastresort.projections import audit

from .claude_kit import kinds
from .stores import STORES, new_url

MODEL = "claude-opus-4-1"


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("plain", "awaited"), [(Chat, AsyncChat), (Conversations, AsyncConversations)])
def test_every_name_of_the_handles_is_there_with_its_arguments(plain: type, awaited: type) -> None:
    """But for what adapters use, and what reads the log at length, in a thread of its own: that of `conversations`."""
    behind = {"store", "service", "annotator", "parts", "of"}
    assert public(plain) - public(awaited) == (behind if plain is Conversations else set())
    for name in public(plain) & public(awaited):
        theirs, ours = getattr(plain, name), getattr(awaited, name)
        if inspect.isfunction(theirs) and not isinstance(ours, property):
            assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters), name
            assert inspect.getdoc(ours), name


async def of_each(chats: AsyncConversations) -> None:
    chat = await chats.start(model=MODEL, account="a-17", command_id="start")
    assert (await chats.start(model=MODEL, account="a-17", command_id="start")).branch == chat.branch
    assert (chat.user.id, chat.model.id, chat.seen, chat.answered) == ("a-17", MODEL, None, None)
    heard = await chat.user_turn("You are useless.", command_id="u")
    assert isinstance(heard, Receipt)
    assert repr(chat) == f"<AsyncChat {chat.branch} with {MODEL}>"
    assert chat.seen == heard.version == 2
    await chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE)
    await chat.assistant_turn("Shall we plan a garden?")
    assert chat.answered == 4
    assert isinstance(await chat.end(category="abuse"), Refused)
    assert [broken.rule for broken in await chat.why(category="abuse")]
    edited, again = await chat.edit(2, "Hello."), await chat.retry(4)
    assert isinstance(edited, AsyncChat)
    assert isinstance(again, AsyncChat)
    assert isinstance(await chat.edit(4, "Hello."), Refused)  # an answer is not the user's to edit
    assert len(await chats.tree(chat.branch)) == 3
    assert await chats.words(await edited.path()) != {}
    assert (await edited.state()).unit is not None
    assert (await chats.chat(edited.branch)).branch == edited.branch
    assert [row.account for row in (await chats.list()).rows] == ["a-17"]
    assert len([row async for row in chats.branch_rows()]) == 3
    with pytest.raises(CommandIdReused):
        await chat.user_turn("Something else.", command_id="u")
    await edited.judge(Verdict.PRODUCTIVE, risk=Risk.NONE)
    await edited.request_end()
    await edited.assistant_turn("For good?")
    await edited.user_turn("Yes, end it.")
    await edited.judge(Verdict.PRODUCTIVE, risk=Risk.NONE)
    await edited.confirm_end()
    await edited.end(Ground.USER_REQUEST)
    assert isinstance(await edited.user_turn("One more."), BranchEnded)
    assert [len(one.branches) async for one in chats.export_account("a-17")] == [3]
    await chats.erase_conversation(chat.branch, by=chat.user, cause=ErasureCause.USER_REQUEST)
    assert await chats.words(await chats.tree_log(chat.branch)) == {}
    assert audit(chats.conversations.store.log()).findings == ()


@pytest.mark.parametrize("kind", STORES)
def test_a_conversation_from_beginning_to_end(kind: str, request: pytest.FixtureRequest) -> None:
    url = new_url(kind, request)

    async def play() -> None:
        async with await open_async_conversations(url) as chats:
            await of_each(chats)
            await of_people(chats)

    asyncio.run(play())


async def of_people(chats: AsyncConversations) -> None:
    chat = await chats.start(model=MODEL, person="user-42")
    assert await chat.describe(title="A garden", tags=["green"]) == ("A garden", ("green",))
    assert (await chat.metadata()).title == "A garden"
    page = await chats.list(person="user-42", with_metadata=True)
    assert page.metadata == {chat.branch: ("A garden", ("green",))}
    account = await chats.pseudonym("user-42")
    assert (await chat.state()).account == account
    assert await chats.person_of(account) == "user-42"
    assert [one.metadata.title async for one in chats.export_account(person="user-42")] == ["A garden"]
    done = await chats.erase_account(person="user-42", by=chat.user, cause=ErasureCause.USER_REQUEST, forget=True)
    assert done == ((chat.branch,), {}, True)
    assert await chats.person_of(account) is None


@pytest.mark.parametrize("kind", STORES)
def test_tasks_on_one_store_at_once(kind: str, request: pytest.FixtureRequest) -> None:
    """Each with a conversation and a person of its own, through the same connections."""
    url = new_url(kind, request)

    async def talk(chats: AsyncConversations, number: int) -> tuple[str | None, str | None]:
        chat = await chats.start(model=MODEL, person=f"user-{number % 3}", conversation=f"c-{number}")
        await asyncio.gather(chat.user_turn("Hello."), chat.describe(title=f"Talk {number}"))
        await chat.assistant_turn("Hello.")
        return (await chat.metadata()).title, await chats.person_of(await chats.pseudonym(f"user-{number % 3}"))

    async def play() -> None:
        async with await open_async_conversations(url) as chats:
            found = await asyncio.gather(*(talk(chats, number) for number in range(12)))
            assert found == [(f"Talk {number}", f"user-{number % 3}") for number in range(12)]
            assert [len((await chats.list(person=f"user-{n}")).rows) for n in range(3)] == [4, 4, 4]
            assert audit(chats.conversations.store.log()).findings == ()

    asyncio.run(play())


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no folder"):
        asyncio.run(open_async_conversations(f"sqlite:///{tmp_path}/none/chats.db"))


async def ticks(while_this: Awaitable[Any]) -> list[float]:
    """Return the pauses between the passes of a coroutine that would like one a millisecond, while something runs."""
    pauses, task = [], asyncio.ensure_future(while_this)
    while not task.done():
        before = time.monotonic()
        await asyncio.sleep(0.001)
        pauses.append(time.monotonic() - before)
    await task
    return pauses


def test_a_ticker_keeps_its_pace_while_turns_are_recorded(tmp_path: Path) -> None:
    async def one(chats: AsyncConversations, number: int) -> None:
        chat = await chats.start(model=MODEL, conversation=f"c-{number}")
        for _ in range(10):
            assert isinstance(await chat.user_turn("Hello."), Receipt)

    async def play() -> list[float]:
        async with await open_async_conversations(f"sqlite:///{tmp_path}/chats.db") as chats:
            return await ticks(asyncio.gather(*(one(chats, number) for number in range(10))))

    pauses = sorted(asyncio.run(play()))
    assert pauses[len(pauses) // 2] < 0.05  # as a rule; what else the machine is doing may cost some of them more


def test_a_ticker_keeps_its_pace_while_the_store_is_locked(tmp_path: Path) -> None:
    async def play() -> list[float]:
        async with await open_async_conversations(f"sqlite:///{tmp_path}/chats.db?deadline=30") as chats:
            chat = await chats.start(model=MODEL)
            other = sqlite3.connect(tmp_path / "chats.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(0.5, other.execute, "ROLLBACK")
            pauses = await ticks(chat.user_turn("Hello."))
            other.close()
            return pauses

    pauses = asyncio.run(play())
    assert sum(pauses) >= 0.4
    assert max(pauses) < 0.4, "the event loop waited for the lock"


class Gate:
    """A clock that waits when it is asked for the time of a commit."""

    def __init__(self) -> None:
        self.shut, self.go = False, Event()
        self.reached: Callable[[], object] = lambda: None

    def __call__(self) -> datetime:
        if self.shut:
            self.reached()
            assert self.go.wait(60)
        return datetime.now(UTC)


def test_an_act_that_is_cancelled_as_it_is_recorded_is_recorded_whole() -> None:
    gate = Gate()

    async def play() -> None:
        async with AsyncConversations(open_conversations("memory:", clock=gate)) as chats:
            chat = await chats.start(model=MODEL)
            loop, reached, gate.shut = asyncio.get_running_loop(), asyncio.Event(), True
            gate.reached = lambda: loop.call_soon_threadsafe(reached.set)
            task = asyncio.create_task(chat.user_turn("Hello.", command_id="u"))
            next_one = asyncio.create_task(chat.user_turn("And now?"))
            await reached.wait()
            for _ in range(3):  # however often
                task.cancel()
                for _ in range(50):
                    await asyncio.sleep(0)
            assert not task.done()
            next_one.cancel()  # waits for the first: it never begins
            gate.go.set()
            for cancelled in (task, next_one):
                with pytest.raises(asyncio.CancelledError):
                    await cancelled
            assert kinds(await chat.path()) == ["ConversationStarted", "UserTurnTaken"]
            assert chat.seen == 2
            again = await chat.user_turn("Hello.", command_id="u")
            assert isinstance(again, Receipt)
            assert again.version == 2

    asyncio.run(play())


def test_an_act_that_waits_in_line_is_not_carried_out_if_it_is_cancelled() -> None:
    gate = Gate()

    async def play() -> None:
        async with AsyncConversations(open_conversations("memory:", clock=gate), threads=1) as chats:
            one, other = await chats.start(model=MODEL), await chats.start(model=MODEL)
            loop, reached, gate.shut = asyncio.get_running_loop(), asyncio.Event(), True
            gate.reached = lambda: loop.call_soon_threadsafe(reached.set)
            first = asyncio.create_task(one.user_turn("Hello."))
            await reached.wait()
            second = asyncio.create_task(other.user_turn("Hello."))
            await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second  # at once, though the thread is still busy
            gate.go.set()
            await first
            assert (await other.state()).version == 1

    asyncio.run(play())


def test_cancelled_at_any_moment() -> None:
    async def play() -> None:
        async with await open_async_conversations("memory:") as chats:
            chat = await chats.start(model=MODEL)
            for moment in range(40):
                task = asyncio.create_task(chat.user_turn("Hello.", command_id=f"u-{moment}"))
                for _ in range(moment % 8):
                    await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                version = (await chat.state()).version
                again = await chat.user_turn("Hello.", command_id=f"u-{moment}")
                assert isinstance(again, Receipt)
                assert again.version in (version, version + 1)
            assert audit(chats.conversations.store.log()).findings == ()
            assert kinds(await chat.path()).count("UserTurnTaken") == 40

    asyncio.run(play())


def test_context_variables_reach_the_thread() -> None:
    """A trace that an observer is to continue, say."""
    trace: ContextVar[str] = ContextVar("trace", default="none")
    seen: list[str] = []

    def clock() -> datetime:
        seen.append(trace.get())
        return datetime.now(UTC)

    async def play() -> None:
        async with await open_async_conversations("memory:", clock=clock) as chats:
            chat = await chats.start(model=MODEL)
            trace.set("t-1")
            await chat.user_turn("Hello.")

    asyncio.run(play())
    assert seen == ["none", "t-1"]
