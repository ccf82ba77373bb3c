"""The page of the Python API, docs/reference/api.md, made of docstrings: `python -m tests.api_page` writes it."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import Any

import lastresort
from lastresort import Conversation

from .stores import ROOT

PAGE = ROOT / "docs" / "reference" / "api.md"
WIDTH = 100
INTRODUCTION = """# Python API

<!-- made by python -m tests.api_page; do not edit -->

Import all of these names from `lastresort`. What is imported from `lastresort.adapters` is on the pages of its subject:
[the index](../README.md) has them.

"""
SECTIONS = {
    "Conversations and branches": ("open_conversations", "Conversations", "Chat"),
    "The same, awaited": ("open_async_conversations", "AsyncConversations", "AsyncChat"),
    "What comes back": (
        "Receipt", "Refused", "BranchEnded", "TranscriptPage", "TranscriptTurn",
        "DirectoryPage", "ConversationRow", "Page", "BranchRow", "AccountErasure", "AccountHold", "HoldPage", "HoldRow",
        "Metadata", "Retention", "ExportedConversation",
    ),
    "Errors": (
        "StoreError", "StoreClosed", "NotAllowed", "UnknownBranch", "UnknownTurn", "CommandIdReused", "Contention",
        "PolicyError",
    ),
    "Values": (
        "Policy", "Experiment", "Arm", "Principal", "as_actor", "Actor", "ActorKind",
        "Verdict", "Risk", "About", "Ground", "Rating", "ForkCause", "ErasureCause", "HoldReason", "Mode",
        "AppealOutcome",
    ),
    "The law as functions": (
        "RULES", "Rule", "Broken", "Missing", "EVENTS", "Event", "RecordedEvent", "PROFILES", "Conversation",
        "Acceptance", "decide", "evolve", "fold", "broken_by", "broken_rules", "in_the_way",
    ),
}  # fmt: skip
DESCRIPTIONS = {
    "RULES": "The rules of the law by id, in order: see [rules](rules.md).",
    "EVENTS": "The kinds of events by name: see [events](events.md).",
    "Event": "The union of all of them, for annotations.",
    "PROFILES": "The policies that are shipped, by name; `lastresort policies` prints them.",
}


def signature(function: Any, name: str) -> str:
    """Return how a function is called, as its source has it, an argument a line where it does not fit one."""
    made = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(made, ast.FunctionDef | ast.AsyncFunctionDef)
    arguments = list(_arguments(made.args))
    returns = "" if made.returns is None else f" -> {ast.unparse(made.returns).strip(chr(39))}"
    line = f"{name}({', '.join(arguments)}){returns}"
    return line if len(line) <= WIDTH else f"{name}(\n" + "".join(f"    {one},\n" for one in arguments) + f"){returns}"


def _arguments(args: ast.arguments) -> Iterator[str]:
    defaults: list[ast.expr | None] = [None] * (len(args.args) - len(args.defaults))
    for one, default in zip(args.args, [*defaults, *args.defaults], strict=True):
        if one.arg not in ("self", "cls"):
            yield _argument(one, default)
    if args.vararg is not None:
        yield f"*{_argument(args.vararg, None)}"
    elif args.kwonlyargs:
        yield "*"
    for one, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        yield _argument(one, default)
    if args.kwarg is not None:
        yield f"**{_argument(args.kwarg, None)}"


def _argument(one: ast.arg, default: ast.expr | None) -> str:
    hint = "" if one.annotation is None else f": {ast.unparse(one.annotation)}"
    given = "" if default is None else f" = {ast.unparse(default)}"
    return f"{one.arg}{hint}{given}"


def described(thing: Any) -> str:
    """Return a docstring as Markdown: its paragraphs, and a list for `Args`, `Raises` and the like."""
    paragraphs = (inspect.getdoc(thing) or "").split("\n\n")
    return "\n\n".join(_paragraph(paragraph) for paragraph in paragraphs if paragraph)


def _paragraph(text: str) -> str:
    first, _, rest = text.partition("\n")
    if not re.fullmatch(r"\w[\w, ]*:", first) or not rest.startswith("    "):
        return f"```text\n{textwrap.dedent(text)}\n```" if text.startswith(("    ", ">>>")) else text
    items = re.split(r"\n(?! )", textwrap.dedent(rest))
    return f"{first}\n\n" + "\n".join("* " + " ".join(item.split()) for item in items)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Give the public methods and properties of a class, its own and inherited, as they are written."""
    for one in reversed(kind.__mro__):
        if one.__module__.startswith("lastresort.application"):
            yield from ((name, value) for name, value in vars(one).items() if not name.startswith("_"))


def shape(kind: type) -> str:
    """Return the members of an enumeration, or the fields of a record; nothing of another class."""
    if issubclass(kind, Enum):
        return f"One of {', '.join(f'`{kind.__name__}.{one.name}`' for one in kind)}."
    fields = (
        getattr(kind, "_fields", None) or getattr(kind, "model_fields", None) or getattr(kind, "__match_args__", ())
    )
    return f"Fields: {', '.join(f'`{field}`' for field in fields)}." if fields and kind is not Conversation else ""


def entry(name: str) -> Iterator[str]:
    """Give the parts of what is said of a public name."""
    thing = getattr(lastresort, name)
    yield f"### `{name}`"
    if inspect.isfunction(thing):
        yield f"```text\n{signature(thing, name)}\n```"
    if name in DESCRIPTIONS:
        yield DESCRIPTIONS[name]
    elif inspect.isfunction(thing) or inspect.isclass(thing):
        yield described(thing)
    if inspect.isclass(thing) and (fields := shape(thing)):
        yield fields
    if name in ("Conversations", "Chat"):
        for below, value in members(thing):
            if isinstance(value, property):
                yield f"**`{below}`**: {described(value)}"
            elif inspect.isfunction(value):
                yield f"#### `{name}.{below}`\n\n```text\n{signature(value, below)}\n```\n\n{described(value)}"


def page() -> str:
    """Return the page, a section a subject."""
    parts = []
    for section, names in SECTIONS.items():
        parts.append(f"## {section}")
        for name in names:
            parts.extend(entry(name))
    return INTRODUCTION + "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
