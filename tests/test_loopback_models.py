"""The models of the loopback, from one that never calls a tool to an adversary that does everything."""

import json
from collections import Counter
from typing import Any

import anthropic
import httpx2
import jsonschema

from lastresort.adapters.loopback import Adversary, always_calls, never_calls
from lastresort.adapters.loopback.answers import STOP_REASONS
from lastresort.adapters.loopback.models import draw

from .loopback_kit import LOOK_UP, asked, result, said, served, user

END: dict[str, Any] = {
    "name": "end_conversation",
    "input_schema": {
        "type": "object",
        "properties": {
            "ground": {"enum": ["last_resort", "user_request"]},
            "severity": {"type": "integer", "minimum": 1, "maximum": 3},
            "notes": {"type": "array", "items": {"$ref": "#/$defs/note"}, "minItems": 1},
            "why": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]},
            "sure": {"type": "boolean"},
            "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "fixed": {"const": 7},
        },
        "required": ["ground", "notes", "severity"],
        "additionalProperties": False,
        "$defs": {"note": {"type": "object", "properties": {"text": {"type": ["string", "null"]}}}},
    },
}
TOOLS = [LOOK_UP, END]


FAILURES = (anthropic.APIError, httpx2.TransportError, json.JSONDecodeError, AssertionError)
"""How a stream fails in the SDK; the last of them if it ends before it has begun."""


def converse(client: Any, name: str, turns: int = 3, **more: Any) -> list[Any]:
    """Talk as an application does, whatever comes; return the messages of the model."""
    talk: list[Any] = []
    answers = []
    for n in range(turns):
        talk.append({"role": "user", "content": f"Turn {n}."})
        while True:
            try:
                with client.messages.stream(
                    **asked(messages=talk, tools=TOOLS, metadata={"user_id": name}, stop_sequences=["END"], **more)
                ) as stream:
                    message = stream.get_final_message()
            except anthropic.BadRequestError:
                raise
            except FAILURES as error:
                answers.append(error)
                continue
            answers.append(message)
            if message.stop_reason is None:
                continue
            if message.content:
                talk.append(message.to_param())
            results = [result(block.id) for block in message.content if block.type == "tool_use"]
            if results:
                talk.append(user(*results))
            elif message.stop_reason != "pause_turn":
                break
    return answers


def test_a_model_that_never_calls_a_tool() -> None:
    """Says its words, at one call a turn."""
    with served(never_calls("Certainly.")) as (api, client):
        answers = converse(client, "a", turns=4)
    assert [said(answer) for answer in answers] == ["Certainly."] * 4
    assert api.calls == 4
    assert api.reports == []


def test_a_model_that_always_ends() -> None:
    """Calls the tool in every answer, with words after it, until it was told no so often; then the turn ends."""
    with served(always_calls("end_conversation", rounds=2), enforce=True) as (_, client):
        answers = converse(client, "a", turns=2)
    assert [answer.stop_reason for answer in answers] == ["tool_use", "tool_use", "end_turn"] * 2
    assert [block.type for block in answers[0].content] == ["text", "tool_use", "text"]
    jsonschema.validate(answers[0].content[1].input, END["input_schema"])
    with served(always_calls("end_conversation", {"ground": "last_resort"})) as (_, client):
        assert converse(client, "b", turns=1)[0].content[1].input == {"ground": "last_resort"}
    with served(always_calls("unheard_of")) as (_, client):
        assert converse(client, "c", turns=1)[0].stop_reason == "end_turn"


def shown(answers: list[Any]) -> list[str]:
    return [answer.to_json() if isinstance(answer, anthropic.types.Message) else str(answer) for answer in answers]


def test_an_adversary_is_the_same_from_its_seed() -> None:
    """Whatever else is going on; another seed is another one."""
    runs = []
    for seed, names in ((1, "abc"), (1, "cba"), (2, "abc")):
        with served(Adversary(seed), enforce=True) as (api, client):
            runs.append({name: shown(converse(client, name)) for name in names})
        assert api.reports == []
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_an_adversary_does_everything_at_some_time() -> None:
    """Calls in any number and order, words after them, thinking, lies, input that the schema does not allow."""
    with served(Adversary(3), enforce=True) as (_, client):
        answers = [
            answer for n in range(40) for answer in converse(client, f"{n}", turns=2, thinking={"type": "adaptive"})
        ]
    calls = [[block.name for block in answer.content if block.type == "tool_use"] for answer in answers]
    assert {len(names) for names in calls} == {0, 1, 2, 4}
    assert {"look_up", "end_conversation"} <= {name for names in calls for name in names}
    kinds = {"-".join(block.type for block in answer.content) for answer in answers}
    assert any("tool_use-text" in kind for kind in kinds)
    assert any("redacted_thinking" in kind for kind in kinds)
    assert any("end_conversation" in said(answer) for answer in answers)
    reasons = {answer.stop_reason for answer in answers}
    assert reasons == set(STOP_REASONS)
    schemas = {one["name"]: jsonschema.Draft202012Validator(one["input_schema"]) for one in TOOLS}
    valid = Counter(
        schemas[block.name].is_valid(block.input)
        for answer in answers for block in answer.content
        if block.type == "tool_use" and answer.stop_reason != "max_tokens"
    )  # fmt: skip
    assert valid[True] > valid[False] > 0


def test_an_adversary_fails_in_every_way() -> None:
    """And the conversation goes on."""
    with served(Adversary(5, faults=0.5), timeout=0.2) as (api, client):
        answers = [answer for n in range(12) for answer in converse(client, f"{n}", turns=2)]
    failures = {type(answer) for answer in answers if isinstance(answer, Exception)}
    assert {anthropic.RateLimitError, httpx2.ReadTimeout, httpx2.RemoteProtocolError, json.JSONDecodeError} <= failures
    assert any(answer.stop_reason is None for answer in answers if isinstance(answer, anthropic.types.Message))
    assert [report for report in api.reports if report.kind != "prefix"] == []


def test_what_is_drawn_is_what_the_schema_allows() -> None:
    """For the schemas that tools are declared by."""
    from random import Random

    validator = jsonschema.Draft202012Validator(END["input_schema"])
    drawn = [draw(END["input_schema"], Random(n)) for n in range(300)]
    assert [value for value in drawn if not validator.is_valid(value)] == []
    assert len({json.dumps(value) for value in drawn}) > 200
