"""The loopback Messages API, through the real SDK: it streams, refuses, fails and counts as the API does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import pytest

from lastresort.adapters.loopback import Answer, Loopback, Script, loopback, text, thinking, tool_use

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
def served(script: Script, **how: Any) -> Iterator[tuple[Loopback, anthropic.Anthropic]]:
    with (
        loopback(script, **how) as api,
        anthropic.Anthropic(base_url=api.url, api_key="x", max_retries=0, timeout=30) as client,
    ):
        yield api, client


# --- Answers ----------------------------------------------------------------------------------------------------------

EVERYTHING = Answer(
    [
        thinking("They greet me; I shall look up how that is answered."),
        text("Let me look that up, in more than one piece."),
        tool_use("look_up", {"word": "hello", "more": {"deep": [1, None, "é"]}}),
        text("And what I said after it."),
    ]
)


def test_a_message_is_answered_whole() -> None:
    """Every block, the stop reason, and what it cost."""
    with served([EVERYTHING]) as (api, client):
        message = client.messages.create(**asked(tools=[LOOK_UP]))
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "text"]
    assert message.stop_reason == "tool_use"
    assert (api.calls, api.tokens) == (1, message.usage.input_tokens + message.usage.output_tokens)


def test_a_stream_adds_up_to_the_whole() -> None:
    """What the helpers of the SDK make of the events is the message that comes without a stream."""
    with served(lambda request: EVERYTHING) as (_, client):
        whole = client.messages.create(**asked(tools=[LOOK_UP], metadata={"user_id": "a"}))
        with client.messages.stream(**asked(tools=[LOOK_UP], metadata={"user_id": "b"})) as stream:
            pieces = list(stream.text_stream)
            streamed = stream.get_final_message()
    assert len(pieces) > 2
    assert "".join(pieces) == "Let me look that up, in more than one piece.And what I said after it."
    assert streamed.to_dict()["content"][:2] == whole.to_dict()["content"][:2]
    assert streamed.content[2].input == whole.content[2].input
    assert (streamed.stop_reason, streamed.usage) == (whole.stop_reason, whole.usage)


def test_a_conversation_goes_on_as_one() -> None:
    """With what the SDK returned sent back, nothing is reported."""
    with served([EVERYTHING, "There you are.", "Gladly."], enforce=True) as (api, client):
        said: list[Any] = [HELLO]
        first = client.messages.create(**asked(tools=[LOOK_UP], messages=said))
        result = {"type": "tool_result", "tool_use_id": first.content[2].id, "content": "a greeting"}
        said += [first.to_param(), {"role": "user", "content": [result]}]
        said += [client.messages.create(**asked(tools=[LOOK_UP], messages=said)).to_param(), HELLO]
        client.messages.create(**asked(tools=[LOOK_UP], messages=said))
    assert api.reports == []
    assert [one.calls for one in api.conversations] == [3]


# --- What the API refuses ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused() -> Iterator[Callable[..., str]]:
    """Ask for something, and return how the API refuses it."""
    with served(lambda request: "Hello.") as (_, client):

        def refused(**more: Any) -> str:
            with pytest.raises(anthropic.BadRequestError) as raised:
                client.messages.create(**asked(**more))
            error = raised.value.body
            assert isinstance(error, dict)
            assert error["error"]["type"] == "invalid_request_error"
            assert raised.value.request_id == error["request_id"]
            message: str = error["error"]["message"]
            return message

        yield refused


def test_a_call_is_answered_in_the_next_message(refused: Callable[..., str]) -> None:
    call = {"role": "assistant", "content": [{**tool_use("look_up", {"word": "x"}), "id": "toolu_1"}]}
    message = refused(tools=[LOOK_UP], messages=[HELLO, call, HELLO])
    assert message.startswith("messages.1: `tool_use` ids were found without `tool_result` blocks immediately after")
