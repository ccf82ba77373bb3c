"""What the loopback refuses, in the words of the API; and what it takes, as the API does."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from lastresort.adapters.loopback import Answer, redacted_thinking, text, thinking, tool_use

from .loopback_kit import EVERYTHING, HELLO, LOOK_UP, MARKED, asked, model, result, said, served, tool, user


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


CALL = tool_use("look_up", {"word": "x"}, id="toolu_1")
OTHER = tool_use("look_up", {"word": "x"}, id="toolu_2")
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
        (
            [user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}})],
            "messages.0.content.0.image.source.base64.data: must be non-empty",
        ),
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
