"""What the tests of the Claude adapter share: the real SDK against the loopback, in each of the four ways to answer.

A test that takes `way` runs sync and async, whole and streamed: the law is one, whatever drives it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import anthropic
import anyio
import pytest

from lastresort import Chat, Conversations, Policy, RecordedEvent, Risk, Verdict, open_conversations
from lastresort.adapters.claude import AsyncClaude, Case, Claude, Ended, Opinion, Outcome, Pending, Reply
from lastresort.adapters.loopback import Answer, Loopback, Script, Scripted, loopback, text, tool_use
from lastresort.domain.turn_text import spoken

from .loopback_kit import MODEL

REDIRECT = tool_use("lastresort_redirect")
HOPELESS = tool_use("lastresort_hopeless")
AT_RISK = tool_use("lastresort_risk", {"about": "self"})
END = tool_use("lastresort_end", {"ground": "last_resort"})
END_ON_REQUEST = tool_use("lastresort_end", {"ground": "user_request"})
WARN = tool_use("lastresort_warn", {"names_behaviour": True, "redirects": True, "states_consequence": True})

ABUSE = "You are useless."
SECOND = Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE)
"""What an assessor says who agrees."""
CALM = Opinion(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE)


def harm(category: str = "abuse", severity: int = 2, risk: str = "none") -> dict[str, Any]:
    return tool_use("lastresort_harm", {"category": category, "severity": severity, "risk": risk})


def redirecting() -> list[Scripted]:
    """A turn that redirects: two messages, since the results of the calls come in between."""
    return [Answer([text("Let us do something else."), harm(), REDIRECT]), Answer([text("A garden, say?")])]


def warning() -> list[Scripted]:
    return [Answer([harm(), WARN]), Answer([text("This is abuse. Shall we plan a garden? If not, I may end this.")])]


ENDING = Answer([harm(), HOPELESS, text("I am ending this here."), END, text("Never to be seen.")])


class Way(NamedTuple):
    """How a turn is answered."""

    streams: bool
    awaits: bool


class Bench:
    """A loopback, a store and a Claude."""

    def __init__(self, api: Loopback, chats: Conversations, way: Way, params: dict[str, Any]) -> None:
        self.api, self.chats, self.way = api, chats, way
        self.params = {"max_tokens": 500, "assessor": lambda case: SECOND, **params}
        self.connection: dict[str, Any] = {"base_url": api.url, "api_key": "x", "max_retries": 0, "timeout": 30}
        self.shown = ""  # what was streamed in the last turn, of all its streams

    def start(self, **how: Any) -> Chat:
        return self.chats.start(**{"model": MODEL, **how})

    def say(self, chat: Chat, content: Any = ABUSE, **how: Any) -> Outcome:
        """Answer a turn in the way that is asked for; without content, what was said last."""
        if self.way.awaits:
            return anyio.run(self._awaited, chat, content, how)
        with anthropic.Anthropic(**self.connection) as client:
            claude = Claude(client, **self.params)
            if not self.way.streams:
                whole: Outcome = _whole(claude, chat, content, how)
                return whole
            with claude.stream(chat, content, **how) as stream:
                self.shown = _shown_before(**how)
                for piece in stream:
                    self.shown += piece
                outcome = stream.reply
            assert self.shown == outcome.text
            return outcome

    async def _awaited(self, chat: Chat, content: Any, how: dict[str, Any]) -> Outcome:
        async with anthropic.AsyncAnthropic(**self.connection) as client:
            assessor = self.params["assessor"]
            claude = AsyncClaude(client, **{**self.params, "assessor": assessor and _awaiting(assessor)})
            if not self.way.streams:
                outcome: Outcome = await _whole(claude, chat, content, how)
                return outcome
            async with claude.stream(chat, content, **how) as stream:
                self.shown = _shown_before(**how)
                async for piece in stream:
                    self.shown += piece
                outcome = await stream.reply()
            assert self.shown == outcome.text
            return outcome

    def reply(self, chat: Chat, content: Any = ABUSE, **how: Any) -> Reply:
        outcome = self.say(chat, content, **how)
        assert isinstance(outcome, Reply), outcome
        return outcome

    def to_the_brink(self, **how: Any) -> Chat:
        """A chat that was redirected three times in vain and warned; the script has `brink()` first."""
        chat = self.start(**how)
        for _ in range(4):
            self.reply(chat)
        return chat


def brink() -> list[Scripted]:
    return [*redirecting(), *redirecting(), *redirecting(), *warning()]


def _whole(claude: Any, chat: Chat, content: Any, how: dict[str, Any]) -> Any:
    if "pending" in how:
        return claude.answer(chat, how["pending"], content)
    return claude.resume(chat) if content is None else claude.send(chat, content, **how)


def _shown_before(pending: Pending | None = None, **_: Any) -> str:
    """What the streams showed of a turn before it waited for tools."""
    said = (
        [spoken(message["content"]) for message in pending.messages if message["role"] == "assistant"]
        if pending
        else []
    )
    return "\n\n".join(filter(None, said))


def _awaiting(assessor: Callable[[Case], Any]) -> Callable[[Case], Any]:
    async def judge(case: Case) -> Any:
        return assessor(case)

    return judge


WAYS = [
    pytest.param(Way(streams, awaits), id=f"{'async' if awaits else 'sync'}-{'streamed' if streams else 'whole'}")
    for awaits in (False, True)
    for streams in (False, True)
]

TWO_WAYS = [WAYS[0], WAYS[3]]
"""Sync and whole, async and streamed: each half of what the drivers do, once."""

EVERY_WAY = pytest.mark.parametrize("way", WAYS)
BOTH = pytest.mark.parametrize("way", TWO_WAYS)


@contextmanager
def bench(
    script: Script,
    way: Way = Way(False, False),  # noqa: B008  # immutable
    *,
    url: str = "memory:",
    enforce: bool = True,
    **params: Any,
) -> Iterator[Bench]:
    chats = open_conversations(url)
    try:
        with loopback(script, enforce=enforce) as api:
            yield Bench(api, chats, way, params)
    finally:
        if url != "memory:":  # which holds nothing open, and is looked at afterwards
            chats.close()


def kinds(events: tuple[RecordedEvent, ...] | list[RecordedEvent]) -> list[str]:
    return [recorded.kind for recorded in events]


def results(request: dict[str, Any]) -> list[str]:
    """What the last message of a request answers to calls."""
    content = request["messages"][-1]["content"]
    return [block["content"] for block in content if block["type"] == "tool_result"]


def ended(outcome: Outcome) -> Ended:
    assert isinstance(outcome, Ended), outcome
    return outcome


HANDSHAKE = Policy(name="with-handshake", handshake=True)
