"""An export to a file is there as a whole, or not at all."""

import json
import resource
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.importers.log_file import write_file
from lastresort.domain.events import RecordedEvent

from .at_terminal import heed_interrupts
from .cli_kit import LASTRESORT, as_json, run, url
from .stores import opened

__all__ = ["run", "url"]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith("log.db")}


def test_a_log_is_written_to_a_file(run: Callable[..., Result], url: str, tmp_path: Path) -> None:
    """The same as is printed, in place of what was there; for its owner to read, and with nothing beside it."""
    printed = run("export", url).stdout
    assert run("export", url, "--output", "log.jsonl").stdout == "37 events: log.jsonl\n"
    assert Path("log.jsonl").read_text() == printed
    Path("log.jsonl").write_text("old")
    Path("link").symlink_to("log.jsonl")
    assert as_json(run("export", url, "--output", "link", "--json")) == {"file": "link", "events": 37}
    assert Path("log.jsonl").read_text() == printed
    assert Path("link").is_symlink()
    assert stat.S_IMODE(Path("log.jsonl").stat().st_mode) == 0o600
    assert names(tmp_path) == {"log.jsonl", "link"}


def test_where_it_fails_midway_nothing_half_done_is_left(run: Callable[..., Result], url: str, tmp_path: Path) -> None:
    """An event in the middle cannot be read: the file of yesterday stays, and a new one does not come about."""
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.execute("UPDATE stored_events SET topic='Future' WHERE rowid=30")
        connection.commit()
    Path("yesterday").write_text("whole\n")
    for file in ("yesterday", "today"):
        assert "kind: Future is not a kind of event" in run("export", url, "--output", file, status=2).stderr
    assert names(tmp_path) == {"yesterday"}
    assert Path("yesterday").read_text() == "whole\n"


def test_a_disk_that_is_full_leaves_nothing(url: str, tmp_path: Path) -> None:
    """As a limit on the size of files, which is said with the name of the file."""
    with opened(url) as chats:
        log = list(chats.store.log())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))
    try:
        with pytest.raises(BadInput) as error:
            write_file(log, tmp_path / "log.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(error.value) == f"{tmp_path}/log.jsonl: cannot be written: File too large"
    assert names(tmp_path) == set()


def test_control_c_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """The draft is taken away as well."""

    def interrupted() -> Iterator[RecordedEvent]:
        (draft,) = names(tmp_path)
        assert draft.startswith(".log.jsonl.")
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        write_file(interrupted(), tmp_path / "log.jsonl")
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("name", "why"),
    [(".", "is there, and is not a file"), ("nowhere/log.jsonl", "cannot be written: No such file or directory")],
)
def test_what_is_no_place_for_a_file_is_said(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(BadInput, match=f"{(tmp_path / name).resolve()}: {why}"):
        write_file([], tmp_path / name)


def test_what_was_written_can_be_imported(run: Callable[..., Result], url: str) -> None:
    run("export", url, "--output", "log.jsonl")
    run("import", "log.jsonl", "--store", "sqlite:///new.db")
    assert [json.loads(line) for line in run("export", "sqlite:///new.db").stdout.splitlines()] == [
        json.loads(line) for line in Path("log.jsonl").read_text().splitlines()
    ]


def test_what_is_followed_is_printed_as_it_is_recorded(tmp_path: Path) -> None:
    """Another process writes; what is printed begins where it is asked to, and goes on."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as conversations:
        chat = conversations.start(model="m", conversation="c")
        command = [str(LASTRESORT), "export", url, "--follow", "--after", "1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heed_interrupts)
        assert process.stdout is not None
        try:
            for version in (2, 3):
                chat.user_turn("Words that no log holds.")
                line = process.stdout.readline()
                assert json.loads(line)["version"] == version
                assert "Words" not in line
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            process.stdout.close()


# --- One conversation, with words -------------------------------------------------------------------------------------


def test_a_conversation_is_exported_with_its_words(run: Callable[..., Result], url: str) -> None:
    """Of all its branches, whichever is named; as the export of an account has it, beside its name."""
    told = [json.loads(run("export-conversation", branch, "--store", url).stdout) for branch in ("c", "d")]
    assert told[0] == told[1]
    assert (told[0]["format"], told[0]["version"]) == ("lastresort-conversation", 1)
    found = told[0]["conversation"]
    assert [branch["branch"] for branch in found["branches"]] == ["c", "d"]
    assert found["branches"][1]["events"][-1]["text"] == "Shall we start again?"
    account = json.loads(run("export-account", "account", "--store", url).stdout)["conversations"]
    assert found in account


def test_a_conversation_is_a_page_to_read(run: Callable[..., Result], url: str) -> None:
    page = run("export-conversation", "d", "--page", "--store", url).stdout
    assert "<h1>Conversation c</h1>" in page
    assert "Shall we start again?" in page
    told = run("export-conversation", "d", "--page", "--store", url, "--output", "c.html", "--json")
    assert json.loads(told.stdout) == {"file": "c.html", "conversation": "c"}
    assert Path("c.html").read_text() == page
    assert oct(Path("c.html").stat().st_mode)[-3:] == "600"


def test_what_is_no_conversation_is_said(run: Callable[..., Result], url: str) -> None:
    said = run("export-conversation", "nobody", "--store", url, status=2).stderr
    assert "`lastresort views` lists the branches" in said
    assert "use one of them" in run("export-conversation", "c", "--page", "--json", "--store", url, status=2).stderr


@pytest.mark.parametrize(
    ("form", "name"),
    [("jsonl", "new"), ("cloudevents", "new"), ("inspect", "new.eval"), ("inspect", "new.json"), ("parquet", "new")],
)
def test_links_are_followed_in_every_format(
    run: Callable[..., Result], url: str, tmp_path: Path, form: str, name: str
) -> None:
    """What a link leads to is made, or written in place of what is there; the link stays one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path(name).symlink_to(elsewhere / "there")
    for _ in range(1 if form == "parquet" else 2):
        told = run("export", url, "--format", form, "--output", name).stdout
        assert told == f"37 events: {name}\n"
        assert Path(name).is_symlink()
        assert names(elsewhere) == {"there"}
    if form == "parquet":
        assert f"{name}: is there already" in run("export", url, "--format", form, "--output", name, status=2).stderr
    assert stat.S_IMODE((elsewhere / "there").stat().st_mode) & 0o077 == 0
    Path(f"round-{name}").symlink_to(f"round-{name}")
    assert "cannot be written" in run("export", url, "--format", form, "--output", f"round-{name}", status=2).stderr
    assert names(tmp_path) == {"elsewhere", name, f"round-{name}"}


@pytest.mark.parametrize("command", [["audit", "--html"], ["show", "c", "--html"]])
def test_pages_are_their_owners_alone_too(
    run: Callable[..., Result], url: str, tmp_path: Path, command: list[str]
) -> None:
    Path("page").symlink_to("there")
    run(*command, "page", "--store", url)
    assert Path("page").is_symlink()
    assert stat.S_IMODE(Path("there").stat().st_mode) == 0o600
    Path("round").symlink_to("round")
    assert "the output cannot be written: " in run(*command, "round", "--store", url, status=2).stderr
    assert names(tmp_path) == {"page", "there", "round"}
