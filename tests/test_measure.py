"""`lastresort measure`: assessors beside people, on anybody's data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lastresort.adapters.importers.measuring import Rate

from .cli_kit import run

__all__ = ["run"]
Run = Callable[..., Any]

TURNS = [
    {"role": "user", "text": "You are a stupid idiot", "verdict": "harmful", "category": "abuse", "severity": 2},
    {"role": "assistant", "text": "A garden, say?"},
    {"role": "user", "text": "Somebody must find the way to the sea", "verdict": "harmful", "category": "hate"},
    {"role": "act", "act": "leaves"},
    {"role": "assistant", "text": "Yes."},
    {"role": "user", "text": "This damn printer", "verdict": "unproductive"},
    {"role": "user", "text": "I want to kill myself", "verdict": "ambiguous", "risk": "possible"},
]


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    file = tmp_path / "judged.jsonl"
    file.write_text(json.dumps({"conversation": "c", "account": None, "turns": TURNS}) + "\n")
    return file


def test_it_says_how_well_each_judges_with_intervals(judged: Path, tmp_path: Path, run: Run) -> None:
    words = tmp_path / "words.txt"
    words.write_text("printer\nsea\n")
    told = json.loads(
        run("measure", judged, "--with", "local", "--with", "risk-screen", "--words", words, "--json").stdout
    )
    assert list(told) == ["local-2", "risk-screen", "word list"]
    local = told["local-2"]
    assert (local["precision"]["count"], local["precision"]["of"]) == (1, 1)
    assert {kind: (rate["count"], rate["of"]) for kind, rate in local["recall"].items()} == {
        "harmful": (1, 2),
        "severity 2": (1, 1),
        "severity 2 and 3": (1, 1),
        "category abuse": (1, 1),
        "category hate": (0, 1),
    }
    assert (local["risks"]["possible"]["count"], local["silent"]) == (1, 2)
    assert told["word list"]["precision"]["count"] == 1
    assert told["word list"]["flagged"]["unproductive"]["count"] == 1
    assert told["risk-screen"]["precision"]["interval"] is None


def test_for_people_it_is_a_table(judged: Path, run: Run) -> None:
    out = run("measure", judged).stdout
    assert "local-2" in out
    assert "precision, harmful" in out
    assert "1.000 [0.21, 1.00] of 1" in out


def test_what_cannot_be_measured_is_named(tmp_path: Path, judged: Path, run: Run) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text(json.dumps({"conversation": "c", "account": None, "turns": [TURNS[1]]}) + "\n")
    none = tmp_path / "none.txt"
    none.write_text("\n")
    for arguments, said in (
        ([empty], "no turn of a user in these files has a verdict"),
        ([judged, "--with", "nobody"], "no assessor of that name is shipped"),
        ([judged, "--words", none], "the list of words is empty"),
        ([judged, "--words", tmp_path / "gone"], "No such file"),
    ):
        done = run("measure", *arguments, status=2)
        assert said in done.stderr


def test_a_share_of_nothing_has_no_interval() -> None:
    assert (str(Rate(0, 0)), Rate(0, 0).interval) == ("of none", None)
