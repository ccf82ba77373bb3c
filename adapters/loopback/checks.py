"""What the API refuses with a 400 though the shape is right: order, pairing, signatures, schemas.

Each check names the place, in the words of the API where they are known from public reports of it. What is checked
against what was sent before, signatures of thinking, asks the memory of the loopback.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Protocol

from jsonschema import Draft202012Validator, SchemaError

from lastresort.adapters.messages_api.wire import Block

_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
_NO_LATE_SYSTEM = re.compile(r"claude-(3|(opus|sonnet|haiku)-4(-[0-7])?(-\d{8})?$)")
_OF_THE_MODEL = {"tool_use", "thinking", "redacted_thinking", "server_tool_use", "mcp_tool_use", "fallback"}
_OF_THE_USER = {"tool_result", "image", "document", "search_result", "container_upload"}
_MOST_MARKS = 4


class Invalid(Exception):
    """A request that the API would refuse as an `invalid_request_error`; the message names the place."""


class Sent(Protocol):
    """What was sent before."""

    def signed(self, block: Block) -> bool:
        """Whether a thinking block is one that was sent, unchanged."""
        ...

    def paused(self, body: dict[str, Any]) -> bool:
        """Whether a request ends with an answer that was sent and stopped at `pause_turn`, or after a compaction."""
        ...

    def container(self, body: dict[str, Any]) -> str | None:
        """Return the container that an answer in a request ran its code in, by id, None if none did."""
        ...


def check(body: dict[str, Any], sent: Sent) -> None:
    """Raise Invalid if the API would refuse the request, whose shape has been checked."""
    if body["max_tokens"] < 1:
        raise Invalid("max_tokens: Input should be greater than or equal to 1")
    check_tools(body)
    _check_thinking_config(body)
    check_messages(body, sent)


def check_messages(body: dict[str, Any], sent: Sent) -> None:
    """Check what `count_tokens` is asked with as well."""
    messages = body["messages"]
    _check_roles(body["model"], messages)
    for place, message in _placed(messages):
        _check_content(place, message)
    _check_pairs(messages, bool(body.get("tools")))
    _check_thinking(messages, body.get("thinking") or {}, sent)
    _check_marks(body)
    _check_prefill(body, sent)
    _check_handed_over(messages)
    _check_container(body, sent)


def _placed(messages: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((f"messages.{n}", message) for n, message in enumerate(messages))


def _blocks(message: dict[str, Any]) -> list[Block]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _check_roles(model: str, messages: list[dict[str, Any]]) -> None:
    if not messages:
        raise Invalid("messages: at least one message is required")
    if messages[0]["role"] != "user":
        raise Invalid("messages.0: the first message must use the `user` role")
    for n, message in enumerate(messages):
        if message["role"] != "system":
            continue
        if _NO_LATE_SYSTEM.match(model):
            raise Invalid(f"messages.{n}: role 'system' is not supported on this model")
        if messages[n - 1]["role"] != "user":
            raise Invalid(f"messages.{n}: a `system` message must come right after a `user` message")
        if n + 1 < len(messages) and messages[n + 1]["role"] != "assistant":
            raise Invalid(f"messages.{n}: a `system` message must be the last, or come before an `assistant` message")


def _check_prefill(body: dict[str, Any], sent: Sent) -> None:
    messages = body["messages"]
    if messages[-1]["role"] == "assistant" and not sent.paused(body):
        raise Invalid(
            f"messages.{len(messages) - 1}: This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )


def handed_over(content: list[Block]) -> list[Block]:
    """Return a message as the API takes it back: of a model that another one took over from, no thinking, no calls, and
    none of the server's tools without its result."""
    last = max((n for n, block in enumerate(content) if block["type"] == "fallback"), default=0)
    answered = {block.get("tool_use_id") for block in content}
    unwanted = {"thinking", "redacted_thinking", "connector_text", "tool_use"}
    return [
        block
        for n, block in enumerate(content)
        if n >= last or not (block["type"] in unwanted or (_at_the_server(block) and block["id"] not in answered))
    ]


def _at_the_server(block: Block) -> bool:
    return block["type"] in ("server_tool_use", "mcp_tool_use")


def _check_handed_over(messages: list[dict[str, Any]]) -> None:
    for n, message in enumerate(messages):
        blocks = _blocks(message)
        if len(handed_over(blocks)) < len(blocks):
            raise Invalid(f"messages.{n}: blocks of a model that declined cannot come before the last `fallback` block")
        answered = {block.get("tool_use_id") for block in blocks}
        open_calls = [block for block in blocks if _at_the_server(block) and block["id"] not in answered]
        if open_calls and n + 1 < len(messages):
            kind, id = open_calls[0]["type"], open_calls[0]["id"]
            raise Invalid(f"messages.{n}: `{kind}` ids were found without a result block in the same message: {id}")


def _check_container(body: dict[str, Any], sent: Sent) -> None:
    passed = body.get("container")
    passed = passed.get("id") if isinstance(passed, dict) else passed
    if (ran_in := sent.container(body)) is not None and passed != ran_in:
        raise Invalid(f"container: the code of this conversation ran in {ran_in}, which the request has to name")


def _check_content(place: str, message: dict[str, Any]) -> None:
    blocks = _blocks(message)
    if not blocks or message["content"] == "":
        raise Invalid(f"{place}: {message['role']} messages must have non-empty content")
    foreign = {"user": _OF_THE_MODEL, "assistant": _OF_THE_USER}.get(message["role"], _OF_THE_MODEL | _OF_THE_USER)
    for n, block in enumerate(blocks):
        if block["type"] in foreign:
            raise Invalid(f"{place}.content.{n}: `{block['type']}` blocks cannot be in `{message['role']}` messages")
        if block["type"] == "text" and not block["text"]:
            raise Invalid(f"{place}.content.{n}: text content blocks must be non-empty")
        if block["type"] == "text" and not block["text"].strip():
            raise Invalid(f"{place}.content.{n}: text content blocks must contain non-whitespace text")
        source = block.get("source")
        if isinstance(source, dict) and source.get("type") == "base64" and not source.get("data"):
            raise Invalid(f"{place}.content.{n}.{block['type']}.source.base64.data: must be non-empty")
        for field in ("id", "tool_use_id", "name"):
            if field in block and not _NAME.match(block[field]):
                kind = block["type"]
                raise Invalid(f"{place}.content.{n}.{kind}.{field}: String should match pattern '{_NAME.pattern}'")


def _check_pairs(messages: list[dict[str, Any]], has_tools: bool) -> None:
    """Each call is answered in the next message, first thing, once; nothing else is answered; ids are unique."""
    asked: list[str] = []
    for n, message in enumerate(messages):
        blocks = _blocks(message)
        kinds = [block["type"] for block in blocks]
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if "tool_result" in kinds and kinds[: len(results)] != ["tool_result"] * len(results):
            raise Invalid(f"messages.{n}: `tool_result` blocks must come first in the content of a message")
        for at, id in enumerate(results):
            if id not in asked:
                raise Invalid(
                    f"messages.{n}.content.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. "
                    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        if twice := _twice(results):
            raise Invalid(
                f"messages.{n}: each tool_use must have a single result. "
                f"Found multiple `tool_result` blocks with id: {twice}"
            )
        _all_answered(n - 1, asked, results)
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if (asked or results) and not has_tools:
            raise Invalid("tools: requests which include `tool_use` or `tool_result` blocks must define tools")
    _all_answered(len(messages) - 1, asked, [])
    calls = [block["id"] for message in messages for block in _blocks(message) if block["type"] == "tool_use"]
    if twice := _twice(calls):
        raise Invalid(f"messages: `tool_use` ids must be unique; found more than once: {twice}")


def _all_answered(n: int, asked: list[str], results: list[str]) -> None:
    if left := [id for id in asked if id not in results]:
        raise Invalid(
            f"messages.{n}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(left)}. "
            "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
        )


def _twice(names: Iterable[str]) -> str:
    return ", ".join(name for name, count in Counter(names).items() if count > 1)


def _check_thinking(messages: list[dict[str, Any]], thinking: dict[str, Any], sent: Sent) -> None:
    for place, message in _placed(messages):
        for n, block in enumerate(_blocks(message)):
            if block["type"] in ("thinking", "redacted_thinking") and not sent.signed(block):
                field = "signature" if block["type"] == "thinking" else "data"
                raise Invalid(f"{place}.content.{n}: Invalid `{field}` in `{block['type']}` block")
    if thinking.get("type") == "enabled" and len(messages) > 1 and _blocks(messages[-1])[0]["type"] == "tool_result":
        n = max(n for n, message in enumerate(messages) if message["role"] == "assistant")
        first = _blocks(messages[n])[0]["type"]
        if first not in ("thinking", "redacted_thinking"):
            raise Invalid(
                f"messages.{n}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When "
                "`thinking` is enabled, a final `assistant` message must start with a thinking block."
            )


def _check_thinking_config(body: dict[str, Any]) -> None:
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        if thinking["budget_tokens"] < 1024:
            raise Invalid("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if thinking["budget_tokens"] >= body["max_tokens"]:
            raise Invalid("`max_tokens` must be greater than `thinking.budget_tokens`")
        if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            raise Invalid("Thinking may not be enabled when tool_choice forces tool use.")


def check_tools(body: dict[str, Any]) -> None:
    """Check names, schemas, and the choice among the tools."""
    tools = body.get("tools") or []
    for n, tool in enumerate(tools):
        if "input_schema" not in tool:
            continue
        if not _NAME.match(tool["name"]):
            raise Invalid(f"tools.{n}.custom.name: String should match pattern '{_NAME.pattern}'")
        if tool["input_schema"].get("type") != "object":
            raise Invalid(f"tools.{n}.custom.input_schema.type: Input should be 'object'")
        if wrong := _wrong_schema(json.dumps(tool["input_schema"])):
            raise Invalid(f"tools.{n}.custom.input_schema: JSON schema is invalid - {wrong}")
        if tool.get("strict"):
            _check_closed(f"tools.{n}.custom", tool["input_schema"])
    if twice := _twice(tool["name"] for tool in tools if "name" in tool):
        raise Invalid(f"tools: Tool names must be unique: {twice}")
    choice = body.get("tool_choice") or {"type": "none"}
    if choice["type"] != "none" and not tools:
        raise Invalid("tool_choice: may only be specified while providing `tools`")
    if choice["type"] == "tool" and choice["name"] not in {tool.get("name") for tool in tools}:
        raise Invalid(f"tool_choice: Tool '{choice['name']}' not found in provided tools")
    if form := (body.get("output_config") or {}).get("format"):
        if wrong := _wrong_schema(json.dumps(form["schema"])):
            raise Invalid(f"output_config.format.schema: JSON schema is invalid - {wrong}")
        _check_closed("output_config.format.schema", form["schema"])


@lru_cache(maxsize=1024)
def _wrong_schema(schema: str) -> str | None:
    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except SchemaError as error:
        return f"{error.json_path}: {error.message}"
    return None


def _check_closed(place: str, schema: Any) -> None:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
            raise Invalid(f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false")
        for inner in schema.values():
            _check_closed(place, inner)
    elif isinstance(schema, list):
        for inner in schema:
            _check_closed(place, inner)


def _check_marks(body: dict[str, Any]) -> None:
    if (count := marks(body)) > _MOST_MARKS:
        raise Invalid(f"A maximum of {_MOST_MARKS} blocks with cache_control may be provided. Found {count}.")


def marks(body: dict[str, Any]) -> int:
    """Return how many breakpoints for the prompt cache a request has."""
    system = body.get("system")
    places = [body, *(body.get("tools") or []), *(system if isinstance(system, list) else [])]
    places += [block for message in body["messages"] for block in _blocks(message)]
    return sum(1 for place in places if place.get("cache_control"))
