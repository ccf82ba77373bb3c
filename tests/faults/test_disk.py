"""A disk that is full, read-only or broken, a database that somebody else holds: a clear error, in time, and no harm.

Times are told by the clock only as a bound, twice the deadline of a call: a call that would wait for ever fails here.
"""

import os
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lastresort import ErasureCause, StoreError
from lastresort.domain.events import content_of

from ..service_kit import done
from .acts import OPERATOR, check, open_at
from .vfs import FULL, IOERR, library
from .writers import fill, serve_turns
from .zygote import Worker, Zygote, kill_all

IN_TIME = 4  # seconds; the deadline is 2
NOBODY = 65534


@pytest.fixture
def url(tmp_path: Path) -> str:
    return new_store(tmp_path)


def new_store(folder: Path) -> str:
    chats = open_at(url := f"sqlite:///{folder}/log.db")
    chats.start(model="m", conversation="one").user_turn("words")
    chats.close()
    return url


class Workers:
    """Workers that are gone when the test is over."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        self.all: list[Worker] = []

    def serving(self, url: str, uid: int | None = None) -> Worker:
        self.all.append(self._zygote.spawn(serve_turns, url, uid))
        return self.all[-1]


@pytest.fixture
def workers(zygote: Zygote) -> Iterator[Workers]:
    started = Workers(zygote)
    yield started
    kill_all(started.all)


def ready(worker: Worker) -> Worker:
    assert worker.hear() == "ready"
    return worker


def refused(worker: Worker, command_id: str) -> str:
    """Ask for a turn, check that it fails in time, and return the error."""
    worker.say(command_id)
    heard = worker.hear()
    assert "error" in heard, heard
    assert heard["took"] < IN_TIME
    return str(heard["error"])


def taken(worker: Worker, command_id: str) -> int:
    worker.say(command_id)
    heard = worker.hear()
    assert "version" in heard, heard
    return int(heard["version"])


def arm(worker: Worker, *fault: object) -> None:
    worker.say(["refuse", *fault])
    assert worker.hear() == "armed"


@pytest.fixture
def _traceable() -> None:
    try:
        library()
    except LookupError as error:
        pytest.skip(str(error))


FAULTS = [
    ("write", "log.db-wal", FULL, "full"),
    ("write", "log.db-wal", IOERR, "I/O error"),
    ("sync", "log.db-wal", FULL, "full"),
    ("sync", "log.db-wal", IOERR, "I/O error"),
]


@pytest.mark.usefixtures("_traceable")
@pytest.mark.parametrize(("what", "file", "error", "message"), FAULTS)
def test_a_disk_that_fails_is_named(workers: Workers, url: str, what: str, file: str, error: int, message: str) -> None:
    """The write of a turn, or its sync; once the disk has recovered, the same process goes on."""
    worker = ready(workers.serving(url))
    before = taken(worker, "before")
    arm(worker, what, file, error)
    assert message in refused(worker, "meanwhile")
    assert message in refused(worker, "again")
    arm(worker)
    assert taken(worker, "meanwhile") == before + 1
    assert taken(worker, "after") == before + 2
    assert [one.command_id for one in check(url, [])][-3:] == ["before", "meanwhile", "after"]


@pytest.mark.usefixtures("_traceable")
@pytest.mark.parametrize("what", ["write", "sync"])
@pytest.mark.parametrize(("error", "message"), [(FULL, "full"), (IOERR, "I/O error")])
def test_keys_that_cannot_be_kept_are_named(
    workers: Workers, tmp_path: Path, what: str, error: int, message: str
) -> None:
    """The first turn of a conversation needs a key, which must be on the disk before what is sealed with it."""
    chats = open_at(url := f"sqlite:///{tmp_path}/log.db")
    chats.start(model="m", conversation="one")
    chats.close()
    worker = ready(workers.serving(url))
    arm(worker, what, "keys", error)
    assert message in refused(worker, "first")
    arm(worker)
    assert taken(worker, "first") == 2
    check(url, [])


def halves(url: str) -> tuple[bool, int]:
    """Return whether an erasure of all is recorded, and how many of the words can be read: none is half gone."""
    with closing(open_at(url)) as chats:
        log = chats.path("one")
        said, words = [one for one in log if content_of(one.event)], chats.words(log)
        assert len(words) in (0, len(said)), "words are half gone"
        return any(one.kind == "ContentErased" for one in log), len(words)


@pytest.mark.usefixtures("_traceable")
@pytest.mark.parametrize("what", ["write", "sync"])
@pytest.mark.parametrize("file", ["log.db-wal", "log.db-keys"])
@pytest.mark.parametrize("error", [FULL, IOERR])
def test_an_erasure_that_the_disk_refuses(workers: Workers, url: str, what: str, file: str, error: int) -> None:
    """Of the log's file or of the keys': nothing is half gone, and the same command ends it once the disk is well."""
    worker = ready(workers.serving(url))
    taken(worker, "before")
    arm(worker, what, file, error)
    refused(worker, "erase")
    recorded, words = halves(url)
    assert words == 2 or recorded
    arm(worker)
    taken(worker, "erase")
    assert halves(url) == (True, 0)
    with closing(open_at(url)) as chats:
        assert not chats.service.ports.vault.has_key("one")
    assert [one.kind for one in check(url, [])].count("ContentErased") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
def test_an_erasure_on_a_disk_that_is_full(tmp_path: Path) -> None:
    """A small file system, filled by something else but for so many bytes: wherever it stops, nothing is half gone."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    failed = 0
    try:
        for room in range(0, 160, 16):
            url = new_store(tmp_path)
            ballast = tmp_path / "ballast"
            with closing(open_at(url)) as chats:
                for number in range(20):
                    done(chats.chat("one").user_turn(f"words {number} " * 40))
                left = os.statvfs(tmp_path)
                ballast.write_bytes(bytes(max(0, left.f_bavail * left.f_frsize - room * 1024)))
                try:
                    done(chats.erase_conversation("one", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase"))
                except StoreError:
                    failed += 1
                    said = len(chats.words(chats.path("one")))
                    assert said in (0, 21)
                    assert said or "ContentErased" in [one.kind for one in chats.path("one")]
                ballast.unlink()
                done(chats.erase_conversation("one", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase"))
            assert halves(url) == (True, 0)
            for file in tmp_path.iterdir():
                file.unlink()
        assert failed
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_an_erasure_of_files_that_may_only_be_read(workers: Workers) -> None:
    """Nothing is gone, nor recorded."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = new_store(folder)
        for path in (*folder.iterdir(), folder):
            path.chmod(0o555 if path is folder else 0o444)
        worker = workers.serving(url, NOBODY if os.geteuid() == 0 else None)
        if worker.hear() == "ready":
            refused(worker, "erase")
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o600)
        assert halves(url) == (False, 1)


def test_a_file_that_may_not_grow(zygote: Zygote, url: str) -> None:
    """As on a disk that is full, for real; the turn that failed is sent again once there is room."""
    worker = zygote.spawn(fill, url, 200_000)
    said = list(worker.rest())
    assert worker.reap() == 0
    versions = [one["version"] for one in said if "version" in one]
    (error,) = (one["error"] for one in said if "error" in one)
    assert error.startswith("the store cannot be ")
    assert "full" in error or "I/O error" in error
    assert versions == list(range(3, 3 + len(versions)))
    assert len(versions) > 3
    assert [one.version for one in check(url, [])] == list(range(1, 3 + len(versions)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
def test_a_disk_that_is_full(workers: Workers, tmp_path: Path) -> None:
    """A small file system, filled by something else."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        url = new_store(tmp_path)
        worker = ready(workers.serving(url))
        taken(worker, "before")
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "ballast").write_bytes(bytes(4_000_000))
        number = 0
        while "version" in (heard := asked(worker, f"meanwhile-{number}")):
            number += 1  # what the log has reserved may still take a few
        assert "full" in heard["error"]
        (tmp_path / "ballast").unlink()
        taken(worker, f"meanwhile-{number}")
        assert len(check(url, [])) == number + 4
        kill_all([workers.all.pop()])
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def asked(worker: Worker, command_id: str) -> dict[str, Any]:
    worker.say(command_id)
    heard: dict[str, Any] = worker.hear()
    return heard


def test_a_file_that_may_only_be_read(workers: Workers) -> None:
    """Opened by somebody who may read it and no more."""
    with tempfile.TemporaryDirectory() as name:  # whose folder others may enter, unlike pytest's
        folder = Path(name)
        url = new_store(folder)
        for path in (*folder.iterdir(), folder):
            path.chmod(0o555 if path is folder else 0o444)
        worker = workers.serving(url, NOBODY if os.geteuid() == 0 else None)
        heard = worker.hear()
        error = refused(worker, "turn") if heard == "ready" else heard["error"]
        assert "cannot be written by this user" in error, error
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o600)
        check(url, [])


def test_a_database_that_somebody_else_holds(workers: Workers, tmp_path: Path, url: str) -> None:
    """For longer than the deadline; once it is let go, the same process goes on."""
    worker = ready(workers.serving(url))
    taken(worker, "before")
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked" in refused(worker, "meanwhile")
        other.execute("ROLLBACK")
    taken(worker, "meanwhile")
    assert [one.command_id for one in check(url, [])][-2:] == ["before", "meanwhile"]


@pytest.mark.usefixtures("_traceable")
@pytest.mark.parametrize("what", ["write", "sync"])
def test_a_writer_that_hangs_with_the_lock(workers: Workers, url: str, what: str) -> None:
    """Stopped between a transaction's first write and its end. Others fail in time; when it goes on, so do they."""
    hanging, worker = ready(workers.serving(url)), ready(workers.serving(url))
    arm(hanging, what, "log.db-wal", 0)
    hanging.say("hangs")
    wait_until_stopped(hanging.pid)
    assert "locked" in refused(worker, "meanwhile")
    hanging.send_signal(signal.SIGCONT)
    assert hanging.hear()["version"] == 3
    taken(worker, "meanwhile")
    assert [one.command_id for one in check(url, [])][-2:] == ["hangs", "meanwhile"]


@pytest.mark.usefixtures("_traceable")
def test_a_writer_that_hung_and_was_killed(workers: Workers, url: str) -> None:
    """Its lock dies with it, and so does what it had not finished."""
    hanging, worker = ready(workers.serving(url)), ready(workers.serving(url))
    arm(hanging, "sync", "log.db-wal", 0)
    hanging.say("hangs")
    wait_until_stopped(hanging.pid)
    refused(worker, "meanwhile")
    hanging.send_signal(signal.SIGKILL)
    workers.all.remove(hanging)
    hanging.reap()
    taken(worker, "meanwhile")
    assert taken(worker, "hangs") > 0
    assert sorted(one.command_id for one in check(url, [])[-2:]) == ["hangs", "meanwhile"]


def wait_until_stopped(pid: int) -> None:
    stat_file = Path(f"/proc/{pid}/stat")
    while stat_file.read_text().rpartition(")")[2].split()[0] != "T":
        os.sched_yield()
