"""Tiles, checkpoints and folders that somebody prepared: the commands say a sentence, and write nowhere else."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from click.testing import Result

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.tlog.notes import COSIGNED_ED25519, BadNote, Note, Signer
from lastresort.adapters.tlog.policy import WitnessKey
from lastresort.adapters.transparency.key_files import write_whole
from lastresort.adapters.transparency.publishing import PublishedLog
from lastresort.adapters.transparency.sources import source
from lastresort.adapters.transparency.witness_client import Cosigner

from .cli_kit import run
from .stores import new_url
from .transparency_kit import Log, kept, log_of

__all__ = ["kept", "run"]
GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "no UTF-8": b"\xff\xfe",
    "no note": b"garbage",
    "no checkpoint": "a\n\n— a AAAAAAAA\n".encode(),
    "a size without end": ("a\n" + "9" * 5_000 + "\nAAAA\n\n— a AAAAAAAA\n").encode(),
}


@pytest.fixture
def log(request: pytest.FixtureRequest, kept: Path) -> Iterator[Log]:
    with log_of(new_url("sqlite", request), kept) as found:
        found.checkpoint()
        yield found


@pytest.fixture
def policy(log: Log, tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    path.write_text(f"log {log.key.verifier}\nquorum none\n")
    return path


@pytest.mark.parametrize("what", GARBAGE)
def test_a_checkpoint_that_is_none(
    what: str, log: Log, policy: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    """Wherever one is read: what is published, what was seen last, what is kept, a folder to export to."""
    tiles, state = tmp_path / "tiles", tmp_path / "state"
    PublishedLog(log.tables).export_tiles(tiles)
    whole = (tiles / "checkpoint").read_bytes()
    (tiles / "checkpoint").write_bytes(GARBAGE[what])
    by = ("--policy", policy)
    asked = [
        ("log", "verify", "--tiles", tiles, *by), ("log", "monitor", tiles, *by, "--state", state),
        ("log", "verify", "--tiles", tiles, "--store", log.url),
    ]  # fmt: skip
    for one in asked:
        told(run(*one, status=None))
    if what != "nothing":
        told(run("log", "export-tiles", tiles, "--store", log.url, status=None))
    (tiles / "checkpoint").write_bytes(whole)
    state.write_bytes(GARBAGE[what])
    told(run("log", "monitor", tiles, "--policy", policy, "--state", state, status=None))
    told(run("log", "keys", "--key", state, status=None))
    told(run("log", "verify", "--tiles", tiles, "--policy", state, status=None))


def told(result: Result) -> None:
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    assert len(result.output.strip()) > 10


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/000.p/%", "tile/entries/000.p/%"])
def test_tiles_that_are_no_files_are_not_waited_for(path: str, log: Log, policy: Path, tmp_path: Path,
                                                   run: Callable[..., Result]) -> None:  # fmt: skip
    tiles = tmp_path / "tiles"
    PublishedLog(log.tables).export_tiles(tiles)
    whole = tiles / path.replace("%", str(log.head().size % 256))
    whole.unlink()
    for kind in ("pipe", "device", "loop", "folder"):
        if kind == "pipe":
            os.mkfifo(whole)
        elif kind == "device":
            whole.symlink_to("/dev/zero")
        elif kind == "loop":
            whole.symlink_to(whole)
        else:
            whole.mkdir()
        told(run("log", "verify", "--tiles", tiles, "--policy", policy, status=None))
        whole.rmdir() if kind == "folder" else whole.unlink()


def test_nothing_is_written_through_a_link_that_somebody_prepared(log: Log, tmp_path: Path) -> None:
    """In a folder that others can write, as one that a web server serves may be."""
    tiles, victim = tmp_path / "tiles", tmp_path / "victim"
    victim.write_text("mine")
    size = log.head().size
    (tiles / "tile" / "0" / "000.p").mkdir(parents=True)
    (tiles / "tile" / "0" / "000.p" / str(size)).symlink_to(victim)
    with pytest.raises(StoreError, match=r"000\.p"):
        PublishedLog(log.tables).export_tiles(tiles)
    assert victim.read_text() == "mine"


def test_a_draft_that_somebody_prepared_or_left_is_not_written_into(log: Log, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f".note.{os.getpid()}").symlink_to(victim)
    note = log.tables.checkpoint("published")
    assert isinstance(note, Note)
    write_whole(tmp_path / "note", str(note))
    assert victim.read_text() == "mine"
    assert (tmp_path / "note").read_text() == str(note)
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.startswith(".note")) == [f".note.{os.getpid()}"]


HTTP = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "garbage": b"garbage\r\n\r\n",
    "nothing": b"",
    "short": HTTP + b"content-length: 99\r\n\r\nshort",
    "headers without end": HTTP + b"a: b\r\n" * 500 + b"\r\n",
    "elsewhere": b"HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n",
    "chunks": HTTP + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_server_that_answers_with_garbage(name: str, log: Log) -> None:
    """Of tiles, and a witness: it is not asked again, and nothing else breaks."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(ANSWERS[name])

        thread = Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(StoreError, match="cannot be read"):
            source(url)("checkpoint")
        signer, head = Signer.generate("w.example/1", COSIGNED_ED25519), log.head()
        witness = Cosigner(WitnessKey("w", signer.verifier, url))
        with pytest.raises((OSError, BadNote)):
            witness.cosign(head, log.key.sign(head, 1), lambda size: ())
        thread.join(60)
