"""What stands in a field of a foreign file, checked. What is wrong is told by the field's name and what is needed, and
never by what stands there: it may be somebody's words.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from lastresort.domain.values import Usage

from .shapes import Block, Wrong

Value = TypeVar("Value")

NESTED = "it is nested too deeply"
_MOST_DEPTH = 100  # of what is kept of a message
_NAMES = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
_YEARS = range(1970, 3000)
_MOST_TOKENS = 2**53


@contextmanager
def within(where: str) -> Iterator[None]:
    """Say where in a chat the fields are that are looked at: `message 3`, say."""
    try:
        yield
    except Wrong as wrong:
        raise Wrong(f"{where}: {wrong.where}" if wrong.where else where, wrong.why) from None
    except RecursionError:
        raise Wrong(where, NESTED) from None


def kind_of(value: object) -> str:
    """Return what a value of JSON is called."""
    return _NAMES.get(type(value), "a number")


def _given(fields: Mapping[str, Any], name: str, kind: type[Value]) -> Value | None:
    value = fields.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise Wrong(name, f"{_NAMES[kind]} is needed, not {kind_of(value)}")


def text(fields: Mapping[str, Any], name: str) -> str | None:
    """Return a field that holds text, None if it is not there."""
    return _given(fields, name, str)


def mapping(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a field that holds an object, an empty one if it is not there."""
    return _given(fields, name, dict) or {}


def listed(fields: Mapping[str, Any], name: str) -> Sequence[Any]:
    """Return a field that holds an array, an empty one if it is not there."""
    return _given(fields, name, list) or []


def objects(fields: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return a field that holds an array of objects."""
    found = listed(fields, name)
    for number, one in enumerate(found, 1):
        if not isinstance(one, dict):
            raise Wrong(f"{name}, {number}", f"an object is needed, not {kind_of(one)}")
    return list(found)


def an_object(value: Any, where: str) -> Mapping[str, Any]:
    """Return a value that has to be an object."""
    if not isinstance(value, dict):
        raise Wrong(where, f"an object is needed, not {kind_of(value)}")
    return value


def needed(value: Value | None, name: str) -> Value:
    """Return a value that has to be there."""
    if value is None:
        raise Wrong(name, "is missing")
    return value


def an_id(fields: Mapping[str, Any], name: str) -> str | None:
    """Return an id: text, or a whole number as text."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _given(fields, name, str)


def time(fields: Mapping[str, Any], name: str) -> str | None:
    """Return a time, in UTC: ISO 8601 (without a zone it is in UTC), or seconds or milliseconds since 1970."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value / 1_000 if value > 10**11 else value, UTC)
        else:
            raise Wrong(name, f"a time is needed, not {kind_of(value)}")
        if found.year not in _YEARS:
            raise ValueError
    except (ValueError, OverflowError, OSError):
        raise Wrong(name, "is not a time: ISO 8601, or seconds since 1970, is needed") from None
    return found.isoformat(timespec="microseconds")


def usage(fields: Mapping[str, Any], name: str) -> Usage | None:
    """Return the tokens that an answer took, if both counts are there."""
    found = mapping(fields, name)
    return tokens(found.get("input_tokens"), found.get("output_tokens"))


def tokens(taken: Any, given: Any) -> Usage | None:
    """Return the tokens that an answer took, if both are counts."""
    if all(type(one) is int and 0 <= one <= _MOST_TOKENS for one in (taken, given)):
        return Usage(input_tokens=taken, output_tokens=given)
    return None


def is_deep(value: object) -> bool:
    """Whether a value has more values within each other than those who read it later can be asked to follow."""
    level: list[Any] = [value]
    for _ in range(_MOST_DEPTH):
        within = (inner for one in level for inner in (one.values() if isinstance(one, dict) else one))
        level = [one for one in within if isinstance(one, dict | list | tuple)]
        if not level:
            return False
    return True


# --- content blocks -------------------------------------------------------------------------------------------------


def said(text: str | None) -> tuple[Block, ...]:
    """Return text as blocks, none if it is empty."""
    return ({"type": "text", "text": text},) if text else ()


def blocks(value: Any, where: str = "content") -> tuple[Block, ...]:
    """Return content as blocks: text, or blocks of the Messages API, as they are."""
    if value is None or isinstance(value, str):
        return said(value)
    if not isinstance(value, list):
        raise Wrong(where, f"text or blocks are needed, not {kind_of(value)}")
    return tuple(_block(one, f"{where}, {number}") for number, one in enumerate(value, 1))


def _block(value: Any, where: str) -> Block:
    if isinstance(value, str):
        return {"type": "text", "text": value}
    block = an_object(value, where)
    if not isinstance(block.get("type"), str):
        raise Wrong(f"{where}.type", "is missing")
    if block["type"] == "text" and not isinstance(block.get("text"), str):
        raise Wrong(f"{where}.text", f"text is needed, not {kind_of(block.get('text'))}")
    return block


def a_file(name: str | None, id: str | None = None, content: str | None = None, kind: str = "document") -> Block:
    """Return a file that was attached: by its id or name where the export has no more of it."""
    source: dict[str, Any] = {"type": "file", "file_id": id or name or "unnamed"}
    if content is not None:
        source = {"type": "text", "media_type": "text/plain", "data": content}
    return {"type": kind, "source": source, **({"title": name} if name else {})}


def thought(text: str | None) -> tuple[Block, ...]:
    """Return what a model thought as blocks, none if there is nothing."""
    return ({"type": "thinking", "thinking": text},) if text else ()


def unknown(kind: str | None, content: Mapping[str, Any]) -> Block:
    """Return content of a kind that nobody knows: all of it, as a document that is called by its kind."""
    data = json.dumps(content, ensure_ascii=False)
    return {"type": "document", "source": {"type": "text", "media_type": "application/json", "data": data}} | (
        {"title": kind} if kind else {}
    )


def picture(url: str) -> Block:
    """Return a picture by its address, or with its bytes where they are in it."""
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        media = head.removeprefix("data:").removesuffix(";base64")
        return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}
    return {"type": "image", "source": {"type": "url", "url": url}}


def whole(parts: Iterable[str | None]) -> str | None:
    """Return what is there of some texts, as one; None if nothing is."""
    return "\n\n".join(filter(None, parts)) or None
