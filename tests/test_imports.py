"""The house, walked: what each module imports and calls, and how large each folder grows.

The domain and the projections are pure. What they may take from the standard library is listed here, so that a clock,
a file, a socket or chance cannot come in unnoticed: add the module that you need, and say why. What the rooms may take
from each other, and from third parties, is in `house.py`.
"""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

from .house import (
    BEHIND,
    CORNERS,
    DRIVERS,
    ENTRY_POINTS,
    EXCEPTIONS,
    FOR_ALL_ADAPTERS,
    FRONT_DOOR,
    FRONTS,
    INWARD,
    MODULES,
    PURE,
    ROOMS,
    ROOT,
    SEES,
    STARTS,
    Import,
    folder_of,
    house_folder,
    imports,
    named,
    packages,
)

PURE_MODULES = [path for path in MODULES if folder_of(named(path)) in PURE]

MOST_MODULES = 16  # of a room, beside its __init__: more is a sign of a missing idea
MOST_LINES = 450

COMPUTES = {
    "abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "decimal", "difflib", "enum", "fnmatch",
    "fractions", "heapq", "itertools", "math", "operator", "re", "statistics", "string", "textwrap", "typing",
    "unicodedata",
}  # fmt: skip
"""Modules that only compute."""

ONLY = {
    "datetime": {"datetime", "date", "timedelta", "timezone", "UTC"},  # the types; READS_THE_CLOCK forbids the rest
    "functools": {"cached_property", "partial", "reduce", "total_ordering", "wraps"},  # what keeps no more than a value
    "hashlib": {"sha256"},  # names a policy by its canonical form, an entry by the one before it
    "json": {"dumps", "loads", "JSONDecodeError", "JSONEncoder"},  # of strings, never of files
    "tomllib": {"loads", "TOMLDecodeError"},  # a policy in text that the caller has read
    "types": {"TracebackType"},  # of which `__exit__` is told; the rest makes code
    "uuid": {"uuid5", "UUID", "NAMESPACE_URL"},  # follows from its name; uuid1 and uuid4 are time and chance
}
"""Modules of which the pure part may be used."""

ONLY_OF = dict.fromkeys(PURE, ONLY) | {
    "application": ONLY
    | {
        "hmac": {"digest"},  # allocates accounts to the arms of an experiment
        "threading": {"Lock"},  # guards the states that the service keeps in memory
    }
}

READS_THE_CLOCK = {"now", "utcnow", "today"}
TOUCHES_THE_WORLD = {
    "open", "input", "print", "exec", "eval", "compile", "__import__", "breakpoint", "globals", "id", "hash",
}  # fmt: skip
"""Built-ins that do I/O, run what is not written there, or, as `hash` and `id`, answer otherwise in each process."""


def strays(source: str, name: str) -> list[Import]:
    """Return the imports of a module that its folder does not allow, but for the exceptions."""
    return [found for found, what in forbidden(source, name) if (name, what) not in EXCEPTIONS]


def forbidden(source: str, name: str) -> list[tuple[Import, str]]:
    """Return the imports that the folder of a module does not allow, each with what it is that it may not see."""
    answers = ((found, _forbidden(found, name)) for found in imports(source, name))
    return [(found, what) for found, what in answers if what is not None]


def _forbidden(found: Import, name: str) -> str | None:
    own, top = folder_of(name), found.module.split(".")[0]
    if top == "":
        return found.module  # no folder reaches over its own wall by `from ..`
    folder = house_folder(found)
    if folder is not None:
        if name.startswith("adapters/") and (found.module, found.name) in FOR_ALL_ADAPTERS:
            return None
        return None if folder in {own, *SEES[own], ENTRY_POINTS.get(name), STARTS.get(name)} else folder
    if top not in sys.stdlib_module_names:
        return None if top in packages(name) else top
    if own not in PURE or top in COMPUTES:
        return None
    only = ONLY_OF[own].get(top, set())
    if found.name is None:  # under its own name, by which `impurities` knows it; and `datetime` is a type and a module
        return None if only and found.alias is None and top != "datetime" else top
    return None if found.alias is None and found.name in only else f"{top}.{found.name}"


def impurities(source: str, room: str) -> list[str]:
    """Return what a module calls or reaches for that is not pure, though its imports are."""
    only, found = ONLY_OF[room], []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TOUCHES_THE_WORLD:
            found.append(f"line {node.lineno}: {node.func.id}()")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner, name = node.value.id, node.attr
            if (owner in ("datetime", "date") and name in READS_THE_CLOCK) or (
                owner in only and owner != "datetime" and name not in only[owner]  # a type too, by its own name
            ):
                found.append(f"line {node.lineno}: {owner}.{name}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_go_one_way(path: Path) -> None:
    assert strays(path.read_text(), named(path)) == []


@pytest.mark.parametrize(("name", "what"), EXCEPTIONS, ids=" ".join)
def test_an_exception_that_is_no_longer_needed_is_removed(name: str, what: str) -> None:
    assert what in {found for _, found in forbidden((ROOT / name).read_text(), name)}, "take it out of EXCEPTIONS"


@pytest.mark.parametrize("path", PURE_MODULES, ids=named)
def test_no_clock_no_chance_no_input_or_output(path: Path) -> None:
    assert impurities(path.read_text(), folder_of(named(path))) == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_says_what_it_is_and_stays_short(path: Path) -> None:
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source)), "no docstring"
    assert len(source.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("room", [FRONT_DOOR, *ROOMS, *CORNERS])
def test_rooms_are_flat_and_small(room: str) -> None:
    """Each corner of the adapters has a role, and a door of its own."""
    modules = [path for path in MODULES if path.parent == ROOT / room]
    assert (ROOT / room / "__init__.py") in modules
    assert len(modules) - 1 <= MOST_MODULES
    assert {path.parent for path in MODULES} == {ROOT / one for one in (FRONT_DOOR, *ROOMS, *CORNERS)}


class TestTheRulesOfTheHouse:
    """`SEES` itself follows the few rules that it stands for."""

    def test_the_law_sees_nothing_and_projections_never_see_the_application(self) -> None:
        assert (SEES["domain"], SEES["application"], SEES["supposing"]) == (set(), {"domain"}, {"domain"})
        assert SEES["projections"] == {"domain", "supposing"}

    def test_stores_and_vault_meet_in_opening_alone(self) -> None:
        assert {folder for folder, seen in SEES.items() if {"stores", "vault"} <= seen | {folder}} == {"adapters"}
        meeting = {
            named(path)
            for path in (ROOT / "adapters").glob("*.py")
            if {"stores", "vault"} & {house_folder(found) for found in imports(path.read_text(), named(path))}
        }
        assert meeting == {"adapters/opening.py"}

    def test_a_turn_knows_no_driver_and_drivers_know_no_other(self) -> None:
        assert not SEES["turns"] & (SEES.keys() - INWARD)
        assert not [folder for folder in DRIVERS & SEES.keys() if SEES[folder] & DRIVERS]
        assert not [folder for folder in SEES if SEES[folder] & DRIVERS and folder not in FRONTS | BEHIND]

    def test_nobody_imports_a_front_but_the_entry_points(self) -> None:
        assert not [folder for folder, seen in SEES.items() if seen & FRONTS]
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()
        assert list(scripts) == [f"lastresort.adapters.{front}:main" for front in ENTRY_POINTS.values()]


def test_what_computes_is_of_the_standard_library() -> None:
    assert COMPUTES.union(*ONLY_OF.values()) <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("domain/x.py", "import time"),
        ("domain/x.py", "import os.path"),
        ("domain/x.py", "from datetime import time"),
        ("domain/x.py", "import datetime"),
        ("domain/x.py", "from datetime import datetime as clock"),
        ("domain/x.py", "import uuid as names"),
        ("domain/x.py", "from uuid import uuid4"),
        ("domain/x.py", "from json import load"),
        ("domain/x.py", "def f():\n    import random"),
        ("domain/x.py", "from ..adapters import store"),
        ("domain/x.py", "from .. import adapters"),
        ("domain/x.py", "from lastresort.projections import audit"),
        ("domain/x.py", "from lastresort import adapters"),
        ("domain/x.py", "from lastresort import Policy"),
        ("domain/x.py", "import lastresort.adapters.stores.memory"),
        ("domain/x.py", "from lastresort.application.ports import Entry"),
        ("domain/x.py", "import domain"),
        ("domain/x.py", "import eventsourcing"),
        ("domain/x.py", "import threading"),
        ("domain/x.py", "from threading import Lock"),
        ("domain/x.py", "from functools import lru_cache"),
        ("domain/x.py", "from functools import cache"),
        ("domain/x.py", "if TYPE_CHECKING:\n    from lastresort.adapters import store"),
        ("application/x.py", "from threading import Thread"),
        ("application/x.py", "from time import monotonic"),
        ("application/x.py", "from lastresort.projections.audit import audit"),
        ("projections/x.py", "from lastresort.application.chat import Chat"),
        ("projections/x.py", "from lastresort.adapters.stores.memory import MemoryStore"),
        ("projections/x.py", "from threading import Lock"),
        ("projections/x.py", "import pathlib"),
        ("adapters/turns/x.py", "from ..domain import rules"),
        ("adapters/turns/x.py", "from lastresort.adapters.claude import Claude"),
        ("adapters/turns/x.py", "from lastresort.adapters import claude"),
        ("adapters/turns/x.py", "import anthropic"),
        ("adapters/stores/x.py", "from lastresort.adapters.vault.keys import Keys"),
        ("adapters/stores/x.py", "from lastresort.adapters.opening import open_conversations"),
        ("adapters/stores/x.py", "import psycopg"),
        ("adapters/vault/x.py", "import lastresort.adapters.stores.codec"),
        ("adapters/upkeep/x.py", "from lastresort.adapters.vault.keys import Keys"),
        ("adapters/upkeep/x.py", "from lastresort.adapters.console import main"),
        ("adapters/testing/x.py", "from lastresort import open_conversations"),
        ("adapters/loopback/x.py", "from lastresort.domain.events import Event"),
        ("adapters/x.py", "from lastresort.adapters.console import main"),
        ("adapters/claude/x.py", "import click"),
        ("lastresort/__init__.py", "from lastresort.adapters.console import main"),
    ],
)
def test_the_walk_sees_a_stray_import(name: str, source: str) -> None:
    assert strays(source, name)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("domain", "from datetime import datetime\ndatetime.now()"),
        ("domain", "clock = datetime.utcnow"),
        ("domain", "uuid.uuid4()"),
        ("application", "threading.Thread(target=f)"),
        ("domain", "json.load(f)"),
        ("domain", "functools.lru_cache(f)"),
        ("domain", "open('f')"),
        ("projections", "print(1)"),
        ("domain", "__import__('os')"),
        ("domain", "hash('x')"),
    ],
)
def test_the_walk_sees_an_impure_call(room: str, source: str) -> None:
    assert impurities(source, room)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("domain/x.py", "from collections.abc import Callable"),
        ("domain/x.py", "from .events import Event"),
        ("domain/x.py", "from . import events"),
        ("domain/x.py", "import uuid\nuuid.uuid5(uuid.NAMESPACE_URL, 'x')"),
        ("domain/x.py", "from pydantic import BaseModel"),
        ("application/x.py", "from threading import Lock"),
        ("application/x.py", "from lastresort.domain.events import Event"),
        ("projections/x.py", "from lastresort.domain.events import Event"),
        ("adapters/x.py", "from lastresort.adapters.stores.codec import decode"),
        ("adapters/claude/x.py", "import os, anthropic, jiter\nfrom lastresort import projections"),
        ("adapters/claude/x.py", "from lastresort.adapters import turns"),
        ("adapters/console/x.py", "from lastresort.adapters import open_conversations"),
        ("adapters/stores/postgres_x.py", "import psycopg"),
        ("lastresort/__main__.py", "from lastresort.adapters.console import main"),
    ],
)
def test_the_walk_lets_pass_what_is_allowed(name: str, source: str) -> None:
    assert strays(source, name) == []
    assert folder_of(name) not in PURE or impurities(source, folder_of(name)) == []
