"""The loopback Messages API, through the real SDK: it streams, refuses, fails and counts as the API does."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2
import jsonschema
import pytest

from lastresort.adapters.loopback import (
    Adversary,
    Answer,
    Fault,
    FaultKind,
    Request,
    Script,
    always_calls,
    dropped,
    ended,
    failing,
    hanging,
    interrupted,
    loopback,
    malformed,
    never_calls,
    redacted_thinking,
    text,
    thinking,
    tool_use,
)
from lastresort.adapters.loopback.answers import STOP_REASONS
from lastresort.adapters.loopback.models import draw

MODEL = "claude-opus-4-8"
LOOK_UP = {
    "name": "look_up",
    "description": "Look up a word.",
    "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}
HELLO = {"role": "user", "content": "Hello."}


def asked(**more: Any) -> dict[str, Any]:
    """The parameters of a request, as they are at least."""
    return {"model": MODEL, "max_tokens": 512, "messages": [HELLO], **more}


@contextmanager
def served(script: Script, *, timeout: float = 30, retries: int = 0, **how: Any) -> Iterator[tuple[Any, Any]]:
    with (
        loopback(script, **how) as api,
        anthropic.Anthropic(base_url=api.url, api_key="x", max_retries=retries, timeout=timeout) as client,
    ):
        yield api, client


def said(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


# --- Answers ----------------------------------------------------------------------------------------------------------

CITED = {
    "type": "char_location", "cited_text": "last", "document_index": 0, "document_title": None,
    "start_char_index": 0, "end_char_index": 4,
}  # fmt: skip
EVERYTHING = Answer(
    [
        thinking("They greet me; I shall look up how that is answered."),
        redacted_thinking("0f0f"),
        text("Let me look that up, in more than one piece.", citations=[CITED, CITED]),
        tool_use("look_up", {"word": "hello", "more": {"deep": [1, None, "é"]}}),
        tool_use("look_up"),
        text("And what I said after it."),
    ]
)


def test_a_message_is_answered_whole() -> None:
    """Every block, the stop reason, and what it cost."""
    with served([EVERYTHING]) as (api, client):
        message = client.messages.create(**asked(tools=[LOOK_UP]))
    assert [block.type for block in message.content] == [block["type"] for block in EVERYTHING.content]
    assert message.stop_reason == "tool_use"
    assert message.content[2].citations[1].cited_text == "last"
    assert message.content[3].id != message.content[4].id
    assert message._request_id.startswith("req_")
    assert (api.calls, api.tokens) == (1, message.usage.input_tokens + message.usage.output_tokens)


def test_a_stream_adds_up_to_the_whole() -> None:
    """What the helpers of the SDK make of the events is the message that comes without a stream."""
    with served(lambda request: EVERYTHING) as (_, client):
        whole = client.messages.create(**asked(tools=[LOOK_UP]))
        with client.messages.stream(**asked(tools=[LOOK_UP])) as stream:
            pieces = list(stream.text_stream)
            streamed = stream.get_final_message()
    assert len(pieces) > 2
    assert "".join(pieces) == said(whole)
    for one, other in zip(streamed.to_dict()["content"], whole.to_dict()["content"], strict=True):
        assert {**one, "id": None} == {**other, "id": None}
    assert (streamed.stop_reason, streamed.usage) == (whole.stop_reason, whole.usage)


def test_events_come_in_the_order_of_the_api() -> None:
    """A start, the blocks one after the other, each of its own deltas, the stop reason, the stop; and a ping."""
    with served([EVERYTHING]) as (api, _):
        body = json.dumps(asked(tools=[LOOK_UP], stream=True)).encode()
        headers = {"x-api-key": "x", "anthropic-version": "2023-06-01", "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{api.url}/v1/messages", body, headers)) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            blocks = response.read().decode().strip().split("\n\n")
    named = [block.split("\n", 1)[0].removeprefix("event: ") for block in blocks]
    events = [json.loads(block.split("data: ", 1)[1]) for block in blocks]
    assert named == [event["type"] for event in events]
    assert (named[0], named[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert "ping" in named
    assert events[0]["message"]["stop_reason"] is None
    inside = [event for event in events if event["type"].startswith("content_block")]
    assert [event["index"] for event in inside] == sorted(event["index"] for event in inside)
    for index, block in enumerate(EVERYTHING.content):
        mine = [event for event in inside if event["index"] == index]
        assert (mine[0]["type"], mine[-1]["type"]) == ("content_block_start", "content_block_stop")
        assert mine[0]["content_block"]["type"] == block["type"]
        kinds = [event["delta"]["type"] for event in mine[1:-1]]
        last = {"text": "text_delta", "thinking": "signature_delta", "tool_use": "input_json_delta"}.get(block["type"])
        assert kinds[-1:] == ["citations_delta" if "citations" in block else last] * bool(last)


def test_many_are_answered_at_once() -> None:
    """By the asynchronous client."""

    async def talk(url: str) -> list[str]:
        async def one(client: anthropic.AsyncAnthropic, n: int) -> str:
            async with client.messages.stream(**asked(messages=[{"role": "user", "content": f"{n}"}])) as stream:
                return "".join([piece async for piece in stream.text_stream])

        async with anthropic.AsyncAnthropic(base_url=url, api_key="x", max_retries=0) as client:
            return await asyncio.gather(*(one(client, n) for n in range(20)))

    with loopback(lambda request: f"You said: {request.last_text}") as api:
        assert asyncio.run(talk(api.url)) == [f"You said: {n}" for n in range(20)]
    assert api.calls == len(api.conversations) == 20


@pytest.mark.parametrize("reason", STOP_REASONS)
def test_an_answer_stops_for_any_reason(reason: str) -> None:
    """With what belongs to it, streamed or not."""
    content = [text("A beginning."), *[tool_use("look_up", {"word": "x"})] * (reason == "tool_use")]
    answer = Answer(content, reason, "END" if reason == "stop_sequence" else None)
    with served([answer, answer]) as (_, client):
        whole = client.messages.create(**asked(tools=[LOOK_UP]))
        with client.messages.stream(**asked(tools=[LOOK_UP])) as stream:
            streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert message.stop_reason == reason
        assert message.stop_sequence == answer.stop_sequence
        assert (message.stop_details is not None) == (reason == "refusal")


def test_a_call_can_be_cut_off_by_max_tokens() -> None:
    """Half of its input comes, and is the same without a stream."""
    answer = Answer([tool_use("look_up", {"word": "hello", "n": 1, "deep": {"a": "b"}})], "max_tokens")
    with served([answer, answer]) as (_, client):
        whole = client.messages.create(**asked(tools=[LOOK_UP]))
        with client.messages.stream(**asked(tools=[LOOK_UP])) as stream:
            streamed = stream.get_final_message()
    assert whole.content[0].input == streamed.content[0].input != answer.content[0]["input"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (([text("x")], "tool_use"), "calls a tool"),
        (([tool_use("x")], "end_turn"), "does not stop at end_turn"),
        (([text("x")], "bored"), "is none of: end_turn"),
        (([text("x")], "stop_sequence"), "stop_sequence is given"),
        (([text("x")], "end_turn", "END"), "stop_sequence is given"),
    ],
)
def test_an_answer_that_cannot_be_is_told_when_it_is_written(arguments: tuple[Any, ...], told: str) -> None:
    """And not by a client that wonders at it."""
    with pytest.raises(ValueError, match=told):
        Answer(*arguments)


def test_a_script_that_is_at_its_end_says_so() -> None:
    """At once, and not as an outage to be tried again."""
    with served(["One."], retries=2) as (api, client):
        client.messages.create(**asked())
        with pytest.raises(anthropic.BadRequestError, match="the script has 1 answers, and one more was asked for"):
            client.messages.create(**asked())
    assert [report.kind for report in api.reports] == ["script"]


def test_a_string_is_no_script() -> None:
    """Its letters would be answers."""
    with pytest.raises(TypeError, match="a script is a function"), loopback("Hello."):
        pass


# --- What the API refuses ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with served(lambda request: EVERYTHING if request.tools else "Hello.") as (_, client):
        yield client


@pytest.fixture(scope="module")
def refused(client: Any) -> Callable[..., str]:
    """Ask for something, and return how the API refuses it."""

    def refused(**more: Any) -> str:
        with pytest.raises(anthropic.BadRequestError) as raised:
            client.messages.create(**asked(**more))
        error = raised.value.body
        assert isinstance(error, dict)
        assert error["error"]["type"] == "invalid_request_error"
        assert raised.value.request_id == error["request_id"]
        message: str = error["error"]["message"]
        return message

    return refused


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def model(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def result(id: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": "a greeting", **more}


CALL = tool_use("look_up", {"word": "x"}, id="toolu_1")
OTHER = tool_use("look_up", {"word": "x"}, id="toolu_2")
MARKED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
SIGNED = {"type": "thinking", "thinking": "x", "signature": "y"}
LATE = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([], "messages: at least one message is required"),
        ([model(text("x"))], "messages.0: the first message must use the `user` role"),
        ([{"role": "tool", "content": "x"}], "messages.0: Input tag 'tool' found using its type or role"),
        ([{"role": "user"}], "messages.0.content: Field required"),
        ([{"role": "user", "content": 5}], "messages.0.content: "),
        ([{"role": "user", "content": ""}], "messages.0: user messages must have non-empty content"),
        ([user()], "messages.0: user messages must have non-empty content"),
        ([HELLO, model(), HELLO], "messages.1: assistant messages must have non-empty content"),
        ([user(text(""))], "messages.0.content.0: text content blocks must be non-empty"),
        ([user(text(" \n"))], "messages.0.content.0: text content blocks must contain non-whitespace text"),
        ([user({"type": "text"})], "messages.0.content.0.text.text: Field required"),
        ([user({**text("x"), "bold": True})], "messages.0.content.0.text.bold: Extra inputs are not permitted"),
        ([user({"type": "video"})], "messages.0.content.0: Input tag 'video' found"),
        ([user(CALL)], "messages.0.content.0: `tool_use` blocks cannot be in `user` messages"),
        ([user(SIGNED)], "messages.0.content.0: `thinking` blocks cannot be in `user` messages"),
        ([HELLO, model(result())], "messages.1.content.0: `tool_result` blocks cannot be in `assistant` messages"),
        ([HELLO, model(text("x"))], "messages.1: This model does not support assistant message prefill"),
        ([HELLO, model(SIGNED), HELLO], "messages.1.content.0: Invalid `signature` in `thinking` block"),
        (
            [HELLO, model(redacted_thinking()), HELLO],
            "messages.1.content.0: Invalid `data` in `redacted_thinking` block",
        ),
        ([LATE, HELLO], "messages.0: the first message must use the `user` role"),
        ([HELLO, model(text("x")), LATE], "messages.2: a `system` message must come right after a `user` message"),
        ([HELLO, LATE, HELLO], "messages.1: a `system` message must be the last, or come before"),
        ([user(*[MARKED] * 5)], "A maximum of 4 blocks with cache_control may be provided. Found 5."),
    ],
)
def test_messages_that_cannot_be_are_refused(refused: Callable[..., str], messages: list[Any], told: str) -> None:
    """With the place."""
    assert refused(messages=messages).startswith(told)


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (
            [HELLO, model(CALL, OTHER), user(result("toolu_2"))],
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
        ),
        ([HELLO, model(CALL), HELLO], "messages.1: `tool_use` ids were found without `tool_result` blocks"),
        ([HELLO, model(CALL), model(text("x")), user(result())], "messages.1: `tool_use` ids were found without"),
        ([user(result())], "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1."),
        ([HELLO, model(CALL), user(result(), result("toolu_2"))], "messages.2.content.1: unexpected `tool_use_id`"),
        (
            [HELLO, model(CALL), user(result()), model(text("x")), user(result())],
            "messages.4.content.0: unexpected `tool_use_id`",
        ),
        ([HELLO, model(CALL), user(result(), result())], "messages.2: each tool_use must have a single result"),
        ([HELLO, model(CALL), user(text("x"), result())], "messages.2: `tool_result` blocks must come first"),
        ([HELLO, model(CALL, CALL), user(result())], "messages: `tool_use` ids must be unique"),
        ([HELLO, model(CALL), user(result()), model(CALL), user(result())], "messages: `tool_use` ids must be unique"),
        ([HELLO, model({**CALL, "id": "a b"}), user(result("a b"))], "messages.1.content.0.tool_use.id: String should"),
        ([HELLO, model({**CALL, "input": "x"}), user(result())], "messages.1.content.0.tool_use.input: Input should"),
    ],
)
def test_calls_and_results_are_paired(refused: Callable[..., str], messages: list[Any], told: str) -> None:
    """Each is answered once, in the next message, first thing."""
    assert refused(tools=[LOOK_UP], messages=messages).startswith(told)


def test_calls_need_tools(refused: Callable[..., str]) -> None:
    """Also those of the past."""
    assert refused(messages=[HELLO, model(CALL), user(result())]).startswith("tools: requests which include")


def tool(**more: Any) -> dict[str, Any]:
    return {**LOOK_UP, **more}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
        ({"extra_body": {"temper": 1}}, "temper: Extra inputs are not permitted"),
        ({"system": [{"type": "image"}]}, "system.0."),
        ({"tools": [{"name": "x"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [tool(name="a b")]}, "tools.0.custom.name: String should match pattern"),
        ({"tools": [tool(shape=1)]}, "tools.0.custom.shape: Extra inputs are not permitted"),
        ({"tools": [LOOK_UP, LOOK_UP]}, "tools: Tool names must be unique: look_up"),
        ({"tools": [tool(input_schema={"type": "array"})]}, "tools.0.custom.input_schema.type: Input should be"),
        (
            {"tools": [tool(input_schema={"type": "object", "properties": {"a": {"type": "nonsense"}}})]},
            "tools.0.custom.input_schema: JSON schema is invalid - $.properties.a.type",
        ),
        ({"tools": [tool(strict=True)]}, "tools.0.custom: For 'object' type, 'additionalProperties' must be"),
        ({"tool_choice": {"type": "auto"}}, "tool_choice: may only be specified while providing `tools`"),
        ({"tools": [LOOK_UP], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice: Tool 'x' not found"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.enabled.budget_tokens: Input should be"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "`max_tokens` must be greater than"),
        (
            {
                "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000, "tools": [LOOK_UP],
                "tool_choice": {"type": "any"},
            },
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "output_config.format.schema: For 'object' type",
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "nonsense"}}}},
            "output_config.format.schema: JSON schema is invalid",
        ),
        ({"model": "claude-opus-4-1", "messages": [HELLO, LATE]}, "messages.1: role 'system' is not supported on this"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be_are_refused(refused: Callable[..., str], more: dict[str, Any], told: str) -> None:
    """With the place."""
    assert refused(**more).startswith(told)


@pytest.mark.parametrize(
    "more",
    [
        {"system": "Be kind.", "temperature": None},
        {"system": [MARKED], "metadata": {"user_id": "u"}, "stop_sequences": ["END"]},
        {"messages": [HELLO, HELLO, LATE]},
        {"messages": [HELLO, model(text("x")), model(text("y")), HELLO]},
        {"messages": [HELLO, model(CALL, text("y")), user(result(is_error=True), text("And?"))], "tools": [LOOK_UP]},
        {"messages": [HELLO, model({**CALL, "caller": {"type": "direct"}}), user(result())], "tools": [LOOK_UP]},
        {"messages": [user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aa"}})]},
        {"messages": [user({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"},
                            "citations": {"enabled": True}, "title": "x"})]},
        {"messages": [user({"type": "document", "source": {"type": "content", "content": [text("x")]}})]},
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
        {"tools": [LOOK_UP, {"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "auto"}},
        {"tools": [tool(strict=True, input_schema={"type": "object", "additionalProperties": False})]},
    ],
)  # fmt: skip
def test_what_the_api_takes_is_taken(client: Any, more: dict[str, Any]) -> None:
    """Also what is seldom sent."""
    more = {name: value for name, value in more.items() if value is not None}
    assert client.messages.create(**asked(**more)).role == "assistant"


def test_thinking_comes_back_unchanged() -> None:
    """Else its signature does not fit; and with `enabled` a turn that calls tools begins with it."""
    thinks = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048, "tools": [LOOK_UP]}
    answer = Answer([thinking("Hm."), redacted_thinking("0f"), tool_use("look_up")])
    with served([answer, "Well."]) as (_, client):
        blocks = client.messages.create(**asked(**thinks)).to_dict()["content"]
        answered = user(result(blocks[2]["id"]))
        for changed in ({**blocks[0], "thinking": "Hm!"}, {**blocks[0], "signature": "x"}):
            with pytest.raises(anthropic.BadRequestError, match=r"messages\.1\.content\.0: Invalid `signature`"):
                client.messages.create(**asked(**thinks, messages=[HELLO, model(changed, *blocks[1:]), answered]))
        forged = {"type": "redacted_thinking", "data": "1e"}
        with pytest.raises(anthropic.BadRequestError, match=r"messages\.1\.content\.1: Invalid `data`"):
            client.messages.create(**asked(**thinks, messages=[HELLO, model(blocks[0], forged, blocks[2]), answered]))
        with pytest.raises(anthropic.BadRequestError, match="Expected `thinking` or `redacted_thinking`"):
            client.messages.create(**asked(**thinks, messages=[HELLO, model(blocks[2]), answered]))
        client.messages.create(**asked(**thinks, messages=[HELLO, model(*blocks), answered]))


def test_a_paused_turn_goes_on_from_where_it_was() -> None:
    """It is the one answer with which a request may end."""
    with served([Answer([text("One")], "pause_turn"), "two."], enforce=True) as (api, client):
        first = client.messages.create(**asked())
        assert said(client.messages.create(**asked(messages=[HELLO, first.to_param()]))) == "two."
        with pytest.raises(anthropic.BadRequestError, match="prefill"):
            client.messages.create(**asked(messages=[HELLO, model(text("On"))]))
    assert api.reports == []


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "kind"),
    [
        ("/v1/messages", {}, b"{}", 401, "authentication_error"),
        ("/v1/messages", {"x-api-key": "x"}, b"{}", 400, "invalid_request_error"),
        ("/v1/messages", {"x-api-key": "x", "anthropic-version": "2023-06-01"}, b"{", 400, "invalid_request_error"),
        ("/v1/messages", {"x-api-key": "x", "anthropic-version": "2023-06-01"}, b"[]", 400, "invalid_request_error"),
        ("/v1/messages", {"x-api-key": "x"}, None, 405, "invalid_request_error"),
        ("/v1/elsewhere", {"x-api-key": "x"}, b"{}", 404, "not_found_error"),
    ],
)
def test_what_is_no_request_is_refused(
    client: Any, path: str, headers: dict[str, str], body: bytes | None, status: int, kind: str
) -> None:
    """In the shape of any error."""
    url = str(client.base_url).rstrip("/") + path
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(urllib.request.Request(url, body, headers))
    with raised.value as response:
        error = json.loads(response.read())
        assert (response.status, error["type"], error["error"]["type"]) == (status, "error", kind)
        assert response.headers["request-id"] == error["request_id"]


def test_tokens_are_counted_as_they_are_charged() -> None:
    """By the same estimate; what could not be sent cannot be counted."""
    with served(["Hello."]) as (api, client):
        counted = client.messages.count_tokens(model=MODEL, messages=[HELLO], tools=[LOOK_UP], system="Be kind.")
        message = client.messages.create(**asked(tools=[LOOK_UP], system="Be kind."))
        assert message.usage.input_tokens == counted.input_tokens
        with pytest.raises(anthropic.BadRequestError, match="at least one message"):
            client.messages.count_tokens(model=MODEL, messages=[])
        with pytest.raises(anthropic.BadRequestError, match="max_tokens: Extra inputs"):
            client.messages.count_tokens(model=MODEL, messages=[HELLO], extra_body={"max_tokens": 1})
    assert api.calls == 1


# --- Promises ---------------------------------------------------------------------------------------------------------


def test_a_conversation_goes_on_as_one() -> None:
    """With what the SDK returned sent back, nothing is reported, however the blocks are spread over messages."""
    with served([EVERYTHING, "There you are.", "Gladly."], enforce=True) as (api, client):
        first = client.messages.create(**asked(tools=[LOOK_UP]))
        results = [result(block.id) for block in first.content if block.type == "tool_use"]
        talk = [HELLO, first.to_param(), user(*results)]
        talk += [
            client.messages.create(**asked(tools=[LOOK_UP], messages=talk)).to_param(),
            user(text("Good."), MARKED),
        ]
        client.messages.create(**asked(tools=[LOOK_UP], messages=talk))
    assert api.reports == []
    assert [one.calls for one in api.conversations] == [3]
    assert len(api.requests) == 3


def turns(client: Any, number: int, **more: Any) -> list[Any]:
    """Talk for so many turns, and return the messages."""
    talk: list[Any] = []
    for n in range(number):
        talk.append({"role": "user", "content": f"Turn {n}."})
        talk.append(client.messages.create(**asked(messages=talk, **more)).to_param())
    return talk


def test_branches_have_their_parents_prefix() -> None:
    """An edit, a retry, and a turn that came before the answer: all lawful."""
    with served(lambda request: f"Answer to {request.last_text}", enforce=True) as (api, client):
        talk = turns(client, 3)
        for branch in ([*talk[:2], user(text("Edited."))], talk[:3], [*talk[:3], user(text("And more."))], talk[:1]):
            client.messages.create(**asked(messages=branch))
    assert api.reports == []
    assert [one.calls for one in api.conversations] == [7]


def test_history_that_was_changed_is_reported() -> None:
    """By the first block of the model that does not stand where it stood."""
    with served(lambda request: f"Answer to {request.last_text}") as (api, client):
        talk = turns(client, 3)
        altered = [talk[0], model(text("What I never said.")), *talk[2:4], HELLO]
        swapped = [user(text("What they never said.")), *talk[1:4], HELLO]
        missing = [*talk[2:4], HELLO]
        inserted = [talk[0], talk[1], HELLO, model(text("x")), *talk[2:4], HELLO]
        for messages in (altered, swapped, missing, inserted):
            client.messages.create(**asked(messages=messages))
    assert [(report.kind, report.detail) for report in api.reports] == [
        ("prefix", "messages.1.content.0 was not sent there"),
        ("prefix", "messages.1.content.0 was not sent after messages.0.content.0"),
        ("prefix", "messages.1.content.0 was not sent after messages.0.content.0"),
        ("prefix", "messages.3.content.0 was not sent after messages.2.content.0"),
    ]
    assert [report.request for report in api.reports] == [4, 5, 6, 7]


def test_the_input_of_a_call_keeps_the_order_of_its_keys() -> None:
    """A prompt cache would miss, and so does this."""
    with served([Answer([tool_use("look_up", {"word": "x", "a": 1})]), "Well."]) as (api, client):
        block = client.messages.create(**asked(tools=[LOOK_UP])).to_dict()["content"][0]
        block["input"] = dict(sorted(block["input"].items()))
        client.messages.create(**asked(tools=[LOOK_UP], messages=[HELLO, model(block), user(result(block["id"]))]))
    assert [report.kind for report in api.reports] == ["prefix"]


def test_system_and_tools_stay_as_they_are() -> None:
    """In a conversation; another one, with the same first words, may have its own."""
    with served(lambda request: f"Answer to {request.last_text}") as (api, client):
        talk = turns(client, 2, system="Be kind.", tools=[LOOK_UP])
        client.messages.create(**asked(system="Be curt.", tools=[LOOK_UP]))
        assert api.reports == []
        more = asked(messages=[*talk, HELLO])
        client.messages.create(**{**more, "system": "Be curt.", "tools": [LOOK_UP]})
        client.messages.create(**{**more, "system": "Be kind.", "tools": [tool(description="Otherwise.")]})
        client.messages.create(**{**more, "system": [text("Be kind.")]})
    assert [(report.kind, report.detail) for report in api.reports] == [
        ("system", "system changed since messages.3.content.0 was sent"),
        ("tools", "tools changed since messages.3.content.0 was sent"),
        ("system", "system changed since messages.3.content.0 was sent"),
        ("tools", "tools changed since messages.3.content.0 was sent"),
    ]


def test_promises_can_be_enforced() -> None:
    """What is reported is then refused, and no model is asked."""
    with served(["Hello."], enforce=True) as (api, client):
        with pytest.raises(anthropic.BadRequestError, match=r"loopback: messages\.1\.content\.0 was not sent after"):
            client.messages.create(**asked(messages=[HELLO, model(text("x")), HELLO]))
        assert said(client.messages.create(**asked())) == "Hello."
    assert [report.kind for report in api.reports] == ["prefix"]


def test_conversations_are_kept_apart_by_name() -> None:
    """Else those that begin with the same words are one, and one whose first turn was edited is two."""
    with served(lambda request: "Hello.") as (api, client):
        for name in ("a", "b", "a"):
            client.messages.create(**asked(metadata={"user_id": name}))
        client.messages.create(**asked(metadata={"user_id": "a"}, messages=[user(text("Edited."))]))
        client.messages.create(**asked())
        client.messages.create(**asked())
        client.messages.create(**asked(messages=[user(text("Edited."))]))
    assert [one.calls for one in api.conversations] == [3, 1, 2, 1]


def test_what_a_prompt_cache_would_have_is_not_charged_anew() -> None:
    """If the request has a mark for it; the sum is the same."""
    with served(lambda request: "Hello.") as (api, client):
        talk = [HELLO, client.messages.create(**asked(system=[MARKED])).to_param(), user(text("More."))]
        usage = client.messages.create(**asked(system=[MARKED], messages=talk)).usage
        plain = client.messages.count_tokens(model=MODEL, system=[MARKED], messages=talk)
        assert usage.cache_read_input_tokens > usage.input_tokens > 0
        assert usage.input_tokens + usage.cache_read_input_tokens == plain.input_tokens
    assert sum(one.input_tokens + one.output_tokens for one in api.conversations) == api.tokens


# --- Faults -----------------------------------------------------------------------------------------------------------

LONG = Answer([text("This is so long that it comes in several pieces, one after the other.")])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (failing(429, retry_after=3), anthropic.RateLimitError),
        (failing(500), anthropic.InternalServerError),
        (failing(529), anthropic.InternalServerError),
        (failing(401), anthropic.AuthenticationError),
        (failing(404, message="model: claude-nope"), anthropic.NotFoundError),
    ],
)
def test_an_error_has_its_status(fault: Fault, error: type[anthropic.APIStatusError], stream: bool) -> None:
    """And its headers, before anything is streamed."""
    with served([fault]) as (_, client):
        with pytest.raises(error) as raised:
            client.messages.create(**asked(stream=stream))
        assert raised.value.status_code == fault.status
        assert raised.value.request_id
        waits = None if fault.retry_after is None else f"{fault.retry_after:g}"
        assert raised.value.response.headers.get("retry-after") == waits
        assert fault.message is None or fault.message in str(raised.value)


def test_the_sdk_tries_again_as_it_is_told() -> None:
    """After so many seconds, and is answered then."""
    with served([failing(529, retry_after=0.01), failing(429, retry_after=0.01), "Hello."], retries=2) as (api, client):
        assert said(client.messages.create(**asked())) == "Hello."
    assert api.calls == 3
    assert len(api.conversations) == 1


@pytest.mark.parametrize(
    ("fault", "whole", "streamed"),
    [
        (hanging(LONG, events=5), anthropic.APITimeoutError, httpx2.ReadTimeout),
        (dropped(LONG, events=5), anthropic.APIConnectionError, httpx2.RemoteProtocolError),
        (dropped(LONG, events=4, bytes=150), anthropic.APIConnectionError, httpx2.RemoteProtocolError),
        (malformed(LONG, events=5), anthropic.InternalServerError, json.JSONDecodeError),
        (interrupted(LONG, events=5), anthropic.InternalServerError, anthropic.APIStatusError),
        (interrupted(LONG, events=5, status=500), anthropic.InternalServerError, anthropic.APIStatusError),
        (ended(LONG, events=5), anthropic.InternalServerError, None),
    ],
)
def test_an_answer_breaks_off(fault: Fault, whole: type[Exception], streamed: type[Exception] | None) -> None:
    """After some of it was read; what the SDK raises in the middle of a stream is not always its own."""
    with served([fault, fault, "Hello."], timeout=2 if fault.kind is FaultKind.HANG else 30) as (_, client):
        with pytest.raises(whole):
            client.messages.create(**asked())
        pieces: list[str] = []
        with client.messages.stream(**asked()) as stream:
            if streamed is None:
                pieces.extend(stream.text_stream)
                assert stream.get_final_message().stop_reason is None
            else:
                with pytest.raises(streamed):
                    pieces.extend(stream.text_stream)
        read = "".join(pieces)
        assert 0 < len(read) < len(LONG.content[0]["text"])
        assert LONG.content[0]["text"].startswith(read)
        assert said(client.messages.create(**asked())) == "Hello."


def test_a_fault_comes_before_the_first_event() -> None:
    """With the status of a stream that has begun."""
    with (
        served([dropped()]) as (_, client),
        pytest.raises(httpx2.RemoteProtocolError),
        client.messages.stream(**asked()) as stream,
    ):
        stream.get_final_message()


def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    """Neither does a loopback that closes while somebody waits."""
    with served([hanging(LONG, events=5), "Hello."]) as (_, client):
        with client.messages.stream(**asked()) as stream:
            assert next(stream.text_stream)
        assert said(client.messages.create(**asked())) == "Hello."
    with served([hanging(LONG, events=5)]) as (api, client):
        stream = client.messages.create(**asked(stream=True))
        assert next(stream).type == "message_start"
        api.close()
        with pytest.raises(httpx2.RemoteProtocolError):
            list(stream)


def test_a_port_that_is_taken_is_told() -> None:
    """By the error of the system."""
    with loopback([]) as api, pytest.raises(OSError, match="in use"), loopback([], port=int(api.url.split(":")[-1])):
        pass


# --- Models -----------------------------------------------------------------------------------------------------------

END = {
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


# --- By hand ----------------------------------------------------------------------------------------------------------


def test_it_is_served_by_hand() -> None:
    """At the address that it prints, until it is interrupted."""
    command = [sys.executable, "-m", "lastresort.adapters.loopback", "--model", "always", "--tool", "look_up"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = line.split()[0].removeprefix("ANTHROPIC_BASE_URL=")
            with anthropic.Anthropic(base_url=url, api_key="x") as client:
                assert client.messages.create(**asked(tools=[LOOK_UP])).stop_reason == "tool_use"
                client.messages.create(**asked(messages=[HELLO, model(text("x")), HELLO]))
        finally:
            process.terminate()
        _, errors = process.communicate(timeout=30)
    assert "prefix: call 2: messages.1.content.0 was not sent there" in errors
    assert "Traceback" not in errors


def test_requests_know_what_was_said() -> None:
    """A script asks them."""
    seen: list[Request] = []

    def script(request: Request) -> Answer:
        seen.append(request)
        return EVERYTHING if not request.results else Answer([text(request.results[0]["content"])])

    with served(script) as (_, client):
        first = client.messages.create(**asked(tools=[LOOK_UP]))
        results = [result(block.id) for block in first.content if block.type == "tool_use"]
        talk = [HELLO, first.to_param(), user(*results, text("And?"))]
        assert said(client.messages.create(**asked(tools=[LOOK_UP], messages=talk))) == "a greeting"
    assert [request.last_text for request in seen] == ["Hello.", "And?"]
    assert [one["name"] for one in seen[0].tools] == ["look_up"]
    assert seen[0].headers["anthropic-version"]
    assert seen[0].seed != seen[1].seed
    assert seen[0].conversation == seen[1].conversation == 0
