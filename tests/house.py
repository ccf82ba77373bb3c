"""The shape of the house: its rooms, what each may see of the others, and whose packages each may import.

    domain <- projections <- adapters
    domain <- application <- adapters

Within the adapters, `SEES` is the whole of it: a folder that it does not give another one cannot be imported there.
What is not yet as it should be stands in `EXCEPTIONS`, with the reason; the list only shrinks.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FRONT_DOOR = "lastresort"
ROOMS = ("domain", "application", "projections", "adapters")
PURE = ("domain", "application", "projections")
INWARD = {"domain", "application", "projections", "reports"}
"""What every adapter may see."""

FRONTS = {"console", "web", "play"}
"""Where people and programs come in: nobody imports them but the command's entry points."""
DRIVERS = {
    "claude",
    "claude_agent",
    "gateway",
    "langchain",
    "litellm",
    "mcp",
    "offline",
    "openai_agents",
    "pydantic_ai",
}
"""What speaks with one provider or framework. They see `turns`, never each other."""
ENTRY_POINTS = {"lastresort/__main__.py": "console"}
BEHIND = {"api", "pages", "service"}
"""What the front `web` is made of: they speak with drivers as it does."""
STARTS = {"adapters/console/upkeep.py": "web"}
"""The modules of one front that start another one."""

SEES: dict[str, set[str]] = {
    FRONT_DOOR: {"domain", "application", "adapters", "asyncio", "databases"},
    "domain": set(),
    "application": {"domain"},
    "projections": {"domain", "supposing"},
    "reports": {"domain", "projections"},
    "supposing": {"domain"},
    # The folder itself: `opening`, where stores and vault meet, and the door to it.
    "adapters": INWARD | {"assessors", "databases", "followers", "shards", "stores", "transparency", "vault"},
    "assessors": INWARD | {"turns"},
    "asyncio": INWARD | {"adapters"},
    "chats": INWARD,
    "claude": INWARD | {"assessors", "turns"},
    "claude_agent": INWARD | {"turns"},
    "console": INWARD
    | {
        "adapters",
        "assessors",
        "chats",
        "claude",
        "databases",
        "documents",
        "evals",
        "exporters",
        "human_queue",
        "importers",
        "large_logs",
        "parquet",
        "shards",
        "stores",
        "tlog",
        "transparency",
        "service",
        "turns",
        "upkeep",
    },
    "databases": INWARD,
    "documents": INWARD | {"adapters", "exporters"},
    "evals": INWARD,
    "evaluations": INWARD | {"adapters", "turns"},
    "exporters": INWARD,
    "gateway": INWARD | {"followers", "messages_api", "turns"},
    "human_queue": INWARD | {"databases", "followers", "turns"},
    "importers": INWARD | {"adapters", "chats", "exporters", "turns"},
    "langchain": INWARD | {"turns"},
    "large_logs": INWARD | {"parquet", "stores"},
    "litellm": INWARD | {"turns"},
    "loopback": {"messages_api"},
    "mcp": INWARD | {"turns"},
    "messages_api": set(),
    "native_api": {"domain", "messages_api"},
    "followers": INWARD | {"databases"},
    "offline": INWARD | {"assessors", "turns"},
    "openai_agents": INWARD | {"turns"},
    "pages": INWARD
    | {"api", "documents", "exporters", "gateway", "human_queue", "messages_api", "native_api", "offline", "service"}
    | {"turns"},
    "parquet": INWARD,
    "pydantic_ai": INWARD | {"turns"},
    "shards": INWARD | {"databases"},
    "stores": INWARD | {"databases"},
    "telemetry": INWARD | {"followers", "turns"},
    "testing": INWARD | {"adapters", "turns"},
    "tlog": set(),
    "transparency": INWARD | {"databases", "followers", "stores", "tlog"},
    "turns": INWARD,
    "upkeep": INWARD | {"adapters", "databases", "followers", "shards", "stores", "tlog", "transparency"},
    "vault": INWARD | {"databases"},
    "service": INWARD | {"adapters", "databases", "followers", "gateway", "human_queue"},
    "api": INWARD
    | {
        "claude",
        "databases",
        "followers",
        "gateway",
        "human_queue",
        "messages_api",
        "native_api",
        "service",
        "transparency",
        "turns",
    },
    "web": INWARD | {"adapters", "api", "assessors", "claude", "gateway", "pages", "service"},
}
"""Each folder, and the others that it may import from."""

FOR_ALL_ADAPTERS = {("lastresort.adapters", "missing"), ("lastresort.adapters", "needs")}
"""What any adapter may import beside: it says which extra to install."""

WITHIN_PROJECTIONS = ("reports", "supposing")
CORNERS = tuple(
    f"{'projections' if name in WITHIN_PROJECTIONS else 'adapters'}/{name}"
    for name in SEES
    if name not in (FRONT_DOOR, *ROOMS)
)

CORE = {"pydantic"}
"""What the project needs in any case."""
EXTRAS: dict[str, tuple[str, set[str]]] = {
    "assessors": ("claude", {"anthropic"}),
    "asyncio": ("store", set()),
    "claude": ("claude", {"anthropic", "anyio"}),
    "claude_agent": ("claude-agent", {"claude_agent_sdk"}),
    "console": ("cli", {"anyio", "click", "prompt_toolkit", "rich"}),
    "databases": ("store", {"eventsourcing"}),
    "documents": ("documents", {"jinja2", "jsonschema", "matplotlib"}),
    "gateway": ("serve", {"aiohttp"}),
    "evals": ("inspect", {"inspect_ai"}),
    "evaluations": ("evals", {"inspect_ai"}),
    "human_queue": ("store", set()),
    "importers": ("store", set()),
    "langchain": ("langchain", {"langchain", "langchain_core", "langgraph"}),
    "large_logs": ("large", {"duckdb", "pyarrow"}),
    "litellm": ("litellm", {"litellm"}),
    "loopback": ("loopback", {"anthropic", "jsonschema", "starlette", "uvicorn"}),
    "mcp": ("mcp", {"mcp"}),
    "followers": ("store", {"eventsourcing"}),
    "openai_agents": ("openai-agents", {"agents"}),
    "pydantic_ai": ("pydantic-ai", {"pydantic_ai"}),
    "native_api": ("client", {"httpx2"}),
    "pages": ("serve", {"fastapi", "jinja2", "markdown_it", "nh3", "starlette"}),
    "parquet": ("parquet", {"pyarrow"}),
    "shards": ("store", set()),
    "stores": ("store", {"eventsourcing"}),
    "telemetry": ("telemetry", {"opentelemetry"}),
    "testing": ("testing", {"hypothesis", "pytest"}),
    "tlog": ("trust", {"cryptography"}),
    "transparency": ("trust", {"starlette", "uvicorn"}),
    "upkeep": ("store", set()),
    "vault": ("store", {"cryptography"}),
    "service": ("serve", {"fastapi", "prometheus_client", "starlette", "uvicorn"}),
    "api": ("serve", {"authlib", "fastapi", "httpx2", "starlette"}),
    "web": ("serve", {"starlette", "uvicorn"}),
}
"""Each folder that needs more than the core, the extra that installs it, and what it may import of third parties."""
POSTGRES = ("postgres", "psycopg")
"""The extra and the package of the modules that are named for PostgreSQL, in whichever folder."""

COME_WITH = {
    "httpx2": "anthropic",
    "jiter": "anthropic",
    "joserfc": "authlib",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
    "typing_extensions": "pydantic",
    "yarl": "aiohttp",
}
"""Packages that another one is built on: a module that may import that one may import them."""
UNSEEN = {"httptools": "uvicorn parses with it, and is slow without"}
"""What an extra installs though no module imports it."""

EXCEPTIONS = {
    ("adapters/importers/inputs.py", "stores"): "the codec reads the events of files, until it has a room for both",
    ("adapters/importers/log_lines.py", "stores"): "the codec reads the events of files, until it has a room for both",
}
"""What a module imports though the rules above forbid it, and why: another folder, or a package."""


class Import(NamedTuple):
    """An import: of a module, or of a name from it."""

    line: int
    module: str
    name: str | None
    alias: str | None


def modules_of(folders: Iterable[str]) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


MODULES = modules_of((FRONT_DOOR, *ROOMS))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def folder_of(name: str) -> str:
    """Return the folder that a module is in, by the name that `SEES` has for it."""
    return Path(name).parent.name


@cache
def imports(source: str, name: str) -> tuple[Import, ...]:
    """Return every import of a module, wherever it stands; a relative one under its full name.

    One that reaches over the wall of its own folder, `from ..`, keeps its dots.
    """
    return tuple(_imports(source, name))


def _imports(source: str, name: str) -> Iterator[Import]:
    package = ".".join(Path(name).parent.parts)
    inside = package if package == FRONT_DOOR else f"{FRONT_DOOR}.{package}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, None, alias.asname)
        elif isinstance(node, ast.ImportFrom):
            start = inside if node.level == 1 else "." * node.level
            module = ".".join(filter(None, (start, node.module))) if node.level else node.module or ""
            for alias in node.names:
                yield Import(node.lineno, module, alias.name, alias.asname)


def house_folder(found: Import) -> str | None:
    """Return the folder of the house that an import is from, as `SEES` names it; None if from outside."""
    top, *rest = found.module.split(".")
    if top != FRONT_DOOR:
        return None
    path = [*rest, *([found.name] if found.name else [])]
    if "/".join(path[:2]) in CORNERS:
        return path[1]
    return path[0] if path and path[0] in ROOMS else FRONT_DOOR


def packages(name: str) -> set[str]:
    """Return the packages of third parties that a module may import."""
    own = CORE | (EXTRAS[folder_of(name)][1] if folder_of(name) in EXTRAS else set())
    if Path(name).name.startswith("postgres"):
        own = own | {POSTGRES[1]}
    return own | {package for package, other in COME_WITH.items() if other in own}
