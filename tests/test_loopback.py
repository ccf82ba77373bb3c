"""The loopback Messages API, through the real SDK: it answers as it is told, whole and streamed."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import anthropic
import pytest

from lastresort.adapters.loopback import Answer, Request, loopback, text, tool_use
from lastresort.adapters.loopback.answers import STOP_REASONS

from .loopback_kit import EVERYTHING, HELLO, LOOK_UP, MODEL, asked, model, result, said, served, user

# --- Answers ----------------------------------------------------------------------------------------------------------


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
        (([text("x")], "bored"), "use one of: end_turn"),
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
