"""docs/reference/formats.md names the fields of everything that `--json` prints, and events.md those of events."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lastresort import EVENTS, PROFILES
from lastresort.domain.policy import Policy

from . import events_page
from .cli_kit import run, url
from .stores import ROOT

__all__ = ["run", "url"]

TEXT = (ROOT / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")


def test_the_fields_of_every_event_are_described() -> None:
    """Each by its name."""
    text = events_page.PAGE.read_text(encoding="utf-8")
    for kind, event in EVENTS.items():
        _, row = re.findall(rf"^\| `{kind}` \| (.*) \|$", text, re.MULTILINE)
        assert [name for name in event.model_fields if f"`{name}`: " not in row and name != "by"] == []


def described(command: str) -> str:
    (row,) = re.findall(rf"^\| `{command}` \| (.*) \|$", TEXT, re.MULTILINE)
    return str(row)


def keys(value: Any) -> set[str]:
    """The names of fields in what was printed, but for those of counts by name."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if not isinstance(value, dict):
        return set()
    return set(value).union(*(keys(one) for one in value.values() if isinstance(one, list)))


@pytest.mark.parametrize(
    ("command", "arguments", "status"),
    [("show", ["c"], 0), ("why", ["e"], 1), ("rules", [], 0), ("chat", ["--offline"], 0)],
)
def test_what_is_printed_as_json_is_described(
    run: Callable[..., Result], url: str, command: str, arguments: list[str], status: int
) -> None:
    """Each field, by its name, and no other."""
    store = [] if command == "rules" else ["--store", url]
    out = run(command, *arguments, *store, "--json", status=status, input="Hello.\n").stdout
    found = set().union(*(keys(json.loads(line)) for line in out.splitlines()))
    row = described(command if command != "chat" else "show")
    assert found == set(re.findall(r'"(\w+)":', row))


def test_the_figures_of_a_simulation_are_described(run: Callable[..., Result]) -> None:
    """Those that count, and those that count by name."""
    path = Path("in.jsonl")
    path.write_text(json.dumps({"conversation": "c", "account": None, "turns": []}) + "\n")
    out = run("simulate", path, "--store", "sqlite:///new.db", "--json").stdout
    assert set(json.loads(out)) == set(re.findall(r'"(\w+)"', described("simulate")))


def test_the_fields_of_a_policy_are_described(run: Callable[..., Result]) -> None:
    """In the example, which has all of them."""
    said = set().union(*(policy.model_dump() for policy in PROFILES.values()))  # not what is as usual, since edition 2
    assert keys(json.loads(run("policies", "--json").stdout)) == {*said, "hash"}
    assert said <= set(Policy.model_fields)
    example = TEXT[TEXT.index("# policy\n") :]
    assert [name for name in Policy.model_fields if f"\n{name} = " not in example] == []
