"""What a store writes is its owner's alone, and nobody can have prepared the file that it writes into."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastresort import StoreError, open_conversations
from lastresort.adapters.databases import files
from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.importers.log_file import write_file
from lastresort.adapters.stores import sqlite_recorder
from lastresort.adapters.upkeep.backup import backup
from lastresort.adapters.vault.master_key import VARIABLE

from .operations_kit import opened
from .stores import done, started


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_every_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Under an open umask too, while it is in use and afterwards."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        done(started(chats, "c").user_turn("Hello."))
        write_file(chats.store.log(), tmp_path / "log.jsonl")
        backup(url, tmp_path / "backup")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert {
        "log.db",
        "log.db-wal",
        "log.db-keys",
        "log.db-master",
        "log.jsonl",
        "backup",
        "backup-keys",
    } <= modes.keys()
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o620])
def test_a_master_key_that_is_open_to_others_is_not_taken(tmp_path: Path, mode: int) -> None:
    """They may have read it, or it may be theirs; the message has the command that mends it."""
    url = f"sqlite:///{tmp_path}/log.db"
    open_conversations(url).close()
    master = tmp_path / "log.db-master"
    master.chmod(mode)
    with pytest.raises(StoreError, match=f"chmod 600 {master}"):
        open_conversations(url)
    master.chmod(0o600)
    open_conversations(url).close()


@pytest.mark.parametrize("name", ["log.db", "log.db-keys"])
def test_files_that_everybody_can_write_are_refused(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    open_conversations(url).close()
    (tmp_path / name).chmod(0o646)
    with pytest.raises(StoreError, match=f"chmod 600 {tmp_path / name}"):
        open_conversations(url)
    (tmp_path / name).chmod(0o644)
    open_conversations(url).close()


NOBODY, OWNER = 65534, 12345


def test_a_master_key_of_another_user_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may have planted it. Root's is taken."""
    path = tmp_path / "key"
    path.touch(mode=0o600)
    if (owner := path.stat().st_uid) == 0:
        monkeypatch.setattr(os, "geteuid", lambda: OWNER)
        files.check_private(path, secret=True)
        os.chown(path, NOBODY, NOBODY)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(StoreError, match=rf"belongs to another user.*: chown \$USER {path}$"):
        files.check_private(path, secret=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_takes_the_master_key_of_the_stores_owner_and_no_other(tmp_path: Path) -> None:
    """Nor a link that somebody else made, wherever it leads."""
    url, log, master = f"sqlite:///{tmp_path}/log.db", tmp_path / "log.db", tmp_path / "log.db-master"
    open_conversations(url).close()
    for log_of, key_of, taken in ((0, NOBODY, False), (OWNER, NOBODY, False), (OWNER, OWNER, True), (OWNER, 0, True)):
        os.chown(log, log_of, log_of)
        os.chown(master, key_of, key_of)
        if taken:
            open_conversations(url).close()
        else:
            with pytest.raises(StoreError, match=f"{master} belongs to .*: chown --reference={log} {master}"):
                open_conversations(url)
    master.rename(tmp_path / "kept")
    master.symlink_to(tmp_path / "kept")
    open_conversations(url).close()
    os.chown(master, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(StoreError, match=f"{master} belongs to .*: chown -h --reference={log} {master}"):
        open_conversations(url)


@pytest.mark.parametrize("name", ["log.db-master", "log.db-keys", "log.db"])
def test_a_link_that_leads_nowhere_leaves_nothing_half_made(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "nowhere" / "at all")
    for _ in range(2):
        with pytest.raises(StoreError, match=name):
            open_conversations(f"sqlite:///{tmp_path}/log.db")
        assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["log.db-master", "log.db-keys"])
def test_what_is_there_of_a_new_store_is_looked_at_before_it_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(32) if name.endswith("master") else b"")
    (tmp_path / name).chmod(0o646)
    with pytest.raises(StoreError, match="chmod 600"):
        open_conversations(f"sqlite:///{tmp_path}/log.db")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_master_key_that_is_none_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for before anything is made, and not once more for that."""
    url, asked = f"sqlite:///{tmp_path}/log.db", list[bytes]()
    with pytest.raises(StoreError, match="has 3 bytes"):
        open_conversations(url, master_key=lambda: b"key")
    monkeypatch.setenv(VARIABLE, "no base64")
    with pytest.raises(StoreError, match="is not base64"):
        open_conversations(url)
    assert list(tmp_path.iterdir()) == []

    def master_key() -> bytes:
        asked.append(bytes(32))
        return asked[-1]

    with opened(url, master_key=master_key) as chats:
        done(started(chats, "c").user_turn("Hello."))
    assert len(asked) == 1


def test_drafts_are_written_to_no_file_that_somebody_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if they guessed the name: neither a file nor a link is followed."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    (tmp_path / "elsewhere").write_text("mine")
    for prepared in (".backup.guessed", ".log.jsonl.guessed", ".log.db-master.guessed"):
        (tmp_path / prepared).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        files.new_draft(tmp_path / "backup")
    with pytest.raises(BadInput, match="File exists"):
        write_file((), tmp_path / "log.jsonl")
    with pytest.raises(StoreError, match="File exists"):
        open_conversations(f"sqlite:///{tmp_path}/log.db")
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_draft_of_a_process_that_died_is_in_nobodys_way(tmp_path: Path) -> None:
    """Process ids come again, in containers above all."""
    (tmp_path / f"log.db-master.{os.getpid()}").write_bytes(b"half")
    (tmp_path / f".log.db-master.{os.getpid()}").write_bytes(b"half")
    open_conversations(f"sqlite:///{tmp_path}/log.db").close()


def test_threads_that_open_a_new_store_at_once_all_open_it(tmp_path: Path) -> None:
    """Twenty stores, four threads each."""
    failed: list[BaseException] = []

    def open_it(url: str, together: threading.Barrier) -> None:
        together.wait()
        try:
            open_conversations(url).close()
        except BaseException as error:
            failed.append(error)

    for number in range(20):
        url, together = f"sqlite:///{tmp_path}/{number}.db", threading.Barrier(4)
        threads = [threading.Thread(target=open_it, args=(url, together)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_a_store_that_is_made_while_somebody_looks_at_the_file_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks at the tables one after the other sees them all as they were at one moment."""
    path, makers, look = tmp_path / "log.db", list[threading.Thread](), sqlite_recorder._columns
    path.touch(0o600)

    def open_it() -> None:
        open_conversations(f"sqlite:///{path}").close()

    def look_slowly(connection: sqlite3.Connection, table: str) -> set[str]:
        found = look(connection, table)
        if not makers:
            makers.append(threading.Thread(target=open_it))
            makers[0].start()
            makers[0].join(0.5)  # as far as it comes
        return found

    monkeypatch.setattr(sqlite_recorder, "_columns", look_slowly)
    open_it()
    makers[0].join()
