"""What goes wrong on the command line: wrong usage, bad input, damaged words; one line, and exit status 2."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lastresort.domain.values import Rating

from .cli_kit import as_json, run, transcripts, url
from .stores import ROOT, counting, opened, started

__all__ = ["run", "url"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["views", "--store", "sqlite:///nowhere.db"], "no store at nowhere.db; `simulate` or `chat` creates one"),
        (
            ["views", "--store", "here"],
            "not the URL of a store (length 4); use memory:, sqlite:///FILE or postgresql://",
        ),
        (
            ["tree", "nobody", "--store", "URL"],
            "no branch of this id (length 6) in the store; `lastresort views` lists",
        ),
        (
            ["show", "nobody", "--store", "URL"],
            "no branch of this id (length 6) in the store; `lastresort views` lists",
        ),
        (["why", "nobody", "--store", "URL"], "no branch of this id (length 6) in the store; `lastresort views` lists"),
        (
            ["chat", "--offline", "--branch", "nobody", "--store", "URL"],
            "no branch of this id (length 6) in the store; `lastresort views` lists",
        ),
        (
            ["chat", "--offline", "--conversation", "c", "--store", "URL"],
            "conversation: one of this id (length 1) exists; choose another id",
        ),
        (
            ["chat", "--offline", "--policy", "none", "--store", "URL"],
            "no policy (length 4): neither a profile (default, ",
        ),
        (["audit", "nowhere.jsonl"], "nowhere.jsonl: cannot be read: No such file or directory"),
        (["import", "nowhere.jsonl", "--store", "URL"], "nowhere.jsonl: cannot be read: No such file or directory"),
        (["simulate", "nowhere.jsonl", "--store", "URL"], "nowhere.jsonl: cannot be read: No such file or directory"),
        (["rules", "no-such-rule"], "no rule of this id (length 12); `lastresort rules` lists them"),
        (["export", "sqlite:///nowhere.db"], "no store at nowhere.db"),
        (["show", "c", "--at", "99999", "--store", "URL"], "branch c has no version 99999: its latest is 23"),
        (["show", "c", "--at", "9" * 30, "--store", "URL"], f"branch c has no version {'9' * 30}: its latest is 23"),
        (
            ["views", "active", "--after", "9" * 23, "--store", "URL"],
            "no such page: list is one of active, ended, branched, after a position from 0",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    run: Callable[..., Result], url: str, arguments: list[str], message: str
) -> None:
    """What, where, and what to do; on standard error, with exit status 2."""
    result = run(*(url if argument == "URL" else argument for argument in arguments), status=2)
    assert result.stderr.startswith(f"lastresort: {message}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["chat", "--offline"], ["simulate", "c.jsonl"], ["import", "log.jsonl"], ["restore", "monday"], ["doctor"]],
    ids=lambda arguments: arguments[0],
)
def test_a_store_that_was_not_named_is_asked_for(run: Callable[..., Result], arguments: list[str]) -> None:
    assert re.search("[Nn]ame a store.*LASTRESORT_STORE", run(*arguments, status=2).stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["views"],
        ["views", "all", "--store", "memory:"],
        ["simulate", "--store", "memory:"],
        ["show", "c", "--at", "0", "--store", "memory:"],
        ["show", "c", "--at", "first", "--store", "memory:"],
        ["nonsense"],
        ["audit"],
        ["backup", "sqlite:///store.db"],
        ["chat", "--offline", "--branch", "z", "--conversation", "w", "--store", "memory:"],
        ["chat", "--offline", "--branch", "z", "--model", "claude-opus-4-1", "--store", "memory:"],
        ["chat", "--offline", "--branch", "z", "--policy", "default", "--store", "memory:"],
    ],
)
def test_wrong_usage_is_exit_status_2(run: Callable[..., Result], arguments: list[str]) -> None:
    """And the usage is shown."""
    assert "Usage: " in run(*arguments, status=2).stderr


def test_a_conversation_that_was_played_is_not_played_again(run: Callable[..., Result]) -> None:
    """It is said; but what another conversation of that name is in the way of, is not played at all."""
    path = transcripts(Path("in.jsonl"))
    assert "playing" not in run("simulate", path, "--store", "sqlite:///new.db").stderr  # to nobody who looks
    before = run("export", "sqlite:///new.db").stdout
    result = run("simulate", path, "--store", "sqlite:///new.db", "--json")
    assert result.stderr == "in this store already: 2 played whole, 0 in part\n"
    assert as_json(result)["conversations"] == 2
    assert run("export", "sqlite:///new.db").stdout == before
    result = run("simulate", path, "--store", "sqlite:///new.db", "--policy", "2026-07", status=2)
    assert result.stderr.startswith("lastresort: conversation t-1 is in this store already, and was not played from")
    assert run("export", "sqlite:///new.db").stdout == before


def test_a_log_that_is_there_already_is_not_imported(run: Callable[..., Result], url: str) -> None:
    """It says what to do."""
    Path("log.jsonl").write_text(run("export", url).stdout)
    result = run("import", "log.jsonl", "--store", url, status=2)
    assert result.stderr.endswith("; import it into another\n")


def test_a_policy_from_a_file_governs(run: Callable[..., Result]) -> None:
    """Or is named with its line, if it cannot be."""
    path = transcripts(Path("in.jsonl"))
    Path("mine.toml").write_text('name = "mine"\nmin_failed_redirections = 2\nmin_redirections_to_warn = 2\n')
    run("simulate", path, "--store", "sqlite:///new.db", "--policy", "mine.toml")
    (row,) = as_json(run("views", "ended", "--store", "sqlite:///new.db", "--json"))["ended"]
    assert (row["policy_name"], len(row["evidence"]["redirections"])) == ("mine", 2)
    Path("mine.toml").write_text('name = "mine"\nmin_failed_redirections = 1\n')
    result = run("simulate", path, "--store", "sqlite:///other.db", "--policy", "mine.toml", status=2)
    assert result.stderr.startswith("lastresort: mine.toml: line 2: min_failed_redirections: Input should be greater")
    assert not Path("other.db").exists()


def test_an_event_that_cannot_be_read_sends_people_to_the_audit(run: Callable[..., Result], url: str) -> None:
    """Which names it, and goes on."""
    import sqlite3

    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE stored_events SET topic='Future' WHERE originator_id='c' AND originator_version=5")
    connection.close()
    for command in (["views", "--store", url], ["show", "c", "--store", url], ["export", url]):
        result = run(*command, status=2)
        assert result.stderr == (
            "lastresort: branch c, version 5: kind: Future is not a kind of event; run an audit of this store\n"
        )
    found = as_json(run("audit", url, "--json", status=1))["findings"]
    assert found[0]["rules"] == ["structure-unreadable"]


@pytest.mark.parametrize("command", ["simulate", "chat"])
def test_a_model_that_is_no_name_is_bad_input(run: Callable[..., Result], command: str) -> None:
    """Said in one line, and before a store is made."""
    arguments = [transcripts(Path("in.jsonl"))] if command == "simulate" else ["--offline"]
    result = run(command, *arguments, "--store", "sqlite:///new.db", "--model", "two words", status=2)
    assert result.stderr.count("\n") == 1
    assert not Path("new.db").exists()


def test_words_that_are_damaged_are_named_and_not_shown(run: Callable[..., Result], url: str) -> None:
    """Each on a line of standard error, in order; the others are shown, and the exit status is 1."""
    import sqlite3

    with opened(url, new_id=counting("more-")) as chats:
        chats.chat("c").feedback(Rating.DOWN, "Feedback.")
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute(
            "UPDATE contents SET data=x'00112233' WHERE position IN (SELECT rowid FROM stored_events "
            "WHERE originator_id='c' AND originator_version IN (2, 24))"
        )
    connection.close()
    result = run("show", "c", "--store", url, status=1)
    wrong = "damaged: branch c, version {}: the kept bytes are not what was sealed"
    assert result.stderr == "".join(f"lastresort: {wrong.format(version)}\n" for version in (2, 24))
    lines = result.stdout.splitlines()
    assert lines[2] == f"    2  user: [{wrong.format(2)}]"
    assert lines[4] == "    4  assistant: What can I help you with instead?"
    assert lines[24] == f"   24    · feedback: down: [{wrong.format(24)}]"
    shown = as_json(run("show", "c", "--store", url, "--json", status=1))
    assert (shown[1]["text"], shown[1]["gone"]) == (None, wrong.format(2))
    assert run("show", "c", "--at", "1", "--store", url).stderr == ""
    assert "[damaged: " in run("chat", "--offline", "--branch", "d", "--store", url, input="/quit\n").stdout


def test_a_long_line_is_one_line_when_piped(run: Callable[..., Result], tmp_path: Path) -> None:
    """Or no program could tell the words of a turn from the next line."""
    url = f"sqlite:///{tmp_path}/words.db"
    with opened(url) as chats:
        started(chats).user_turn("word " * 100)
    assert len(run("show", "c", "--store", url).stdout.splitlines()) == 3


def test_the_examples_that_are_shipped_play_lawfully(run: Callable[..., Result]) -> None:
    """Each of them, in one store."""
    files = sorted((ROOT / "examples").glob("*.jsonl"))
    assert len(files) >= 12
    run("simulate", *files, "--store", "sqlite:///examples.db", "--json")
    assert as_json(run("audit", "sqlite:///examples.db", "--json"))["findings"] == []


def test_a_log_that_is_named_as_a_store_is_told_where_to_be_named(run: Callable[..., Result], tmp_path: Path) -> None:
    log = tmp_path / "s.jsonl"
    log.write_text("")
    what_if = ["what-if", "--policy", "default"]
    for command in (["views"], ["show", "c"], ["tree", "c"], ["why", "c"], ["audit"], what_if):
        told = run(*command, "--store", str(log), status=2).output
        assert "--store takes the URL of a store, such as sqlite:///FILE; name an exported log by --file" in told
        assert "name an exported log by --file" not in run(*command, "--store", f"{log}x", status=2).output


def test_a_branch_that_is_not_in_a_file_is_not_looked_for_in_a_store(run: Callable[..., Result], url: str) -> None:
    log = str(Path(url.removeprefix("sqlite:///")).with_name("log.jsonl"))
    run("simulate", str(ROOT / "examples/goodbye.jsonl"), "--store", url)
    run("export", "--store", url, "--output", log)
    for command in ("show", "tree", "why"):
        told = run(command, "nobody", "--file", log, status=2).output
        assert "no branch of this id (length 6) in the file; `lastresort views --file FILE` lists the branches" in told
