"""The table of events in docs/reference/formats.md, made of the types that read and write them.

`python -m tests.event_table` writes it. Each field is named with what it holds, as the types say.
tests/test_formats_page.py holds the page against it.
"""

import re
import sys
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from lastresort.domain import values
from lastresort.domain.events import EVENTS
from lastresort.domain.policy import Policy

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "formats.md"
BEGIN, END = "<!-- events: made by tests/event_table.py -->\n", "<!-- end of events -->\n"
NAMED = {
    repr(values.Id): "id",
    repr(values.Category): "category",
    repr(values.Digest): "digest",
    repr(values.Version): "version",
    repr(values.Count): "count",
    repr(values.Severity): "1 to 3",
}


def told(hint: Any) -> str:
    """Say in a few words what a field of a type holds."""
    if repr(hint) in NAMED:
        return NAMED[repr(hint)]
    if get_origin(hint) is Annotated:
        return told(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        parts = [told(part) for part in get_args(hint) if part is not NoneType]
        return " or ".join([*parts, "null"] if NoneType in get_args(hint) else parts)
    if get_origin(hint) is tuple:
        return f"[{told(get_args(hint)[0])}]"
    if hint is Policy:
        return "[policy](#policy), whole"
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
    return [(name, told(hints[name])) for name in model.model_fields]


def table() -> str:
    """Return the table, a row an event."""
    rows = ["| kind | fields, beside `by` |", "| --- | --- |"]
    for kind, event in EVENTS.items():
        own = [f"`{name}`: {what}" for name, what in fields(event) if name != "by"]
        rows.append(f"| `{kind}` | {'; '.join(own)} |")
    return "".join(f"{row}\n" for row in rows)


def written(page: str) -> str:
    """Return a page with the table as it should be."""
    return re.sub(f"(?<={re.escape(BEGIN)}).*?(?={re.escape(END)})", lambda _: table(), page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.exit(0)
