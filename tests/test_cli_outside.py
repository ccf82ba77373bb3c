"""The command line where the world is not as it should be: files of others, full disks, terminals without Unicode."""

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from lastresort.adapters.console.cli import main

from .cli_kit import LASTRESORT, run, shell, transcripts, wishes
from .cli_page import helps
from .stores import ROOT, opened, started

__all__ = ["run"]


# --- Files of others --------------------------------------------------------------------------------------------------


def database(path: Path, *statements: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return f"sqlite:///{path}"


FOREIGN = {
    "of bookmarks": ["CREATE TABLE bookmarks (a)", "INSERT INTO bookmarks VALUES ('mine')"],
    "with a table of our name": ["CREATE TABLE stored_events (a)"],
    "in WAL mode": ["PRAGMA journal_mode=WAL", "CREATE TABLE bookmarks (a)"],
    "with a view alone": ["CREATE VIEW everything AS SELECT 1"],
}


def fingerprints(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("made", FOREIGN.values(), ids=FOREIGN)
def test_a_database_of_others_is_left_alone(run: Callable[..., Result], tmp_path: Path, made: list[str]) -> None:
    """By commands that read and by those that write: no table, no file of keys, and not another journal mode."""
    url = database(tmp_path / "foreign.db", *made)
    file = transcripts(tmp_path / "in.jsonl")
    shutil.copy(ROOT / "tests" / "golden" / "request.jsonl", tmp_path / "log.jsonl")
    before = fingerprints(tmp_path)
    for command in (
        ["views", "--store", url], ["tree", "c", "--store", url], ["show", "c", "--store", url],
        ["why", "c", "--store", url], ["audit", url], ["export", url], ["import", "log.jsonl", "--store", url],
        ["simulate", file, "--store", url], ["chat", "--offline", "--store", url],
    ):  # fmt: skip
        result = run(*command, status=2)
        assert result.stderr.startswith(f"lastresort: cannot open {url}: not a lastresort store, but the database of")
        assert fingerprints(tmp_path) == before, command


def test_an_empty_file_is_no_store_until_something_is_written(run: Callable[..., Result], tmp_path: Path) -> None:
    """What only reads says so, and leaves it empty; what writes makes a store of it."""
    (tmp_path / "empty.db").touch()
    result = run("views", "--store", "sqlite:///empty.db", status=2)
    assert "it is empty, and not a lastresort store" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]
    assert (tmp_path / "empty.db").stat().st_size == 0
    run("simulate", transcripts(Path("in.jsonl")), "--store", "sqlite:///empty.db")
    run("audit", "sqlite:///empty.db")


@pytest.mark.parametrize("name", ["file:zz", "file:zz%3Fcache=shared", "a%20b#c"])
def test_a_file_is_called_what_it_is_called(run: Callable[..., Result], tmp_path: Path, name: str) -> None:
    """SQLite would take some names for addresses; the keys stand beside the log, for its owner alone."""
    run("simulate", transcripts(Path("in.jsonl")), "--store", f"sqlite:///{name}")
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", name, f"{name}-keys", f"{name}-master"}
    assert (tmp_path / f"{name}-keys").stat().st_mode & 0o777 == 0o600
    run("audit", f"sqlite:///{name}")


def test_a_name_that_would_be_a_memory_is_refused(run: Callable[..., Result]) -> None:
    """What is said to be kept would be gone."""
    assert "not the URL of a store" in run("views", "--store", "sqlite:///mode=memory.db", status=2).stderr


@pytest.mark.parametrize(
    "damage",
    [
        "recorded_at = 'yesterday'", "recorded_at = x'fffe'", "command_id = 'two words'", "command_id = x'fffe'",
        "correlation_id = 'two words'", "originator_version = 'abc'", "originator_id = x'fffe'", "topic = x'fffe'",
    ],
)  # fmt: skip
def test_damage_to_an_envelope_is_found(run: Callable[..., Result], tmp_path: Path, damage: str) -> None:
    """An audit finds what an import would refuse, and nothing that is no text is taken for some."""
    run("simulate", transcripts(Path("in.jsonl")), "--store", "sqlite:///log.db")
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        one = "SELECT min(rowid) FROM stored_events WHERE originator_version = 3"
        connection.execute(f"UPDATE stored_events SET {damage} WHERE rowid = ({one})")
        connection.commit()
    found = json.loads(run("audit", "sqlite:///log.db", "--json", status=1).stdout)["findings"]
    assert any("structure-unreadable" in finding["rules"] for finding in found)
    assert "run an audit" in run("export", "sqlite:///log.db", status=2).stderr


# --- Output -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store in which a user has said something in Greek."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        started(chats).user_turn("\u03ba\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \U0001f600")
    return url


COMMANDS = [
    ["--help"], ["show", "c", "--store", "URL"], ["views", "--store", "URL", "--json"], ["export", "URL"],
]  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_disk_is_said_in_one_line(url: str, tmp_path: Path, command: list[str]) -> None:
    """With an exit status that is not that of findings, and no traceback."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [LASTRESORT, *(url if word == "URL" else word for word in command)],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.stderr == "lastresort: the output cannot be written: No space left on device\n"
    assert done.returncode == 2


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
    ids=["PYTHONIOENCODING", "LC_ALL"],
)
def test_what_cannot_be_shown_is_shown_in_another_way(url: str, tmp_path: Path, environment: dict[str, Any]) -> None:
    """On a terminal without Unicode; JSON stays JSON, and says the same."""
    out, err = shell(tmp_path, "show", "c", "--store", url, **environment)
    assert "    2  user: \\u03ba\\u03b1" in out
    assert err == ""
    out, _ = shell(tmp_path, "show", "c", "--store", url, "--json", **environment)
    assert json.loads(out)[1]["text"] == "\u03ba\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \U0001f600"
    for command, status in ((["tree", "c"], 0), (["views"], 0), (["why", "c"], 1)):
        shell(tmp_path, *command, "--store", url, status=status, **environment)


def test_a_reader_that_goes_away_is_no_finding(url: str, tmp_path: Path) -> None:
    """As in `lastresort show ... | head -1`: no message, and the status that shells give for it."""
    with opened(url, new_id=iter(f"more-{n}" for n in range(10_000)).__next__) as chats:
        for _ in range(40):
            chats.chat("c").user_turn("word " * 1_000)
    done = subprocess.Popen(
        [LASTRESORT, "show", "c", "--store", url], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert done.stdout is not None
    assert done.stdout.readline()
    done.stdout.close()
    assert done.stderr is not None
    assert (done.stderr.read(), done.wait(60)) == (b"", 141)
    done.stderr.close()


# --- As a script sees it ----------------------------------------------------------------------------------------------


def test_exit_statuses_are_said_where_people_look(run: Callable[..., Result]) -> None:
    """In the help; what the law refuses in a conversation is no failure of the command that plays it."""
    assert "Exit status: 0 done, and fine; 1 findings or refusals" in " ".join(run("--help").stdout.split())
    played = run("simulate", wishes(Path("in.jsonl")), "--store", "sqlite:///new.db", "--json")
    assert json.loads(played.stdout)["refusals"] == {"risk-was-checked": 1}
    assert json.loads(run("why", "t-1", "--store", "sqlite:///new.db", "--json", status=1).stdout)["last_resort"]


BY_OPTION = sorted(
    name
    for name, command in main.commands.items()
    if any("--store" in one.opts for one in command.params)
    and not any("URL" in (one.metavar or "") for one in command.params if isinstance(one, click.Argument))
)


@pytest.mark.parametrize("command", BY_OPTION)
def test_a_store_that_stands_where_a_branch_should_is_named(run: Callable[..., Result], command: str) -> None:
    """As other commands take it there."""
    told = run(command, "sqlite:///log.db", "c", status=2).output
    assert f"`{command}` takes its store by the option: --store URL, or LASTRESORT_STORE" in told


def test_no_summary_of_a_command_is_cut_off() -> None:
    """At 80 columns: its first sentence is short."""
    name, shown = next(helps(main, "lastresort"))
    assert name == "lastresort"
    assert "..." not in shown.replace("[ARGS]...", "")


def test_help_does_not_wait_for_what_it_does_not_need() -> None:
    """What draws, prompts and talks to Claude takes long to import."""
    code = (
        "import sys; from lastresort.adapters.console.cli import main; main(['--help'], standalone_mode=False); "
        "print(sorted({'anthropic', 'hypothesis', 'prompt_toolkit', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in main.commands)
    assert done.stdout.endswith("[]\n")


# --- Files that cannot be read, and what is no store ------------------------------------------------------------------

LONG = "x" * 5_000


@pytest.mark.parametrize(
    "command",
    [
        ["simulate", "in.jsonl", "--store", "sqlite:///new.db", "--policy", LONG],
        ["simulate", LONG, "--store", "sqlite:///new.db"],
        ["import", LONG, "--store", "sqlite:///new.db"],
        ["audit", LONG],
        ["export", "sqlite:///v.db", "--output", LONG],
        ["backup", "sqlite:///v.db", LONG],
        ["backup", f"sqlite:///{LONG}", "monday"],
        ["restore", LONG, "--store", "sqlite:///new.db"],
        ["restore", "v.db", "--store", f"sqlite:///{LONG}"],
        *([name, f"sqlite:///{LONG}"] for name in ("doctor", "migrate", "audit", "export")),
    ],
    ids=lambda command: " ".join(command).replace(LONG, "LONG"),
)
def test_a_file_that_cannot_be_reached_is_named(run: Callable[..., Result], tmp_path: Path, command: list[str]) -> None:
    """With what the system says of it, on one line; it is not the output that is in the way."""
    transcripts(Path("in.jsonl"))
    with opened("sqlite:///v.db") as chats:
        started(chats)
    with opened("sqlite:///v.db"):
        pass  # the keys note whose log they are of, once there is a log
    before = fingerprints(tmp_path)
    result = run(*command, status=2)
    assert result.stderr.startswith("lastresort: ")
    assert result.stderr.count("\n") == 1
    assert f"{LONG}: " in result.stderr
    assert result.stderr.endswith("File name too long\n")
    assert fingerprints(tmp_path) == before


@pytest.mark.parametrize("command", ["doctor", "migrate", "audit", "export"])
def test_what_is_no_database_will_be_none_later(run: Callable[..., Result], command: str) -> None:
    """Nobody is told to try again."""
    Path("some.txt").write_text("This is a text, and longer than the header of a database. " * 20)
    said = run(command, "sqlite:///some.txt", status=2).stderr
    assert "file is not a database" in said
    assert "try again" not in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["backup", "sqlite:///none.db", "monday"],
        ["restore", "none", "--store", "sqlite:///new.db"],
        ["simulate", "in.jsonl", "--store", "sqlite:///new.db", "--policy", "two.toml"],
        ["doctor", "postgresql://127.0.0.1:1/x"],
        ["views", "--store", "postgresql://127.0.0.1:1/x"],
        ["backup", "postgresql://127.0.0.1:1/x", "monday"],
    ],
    ids=" ".join,
)
def test_what_is_wrong_takes_one_line(run: Callable[..., Result], command: list[str]) -> None:
    """Whatever progress there was to be shown, how much is wrong, and how many lines PostgreSQL's library takes."""
    transcripts(Path("in.jsonl"))
    Path("two.toml").write_text("name = 'mine'\nmin_severity = 0\nhandshake = 1\n")
    said = run(*command, status=2).stderr
    assert said.startswith("lastresort: ")
    assert said.count("\n") == 1
    assert ("line 2: " in said and "line 3: " in said) == ("two.toml" in command)


def test_a_copy_says_nothing_where_nobody_watches(run: Callable[..., Result]) -> None:
    with opened("sqlite:///v.db") as chats:
        started(chats)
    assert run("backup", "sqlite:///v.db", "monday").stderr == ""
