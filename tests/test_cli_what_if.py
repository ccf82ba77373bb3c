"""`lastresort what-if`: a list for people, JSON for programs, a sweep with a plot; and nothing is written."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from .cli_kit import as_json, run, url

__all__ = ["run", "url"]

Run = Callable[..., Result]


@pytest.fixture
def off(tmp_path: Path) -> Path:
    """A policy under which no model ends anything."""
    (tmp_path / "off.toml").write_text('name = "off"\neligible_models = []\n')
    return tmp_path / "off.toml"


def test_a_list_for_people(run: Run, url: str, off: Path) -> None:
    """The branches that come out otherwise, and how many of each outcome; no wider than 80 columns."""
    told = run("what-if", url, "--policy", off).stdout
    assert "Under policy off" in told
    assert "c  would not end as a last resort\n    ended at turn " in told
    assert "The model's attempts are taken as they were." in told
    assert max(map(len, told.splitlines())) <= 80
    assert "Under policy" not in run("what-if", url, "--policy", "default").stdout


def test_no_name_is_cut_off_in_a_narrow_window(run: Run, url: str, off: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit goes on in the next row."""
    monkeypatch.setenv("COLUMNS", "50")
    for more in ((), ("--sweep", "min_failed_redirections=2..6")):
        told = run("what-if", url, "--policy", off, *more).stdout
        assert "…" not in told
        assert max(map(len, told.splitlines())) <= 50


def test_json_for_programs(run: Run, url: str, off: Path) -> None:
    """Every branch, and the sum."""
    told = as_json(run("what-if", url, "--policy", off, "--json"))
    assert told["outcomes"]["would not end as a last resort"] == 1
    assert len(told["branches"]) == sum(told["outcomes"].values())
    assert {row["branch"]: row["outcome"] for row in told["branches"]}["c"] == "would not end as a last resort"


def test_it_writes_nothing_and_reads_a_file_too(run: Run, url: str, off: Path, tmp_path: Path) -> None:
    """What it says of the exported log is what it says of the store, which is as it was."""
    before = run("export", url).stdout
    of_store = run("what-if", "--store", url, "--policy", off, "--json").stdout
    (tmp_path / "log.jsonl").write_text(before)
    assert run("what-if", tmp_path / "log.jsonl", "--policy", off, "--json").stdout == of_store
    assert run("what-if", "-", "--policy", off, "--json", input=before).stdout == of_store
    assert run("export", url).stdout == before


def test_another_edition(run: Run, url: str) -> None:
    """What the law of edition 2 would have made of it; there is no edition 3."""
    told = as_json(run("what-if", url, "--policy", "default", "--edition", "2", "--json"))
    assert told["edition"] == 2
    run("what-if", url, "--policy", "default", "--edition", "3", status=2)


def test_a_sweep(run: Run, url: str) -> None:
    """A row and a bar for each value, at 80 columns."""
    told = run("what-if", url, "--policy", "default", "--sweep", "min_failed_redirections=2..6").stdout
    assert "Branches that surely end:" in told
    assert [line.split()[0] for line in told.splitlines() if "#" in line] == ["2", "3", "4", "5", "6"]
    assert max(map(len, told.splitlines())) <= 80
    swept = as_json(run("what-if", url, "--policy", "default", "--sweep", "min_severity=2..3", "--json"))
    assert [one["value"] for one in swept["values"]] == [2, 3]


@pytest.mark.parametrize(
    ("sweep", "why"),
    [
        ("name=1..2", "not a number of a policy"),
        ("appeal_months=6..12", "appeal_months says how long an appeal stays open, and nothing in a log depends on it"),
        ("=2", "no KEY before the `=`; sweep one of"),
        ("min_failed_redirection", "there is no `=` in it; write KEY=LOW..HIGH, as in"),
        (
            "min_failed_redirections=2",
            "there is no `..` in it; write KEY=LOW..HIGH, as in min_failed_redirections=2..6",
        ),
        ("relapse_step=-1..3", "LOW and HIGH are whole numbers from 0 of at most 9 digits, as in relapse_step=2..6"),
        ("relapse_step=a..b", "LOW and HIGH are whole numbers from 0"),
        ("relapse_step=1..", "LOW and HIGH are whole numbers from 0"),
        (f"relapse_step=1..{'9' * 5_000}", "of at most 9 digits"),
        ("min_failed_redirections=3..2", "the lower number first, as in min_failed_redirections=2..3"),
        ("min_failed_redirections=1..900", "that is 900 values, and at most 100 are supposed"),
        ("min_failed_redirections=1..2", "--sweep min_failed_redirections=1: needs to be greater than or equal to 2"),
    ],
)
def test_a_sweep_that_cannot_be(run: Run, url: str, sweep: str, why: str) -> None:
    """It says what is wrong."""
    assert why in run("what-if", url, "--policy", "default", "--sweep", sweep, status=2).stderr


def test_many_branches(run: Run, url: str, off: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list for people ends somewhere."""
    monkeypatch.setattr("lastresort.adapters.console.supposing._SHOWN", 0)
    assert "more; --json has all" in run("what-if", url, "--policy", off).stdout
