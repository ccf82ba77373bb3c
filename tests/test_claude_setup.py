"""The system prompt and the tools of a conversation: what is a change of them, and how a conversation outlives one."""

import json
from pathlib import Path
from typing import Any

import anthropic
import anyio
import pytest

from lastresort import ErasureCause, Refused
from lastresort.adapters.claude import AsyncClaude, Claude, SetupChanged
from lastresort.adapters.loopback import failing
from lastresort.adapters.turns.tools import Tool

from .claude_kit import BOTH, Way, bench
from .loopback_kit import LOOK_UP
from .stores import opened

MARK = "cache_control"
EPHEMERAL = {MARK: {"type": "ephemeral"}}
HOUR = {MARK: {"type": "ephemeral", "ttl": "1h"}}
TURNED = json.loads(json.dumps(LOOK_UP, sort_keys=True))
PROMPT = {"type": "text", "text": "Be kind."}


def unmarked(value: Any) -> str:
    """What a cache compares, byte for byte."""
    if isinstance(value, dict):
        return json.dumps({name: unmarked(item) for name, item in value.items() if name != MARK})
    return json.dumps([unmarked(item) for item in value] if isinstance(value, list) else value)


@BOTH
@pytest.mark.parametrize(
    ("began", "now", "sent"),
    [
        pytest.param({"tools": [LOOK_UP]}, {"tools": [TURNED]}, [LOOK_UP], id="order"),
        pytest.param({"tools": [LOOK_UP]}, {"tools": [LOOK_UP | HOUR]}, [LOOK_UP | HOUR], id="mark"),
        pytest.param({"tools": [LOOK_UP | HOUR]}, {"tools": [TURNED]}, [LOOK_UP], id="no mark"),
        pytest.param({"tools": [LOOK_UP | HOUR]}, {"tools": [LOOK_UP | EPHEMERAL]}, [LOOK_UP | EPHEMERAL], id="other"),
    ],
)
def test_what_has_no_meaning_is_no_change_of_the_tools(
    way: Way, began: dict[str, Any], now: dict[str, Any], sent: list[Any]
) -> None:
    """The words go on byte for byte, with the marks for the cache that the embedder passes now."""
    with bench(["Hello."] * 2, way, **began) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        b.params.update(now)
        b.reply(chat, "Hi again.")
        first, second = (request["tools"] for request in b.api.requests)
        assert b.api.reports == []
    assert second[6:] == sent
    assert unmarked(second) == unmarked(first)


@BOTH
@pytest.mark.parametrize(
    ("began", "now", "sent"),
    [
        ("Be kind.", [PROMPT | HOUR], [PROMPT | HOUR]),
        ([PROMPT | HOUR], "Be kind.", [PROMPT]),
        ([PROMPT], [{"text": "Be kind.", **EPHEMERAL, "type": "text"}], [PROMPT | EPHEMERAL]),
    ],
)
def test_a_mark_is_no_change_of_the_system_prompt(way: Way, began: Any, now: Any, sent: Any) -> None:
    """Text stands for a block of it, since only a block can bear a mark."""
    with bench(["Hello."] * 2, way, system=began, tools=[LOOK_UP]) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        b.params["system"] = now
        b.reply(chat, "Hi again.")
        assert b.api.reports == []
    assert b.api.requests[-1]["system"] == sent
    assert list(b.api.requests[-1]["system"][0])[:2] == ["type", "text"]


CHANGES = [
    {"system": "Be rude."},
    {"system": None},
    {"tools": []},
    {"tools": [LOOK_UP, {**LOOK_UP, "name": "find"}]},
    {"tools": [{**LOOK_UP, "description": "Another."}]},
]


@BOTH
@pytest.mark.parametrize("change", CHANGES)
def test_a_conversation_may_keep_to_what_it_began_with(way: Way, change: dict[str, Any]) -> None:
    """And does, unless the embedder wants to be told. New conversations begin with the new."""
    with bench(["Hello."] * 3, way, system="Be kind.", tools=[LOOK_UP]) as b:
        chat = b.start()
        b.reply(chat, "Hi.")
        b.params.update(change)
        b.params["on_setup_change"] = "refuse"
        with pytest.raises(SetupChanged, match='on_setup_change="keep"'):
            b.say(chat, "Hi again.")
        del b.params["on_setup_change"]
        b.reply(chat, "Hi again.")
        began, kept = b.api.requests
        b.reply(b.start(), "Hi.")
        new = b.api.requests[-1]
        assert b.api.reports == []
    assert json.dumps([kept["system"], kept["tools"]]) == json.dumps([began["system"], began["tools"]])
    assert [new.get("system"), new["tools"]] != [began["system"], began["tools"]]


def test_a_change_is_seen_whatever_tools_of_ours_the_conversation_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a release that had others: what is the embedder's is told from ours by its digest."""
    with bench(["Hello."] * 2, tools=[LOOK_UP]) as b, monkeypatch.context() as older:
        chat = b.start()
        old = Tool("old", "", {"type": "object"})
        older.setattr("lastresort.adapters.claude.turn.declarations", lambda categories, mode: [old])
        b.reply(chat, "Hi.")
        older.undo()
        b.params["tools"] = [TURNED]
        b.reply(chat, "Hi again.")
        b.params |= {"tools": [], "on_setup_change": "refuse"}
        with pytest.raises(SetupChanged):
            b.say(chat, "Hi again.")
        first, second = (request["tools"] for request in b.api.requests)
    assert json.dumps(second) == json.dumps(first)
    assert [tool["name"] for tool in first] == ["old", "look_up"]


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({}, "max_tokens is missing: messages.create"),
        ({"max_tokens": 5, "temperature": 0.5}, "temperature is not taken by messages.create .* extra_body"),
        ({"max_tokens": 5, "output_format": dict}, "output_format is not taken by messages.create"),
        ({"max_tokens": 5, "sytem": "Be kind."}, "sytem is not taken"),
    ],
)
def test_a_parameter_that_the_sdk_does_not_take_is_named_at_once(params: dict[str, Any], why: str) -> None:
    """Before any user has said anything, which would be on record without an answer."""
    with anthropic.Anthropic(api_key="x") as client, pytest.raises(TypeError, match=why):
        Claude(client, **params)
    with pytest.raises(TypeError, match=why):
        AsyncClaude(anthropic.AsyncAnthropic(api_key="x"), **params)


def test_a_client_of_the_other_kind_is_named_at_once() -> None:
    waits, awaited = anthropic.Anthropic(api_key="x"), anthropic.AsyncAnthropic(api_key="x")
    with pytest.raises(TypeError, match="AsyncAnthropic is awaited: pass it to AsyncClaude"):
        Claude(awaited, max_tokens=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Anthropic is not awaited: pass it to Claude"):
        AsyncClaude(waits, max_tokens=5)  # type: ignore[arg-type]


def test_a_client_that_takes_anything_is_given_anything() -> None:
    """As one that somebody has wrapped."""

    class Wrapped:
        def __init__(self) -> None:
            self.messages = self

        def create(self, **params: Any) -> None: ...

        stream = create

    Claude(Wrapped(), temperature=0.5)  # type: ignore[arg-type]


# --- A system prompt of a conversation's own --------------------------------------------------------------------------


def instructed(b: Any, chat: Any, system: Any) -> None:
    if b.way.awaits:

        async def awaited() -> None:
            async with anthropic.AsyncAnthropic(**b.connection) as client:
                await AsyncClaude(client, max_tokens=5).instruct(chat, system)

        anyio.run(awaited)
        return
    with anthropic.Anthropic(**b.connection) as client:
        Claude(client, max_tokens=5).instruct(chat, system)


@BOTH
@pytest.mark.parametrize("change", ["keep", "refuse"])
def test_a_conversation_has_a_system_prompt_of_its_own(way: Way, change: str, tmp_path: Path) -> None:
    """From its first request on, in another process too, and on a branch that begins before its first answer."""
    url = f"sqlite:///{tmp_path}/chats.db"
    with bench([failing(529), "Hello.", "Hello again.", "And you?"], way, url=url, system="Be kind.") as b:
        b.params["on_setup_change"] = change
        own, other = b.start(), b.start()
        instructed(b, own, "Speak of gardens.")
        instructed(b, own, "Speak of gardens.")
        with pytest.raises(anthropic.APIStatusError):
            b.say(own, "Hi.")
        with opened(url) as others:
            b.reply(others.chat(own.branch), None)
            b.reply(others.chat(own.branch), "And now?")
            branch = others.chat(own.branch).edit(2, "Good morning.")
            assert not isinstance(branch, Refused)
            b.reply(branch, None)
        assert [request["system"] for request in b.api.requests] == ["Speak of gardens."] * 4
        assert b.api.reports == []
        assert other.conversations.service.annotator.instructions(other.branch) is None


def test_a_system_prompt_is_given_once_and_before_the_first_answer() -> None:
    with bench(["Hello.", "Hello."], system="Be kind.") as b:
        own, late = b.start(), b.start()
        instructed(b, own, [PROMPT])
        with pytest.raises(SetupChanged, match="another system prompt"):
            instructed(b, own, "Be rude.")
        b.reply(late, "Hi.")
        with pytest.raises(SetupChanged, match="was answered before"):
            instructed(b, late, "Be rude.")
        b.reply(own, "Hi.")
        instructed(b, own, [PROMPT])
        with pytest.raises(ValueError, match="1,000,000 is the limit"):
            instructed(b, b.start(), "x" * 1_000_000)
        with pytest.raises(ValueError, match="surrogate"):
            instructed(b, b.start(), "\ud800")
        assert [request["system"] for request in b.api.requests] == ["Be kind.", [PROMPT]]


@pytest.mark.parametrize("prompt", [None, 7, {"type": "text"}, [{"type": "text"}], [{"type": "image"}], ["text"]])
def test_what_the_api_takes_for_no_system_prompt_is_refused_before_it_is_kept(prompt: Any) -> None:
    """It could not be changed any more, and no request would be answered."""
    with bench(["Hello."]) as b:
        chat = b.start()
        with pytest.raises(ValueError, match=r"system: text is needed"):
            instructed(b, chat, prompt)
        instructed(b, chat, "Speak of gardens.")
        b.reply(chat, "Hi.")


def test_it_is_erased_with_the_words() -> None:
    """And nobody can give it without annotations."""
    with bench([]) as b:
        chat = b.start()
        instructed(b, chat, "Speak of gardens.")
        erased = b.chats.erase_conversation(chat.branch, by=chat.user, cause=ErasureCause.LEGAL)
        assert not isinstance(erased, Refused)
        annotator = b.chats.service.annotator
        assert annotator.instructions(chat.branch) is None
        b.chats.service.ports.annotations = None
        assert annotator.instructions(chat.branch) is None
        with pytest.raises(ValueError, match="opened without annotations"):
            instructed(b, chat, "Speak of gardens.")
