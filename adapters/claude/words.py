"""What is kept of a turn, and how it is sent to the API again, the same every time.

A user turn of plain text is kept as that text. Every other turn is kept as JSON: the messages of the API that make it
up, whole (thinking and its signatures, tool calls and their results, notes), and in the first assistant turn the
tools and the system prompt that the conversation goes on with. The type of the words, which is sealed with them, says
which of the two it is, so that no text can pass for the other.

What is sent is a function of the path alone. So a request begins with what the one before it was, and a branch with
what its parent has.
"""

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel

from lastresort.domain.values import Messages

from .blocks import check

Message = dict[str, Any]
Block = dict[str, Any]
T = TypeVar("T")

MARK = "cache_control"
_HIDDEN = ("thinking", "redacted_thinking")


def digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(_json(value).encode()).hexdigest()


def kept_user(content: Any) -> str:
    """Return the words to keep of what a user said, passed as `content`: text, or Messages.

    Raises:
        TypeError: something in it is not JSON, or it is not a list of blocks.
        ValueError: it is empty, or pretends to be what only a model or a tool says, or the API could not take it.
    """
    try:
        return _kept_user(content)
    except TypeError as error:
        raise TypeError(f"content: {error}") from None
    except ValueError as error:
        raise ValueError(f"content: {error}") from None


def _kept_user(content: Any) -> str:
    if content is None:
        raise ValueError("nothing was said; to answer what the user said last, call `resume`")
    if isinstance(content, bytes | bytearray):
        raise TypeError(f"text is needed, or a list of content blocks, not {type(content).__name__}: decode it")
    if isinstance(content, str):
        if not content.strip():
            raise ValueError("the user's turn is empty")
        return carried(content)
    blocks = carried(plain(content))
    if not (isinstance(blocks, list) and all(isinstance(block, dict) for block in blocks)):
        raise TypeError(f"text is needed, or a list of content blocks, not {type(content).__name__}")
    if not blocks:
        raise ValueError("the user's turn is empty")
    for block in blocks:
        check(block)
    return Messages(_json({"messages": [{"role": "user", "content": blocks}]}))


def carried(value: T) -> T:
    """Return `value`, text or JSON, which a request can carry.

    Raises:
        ValueError: it cannot be written in UTF-8.
    """
    try:
        (value if isinstance(value, str) else _json(value)).encode()
    except UnicodeEncodeError:
        message = "the text holds half a character (a lone surrogate), which no request can carry"
        raise ValueError(message) from None
    return value


def kept_assistant(
    messages: Sequence[Message],
    answers: int,
    setup: Mapping[str, Any] | None,
    left: Mapping[str, Any] = MappingProxyType({}),
    container: Mapping[str, Any] | None = None,
) -> Messages:
    """Return the words to keep of an assistant turn: what it answers, by version, what was `left` out of the request
    for it, the `container` that its code ran in, and in the first one the `setup`."""
    kept: dict[str, Any] = {"messages": messages, "answers": answers, **left}
    if container is not None:
        kept["container"] = container
    return Messages(_json(kept if setup is None else kept | {"setup": setup}))


def merged(messages: Iterable[Message]) -> list[Message]:
    """Return `messages` with consecutive ones of the user made one, as the API reads them. A note of the system that
    nobody answered is left out between them."""
    together: list[Message] = []
    for message in messages:
        if together and message["role"] == "user" and together[-1]["role"] == "system":
            together.pop()
        if together and message["role"] == "user" == together[-1]["role"]:
            together[-1] = {"role": "user", "content": [*together[-1]["content"], *message["content"]]}
        else:
            together.append(message)
    return together


def marked_last(messages: Sequence[Message]) -> list[Message]:
    """Return `messages` with only the `cache_control` of the latest that has any, since the API takes four in all.

    A cache does not compare them.
    """
    last = next((n for n in range(len(messages) - 1, -1, -1) if _is_marked(messages[n])), None)
    if last is None:
        return list(messages)
    before = (_unmarked(message) if _is_marked(message) else message for message in messages[:last])
    return [*before, *messages[last:]]


def _is_marked(message: Message) -> bool:
    return any(MARK in block for block in message["content"])


def _unmarked(message: Message) -> Message:
    content = [{name: value for name, value in block.items() if name != MARK} for block in message["content"]]
    return {**message, "content": content}


def finished(content: Sequence[Block]) -> list[Block]:
    """Return the blocks of a message that was cut off, without those that the API never takes back: a call of its own
    tools that has no result, and thinking that nothing follows."""
    answered = {block.get("tool_use_id") for block in content}
    blocks = [block for block in content if not _is_open_call(block, answered)]
    while blocks and blocks[-1]["type"] in _HIDDEN:
        blocks.pop()
    return blocks


def last_fallback(content: Sequence[Block]) -> int:
    """Return the place of the block after which the model wrote that served the message; -1 if only one wrote."""
    return max((place for place, block in enumerate(content) if block["type"] == "fallback"), default=-1)


def _handed_over(content: list[Block]) -> list[Block]:
    """Return a message without what the API does not take back of a model that another one took over from: its
    thinking, its calls, and those of the server's tools that have no result."""
    last = last_fallback(content)
    answered = {block.get("tool_use_id") for block in content}
    return [
        block
        for place, block in enumerate(content)
        if place >= last
        or not (block["type"] in (*_HIDDEN, "connector_text", "tool_use") or _is_open_call(block, answered))
    ]


def _is_open_call(block: Block, answered: Container[Any]) -> bool:
    """Whether a block is a call of a tool that runs at the server, and has no result."""
    return block["type"] != "tool_use" and block["type"].endswith("_tool_use") and block["id"] not in answered


def sendable(messages: Iterable[Message]) -> list[Message]:
    """Return `messages` without what the API sends and does not take back: blank text, thinking that nothing follows
    then, and what a model had begun that another one took over from. What is kept and what people read still has all
    of it."""
    sent = []
    for message in messages:
        content = message["content"]
        if last_fallback(content) > 0:
            content = _handed_over(content)
            message = {**message, "content": content}
        if any(map(_is_blank, content)):
            content = [block for block in content if not _is_blank(block)]
            while content and content[-1]["type"] in _HIDDEN:
                content.pop()
            message = {**message, "content": content}
        if content:
            sent.append(message)
    return sent


def _is_blank(block: Block) -> bool:
    return block["type"] == "text" and not block["text"].strip()


def plain(value: Any) -> Any:
    """Return `value` as plain JSON; of the SDK's own types, what was set."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a {type(value).__name__} is not JSON: pass text, or bytes in base64, as the API takes them")


def well_formed(value: Any) -> Any:
    """Return JSON that a request can carry: half a character (a lone surrogate) becomes U+FFFD."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return value
    if isinstance(value, dict):
        return {well_formed(name): well_formed(item) for name, item in value.items()}
    return [well_formed(item) for item in value] if isinstance(value, list) else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
