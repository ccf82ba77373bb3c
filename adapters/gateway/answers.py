"""What an upstream answers, looked at before anything rests on it: a proxy in between may answer with anything.

Only what is read here has to have its form. What else there is passes as it came, so that what is new needs no release.
"""

import json
import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, TypeAdapter, ValidationError

from lastresort.domain.values import Id

Message = dict[str, Any]
MOST_DEPTH = 100
"""How deep the JSON of an answer may be nested. A request, in which it comes back, may be a little deeper."""

_Count = Annotated[StrictInt, Field(ge=0)]


class Broken(Exception):
    """An answer of the upstream is none, or stopped being one."""


class _Read(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Usage(_Read):
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    iterations: list[Any] | None = None


class _Head(_Read):
    id: StrictStr | None = None
    model: StrictStr | None = None
    stop_reason: Id | None = None
    usage: _Usage | None = None


class _Block(_Read):
    type: StrictStr
    text: StrictStr | None = None
    thinking: StrictStr | None = None
    id: StrictStr | None = None
    name: StrictStr | None = None
    caller: dict[str, Any] | None = None
    before: dict[str, Any] | None = Field(None, alias="from")
    to: dict[str, Any] | None = None


class _Call(_Block):
    id: StrictStr
    name: StrictStr


_HEAD, _BLOCK, _CALL = TypeAdapter(_Head), TypeAdapter(_Block), TypeAdapter(_Call)


def head(message: Any) -> Message:
    """Return what a message has beside its content. Raises Broken, if it is none."""
    try:
        _HEAD.validate_python(message)
    except ValidationError:
        raise Broken("the upstream's answer is not a message") from None
    found: Message = message
    return found


def block(given: Any) -> Message:
    """Return a block of a message. Raises Broken, if it is none."""
    try:
        (_CALL if isinstance(given, dict) and given.get("type") == "tool_use" else _BLOCK).validate_python(given)
    except ValidationError:
        raise Broken("the upstream's answer has a block that is none") from None
    found: Message = given
    return found


def message(given: Any) -> Message:
    """Return a message that is whole. Raises Broken, if it is none."""
    found = head(given)
    if not isinstance(found.get("content"), list) or deeper_than(found, MOST_DEPTH):
        raise Broken("the upstream's answer is not a message")
    for one in found["content"]:
        block(one)
    return found


def parsed(text: str | bytes) -> Any:
    """Return what JSON says. Raises ValueError: it is none, or has numbers that JSON has not."""
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested without end") from None


def _no_number(name: str) -> Any:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def deeper_than(value: Any, most: int) -> bool:
    """Whether what JSON said is nested deeper than that."""
    level = [value]
    for _ in range(most):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
