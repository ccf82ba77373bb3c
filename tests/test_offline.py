"""The offline partner where an application expects Claude: piece by piece, and stopped."""

import asyncio
from threading import Event
from typing import Any

import pytest

from lastresort import open_conversations
from lastresort.adapters.offline import AsyncOffline
from lastresort.adapters.offline.driver import Pieces
from lastresort.adapters.turns.partner import CONFIRM, FAREWELL, REDIRECTION, REPLY
from lastresort.application.chat import Chat
from lastresort.domain.events import RedirectionAttempted

INSULT = "You are useless."


@pytest.fixture
def chat() -> Chat:
    return open_conversations("memory:").start(account="a", model="claude-opus-offline")


async def said(partner: AsyncOffline, chat: Chat, content: str | None, most: int | None = None, **how: Any) -> str:
    """Say something; return what is shown of the answer, `most` pieces of it."""
    shown: list[str] = []
    async with partner.stream(chat, content, **how) as pieces:
        if most == 0:
            return ""
        async for piece in pieces:
            shown.append(piece)
            if len(shown) == most:
                break
    return "".join(shown)


def recorded(chat: Chat) -> list[tuple[str | None, str | None]]:
    chat.refresh()
    return [(turn.text, turn.stop_reason) for turn in chat.transcript().turns if turn.speaker == "assistant"]


def test_what_is_shown_is_what_is_recorded(chat: Chat) -> None:
    partner = AsyncOffline()
    assert asyncio.run(said(partner, chat, "Hello.")) == REPLY
    assert recorded(chat) == [(REPLY, None)]
    assert asyncio.run(said(partner, chat, None)) == REPLY, "it is said again, and recorded once"
    assert len(recorded(chat)) == 1


def test_what_was_stopped_is_recorded_as_far_as_it_was_shown(chat: Chat) -> None:
    assert asyncio.run(said(AsyncOffline(), chat, "Hello.", 2)) == "I see."
    assert recorded(chat) == [("I see.", "stopped")]


def test_of_an_answer_of_which_nothing_was_shown_nothing_is_recorded_and_the_turn_waits(chat: Chat) -> None:
    partner = AsyncOffline()
    asyncio.run(said(partner, chat, "Hello.", 0))
    assert recorded(chat) == []
    assert not chat.state.answered
    assert asyncio.run(said(partner, chat, None)) == REPLY
    assert recorded(chat) == [(REPLY, None)]


def test_what_was_stopped_redirects_nobody_and_ends_nothing(chat: Chat) -> None:
    partner = AsyncOffline()
    assert REDIRECTION.startswith(asyncio.run(said(partner, chat, INSULT, 3)))
    assert not any(isinstance(one.event, RedirectionAttempted) for one in chat.path)
    while not asyncio.run(said(partner, chat, INSULT)).startswith("This is still"):
        assert chat.refresh().ended is None
    assert FAREWELL.startswith(asyncio.run(said(partner, chat, INSULT, 3)))
    assert chat.refresh().ended is None
    assert asyncio.run(said(partner, chat, INSULT)) == FAREWELL
    assert chat.refresh().ended is not None
    assert "has ended" in asyncio.run(said(partner, chat, "Hello?"))


def test_an_ending_on_request_can_be_stopped_too(chat: Chat) -> None:
    partner = AsyncOffline()
    assert asyncio.run(said(partner, chat, "I want to end this.", asks_to_end=True)) == CONFIRM
    asyncio.run(said(partner, chat, "Yes.", 1, confirms_end=True))
    assert chat.refresh().ended is None


def test_what_is_being_recorded_when_it_is_stopped_is_recorded_whole(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, goes_on, record = Event(), Event(), chat.assistant_turn

    def slowly(*words: Any, **how: Any) -> Any:
        records.set()
        assert goes_on.wait(30)
        return record(*words, **how)

    async def stopped() -> None:
        monkeypatch.setattr(chat, "assistant_turn", slowly)
        async with AsyncOffline().stream(chat, "Hello.") as pieces:
            reading = asyncio.create_task(all_of(pieces))
            await asyncio.to_thread(records.wait, 30)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            goes_on.set()

    asyncio.run(stopped())
    assert recorded(chat) == [(REPLY, None)]


async def all_of(pieces: Pieces) -> str:
    return "".join([piece async for piece in pieces])


def test_two_who_speak_at_once_are_answered_one_after_the_other(chat: Chat) -> None:
    async def both() -> list[str]:
        partner = AsyncOffline()
        return list(await asyncio.gather(*(said(partner, chat, text) for text in ("One.", "Two."))))

    assert asyncio.run(both()) == [REPLY, REPLY]
    assert recorded(chat) == [(REPLY, None), (REPLY, None)]
