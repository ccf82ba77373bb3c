"""The shape of a request, read from the types of the installed SDK, so that the two never differ.

The SDK describes requests by TypedDicts, which pydantic would not hold to their keys. Here each becomes a model that
knows no other field, a union of them is told apart by its `type`, and an iterable is a list.
"""

import types
from collections.abc import Iterable
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from anthropic._types import SequenceNotStr
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaMessageCreateParamsBase
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsBase
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError, create_model
from typing_extensions import is_typeddict

_INNER = "\N{MIDDLE DOT}"  # marks the parts of a place that pydantic adds and the API does not show
_STRICT = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
_NO_BODY = {"workspace_id", "user_profile_id", "betas"}  # travel as headers


@cache
def _create() -> TypeAdapter[Any]:
    return TypeAdapter(_model(MessageCreateParamsBase, {"stream": (bool | None, None)}))


@cache
def _beta() -> TypeAdapter[Any]:
    return TypeAdapter(_model(BetaMessageCreateParamsBase, {"stream": (bool | None, None)}))


@cache
def _count() -> TypeAdapter[Any]:
    return TypeAdapter(_model(MessageCountTokensParams, {}))


def misshapen(body: Any, *, counting: bool = False, beta: bool = False) -> str | None:
    """Return where and how a request is not of the shape that the SDK describes, or None if it is."""
    try:
        (_count() if counting else _beta() if beta else _create()).validate_python(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(_INNER))
        said = first["msg"].replace(_INNER, "").replace("_tag_of()", "its type or role")
        return f"{place}: {said}" if place else said
    return None


def _model(typed: Any, more: dict[str, Any]) -> type[BaseModel]:
    fields: dict[str, Any] = dict(more)
    for name, hint in get_type_hints(typed, include_extras=True).items():
        if name in _NO_BODY:
            continue
        required = name in typed.__required_keys__
        if get_origin(hint) in (Required, NotRequired):
            required, hint = get_origin(hint) is Required, get_args(hint)[0]
        inside = name if name not in dir(BaseModel) else f"{name}_"
        fields[inside] = (_loosened(hint), Field(... if required else None, alias=name))
    extra = getattr(typed, "__pydantic_config__", {}).get("extra", "forbid")
    return create_model(typed.__name__, __config__=ConfigDict(**{**_STRICT, "extra": extra}), **fields)


@cache
def _known(typed: Any) -> type[BaseModel]:
    return _model(typed, {})


def _loosened(hint: Any) -> Any:
    """Return the annotation that pydantic is to check in place of one of the SDK's."""
    origin, inside = get_origin(hint), get_args(hint)
    if is_typeddict(hint):
        return _known(hint)
    if origin is Annotated:
        return _loosened(inside[0])
    if origin in (Union, types.UnionType):
        return _union([one for one in inside if not _is_response(one)])
    if origin in (Iterable, list, SequenceNotStr) or hint is SequenceNotStr:
        return list[_loosened(inside[0])]  # type: ignore[misc]  # a type that is made as this runs
    if origin is dict:
        return dict[str, Any]
    return Any if hint is object else hint


def _is_response(hint: Any) -> bool:
    """Whether it is a model of what the API returns, which the SDK turns into a dictionary before it is sent."""
    options = get_args(get_args(hint)[0] if get_origin(hint) is Annotated else hint) or (hint,)
    return any(isinstance(one, type) and issubclass(one, BaseModel) for one in options)


def _union(options: list[Any]) -> Any:
    """Tell dictionaries apart by their `type` or `role`, and other values by what they are."""
    flat = [one for option in options for one in (get_args(option) if get_origin(option) is Union else [option])]
    flat = [one for one in flat if not _is_response(one)]
    typed = [one for one in flat if is_typeddict(one)]
    rest = [_loosened(one) for one in flat if not is_typeddict(one)]
    if len(typed) > 1:
        rest.insert(0, Annotated[reduce(or_, map(_tagged, typed)), Discriminator(_tag_of)])
    else:
        rest = [_known(one) for one in typed] + rest
    if len(rest) == 1:
        return rest[0]
    marked = [Annotated[one, Tag(_INNER + _sort(one))] for one in rest]
    return Annotated[reduce(or_, marked), Discriminator(_sort_of({_sort(one) for one in rest}))]


def _tagged(typed: Any) -> Any:
    """Mark a dictionary with each `type` or `role` that it can have; a tool may leave out that it is `custom`."""
    for name in ("type", "role"):
        if name in typed.__annotations__:
            hint = get_type_hints(typed, include_extras=False)[name]
            literals = [
                value
                for option in (hint, *get_args(hint))
                if get_origin(option) is Literal
                for value in get_args(option)
            ]
            return Annotated[_known(typed), Tag(str(literals[0]) if name == "type" else _INNER + str(literals[0]))]
    return Annotated[_known(typed), Tag(typed.__name__)]


def _tag_of(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("type") or "custom") if "role" not in value else f"{_INNER}{value['role']}"
    return type(value).__name__


def _sort(hint: Any) -> str:
    if get_origin(hint) is list:
        return "list"
    if hint is type(None):
        return "null"
    return (
        "str" if hint is str else "dict" if not isinstance(hint, type) or issubclass(hint, BaseModel) else hint.__name__
    )


def _sort_of(there: set[str]) -> Any:
    def sort(value: Any) -> str:
        kind = {dict: "dict", list: "list", str: "str", type(None): "null"}.get(type(value), type(value).__name__)
        return _INNER + (kind if kind in there else min(there - {"null"}))

    return sort
