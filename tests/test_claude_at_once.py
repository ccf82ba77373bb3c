"""A message that is sent several times at once under one command id: one paid call, one answer, given each time."""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import anthropic
import pytest

from lastresort import CommandIdReused, Conversations, open_conversations
from lastresort.adapters.claude import AsyncClaude, Claude, Opinion, Outcome, Overtaken, Reply
from lastresort.adapters.loopback import Answer, Loopback, Request, Scripted, failing, loopback, text, tool_use
from lastresort.adapters.turns import under_way

from .claude_kit import CALM, kinds
from .gateway_kit import counted
from .loopback_kit import MODEL

WEATHER = {"name": "weather", "description": "w", "input_schema": {"type": "object", "properties": {}}}
HOW: dict[str, Any] = {"max_tokens": 500, "tools": [WEATHER]}
HERE: dict[str, Any] = {"api_key": "x", "max_retries": 0, "timeout": 30}


class Gate:
    """A model that answers once all who send have begun to."""

    def __init__(self, answers: Iterable[Scripted]) -> None:
        self.answers, self.asked, self.go = iter(answers), Event(), Event()

    def __call__(self, request: Request) -> Scripted:
        self.asked.set()
        assert self.go.wait(30)
        return next(self.answers)


async def calm(case: object) -> Opinion:
    return CALM


def in_threads(
    api: Loopback, gate: Gate, branch: str, opened: Callable[[], Conversations], words: list[str]
) -> list[Any]:
    """Send each of `words` in a thread of its own, with a store and a client of its own; return what came of it."""

    def send(said: str) -> Any:
        chats = opened()
        with anthropic.Anthropic(base_url=api.url, **HERE) as client:
            try:
                return Claude(client, assessor=lambda case: CALM, **HOW).send(chats.chat(branch), said, command_id="k")
            except (anthropic.APIError, CommandIdReused) as error:
                return error

    with ThreadPoolExecutor(len(words)) as pool, counted() as counting:
        sent = [pool.submit(send, words[0])]
        assert gate.asked.wait(30)
        sent += [pool.submit(send, said) for said in words[1:]]
        counting.until(len(words))  # if one did not wait, it would ask, and the script has no answer for it
        gate.go.set()
        return [one.result(60) for one in sent]


async def in_tasks(api: Loopback, gate: Gate, branch: str, chats: Conversations, times: int) -> list[Any]:
    async with anthropic.AsyncAnthropic(base_url=api.url, **HERE) as client:
        claude = AsyncClaude(client, assessor=calm, **HOW)
        sent = [asyncio.create_task(claude.send(chats.chat(branch), "Pay.", command_id="k")) for _ in range(times)]
        await asyncio.to_thread(gate.asked.wait, 30)
        await asyncio.sleep(0.3)
        gate.go.set()
        return await asyncio.gather(*sent, return_exceptions=True)


def replies(outcomes: list[Any]) -> list[tuple[str, int | None]]:
    assert all(isinstance(one, Reply) for one in outcomes), outcomes
    return [(one.text, one.version) for one in outcomes]


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
def test_three_at_once_are_answered_by_one_call(awaits: bool, tmp_path: Path) -> None:
    gate = Gate(["Paid."])
    url = f"sqlite:///{tmp_path}/chats.db"
    chats = open_conversations(url)
    chat = chats.start(model=MODEL)
    with loopback(gate, enforce=True) as api:
        if awaits:
            outcomes = asyncio.run(in_tasks(api, gate, chat.branch, chats, 3))
        else:
            outcomes = in_threads(api, gate, chat.branch, lambda: open_conversations(url), ["Pay."] * 3)
        assert api.calls == 1
    assert len(set(replies(outcomes))) == 1
    assert kinds(chat.path).count("UserTurnTaken") == kinds(chat.path).count("AssistantTurnTaken") == 1
    chats.close()


def test_an_event_loop_answers_though_more_wait_than_it_has_threads() -> None:
    gate, chats = Gate(["Paid."]), open_conversations("memory:")
    chat = chats.start(model=MODEL)
    with loopback(gate) as api:
        assert len(set(replies(asyncio.run(in_tasks(api, gate, chat.branch, chats, 60))))) == 1
        assert api.calls == 1


def test_an_answer_that_waits_for_tools_is_given_to_all() -> None:
    gate, chats = Gate([Answer([text("Let me look."), tool_use("weather")])]), open_conversations("memory:")
    chat = chats.start(model=MODEL)
    with loopback(gate) as api:
        outcomes = in_threads(api, gate, chat.branch, lambda: chats, ["Weather?"] * 3)
        assert api.calls == 1
    assert len({one.pending.calls[0].id for one in outcomes}) == 1


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
def test_where_the_call_fails_the_next_one_is_made(awaits: bool) -> None:
    """The error is held, as code that logs it would."""
    gate, chats = Gate([failing(500), "Paid."]), open_conversations("memory:")
    chat = chats.start(model=MODEL)
    with loopback(gate) as api:
        if awaits:
            failed, *others = asyncio.run(in_tasks(api, gate, chat.branch, chats, 3))
        else:
            failed, *others = in_threads(api, gate, chat.branch, lambda: chats, ["Pay."] * 3)
        assert api.calls == 2
    assert isinstance(failed, anthropic.InternalServerError)
    assert len(set(replies(others))) == 1


def test_other_words_under_the_same_id_are_not_answered() -> None:
    gate, chats = Gate(["Paid."]), open_conversations("memory:")
    chat = chats.start(model=MODEL)
    with loopback(gate) as api:
        reply, reused = in_threads(api, gate, chat.branch, lambda: chats, ["Pay.", "Do not pay."])
        assert api.calls == 1
    assert isinstance(reply, Reply)
    assert isinstance(reused, CommandIdReused)


def test_another_store_with_a_branch_of_the_same_name_has_an_answer_of_its_own() -> None:
    gate, stores = Gate(["One.", "Other."]), [open_conversations("memory:") for _ in range(2)]
    for chats in stores:
        chats.start(model=MODEL, conversation="c")
    left = iter(stores)
    with loopback(gate) as api:
        outcomes = in_threads(api, gate, "c", lambda: next(left), ["Pay."] * 2)
    assert [one.text for one in outcomes] == ["One.", "Other."]


def test_if_the_one_under_way_is_cancelled_another_goes_on() -> None:
    gate, chats = Gate(["Never read.", "Paid."]), open_conversations("memory:")
    chat = chats.start(model=MODEL)

    async def play(api: Loopback) -> Outcome:
        async with anthropic.AsyncAnthropic(base_url=api.url, **HERE) as client:
            claude = AsyncClaude(client, assessor=calm, **HOW)
            first = asyncio.create_task(claude.send(chat, "Pay.", command_id="k"))
            await asyncio.to_thread(gate.asked.wait, 30)
            second = asyncio.create_task(claude.send(chats.chat(chat.branch), "Pay.", command_id="k"))
            given_up = asyncio.create_task(claude.send(chats.chat(chat.branch), "Pay.", command_id="k"))
            await asyncio.sleep(0.2)
            for task in (given_up, first):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            gate.go.set()
            return await second

    with loopback(gate) as api:
        assert isinstance(asyncio.run(play(api)), Reply)
    assert kinds(chat.path).count("AssistantTurnTaken") == 1


def test_nobody_waits_for_a_stream_that_is_left_half_read() -> None:
    chats = open_conversations("memory:")
    chat = chats.start(model=MODEL)
    with loopback(lambda request: "Paid.") as api, anthropic.Anthropic(base_url=api.url, **HERE) as client:
        claude = Claude(client, assessor=lambda case: CALM, **HOW)
        with claude.stream(chat, "Pay.", command_id="k") as stream:
            next(iter(stream))
            assert isinstance(claude.send(chats.chat(chat.branch), "Pay.", command_id="k"), Reply)
            assert isinstance(stream.reply, Overtaken)


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
def test_streams_at_once_are_answered_by_one_call(awaits: bool) -> None:
    """Each of them shows the answer, though only one of them asked."""
    gate, chats = Gate(["Paid, in more pieces than one, as it comes."]), open_conversations("memory:")
    chat = chats.start(model=MODEL)

    def read(api: Loopback) -> tuple[str, Any]:
        with anthropic.Anthropic(base_url=api.url, **HERE) as client:
            claude = Claude(client, assessor=lambda case: CALM, **HOW)
            with claude.stream(chats.chat(chat.branch), "Pay.", command_id="k") as stream:
                return "".join(stream), stream.reply

    async def awaited(client: anthropic.AsyncAnthropic) -> tuple[str, Any]:
        claude = AsyncClaude(client, assessor=calm, **HOW)
        async with claude.stream(chats.chat(chat.branch), "Pay.", command_id="k") as stream:
            return "".join([piece async for piece in stream]), await stream.reply()

    async def all_awaited(api: Loopback) -> list[tuple[str, Any]]:
        async with anthropic.AsyncAnthropic(base_url=api.url, **HERE) as client:
            tasks = [asyncio.create_task(awaited(client)) for _ in range(3)]
            await asyncio.to_thread(gate.asked.wait, 30)
            await asyncio.sleep(0.3)
            gate.go.set()
            return await asyncio.gather(*tasks)

    with loopback(gate) as api:
        if awaits:
            read_by_all = asyncio.run(all_awaited(api))
        else:
            with ThreadPoolExecutor(3) as pool:
                reading = [pool.submit(read, api) for _ in range(3)]
                assert gate.asked.wait(30)
                time.sleep(0.3)
                gate.go.set()
                read_by_all = [one.result(60) for one in reading]
        assert api.calls == 1
    assert {shown for shown, _ in read_by_all} == {"Paid, in more pieces than one, as it comes."}
    assert len(set(replies([reply for _, reply in read_by_all]))) == 1


def test_a_stream_that_is_still_read_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes, as long as its reader comes back for more."""
    monkeypatch.setattr(under_way, "LEFT_AFTER", 0.3)
    chats = open_conversations("memory:")
    chat = chats.start(model=MODEL)
    words = "Paid, in more pieces than one, and each of them takes a while to be read by somebody who reads slowly."
    with loopback(lambda request: words) as api, anthropic.Anthropic(base_url=api.url, **HERE) as client:
        claude = Claude(client, assessor=lambda case: CALM, **HOW)
        with claude.stream(chat, "Pay.", command_id="k") as stream, ThreadPoolExecutor(1) as pool:
            pieces = iter(stream)
            shown = next(pieces)
            sent = pool.submit(claude.send, chats.chat(chat.branch), "Pay.", command_id="k")
            for piece in pieces:
                time.sleep(0.15)
                shown += piece
            assert isinstance(stream.reply, Reply)
            assert sent.result(60).text == shown == words
        assert api.calls == 1
