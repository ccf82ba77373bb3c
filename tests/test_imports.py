"""The shape of the house, walked: what each room imports and calls, and how large it grows.

    domain <- projections <- adapters
    domain <- application <- adapters

The domain and the projections are pure. What they may take from the standard library is listed here, so that a clock,
a file, a socket or chance cannot come in unnoticed: whoever needs another module adds it, and says why.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("domain", "application", "projections", "adapters")
PURE = ("domain", "application", "projections")
CORNERS = tuple(
    f"adapters/{name}"
    for name in (
        "assessors",
        "claude",
        "console",
        "databases",
        "importers",
        "loopback",
        "stores",
        "testing",
        "turns",
        "upkeep",
        "vault",
    )
)
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
PURE_MODULES = [path for path in MODULES if path.relative_to(ROOT).parts[0] in PURE]

MOST_MODULES = 13  # of a room, beside its __init__: more is a sign of a missing idea
MOST_LINES = 520

FIRST_PARTY = {
    "domain": {"domain"},
    "application": {"domain", "application"},
    "projections": {"domain", "projections"},
    "adapters": set(ROOMS),
}

COMPUTES = {
    "abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "enum", "fnmatch", "fractions", "functools",
    "heapq", "itertools", "math", "operator", "re", "statistics", "string", "textwrap", "typing", "unicodedata",
}  # fmt: skip
"""Modules that only compute."""

ONLY = {
    "datetime": {"datetime", "date", "timedelta", "timezone", "UTC"},  # the types; READS_THE_CLOCK forbids the rest
    "hashlib": {"sha256"},  # names a policy by its canonical form, an entry by the one before it
    "json": {"dumps", "loads", "JSONDecodeError"},  # of strings, never of files
    "threading": {"Lock"},  # guards the states that the service keeps in memory
    "tomllib": {"loads", "TOMLDecodeError"},  # a policy in text that the caller has read
    "uuid": {"uuid5", "UUID", "NAMESPACE_URL"},  # follows from its name; uuid1 and uuid4 are time and chance
}
"""Modules of which the pure part may be used."""

READS_THE_CLOCK = {"now", "utcnow", "today"}
TOUCHES_THE_WORLD = {
    "open", "input", "print", "exec", "eval", "compile", "__import__", "breakpoint", "globals", "id", "hash",
}  # fmt: skip
"""Built-ins that do I/O, run what is not written there, or, as `hash` and `id`, answer otherwise in each process."""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


class Import(NamedTuple):
    """An import: of a module, or of a name from it."""

    line: int
    module: str
    name: str | None
    alias: str | None


def imports(tree: ast.Module, room: str) -> Iterator[Import]:
    """Yield every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None, alias.asname)
        elif isinstance(node, ast.ImportFrom):
            inside = f"lastresort.{room}" if node.level == 1 else "." * node.level
            module = ".".join(filter(None, (inside if node.level else "", node.module)))
            for alias in node.names:
                yield Import(node.lineno, module, alias.name, alias.asname)


def strays(source: str, room: str) -> list[Import]:
    """Return the imports of a module that its room does not allow."""
    return [found for found in imports(ast.parse(source), room) if not _allowed(found, room)]


def _allowed(found: Import, room: str) -> bool:
    top, *rest = found.module.split(".")
    if top == "lastresort":
        return (rest[0] if rest else found.name) in FIRST_PARTY[room]
    if room not in PURE:
        return top != ""  # no room reaches over its own wall by `from ..`
    if top in ONLY:  # under its own name, by which `impurities` knows it; and `datetime` is a type and a module
        return found.alias is None and (found.name in ONLY[top] if found.name else top != "datetime")
    return top == "pydantic" or top in COMPUTES


def impurities(source: str) -> list[str]:
    """Return what a module calls or reaches for that is not pure, though its imports are."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TOUCHES_THE_WORLD:
            found.append(f"line {node.lineno}: {node.func.id}()")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner, name = node.value.id, node.attr
            if (owner in ("datetime", "date") and name in READS_THE_CLOCK) or (
                owner in ONLY and name not in ONLY[owner]
            ):
                found.append(f"line {node.lineno}: {owner}.{name}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_go_one_way__domain_projections_adapters(path: Path) -> None:
    assert strays(path.read_text(), path.relative_to(ROOT).parts[0]) == []


@pytest.mark.parametrize("path", PURE_MODULES, ids=named)
def test_no_clock_no_chance_no_input_or_output(path: Path) -> None:
    assert impurities(path.read_text()) == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_says_what_it_is_and_stays_short(path: Path) -> None:
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source)), "no docstring"
    assert len(source.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("room", [*ROOMS, *CORNERS])
def test_rooms_are_flat_and_small(room: str) -> None:
    """Each corner of the adapters has a role, and a door of its own."""
    modules = [path for path in MODULES if path.parent == ROOT / room]
    assert (ROOT / room / "__init__.py") in modules
    assert len(modules) - 1 <= MOST_MODULES
    corners = {path.parent for path in MODULES} - {ROOT / one for one in ROOMS}
    assert corners == {ROOT / corner for corner in CORNERS}


def test_what_computes_is_of_the_standard_library() -> None:
    assert (COMPUTES | set(ONLY)) <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("domain", "import time"),
        ("domain", "import os.path"),
        ("domain", "from datetime import time"),
        ("domain", "import datetime"),
        ("domain", "from datetime import datetime as clock"),
        ("domain", "import uuid as names"),
        ("domain", "from uuid import uuid4"),
        ("domain", "from json import load"),
        ("domain", "def f():\n    import random"),
        ("domain", "from ..adapters import store"),
        ("domain", "from .. import adapters"),
        ("domain", "from lastresort.projections import audit"),
        ("domain", "from lastresort import adapters"),
        ("domain", "import lastresort.adapters.stores.recorder_store"),
        ("domain", "import domain"),
        ("domain", "import eventsourcing"),
        ("domain", "if TYPE_CHECKING:\n    from lastresort.adapters import store"),
        ("projections", "from lastresort.adapters.stores.recorder_store import open_store"),
        ("projections", "import pathlib"),
        ("adapters", "from ..domain import rules"),
    ],
)
def test_the_walk_sees_a_stray_import(room: str, source: str) -> None:
    assert strays(source, room)


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndatetime.now()",
        "clock = datetime.utcnow",
        "uuid.uuid4()",
        "threading.Thread(target=f)",
        "json.load(f)",
        "open('f')",
        "print(1)",
        "__import__('os')",
        "hash('x')",
    ],
)
def test_the_walk_sees_an_impure_call(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("domain", "from collections.abc import Callable"),
        ("domain", "from .events import Event"),
        ("domain", "from . import events"),
        ("domain", "import uuid\nuuid.uuid5(uuid.NAMESPACE_URL, 'x')"),
        ("domain", "from pydantic import BaseModel"),
        ("projections", "from lastresort.domain.events import Event"),
        ("adapters", "import os, eventsourcing\nfrom lastresort import projections"),
    ],
)
def test_the_walk_lets_pass_what_is_allowed(room: str, source: str) -> None:
    assert strays(source, room) == []
    assert room == "adapters" or impurities(source) == []
