"""What an operator asks on the command line, of a store with real files and servers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .operations_kit import _apart, kind, opened, run, url
from .stores import started

__all__ = ["_apart", "kind", "url"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["backup", "memory:", "{tmp}/b"], "memory: is gone"),
        (["backup", "sqlite:///{tmp}/none.db", "{tmp}/b"], "no store at"),
        (["backup", "sqlite:///{tmp}/log.db", "{tmp}/no/b"], "no folder"),
        (["backup", "mysql://x", "{tmp}/b"], "not the URL of a store"),
        (["restore", "{tmp}/none", "--store", "sqlite:///{tmp}/new.db"], "no backup at"),
        (["restore", "{tmp}/log.db", "--store", "memory:"], "memory: is gone"),
        (["restore", "{tmp}/log.db", "--store", "sqlite:///{tmp}/no/new.db"], "no folder"),
        (["doctor", "memory:"], "memory: holds nothing"),
        (["doctor", "sqlite:///{tmp}/none.db"], "no store at"),
        (["doctor", "sqlite:///{tmp}/empty.db"], "no log"),
        (["doctor", "postgresql://localhost:1/none"], "cannot be read"),
        (["migrate", "sqlite:///{tmp}/none.db"], "no store at"),
        (["migrate", "memory:"], "memory: holds nothing"),
        (["migrate", "sqlite:///{tmp}/empty.db"], "no tables"),
    ],
)
def test_what_cannot_be_done_is_said_on_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    """With exit status 2, and no file is made for it."""
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        started(chats)
    (tmp_path / "empty.db").touch()
    before = sorted(path.name for path in tmp_path.iterdir())
    result = run(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert told in result.output
    assert result.output.count("\n") <= 2
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("log.db-")) == sorted(
        name for name in before if not name.startswith("log.db-")
    )


# --- Lists on the command line ---------------------------------------------------------------------------------------


def test_views_can_be_had_page_by_page(url: str) -> None:
    """Each with where to go on, for people and for programs."""
    first = json.loads(run("views", "ended", "--limit", "1", "--store", url, "--json").stdout)
    assert [row["branch"] for row in first["ended"]] == ["a"]
    row = first["ended"][0]
    assert {"branch", "conversation", "version", "ground", "category", "policy", "policy_name", "evidence"} <= set(row)
    rest = json.loads(run("views", "ended", "--after", str(first["after"]), "--store", url, "--json").stdout)
    assert ([row["branch"] for row in rest["ended"]], rest["after"]) == (["b2"], None)
    whole = json.loads(run("views", "ended", "--store", url, "--json").stdout)["ended"]
    for shown, rebuilt in zip(first["ended"] + rest["ended"], whole, strict=True):
        assert rebuilt["first_event_at"] <= shown.pop("ending_recorded_at") <= rebuilt["last_event_at"]
        assert shown == {name: rebuilt[name] for name in shown}
    people = run("views", "ended", "--limit", "1", "--store", url).output
    assert f"more: --after {first['after']}" in people
    assert "that is all" in run("views", "branched", "--limit", "9", "--store", url).output
    refused = run("views", "--limit", "1", "--store", url)
    assert (refused.exit_code, "say active, ended or branched" in refused.output) == (2, True)


# --- Start-up --------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_that_only_the_commands_need() -> None:
    """So that it comes at once."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom lastresort.adapters.console.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print([name for name in sys.modules if 'upkeep.' in name and 'adapters.upkeep' in name or name in "
        "('psycopg_pool', 'rich.progress', 'lastresort.projections.audit')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "upkeep" not in found
