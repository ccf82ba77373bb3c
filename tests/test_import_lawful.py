"""An import leaves a store lawful or as it was, whatever the log and the store have in common."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lastresort.adapters.importers.log_file import checked_log

from .cli_kit import run
from .stores import OPERATOR, done, ended, opened, started

__all__ = ["run"]

Line = dict[str, Any]


@pytest.fixture
def log(tmp_path: Path, run: Callable[..., Result]) -> list[Line]:
    """A log of conversation `m` with a branch `n`, and a risk that was raised and cleared; by commands of its own."""
    url = f"sqlite:///{tmp_path}/source.db"
    with opened(url, new_id=iter(f"s-{n}" for n in range(1_000)).__next__) as chats:
        chat = started(chats, "m")
        chat.user_turn("Hello.")
        done(chat.edit(2, "Good morning.", child="n"))
        chat.raise_risk(risk="r")
        chat.clear_risk("r", by=OPERATOR)
    return [json.loads(line) for line in run("export", url).stdout.splitlines()]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with conversation `c`, ended, its branch `d`, and a risk that is open in the tree."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        chat = ended(started(chats))
        done(chat.edit(10, "Shall we start again?", child="d"))
        chat.raise_risk(risk="open")
    return url


def renamed(line: Line, names: dict[str, str]) -> Line:
    """A line with other names for branches and conversations."""
    event = {key: names.get(value, value) if isinstance(value, str) else value for key, value in line["event"].items()}
    return {**line, "branch": names.get(line["branch"], line["branch"]), "event": event}


CHANGES: dict[str, Callable[[list[Line]], list[Line]]] = {
    "a root of the same name": lambda log: [renamed(line, {"m": "c"}) for line in log],
    "a root that is called as a branch is": lambda log: [renamed(line, {"m": "d"}) for line in log],
    "a branch that is called as one is": lambda log: [renamed(line, {"n": "d"}) for line in log],
    "a branch that is called as a root is": lambda log: [renamed(line, {"n": "c"}) for line in log],
    "another root of the same conversation": lambda log: [
        {**line, "event": {**line["event"], "conversation": "c"}} if "conversation" in line["event"] else line
        for line in log
    ],
    "a fork from a branch of the store": lambda log: [
        {**line, "event": {**line["event"], **({"parent": "c"} if line["kind"] == "BranchOpened" else {})}}
        for line in log
    ],
    "what goes on with a branch of the store": lambda log: [
        *log, {**log[1], "position": len(log) + 1, "branch": "d", "version": 13, "command_id": "new"},
    ],
    "a risk of a tree of the store": lambda log: [
        *log,
        {**log[1], "position": len(log) + 1, "branch": "d", "version": 13, "command_id": "new", "kind": "RiskCleared",
         "event": {"by": {"kind": "operator", "id": "operator"}, "risk": "open"}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_would_make_a_store_unlawful_is_not_imported(
    run: Callable[..., Result], url: str, log: list[Line], change: Callable[[list[Line]], list[Line]]
) -> None:
    """None of it is; the exit status says whether the log is wrong by itself, or only for this store."""
    before = run("export", url).stdout
    path = Path("log.jsonl")
    path.write_text("".join(f"{json.dumps(line)}\n" for line in change(log)))
    lawful = not checked_log(path)[1].findings
    run("import", path, "--store", url, status=2 if lawful else 1)
    assert run("export", url).stdout == before
    run("audit", url)


def test_what_has_nothing_in_common_is_imported(run: Callable[..., Result], url: str, log: list[Line]) -> None:
    """A risk of the same name in another tree is another one, and so is a command of the same id."""
    ids = {log[1]["command_id"]: "id-2"}
    log = [{**line, "command_id": ids.get(line["command_id"], line["command_id"])} for line in log]
    path = Path("log.jsonl")
    path.write_text("".join(f"{json.dumps(renamed(line, {'r': 'open'}))}\n" for line in log))
    run("import", path, "--store", url)
    run("audit", url)
    shown = json.loads(run("views", "--store", url, "--json").stdout)
    assert {row["branch"]: row["open_risks"] for row in shown["active"]} == {"d": ["open"], "m": [], "n": []}
