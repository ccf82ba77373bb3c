"""What the tests of the loopback share: it is served to the real SDK, and asked in the blocks of the API."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic

from lastresort.adapters.loopback import Answer, Script, loopback, redacted_thinking, text, thinking, tool_use

MODEL = "claude-opus-4-8"
LOOK_UP = {
    "name": "look_up",
    "description": "Look up a word.",
    "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}
HELLO = {"role": "user", "content": "Hello."}
MARKED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}


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


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def model(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def result(id: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": "a greeting", **more}


def tool(**more: Any) -> dict[str, Any]:
    return {**LOOK_UP, **more}
