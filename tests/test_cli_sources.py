"""Where the command line reads from: a store that is named in one way everywhere, a file, or standard input."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from .cli_kit import as_json, run, transcripts, url

__all__ = ["run", "url"]


@pytest.fixture
def log(run: Callable[..., Result], url: str, tmp_path: Path) -> Path:
    """The store's log in a file."""
    (tmp_path / "log.jsonl").write_text(run("export", url).stdout)
    return tmp_path / "log.jsonl"


# --- A store ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["audit"], ["export"], ["migrate"], ["backup", "monday"]])
def test_a_store_is_named_in_one_way_everywhere(
    run: Callable[..., Result], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """By `--store` or by the environment; as the first argument too, where it has always been one."""
    name, *rest = command
    said = [run(name, url, *rest).stdout, run(name, "--store", url, *[f"{one}-2" for one in rest]).stdout]
    monkeypatch.setenv("LASTRESORT_STORE", url)
    said.append(run(name, *[f"{one}-3" for one in rest]).stdout)
    assert said[0]
    assert [len(one.splitlines()) for one in said] == [len(said[0].splitlines())] * 3
    run(name, "sqlite:///other.db", *rest, status=2)  # what is typed goes before the environment
    assert "Usage: " in run(name, url, "--store", url, *rest, status=2).stderr


def test_a_doctor_is_told_what_is_accepted(run: Callable[..., Result], url: str, tmp_path: Path) -> None:
    """It is still said, and no longer counted."""
    (tmp_path / "log.db-keys").chmod(0o644)
    known = ["--allow", "engine"]  # of the SQLite that these tests run on
    out = run("doctor", "--store", url, *known, status=1).stdout
    assert "1 wrong" in out
    out = run("doctor", url, *known, "--allow", "keys").stdout
    assert "nothing is wrong, but for what is allowed: " in out
    assert "is open to others" in " ".join(out.split())
    told = as_json(run("doctor", url, *known, "--allow", "keys", "--json"))
    assert told["findings"] == 0
    assert "keys" in told["allowed"]


def test_a_check_that_is_allowed_and_not_there_is_named(run: Callable[..., Result], url: str) -> None:
    """A slip of the pen accepts nothing."""
    said = run("doctor", url, "--allow", "keyes", status=None).stderr
    assert said == "lastresort: --allow: no check that was made has that name (length 5); did you mean keys?\n"


@pytest.mark.parametrize(
    "command", [["views"], ["tree", "c"], ["show", "c"], ["why", "c"], ["audit"], ["export"], ["doctor"]]
)
def test_a_store_that_is_not_named_is_asked_for(run: Callable[..., Result], command: list[str]) -> None:
    """With the ways to name it."""
    assert "--store URL, or " in run(*command, status=2).stderr


@pytest.mark.parametrize("command", [["audit"], ["experiment"], ["report"], ["what-if", "--policy", "default"]])
def test_what_reads_a_log_takes_it_from_a_store_or_a_file(
    run: Callable[..., Result], url: str, log: Path, command: list[str]
) -> None:
    """As an argument or by an option; if neither is named, both are asked for."""
    assert "name a store: --store URL, or LASTRESORT_STORE; or an exported log: --file FILE" in " ".join(
        run(*command, status=2).stderr.split()
    )
    ways = ([log], ["--file", log], [url], ["--store", url])
    said = {(found.stdout, found.stderr) for way in ways if (found := run(*command, *way, status=None))}
    assert len(said) == 1
    assert "name what to read once" in run(*command, log, "--file", log, status=2).stderr


def test_a_backup_needs_a_file(run: Callable[..., Result], url: str) -> None:
    """And no more than a store beside it."""
    assert "the file to copy it to" in run("backup", "--store", url, status=2).stderr
    assert "the file to copy it to" in run("backup", url, "a", "b", status=2).stderr


# --- A file -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["views"], ["views", "ended"], ["views", "active", "--limit", "1"], ["tree", "d"], ["why", "e"]]
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_file_is_looked_at_as_a_store_is(
    run: Callable[..., Result], url: str, log: Path, command: list[str], options: list[str]
) -> None:
    """The same is said of either, in the same words and with the same exit status."""
    of_store = run(*command, "--store", url, *options, status=None)
    of_file = run(*command, "--file", log, *options, status=None)
    assert (of_file.stdout, of_file.exit_code) == (of_store.stdout, of_store.exit_code)
    assert len(of_file.stdout) > 20


def test_a_transcript_of_a_file_has_no_words(run: Callable[..., Result], url: str, log: Path) -> None:
    """It says so, and that is no damage. What the law recorded is as in the store."""
    of_store = as_json(run("show", "d", "--store", url, "--json"))
    of_file = as_json(run("show", "d", "--file", log, "--json"))
    assert {line["gone"] for line in of_file if line["speaker"]} == {"a log holds no words"}
    law = [line for line in of_store if not line["speaker"]]
    assert [line for line in of_file if not line["speaker"]] == law
    assert "[a log holds no words]" in run("show", "d", "--file", log).stdout


def test_a_file_goes_before_the_environment(
    run: Callable[..., Result], log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed counts; two stores that are typed are one too many."""
    monkeypatch.setenv("LASTRESORT_STORE", "sqlite:///nowhere.db")
    run("tree", "c", "--file", log)
    run("audit", "--file", log)
    assert "instead of --store" in run("tree", "c", "--file", log, "--store", "sqlite:///x.db", status=2).stderr
    assert "Usage: " in run("audit", log, "--file", log, status=2).stderr


def test_a_log_that_is_not_whole_is_for_the_audit(run: Callable[..., Result], log: Path) -> None:
    """One that breaks the law is shown: that is what one wants to see."""
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[3:]) + "\n")
    assert "log.jsonl: is not a whole log; `lastresort audit`" in run("views", "--file", log, status=2).stderr
    first = json.loads(lines[0])
    ended = {"by": {"kind": "user", "id": "u"}, "seen": 1, "ground": "user_request", "category": None, "model": "m"}
    unlawful = {
        **first,
        "position": 2,
        "version": 2,
        "command_id": "x",
        "kind": "UserLeft",
        "event": {"by": ended["by"]},
    }
    again = {**unlawful, "position": 3, "version": 3, "command_id": "y", "kind": "EndRequested"}
    unlawful["schema_version"] = again["schema_version"] = 1
    again["event"] = {"by": ended["by"], "turn": 1}
    log.write_text("".join(json.dumps(line) + "\n" for line in (first, unlawful, again)))
    run("audit", log, status=1)
    assert "asks in turn 1" in run("show", "c", "--file", log).stdout


# --- Standard input ---------------------------------------------------------------------------------------------------


def test_what_is_piped_in_is_read(run: Callable[..., Result], url: str, log: Path, tmp_path: Path) -> None:
    """Wherever a file is: a log, transcripts, a policy."""
    words = log.read_text()
    assert run("audit", "-", input=words).stdout == "37 events on 4 branches: no finding\n"
    assert run("audit", "--file", "-", input=words).stdout == "37 events on 4 branches: no finding\n"
    assert run("views", "--file", "-", input=words).stdout == run("views", "--store", url).stdout
    run("import", "-", "--store", "sqlite:///two.db", input=words)
    assert run("export", "sqlite:///two.db").stdout == words
    played = transcripts(tmp_path / "in.jsonl")
    run("simulate", "-", "--store", "sqlite:///three.db", input=played.read_text())
    run("simulate", played, "--policy", "-", "--store", "sqlite:///four.db", input='name = "mine"')
    assert as_json(run("views", "--store", "sqlite:///four.db", "--json"))["active"][0]["policy_name"] == "mine"


def test_what_is_wrong_with_what_is_piped_in_is_said_of_standard_input(run: Callable[..., Result]) -> None:
    """By line, as of a file."""
    assert "lastresort: standard input: is empty" in run("audit", "-", input="", status=2).stderr
    assert "lastresort: standard input:2: " in run(
        "simulate", "-", "--store", "sqlite:///x.db", status=2,
        input='{"conversation": "c", "account": null, "turns": []}\n{}\n',
    ).stderr  # fmt: skip


def test_standard_input_is_one_file(run: Callable[..., Result]) -> None:
    """And in a chat, what is said."""
    for command in (["simulate", "-"], ["chat", "--offline"]):
        told = run(*command, "--policy", "-", "--store", "sqlite:///x.db", status=2, input="").stderr
        assert "standard input is" in told


def test_a_file_that_is_called_like_standard_input_is_read(run: Callable[..., Result], log: Path) -> None:
    """By its path."""
    Path("-").write_bytes(log.read_bytes())
    assert "no finding" in run("audit", "./-").stdout
    assert "ended (2)" in run("views", "--file", "./-").stdout
