"""The files of an SQLite store are found by whatever they are called, and nothing is written over them."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

from lastresort.adapters.databases.files import StoreFiles

from .cli_kit import run, transcripts
from .stores import opened, started

__all__ = ["run"]

OWN = ["v.db", "v.db-keys", "v.db-master", "v.db-wal", "v.db-shm", "v.db-journal", "v.db-keys-wal", "v.db-keys-shm"]


@pytest.fixture
def there(run: Callable[..., Result], tmp_path: Path) -> str:
    with opened("sqlite:///v.db") as chats:
        started(chats, "c")
    return "sqlite:///v.db"


# --- Nothing is written over them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["name", "path", "link", "hard link", "folder", "setting"])
@pytest.mark.parametrize("name", OWN)
def test_an_export_takes_the_place_of_no_file_of_its_store(
    run: Callable[..., Result], there: str, tmp_path: Path, name: str, by: str
) -> None:
    """By its name, through links, or where SQLite would make one: nothing is written, and the message names it."""
    output, url = name, there
    if by == "path":
        output = f"{tmp_path}/../{tmp_path.name}/{name}"
    elif by == "link":
        Path("link").symlink_to(name)
        output = "link"
    elif by == "hard link":
        Path(name).touch()
        os.link(name, "link")
        output = "link"
    elif by == "folder":
        Path("folder").symlink_to(".")
        output = f"folder/{name}"
    elif by == "setting":
        url = f"{there}?deadline=5"
    before = kept(tmp_path)
    result = run("export", url, "--output", output, status=2)
    said = f"lastresort: {output}: is part of the store that is read; name another file\n"
    assert (result.stderr, result.stdout) == (said, "")
    assert kept(tmp_path) == before


def kept(folder: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def test_what_stands_behind_a_link_is_the_store_as_well(run: Callable[..., Result], there: str) -> None:
    """SQLite keeps its write-ahead log where the file is; the keys are beside the link."""
    Path("link.db").symlink_to("v.db")
    own = StoreFiles.at("sqlite:///link.db")
    assert own is not None
    former = "link.db-master-0123456789abcdef"
    for name in ("link.db", "v.db", "v.db-wal", "link.db-keys", "link.db-master", former):
        assert own.owns(Path(name)), name
    for name in ("v.db-keys", "log.jsonl", "link.db-other", ".", "nowhere/v.db", f"nowhere/{former}", f"{former}-x"):
        assert not own.owns(Path(name)), name
    Path(former).write_text("a key")
    Path("hard").hardlink_to(former)
    Path("soft").symlink_to(former)
    assert own.owns(Path("hard"))
    assert own.owns(Path("soft"))


def test_a_ring_of_links_leads_nowhere(run: Callable[..., Result], there: str) -> None:
    Path("ring").symlink_to("gnir")
    Path("gnir").symlink_to("ring")
    own = StoreFiles.at(there)
    assert own is not None
    assert not own.owns(Path("ring"))
    for url in (there, "sqlite:///ring"):
        assert run("export", url, "--output", "ring", status=2).stderr.count("\n") == 1
        assert run("backup", url, "ring", status=2).stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["v.db-master", "v.db-wal", "v.db-shm", "v.db-journal"])
def test_a_backup_takes_no_name_of_its_store(run: Callable[..., Result], there: str, tmp_path: Path, name: str) -> None:
    """Not one that is free at the time either."""
    Path("v.db-master").rename("elsewhere")
    result = run("backup", there, name, status=2)
    assert f"lastresort: {name} is part of the store that is backed up; name another file\n" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"v.db", "v.db-keys", "elsewhere"}


@pytest.mark.parametrize("end", ["-wal", "-journal", "-keys-wal", "-keys-journal"])
def test_a_backup_is_not_restored_beside_what_was_left_of_another(
    run: Callable[..., Result], there: str, end: str
) -> None:
    """SQLite would take it for what belongs to the new one."""
    run("backup", there, "monday")
    Path(f"new.db{end}").write_text("left")
    assert (
        f"new.db{end} exists; a backup is restored into"
        in run("restore", "monday", "--store", "sqlite:///new.db", status=2).stderr
    )
    assert not Path("new.db").exists()


@pytest.mark.parametrize("name", ["new.db-wal", "new.db-journal", "new.db-keys"])
def test_what_is_read_is_no_file_of_the_store_that_is_made(run: Callable[..., Result], there: str, name: str) -> None:
    """An export of that name would be gone as soon as the store is opened."""
    run("export", there, "--output", name)
    before = Path(name).read_text()
    result = run("import", name, "--store", "sqlite:///new.db", status=2)
    assert result.stderr == f"lastresort: {name}: is part of the store that is imported into; name another file\n"
    transcripts(Path(name))
    said = Path(name).read_text()
    result = run("simulate", name, "--store", "sqlite:///new.db", status=2)
    assert result.stderr == f"lastresort: {name}: is part of the store that is played into; name another file\n"
    assert Path(name).read_text() == said != before
    assert not Path("new.db").exists()


# --- Names ------------------------------------------------------------------------------------------------------------

NAMES = ["%41.db", "a#b.db", "a%20b.db", "file:a.db", "äö.db", "a b&c=d.db"]


@pytest.mark.parametrize("name", NAMES)
def test_operators_see_the_store_that_they_name(run: Callable[..., Result], tmp_path: Path, name: str) -> None:
    """Whatever SQLite would make of the name as a URI, and whatever else there is."""
    for other in ("A.db", "a", "a b.db", "a.db"):
        with opened(f"sqlite:///{other}") as chats:
            started(chats, "other")
    url = f"sqlite:///{name}"
    with opened(url) as chats:
        started(chats, "mine")
    before = {path.name for path in tmp_path.iterdir()}
    run("doctor", url, status=None)
    assert "table" in run("migrate", url).stdout
    assert {path.name for path in tmp_path.iterdir()} == before
    run("backup", url, f"of-{name}")
    run("restore", f"of-{name}", "--unauthenticated", "--store", f"sqlite:///back-{name}")
    with closing(sqlite3.connect(tmp_path / f"back-{name}")) as file:
        assert file.execute("SELECT originator_id FROM stored_events").fetchall() == [("mine",)]


def test_a_backup_is_called_what_it_is_called(run: Callable[..., Result], there: str, tmp_path: Path) -> None:
    """With a question mark too, which no URL can name."""
    run("backup", there, "of?mode=memory#1.db")
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("of")} == {
        "of?mode=memory#1.db", "of?mode=memory#1.db-keys",
    }  # fmt: skip
    run("restore", "of?mode=memory#1.db", "--unauthenticated", "--store", "sqlite:///new.db")
    assert Path("new.db").stat().st_size


def test_a_backup_and_a_doctor_leave_nothing_beside_the_store(
    run: Callable[..., Result], there: str, tmp_path: Path
) -> None:
    """What SQLite makes while it reads is gone when they end."""
    before = {path.name for path in tmp_path.iterdir()}
    run("backup", there, "monday")
    run("doctor", there, status=None)
    assert {path.name for path in tmp_path.iterdir()} == before | {"monday", "monday-keys"}


@pytest.mark.parametrize("name", ["", ".", "/", ".."])
@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_folder_is_no_backup(run: Callable[..., Result], there: str, command: str, name: str) -> None:
    """It is said on one line, whether it is to be written or read."""
    arguments = (there, name) if command == "backup" else (name, "--store", "sqlite:///new.db")
    result = run(command, *arguments, status=2)
    assert result.stderr.strip().count("\n") == 0
    assert result.stderr.strip().startswith("lastresort: ")
