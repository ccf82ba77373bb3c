"""A store that may only be read is audited, and nothing is left beside it that would lock its owner out."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from lastresort import StoreError
from lastresort.adapters.opening import open_read_only

from .cli_kit import run
from .stores import done, opened, started

__all__ = ["run"]

ROOT = os.geteuid() == 0
NOBODY = 65_534
SAID = "lastresort: opened read-only, without keys: snapshots were not looked at\n"


@contextmanager
def another() -> Iterator[None]:
    """Be another user than root, whom permissions bind; somebody who is none is bound already."""
    if ROOT:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if ROOT:
            os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that others can look into, unlike `tmp_path`."""
    made = Path(tempfile.mkdtemp(prefix="lastresort-"))
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


@pytest.fixture
def log(folder: Path) -> Path:
    """The file of a store that nobody has open."""
    with opened(f"sqlite:///{folder}/log.db") as chats:
        done(started(chats).user_turn("Hello."))
    (folder / "log.db").chmod(0o644)
    return folder / "log.db"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def _imported(run: Callable[..., Result], tmp_path: Path) -> None:
    """Import what an audit does, which another user may not be able to read."""
    with opened(f"sqlite:///{tmp_path}/first.db") as chats:
        started(chats)
    run("audit", f"sqlite:///{tmp_path}/first.db", "--read-only")
    run("audit", f"sqlite:///{tmp_path}/none.db", "--read-only", status=2)


@pytest.mark.parametrize("kept_from", ["file", "folder", "owner"] if ROOT else ["file", "folder"])
def test_what_may_only_be_read_is_audited_and_left_as_it_was(
    run: Callable[..., Result], folder: Path, log: Path, kept_from: str
) -> None:
    """Without write permission for the file or the folder; or as another user who may write both."""
    if kept_from == "file":
        log.chmod(0o444)
    folder.chmod(0o555 if kept_from == "folder" else 0o755 if not ROOT else 0o777)
    before = names(folder)
    with another():
        result = run("audit", f"sqlite:///{log}")
    assert (result.stdout, result.stderr) == ("2 events on 1 branch: no finding\n", SAID)
    assert names(folder) == before == {"log.db", "log.db-keys", "log.db-master"}


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o777, 0o755], ids=["where all may write", "where none may"])
def test_what_needs_to_write_is_refused_and_leaves_nothing_beside_the_log(
    run: Callable[..., Result], folder: Path, log: Path, mode: int
) -> None:
    """Files of another user's beside it would lock its owner out."""
    url, before = f"sqlite:///{log}", names(folder)
    looks = (("views", "--store", url), ("show", "c", "--store", url), ("export", url), ("doctor", url))
    folder.chmod(mode)
    for command in (*looks, ("backup", url, f"{folder}-copy")):
        with another():
            refused = run(*command, status=2).stderr
        assert "cannot be written by this user" in refused, command
        assert names(folder) == before, command


def test_an_audit_needs_no_keys(run: Callable[..., Result], folder: Path, log: Path) -> None:
    """Neither the keys nor the master key, nor the permission to read them."""
    for end in ("-keys", "-master"):
        log.with_name(log.name + end).unlink()
    result = run("audit", f"sqlite:///{log}", "--read-only")
    assert (result.stdout, result.stderr, names(folder)) == ("2 events on 1 branch: no finding\n", SAID, {"log.db"})


def test_findings_are_found_as_well(run: Callable[..., Result], log: Path) -> None:
    with closing(sqlite3.connect(log, isolation_level=None)) as file:
        file.execute("DELETE FROM branches")
    log.chmod(0o444)
    with another():
        assert "structure-state" in run("audit", f"sqlite:///{log}", status=1).stdout


def test_what_a_writer_has_not_yet_written_back_is_read_as_well(run: Callable[..., Result], log: Path) -> None:
    """While the owner has the store open, who goes on writing afterwards."""
    with opened(f"sqlite:///{log}") as chats:
        chat = chats.chat("c")
        done(chat.user_turn("Is anybody there?", command_id="second"))
        before = names(log.parent)
        assert "log.db-wal" in before
        with another():
            assert run("audit", f"sqlite:///{log}").stdout == "3 events on 1 branch: no finding\n"
        assert names(log.parent) == before
        done(chat.user_turn("Hello?", command_id="third"))
    assert names(log.parent) == {"log.db", "log.db-keys", "log.db-master"}


@pytest.mark.parametrize("gone", ["-wal", "-shm"])
def test_what_was_not_written_back_and_cannot_be_read_is_said(run: Callable[..., Result], log: Path, gone: str) -> None:
    """An audit of the rest would have found a log that ends too early lawful."""
    with opened(f"sqlite:///{log}") as chats:
        done(chats.chat("c").user_turn("Is anybody there?", command_id="second"))
        copy = log.with_name("copy.db")
        for end in ("", "-wal", "-shm"):
            shutil.copy(f"{log}{end}", f"{copy}{end}")
            Path(f"{copy}{end}").chmod(0o644)
    if gone == "-shm":
        Path(f"{copy}-shm").unlink()
    else:
        Path(f"{copy}-wal").chmod(0)
    before = names(log.parent)
    with another():
        if gone == "-wal" and not ROOT:
            pytest.skip("its owner may read it")
        said = run("audit", f"sqlite:///{copy}", status=2).stderr
    assert f"{copy}-wal holds what is not yet in the log's file" in said
    assert "lastresort backup" in said
    assert names(log.parent) == before


def test_what_was_left_by_a_crash_is_read(run: Callable[..., Result], log: Path) -> None:
    with opened(f"sqlite:///{log}") as chats:
        done(chats.chat("c").user_turn("Is anybody there?", command_id="second"))
        copy = log.with_name("copy.db")
        for end in ("", "-wal", "-shm"):
            shutil.copy(f"{log}{end}", f"{copy}{end}")
            Path(f"{copy}{end}").chmod(0o644)
    before = names(log.parent)
    with another():
        assert run("audit", f"sqlite:///{copy}", "--read-only").stdout == "3 events on 1 branch: no finding\n"
    assert names(log.parent) == before


def test_a_log_that_is_written_meanwhile_is_not_judged(log: Path) -> None:
    """SQLite takes it that nobody writes where there is no write-ahead log; what it read may be a mixture."""
    with ExitStack() as reading:
        chats = reading.enter_context(open_read_only(f"sqlite:///{log}"))
        assert len(list(chats.store.entries())) == 2
        with opened(f"sqlite:///{log}") as owner:
            done(owner.chat("c").user_turn("Is anybody there?", command_id="second"))
        with pytest.raises(StoreError, match="try again"):
            reading.close()


@pytest.mark.skipif(not ROOT, reason="needs another user")
def test_what_cannot_be_read_at_all_is_said(run: Callable[..., Result], log: Path) -> None:
    log.chmod(0o600)
    with another():
        assert "cannot be read by this user" in run("audit", f"sqlite:///{log}", status=2).stderr


def test_only_files_of_a_store_are_opened_read_only(run: Callable[..., Result], tmp_path: Path) -> None:
    assert "export the log" in run("audit", "postgresql://localhost/none", "--read-only", status=2).stderr
    (tmp_path / "empty.db").touch()
    assert "it is empty" in run("audit", f"sqlite:///{tmp_path}/empty.db", "--read-only", status=2).stderr
