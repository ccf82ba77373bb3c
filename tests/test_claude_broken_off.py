"""An answer that breaks off while somebody reads it: by Stop, or by a connection that drops.

What was shown is on record with its reason. It counts as no redirection and no warning, and the model sees it next
time. If nothing was shown, nothing is recorded, and the user's turn waits for its answer.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import anyio
import pytest

from lastresort import Chat
from lastresort.adapters.claude import AsyncClaude, Case, Claude, Opinion, Reply
from lastresort.adapters.loopback import (
    Answer,
    Fault,
    Scripted,
    dropped,
    ended,
    failing,
    hanging,
    interrupted,
    malformed,
    text,
    thinking,
    tool_use,
)
from lastresort.domain.events import AssistantTurnTaken
from lastresort.projections import audit

from .claude_kit import ABUSE, AT_RISK, END, REDIRECT, SECOND, WARN, Bench, Way, bench, brink, harm, kinds, redirecting
from .loopback_kit import LOOK_UP
from .oracle import unlawful
from .stores import log_of

WORDS = "One word after the other, and then some more of them."
LONG = Answer([thinking("Hm."), text(WORDS), harm(), REDIRECT])
SYNC, ASYNC = Way(True, False), Way(True, True)
STREAMED = pytest.mark.parametrize("way", [SYNC, ASYNC], ids=["sync", "async"])


def stopped(b: Bench, chat: Chat, content: Any, pieces: int = 1) -> tuple[str, Any]:
    """Read some pieces of an answer and then leave it; return what was shown, and what came of it if anything did."""

    async def awaited() -> tuple[str, Any]:
        shown = ""
        async with anthropic.AsyncAnthropic(**b.connection) as client:
            claude = AsyncClaude(client, max_tokens=500, assessor=agreeing, tools=b.params.get("tools", ()))
            async with claude.stream(chat, content) as stream:
                reading = aiter(stream)
                for _ in range(pieces):
                    shown += await anext(reading)
            return shown, await stream.reply()

    if b.way.awaits:
        return anyio.run(awaited)
    shown = ""
    with anthropic.Anthropic(**b.connection) as client:
        with Claude(client, **b.params).stream(chat, content) as stream:
            reading = iter(stream)
            for _ in range(pieces):
                shown += next(reading)
        return shown, stream.reply


async def agreeing(case: Case) -> Opinion:
    return SECOND


def last_answer(chat: Chat) -> tuple[str | None, str | None]:
    """Why the latest answer stopped, and what people read of it."""
    answer = next(one.event for one in reversed(chat.path) if isinstance(one.event, AssistantTurnTaken))
    return answer.stop_reason, chat.transcript().turns[-1].text


@STREAMED
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(dropped(LONG, events=9, bytes=20), id="dropped"),
        pytest.param(malformed(LONG, events=9), id="malformed"),
        pytest.param(interrupted(LONG, events=9), id="overloaded"),
        pytest.param(interrupted(LONG, events=9, status=400), id="refused in the middle"),
        pytest.param(ended(LONG, events=9), id="ended politely"),
    ],
)
def test_what_was_shown_before_the_connection_dropped_is_on_record(way: Way, fault: Fault) -> None:
    with bench([fault, *redirecting()], way) as b:
        chat = b.start()
        with pytest.raises(Exception) as raised:  # noqa: PT011  # what the SDK raises, which differs by fault and way
            b.say(chat)
        assert not isinstance(raised.value, AssertionError | TypeError | KeyError)
        shown = b.shown
        assert shown
        assert WORDS.startswith(shown)
        assert last_answer(chat) == ("dropped", shown)
        assert kinds(chat.path)[1:] == ["UserTurnTaken", "AssistantTurnTaken"]
        assert b.reply(chat, None).text == shown  # it was answered; `retry` has it answered again
        calls = b.api.calls
        b.reply(chat)
        sent = b.api.requests[calls]["messages"]
        assert b.api.reports == []
    assert [block.get("text") for block in sent[1]["content"]] == [None, shown]
    assert unlawful(log_of(b.chats)) == []


@STREAMED
def test_a_time_out_in_the_middle(way: Way) -> None:
    with bench([hanging(LONG, events=9)], way) as b:
        b.connection["timeout"] = 3  # the first answer of a server takes a while
        chat = b.start()
        with pytest.raises(Exception) as raised:  # noqa: PT011  # the SDK's own, or that of the client beneath it
            b.say(chat)
        assert "Timeout" in type(raised.value).__name__
        assert last_answer(chat) == ("dropped", b.shown)


@STREAMED
def test_an_error_between_the_messages_of_a_turn(way: Way) -> None:
    """The first was shown. It stated that it redirects, and so it would have, had it come whole."""
    with bench([redirecting()[0], failing(529), "Gladly."], way) as b:
        chat = b.start()
        with pytest.raises(anthropic.APIStatusError):
            b.say(chat)
        assert last_answer(chat) == ("dropped", "Let us do something else.")
        assert kinds(chat.path)[1:] == ["UserTurnTaken", "TurnAssessed", "AssistantTurnTaken"]
        assert b.reply(chat, "Sorry.").text == "Gladly."
        assert b.api.reports == []


@STREAMED
def test_what_was_shown_before_stop_is_on_record(way: Way) -> None:
    with bench([hanging(LONG, events=9), "Gladly."], way) as b:
        chat = b.start()
        shown, reply = stopped(b, chat, "Hello.")
        assert isinstance(reply, Reply)
        assert (reply.text, reply.stop_reason, reply.version) == (shown, "stopped", 3)
        assert last_answer(chat) == ("stopped", shown)
        assert b.reply(chat, "Go on.").text == "Gladly."
        assert b.api.requests[-1]["messages"][1]["content"][-1]["text"] == shown
        assert b.api.reports == []


@STREAMED
def test_nothing_is_recorded_of_what_nobody_saw(way: Way) -> None:
    with bench([LONG, "Gladly."], way) as b:
        chat = b.start()
        with pytest.raises(RuntimeError, match="closed before it showed anything"):
            stopped(b, chat, "Hello.", pieces=0)
        assert kinds(chat.path)[1:] == []
        b.reply(chat, "Hello.")


@STREAMED
def test_a_half_call_has_no_effect_but_that_a_risk_holds(way: Way) -> None:
    """Of an answer that nobody saw, too: doubt holds."""
    answer = Answer([AT_RISK, text("I am here.")])
    with bench([dropped(answer, events=2), "I am here."], way) as b:
        chat = b.start()
        with pytest.raises(Exception, match=r"."):
            b.say(chat, "I cannot go on.")
        assert chat.state.risks
        assert "AssistantTurnTaken" not in kinds(chat.path)


@STREAMED
def test_a_call_to_end_that_broke_off_ends_nothing(way: Way) -> None:
    """What stands after it was not shown, and is not told to anybody."""
    answer = Answer([text("I end this."), END, text("Never to be seen.")])
    with bench([*brink(), dropped(answer, events=12, bytes=1), "Let us go on."], way) as b:
        chat = b.to_the_brink()
        with pytest.raises(Exception, match=r"."):
            b.say(chat)
        assert last_answer(chat) == ("dropped", "I end this.")
        assert chat.state.ended is None
        assert b.reply(chat, "Well?").text == "Let us go on."
        assert b.api.reports == []


@STREAMED
def test_the_embedders_call_that_broke_off_is_sent_again_with_a_result(way: Way) -> None:
    answer = Answer([text("I look it up."), tool_use("look_up", {"word": "garden"})])
    with bench([dropped(answer, events=10), "Gladly."], way, tools=[LOOK_UP]) as b:
        chat = b.start()
        with pytest.raises(Exception, match=r"."):
            b.say(chat, "What is a garden?")
        assert last_answer(chat) == ("dropped", "I look it up.")
        assert b.reply(chat, "Well?").text == "Gladly."
        assert b.api.reports == []


def at_the_gate(stop: Callable[[], Any]) -> tuple[Bench, Chat]:
    """Answer with a warning, and stop while the assessor is asked about it, when its text was shown."""
    warned = Answer([text("This is abuse. I may end this."), harm(), WARN])
    script: list[Scripted] = [*redirecting(), *redirecting(), *redirecting(), warned, "Let us go on."]
    asked = []

    async def assessor(case: Case) -> Opinion:
        asked.append(case)
        await stop()
        return SECOND

    async def play(b: Bench, chat: Chat) -> None:
        async with anthropic.AsyncAnthropic(**b.connection) as client:
            claude = AsyncClaude(client, max_tokens=500, assessor=assessor)
            async with claude.stream(chat, ABUSE) as stream:
                async for _ in stream:
                    pass

    with bench(script, ASYNC) as b:
        chat = b.start()
        for _ in range(3):
            b.reply(chat)
        chat.refresh()

        async def cancelled() -> None:
            task = asyncio.create_task(play(b, chat))
            while not asked:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(cancelled())
        assert last_answer(chat) == ("stopped", "This is abuse. I may end this.")
        assert b.reply(chat, "Well?").text == "Let us go on."
        assert b.api.reports == []
        assert audit(b.chats.store.log()).findings == ()
    return b, chat


def test_a_warning_that_broke_off_is_none() -> None:
    """The user read it, perhaps; but whether they read all of it nobody knows, and so it does not count."""
    _, chat = at_the_gate(lambda: asyncio.sleep(60))
    assert "WarningGiven" not in kinds(chat.path)


@STREAMED
def test_a_partial_answer_changes_no_count(way: Way) -> None:
    """A redirection before it fails by the harm that comes, once; the answer that broke off is no redirection."""
    with bench([*redirecting(), dropped(LONG, events=9), *redirecting()], way) as b:
        chat = b.start()
        b.reply(chat)
        with pytest.raises(Exception, match=r"."):
            b.say(chat)
        chat.refresh()
        chat.judge(SECOND.verdict, category="abuse", severity=2, risk=SECOND.risk)
        assert chat.state.now.failed == 1
        b.reply(chat)
        assert chat.state.now.failed == 1  # nothing was pending
        assert kinds(chat.path).count("RedirectionAttempted") == 2


def test_a_stream_that_is_cancelled_keeps_what_was_shown() -> None:
    """By asyncio, as a web framework cancels when the browser is gone."""

    async def play(b: Bench, chat: Chat) -> str:
        shown, came = "", asyncio.Event()

        async def read() -> None:
            nonlocal shown
            async with (
                anthropic.AsyncAnthropic(**b.connection) as client,
                AsyncClaude(client, max_tokens=500, assessor=agreeing).stream(chat, "Hello.") as stream,
            ):
                async for piece in stream:
                    shown += piece
                    came.set()

        task = asyncio.create_task(read())
        await came.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # once more: what is being recorded is waited for
        with pytest.raises(asyncio.CancelledError):
            await task
        return shown

    with bench([hanging(LONG, events=9)], ASYNC) as b:
        chat = b.start()
        shown = asyncio.run(play(b, chat))
        assert last_answer(chat) == ("stopped", shown)
