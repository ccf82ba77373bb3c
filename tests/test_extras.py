"""One folder, one extra, one list of third parties: an extra installs what its folders import, and nothing else."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .house import COME_WITH, CORE, EXTRAS, MODULES, POSTGRES, ROOT, SEES, UNSEEN, folder_of, imports, named

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NEEDS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]


DEVELOPERS = {"audit", "bench", "dev", "examples", "fuzz", "hosts", "mutants", "proof"}


def bare(need: str) -> str:
    """Return the name in a requirement."""
    return re.split(r"[][<>=, ]", need)[0]


OTHER_NAMES = {
    "agents": "openai-agents",
    "markdown_it": "markdown-it-py",
    "opentelemetry": "opentelemetry-api",
    "pydantic_ai": "pydantic-ai-slim",
}
"""Packages that are imported by another name than they are installed by."""


def distribution(package: str) -> str:
    return OTHER_NAMES.get(package, package.replace("_", "-"))


def installed(extra: str) -> set[str]:
    """Return what an extra installs: the core, its own, and what the extras that it names do."""
    found = set(CORE)
    for need in NEEDS.get(extra, []):
        if bare(need) == "lastresort":
            found = found.union(*map(installed, re.split(r"[][,]", need)[1:-1]))
        else:
            found.add(bare(need))
    return found


def tops(path: Path) -> set[str]:
    """Return the packages that a module imports."""
    return {found.module.split(".")[0] for found in imports(path.read_text(), named(path))}


@pytest.mark.parametrize("folder", SEES)
def test_what_a_folder_imports_is_installed_with_its_extra(folder: str) -> None:
    extra, own = EXTRAS.get(folder, ("", set()))
    assert {distribution(package) for package in own} <= installed(extra)


@pytest.mark.parametrize("extra", sorted({extra for extra, _ in EXTRAS.values()} | {POSTGRES[0]}))
def test_an_extra_installs_nothing_else(extra: str) -> None:
    imported = {package for one, own in EXTRAS.values() if one == extra for package in own}
    if extra == POSTGRES[0]:
        imported = {POSTGRES[1], "eventsourcing", "psycopg-pool"}  # the second's own, of a version that can be drained
    assert {bare(need) for need in NEEDS[extra]} - {"lastresort", *UNSEEN} == set(map(distribution, imported))


def test_every_extra_is_a_folder_s_or_a_developer_s() -> None:
    assert NEEDS.keys() - {extra for extra, _ in EXTRAS.values()} == {POSTGRES[0], "local", *DEVELOPERS}
    assert {bare(need) for need in PYPROJECT["project"]["dependencies"]} == CORE


def test_every_package_on_the_lists_is_imported() -> None:
    seen = {(folder_of(named(path)), top) for path in MODULES for top in tops(path)}
    listed = {(folder, package) for folder, (_, own) in EXTRAS.items() for package in own}
    assert listed <= seen
    assert COME_WITH.keys() <= {top for _, top in seen}


LACKING = """
import importlib, sys
for package in sys.argv[2:]:
    sys.modules[package] = None
try:
    importlib.import_module(sys.argv[1])
except ModuleNotFoundError as error:
    print(error)
"""


BY_ITSELF = {"console", "pytest"}
"""The command line says it when it runs; the plugin is imported by pytest itself."""


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        (folder, package)
        for folder, (_, own) in EXTRAS.items()
        for package in sorted(own)
        if not BY_ITSELF & {folder, package}
    ],
)
def test_what_is_imported_without_its_extra_says_which_to_install(folder: str, package: str) -> None:
    """Whichever of its packages is lacking."""
    extra, _ = EXTRAS[folder]
    module = f"lastresort.adapters.{folder}"
    module += ".claude" if folder == "assessors" else ""  # the others of that folder need nothing
    done = subprocess.run(
        [sys.executable, "-c", LACKING, module, package], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == f"{module} needs {package}, which is not installed: in a clone, pip install -e '.[{extra}]'\n"
