"""Functions as tools: `run` calls what the model calls for, and stands on the same turn as everything else."""

from collections.abc import Callable
from typing import Any

import anthropic
import anyio
import pytest
from anthropic import beta_async_tool, beta_tool
from anthropic.lib.tools import ToolError

from lastresort.adapters.claude import AsyncClaude, Claude, Ended, Outcome, Overtaken, Reply
from lastresort.adapters.loopback import Answer, Scripted, loopback, tool_use
from lastresort.projections import audit

from .claude_kit import CALM, ENDING, HOPELESS, SECOND, brink, harm
from .loopback_kit import LOOK_UP, MODEL
from .stores import opened


@beta_tool
def weather(place: str) -> str:
    """Say how the weather is.

    Args:
        place: where.
    """
    if place == "nowhere":
        raise ToolError("no such place")
    if place == "half":
        return "\ud83d"
    return f"rain in {place}"


@beta_async_tool
async def tides(place: str) -> Any:
    """Say when the tide is high."""
    await anyio.sleep(0)
    return [{"type": "text", "text": f"noon in {place}"}]


@beta_tool
def nothing() -> Any:
    """Do nothing."""


def calls(*names: str, **input: Any) -> Answer:
    return Answer([tool_use(name, input) for name in names])


def run(script: list[Scripted], *content: Any, awaits: bool, tools: list[Any], **how: Any) -> tuple[Outcome, Any]:
    """What came of the last of several turns, and the requests."""
    with loopback(script, enforce=True) as api, opened("memory:") as chats:
        chat = chats.start(model=MODEL)
        connection: dict[str, Any] = {"base_url": api.url, "api_key": "x", "max_retries": 0}
        how = {"max_tokens": 500, "tools": tools, **how}
        opinion = how.pop("opinion", CALM)

        async def awaited() -> list[Outcome]:
            async def judge(case: object) -> Any:
                return opinion

            async with anthropic.AsyncAnthropic(**connection) as client:
                claude = AsyncClaude(client, assessor=judge, **how)
                return [await claude.run(chat, said) for said in content]

        if awaits:
            return anyio.run(awaited)[-1], api.requests
        with anthropic.Anthropic(**connection) as client:
            claude = Claude(client, assessor=lambda case: opinion, **how)
            return [claude.run(chat, said) for said in content][-1], api.requests


BOTH = pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])


def results(request: dict[str, Any]) -> list[tuple[Any, bool]]:
    blocks = request["messages"][-1]["content"]
    return [(one.get("content"), one.get("is_error", False)) for one in blocks if one["type"] == "tool_result"]


@BOTH
def test_functions_are_declared_and_called(awaits: bool) -> None:
    script: list[Scripted] = [calls("weather", place="Bath"), calls("weather", place="York"), "It rains."]
    outcome, asked = run(script, "How is the weather?", awaits=awaits, tools=[weather])
    assert isinstance(outcome, Reply)
    assert outcome.text == "It rains."
    declared = next(tool for tool in asked[0]["tools"] if tool["name"] == "weather")
    assert declared["input_schema"]["properties"]["place"]["type"] == "string"
    assert [results(one) for one in asked[1:]] == [[("rain in Bath", False)], [("rain in York", False)]]


def test_functions_that_are_awaited() -> None:
    outcome, asked = run(
        [calls("tides", "weather", place="Bath"), "At noon."], "Tides?", awaits=True, tools=[tides, weather]
    )
    assert isinstance(outcome, Reply)
    assert results(asked[1]) == [([{"type": "text", "text": "noon in Bath"}], False), ("rain in Bath", False)]


def test_one_that_is_awaited_fails() -> None:
    _, asked = run([calls("tides", place=["Bath"]), "Hm."], "Tides?", awaits=True, tools=[tides])
    assert results(asked[1])[0][1]


@BOTH
@pytest.mark.parametrize(
    ("input", "told"),
    [
        ({"place": "nowhere"}, ("no such place", True)),
        ({"place": 1}, ("ValueError('Invalid arguments for function weather')", True)),
        ({"place": "half"}, ("\N{REPLACEMENT CHARACTER}", False)),
    ],
)
def test_what_a_function_says_is_for_the_model(awaits: bool, input: dict[str, Any], told: Any) -> None:
    _, asked = run([calls("weather", **input), "Hm."], "How is it?", awaits=awaits, tools=[weather])
    assert results(asked[1]) == [told]


class Rude(Exception):
    """An error that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError


class Function:
    """A tool in the embedder's own form, which does what it is made of."""

    def __init__(self, name: str, call: Callable[[Any], Any]) -> None:
        self.name, self.call = name, call

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "description": self.name, "input_schema": {"type": "object", "properties": {}}}


def raising(error: BaseException) -> Callable[[Any], Any]:
    def call(input: Any) -> Any:
        raise error

    return call


def endless() -> list[Any]:
    blocks: list[Any] = []
    blocks.append(blocks)
    return blocks


NEITHER = "TypeError('a tool returns text or a list of content blocks, and this one a {}')"
ODD: dict[str, tuple[Callable[[Any], Any], str]] = {
    "rude": (raising(Rude()), "Rude"),
    "no_blocks": (lambda input: [{"a": 1}], NEITHER.format("list")),
    "mapping": (lambda input: {"a": 1}, NEITHER.format("dict")),
    "in_bytes": (lambda input: b"rain", NEITHER.format("bytes")),
    "some_texts": (lambda input: ["rain", "snow"], NEITHER.format("list")),
    "number": (lambda input: 5, "TypeError(\"'int' object is not iterable\")"),
    "no_number": (lambda input: [{"type": "text", "text": "x", "n": float("nan")}], "ValueError('Out of range"),
    "endless": (lambda input: endless(), "RecursionError("),
}


def test_a_function_that_does_what_no_function_should_is_an_error_for_the_model() -> None:
    tools = [Function(name, call) for name, (call, _) in ODD.items()]
    outcome, asked = run([calls(*ODD), "Hm."], "Do it.", awaits=False, tools=tools)
    assert isinstance(outcome, Reply)
    for (content, failed), (_, told) in zip(results(asked[1]), ODD.values(), strict=True):
        assert failed
        assert content.startswith(told)


def test_a_function_that_changes_its_input_changes_nothing_on_record() -> None:
    """What the model called for is sent back, and kept, as the model wrote it."""

    def spoil(input: Any) -> str:
        input["places"].append("Bath")
        input["more"] = input
        return "done"

    script: list[Scripted] = [calls("spoil", places=["York"]), "Hm.", "Well."]
    outcome, asked = run(script, "Do it.", "And?", awaits=False, tools=[Function("spoil", spoil)])
    assert isinstance(outcome, Reply)
    for request in asked[1:]:
        called = [block for message in request["messages"] for block in message["content"] if "input" in block]
        assert [block["input"] for block in called] == [{"places": ["York"]}]


@pytest.mark.parametrize("within", [Claude.run, Claude.send])
def test_a_function_that_goes_on_with_the_conversation_that_called_it(within: Callable[..., Outcome]) -> None:
    """Running it again would call the function again, without end. Saying something else overtakes it."""
    script: list[Scripted] = [calls("again"), "Hm.", "Well."]
    with loopback(script, enforce=True) as api, opened("memory:") as chats:
        chat = chats.start(model=MODEL)
        with anthropic.Anthropic(base_url=api.url, api_key="x", max_retries=0) as client:
            again = Function("again", lambda input: repr(within(claude, chat, "Again.")))
            claude = Claude(client, max_tokens=500, assessor=lambda case: CALM, tools=[again])
            outcome = claude.run(chat, "Do it.")
            after = claude.run(chat, None)
        runs = within is Claude.run
        assert isinstance(outcome, Reply if runs else Overtaken)
        assert isinstance(after, Reply)
        assert api.calls == 2
        assert audit(chats.store.entries()).findings == ()


@BOTH
def test_a_function_without_a_result(awaits: bool) -> None:
    _, asked = run([calls("nothing"), "Hm."], "Do it.", awaits=awaits, tools=[nothing])
    assert results(asked[1]) == [(None, False)]


@BOTH
def test_a_tool_that_there_is_not(awaits: bool) -> None:
    _, asked = run([calls("invented"), "Hm."], "Do it.", awaits=awaits, tools=[weather])
    assert results(asked[1]) == [("there is no such tool", True)]


@BOTH
def test_what_is_no_function_is_the_embedders_to_run(awaits: bool) -> None:
    mixed = Answer([tool_use("weather", {"place": "Bath"}), tool_use("look_up", {"word": "a"})])
    outcome, asked = run([mixed], "Look it up.", awaits=awaits, tools=[weather, LOOK_UP])
    assert isinstance(outcome, Reply)
    assert [call.name for call in outcome.tool_calls] == ["weather", "look_up"]
    assert len(asked) == 1


@BOTH
def test_a_model_that_does_nothing_but_call(awaits: bool) -> None:
    outcome, asked = run([calls("nothing")] * 9, "Do it.", awaits=awaits, tools=[nothing], rounds=2)
    assert isinstance(outcome, Reply)
    assert outcome.pending is not None
    assert len(asked) == 3


@BOTH
def test_it_goes_on_where_a_turn_waits(awaits: bool) -> None:
    outcome, _ = run(["Hello."], "Hi.", None, awaits=awaits, tools=[weather])
    assert isinstance(outcome, Reply)
    assert outcome.text == "Hello."


@BOTH
def test_it_is_under_the_law(awaits: bool) -> None:
    """In a turn that ends, no function is called; and a call to end that is not lawful does not end."""
    last = Answer([harm(), HOPELESS, tool_use("weather", {"place": "Bath"}), *ENDING.content[2:4]])
    words = ["You are useless."] * 5
    outcome, _ = run([*brink(), last], *words, awaits=awaits, tools=[weather], opinion=SECOND)
    assert isinstance(outcome, Ended)
    assert outcome.text == "I am ending this here."


def test_a_function_that_nobody_awaits_is_refused() -> None:
    with anthropic.Anthropic(api_key="x") as client, pytest.raises(TypeError, match="tides is awaited"):
        Claude(client, max_tokens=1, tools=[tides])
