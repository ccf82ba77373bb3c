"""A task that is cancelled, as asyncio cancels: whatever the turn was at, it is recorded whole or not, and goes on.

A step that touches the store runs in a thread, which no cancellation stops. A clock that waits holds it at a commit.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from threading import Event
from typing import Any

import anthropic
import pytest

from lastresort import Chat, Conversations, open_conversations
from lastresort.adapters.claude import AsyncClaude, Case, Opinion, Outcome, Reply
from lastresort.adapters.loopback import Answer, Request, Scripted, loopback, text
from lastresort.projections import audit

from .claude_kit import ABUSE, SECOND, kinds, redirecting
from .loopback_kit import MODEL
from .oracle import unlawful

JUDGED, ANSWERED = ["UserTurnTaken", "TurnAssessed"], ["AssistantTurnTaken", "RedirectionAttempted"]


class Gate:
    """A clock that waits when it is asked for the time of one commit."""

    def __init__(self) -> None:
        self.left = -1
        self.go = Event()
        self.reached: Callable[[], object] = lambda: None

    def __call__(self) -> datetime:
        self.left -= 1
        if self.left == 0:
            self.reached()
            assert self.go.wait(60)
        return datetime.now(UTC)


async def second(case: Case) -> Opinion:
    return SECOND


async def turn(claude: AsyncClaude, chat: Chat, content: Any, streams: bool) -> Outcome:
    if not streams:
        return await claude.send(chat, content)
    async with claude.stream(chat, content) as stream:
        async for _ in stream:
            pass
        return await stream.reply()


def run(
    script: Any, chats: Conversations, play: Callable[[AsyncClaude, Chat], Any], *, check: Callable[[Chat], None]
) -> None:
    async def session(url: str, chat: Chat) -> None:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="x", max_retries=0, timeout=30) as client:
            await play(AsyncClaude(client, max_tokens=500, assessor=second), chat)

    with loopback(script) as api:
        chat = chats.start(model=MODEL)
        asyncio.run(session(api.url, chat))
        assert api.reports == []
    check(chat)
    assert unlawful(list(chats.store.log())) == []
    assert audit(chats.store.log()).findings == ()
    chats.close()


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("commit", "at_once"),
    [(1, JUDGED[:1]), (2, JUDGED), (3, JUDGED + ANSWERED), (4, JUDGED + ANSWERED)],
    ids=["the user's turn", "a verdict", "the answer", "the redirection"],
)
def test_cancelled_in_the_middle_of_a_commit(commit: int, at_once: list[str], streams: bool) -> None:
    """The step is waited for, and is recorded whole; an answer that was recorded is given again. So is what was shown
    of one that was streamed: at the verdict, that is its first message."""
    gate = Gate()
    broken_off = streams and commit == 2

    async def play(claude: AsyncClaude, chat: Chat) -> None:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()
        gate.reached = lambda: loop.call_soon_threadsafe(reached.set)
        gate.left = commit
        task = asyncio.create_task(turn(claude, chat, ABUSE, streams))
        await reached.wait()
        task.cancel()
        for _ in range(50):
            await asyncio.sleep(0)
        assert not task.done()
        gate.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert kinds(chat.path)[1:] == at_once + (ANSWERED[:1] if broken_off else [])
        reply = await claude.resume(chat)
        assert isinstance(reply, Reply)
        assert reply.text.endswith("Let us do something else." if broken_off else "A garden, say?")
        assert reply.stop_reason == ("stopped" if broken_off else "end_turn")

    def check(chat: Chat) -> None:
        if broken_off:
            assert kinds(chat.path)[1:] == JUDGED + ANSWERED[:1]
            return
        judged_again = JUDGED[1:] if commit == 2 else []
        assert kinds(chat.path)[1:] == JUDGED + judged_again + ANSWERED

    script = redirecting() if commit > 2 else [*redirecting()[: commit - 1], *redirecting()]
    run(script, open_conversations("memory:", clock=gate), play, check=check)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_cancelled_at_any_moment(streams: bool) -> None:
    """After so many passes of the event loop, whatever the turn is at by then."""
    moments = [0, *(2**power for power in range(14))]

    def script(request: Request) -> Scripted:
        return Answer([text("Let us do something else.")]) if request.results else redirecting()[0]

    async def play(claude: AsyncClaude, chat: Chat) -> None:
        for moment in moments:
            task = asyncio.create_task(turn(claude, chat, ABUSE, streams))
            for _ in range(moment):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            if chat.state.unit is not None:
                assert isinstance(await claude.resume(chat), Reply)

    def check(chat: Chat) -> None:
        recorded = kinds(chat.path)
        assert 1 <= recorded.count("UserTurnTaken") <= len(moments)
        assert recorded.count("AssistantTurnTaken") == recorded.count("UserTurnTaken")

    run(script, open_conversations("memory:"), play, check=check)
