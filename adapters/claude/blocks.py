"""Whether the API could take a block of what a user says: one that it never takes would be in every later request.

The shapes are those of the installed SDK. What the SDK does not know (a field, a kind of source, a media type) passes:
the API may have learned it since. What is in a picture or a document is for the API to judge.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from anthropic.types import (
    ContainerUploadBlockParam,
    DocumentBlockParam,
    ImageBlockParam,
    SearchResultBlockParam,
    TextBlockParam,
)
from pydantic import TypeAdapter, ValidationError

_KINDS: dict[str, Any] = {
    "text": TextBlockParam,
    "image": ImageBlockParam,
    "document": DocumentBlockParam,
    "search_result": SearchResultBlockParam,
    "container_upload": ContainerUploadBlockParam,
}
"""What a user can say. Calls, results and thinking are for models and tools."""


def check(block: Mapping[str, Any]) -> None:
    """Raise ValueError if a block is not the user's to say, or the API could not take it. It says nothing of the
    words in it."""
    kind = block.get("type")
    if not (isinstance(kind, str) and kind in _KINDS):
        may = ", ".join(sorted(_KINDS))
        raise ValueError(f"a user's turn may hold blocks of these types: {may}; one of another was passed")
    try:
        _read_through(_adapter(kind).validate_python(block))
    except ValidationError as error:
        if wrong := _wrong(error):
            raise ValueError(f"a block of type {kind} in the user's turn has a wrong shape: {wrong}") from None
    if kind == "text" and not block["text"].strip():
        raise ValueError("a block of text in the user's turn is empty, which the API refuses: leave it out")


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[kind])


def _read_through(value: Any) -> None:
    """Read all items: pydantic checks those of an iterable only then."""
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, Iterable) and not isinstance(value, str):
        for item in value:
            _read_through(item)


def _wrong(error: ValidationError) -> str | None:
    """Return the first thing that is wrong with a block, apart from values that the SDK does not know.

    Of a union, only the errors of the member with the right `type` count.
    """
    found = error.errors(include_url=False, include_input=False, include_context=False)
    unknown = [one["loc"] for one in found if one["type"] == "literal_error"]
    others = {place[:-1] for place in unknown if place[-1] == "type" and len(place) > 1}
    for one in found:
        place = one["loc"]
        if place not in unknown and not any(place[: len(other)] == other for other in others):
            return f"{'.'.join(str(part) for part in place if not str(part).endswith('Param'))}: {one['msg']}"
    return None
