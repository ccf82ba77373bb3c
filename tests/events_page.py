"""The page of events, docs/reference/events.md, made of the types that read and write them.

`python -m tests.events_page` writes it. Each field is named with what it holds, as the types say.
"""

from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from lastresort.domain import values
from lastresort.domain.events import EVENTS
from lastresort.domain.policy import Policy

from .stores import ROOT

PAGE = ROOT / "docs" / "reference" / "events.md"
INTRODUCTION = """# Events

<!-- made by python -m tests.events_page; do not edit -->

An event holds ids, enumerations, numbers, versions and digests, and never words of people or models. Each is stored in
an envelope: [the exported log](formats.md#exported-log) shows it. Kinds and fields are public: never renamed, never
reused.

* `by` is an actor: {`kind`: `user`, `model`, `assessor`, `operator`, `system`; `id`: id}. Every event has one.
* An *id* is 1 to 128 characters of printable ASCII without spaces.
* A *category* is a lower-case name of up to 64 letters, digits, `_` and `-`.
* A *digest* is `sha256:` and 64 hexadecimal digits.
* A *version* is a position on the branch's path, from 1.

Write every field, null where there is nothing.

## What each says

| kind | what it says |
| --- | --- |
"""
FIELDS = """
## Their fields

| kind | fields, beside `by` |
| --- | --- |
"""
NAMED = {
    repr(values.Id): "id",
    repr(values.Date): "YYYY-MM-DD",
    repr(values.Edition): "edition",
    repr(values.Category): "category",
    repr(values.Digest): "digest",
    repr(values.Version): "version",
    repr(values.Count): "count",
    repr(values.Severity): "1 to 3",
}


def type_name(hint: Any) -> str:
    """Say in a few words what a field of a type holds."""
    if repr(hint) in NAMED:
        return NAMED[repr(hint)]
    if get_origin(hint) is Annotated:
        return type_name(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        parts = [type_name(part) for part in get_args(hint) if part is not NoneType]
        return " or ".join([*parts, "null"] if NoneType in get_args(hint) else parts)
    if get_origin(hint) is tuple:
        return f"[{type_name(get_args(hint)[0])}]"
    if hint is Policy:
        return "[policy](formats.md#policy), whole"
    if hint is bool:
        return "true or false"
    if issubclass(hint, StrEnum):
        return ", ".join(f"`{member}`" for member in hint)
    if issubclass(hint, BaseModel):
        return "{" + ", ".join(f"`{name}`: {what}" for name, what in fields(hint)) + "}"
    raise TypeError(hint)


def fields(model: type[BaseModel]) -> list[tuple[str, str]]:
    """The fields of an event or of what it is made of, in the order in which they are written."""
    hints = get_type_hints(model, include_extras=True)
    return [(name, type_name(hints[name])) for name in model.model_fields]


def page() -> str:
    """Return the page, two rows an event."""
    said = "".join(f"| `{kind}` | {' '.join((event.__doc__ or '').split())} |\n" for kind, event in EVENTS.items())
    held = ""
    for kind, event in EVENTS.items():
        own = [f"`{name}`: {what}" for name, what in fields(event) if name != "by"]
        held += f"| `{kind}` | {'; '.join(own)} |\n"
    return INTRODUCTION + said + FIELDS + held


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
