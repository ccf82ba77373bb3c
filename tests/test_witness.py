"""The witness: what it answers, by the exchanges that litewitness is tested with, and what it never does."""

import base64
import hashlib
import json
import os
import signal
import socket
import socketserver
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest
import uvicorn
from starlette.testclient import TestClient

from lastresort.adapters.console.transparency import _unpublished
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import EMPTY, CompactRange, consistency_proof, leaf_hash, node_hash
from lastresort.adapters.tlog.notes import COSIGNED_ED25519, ED25519, ML_DSA_44, Note, Signer, VerifierKey, verified
from lastresort.adapters.tlog.policy import Group, TrustPolicy, WitnessKey
from lastresort.adapters.transparency.key_files import make_log_key
from lastresort.adapters.transparency.sequencer import Published, Sequencer
from lastresort.adapters.transparency.witness import Answer, Witness
from lastresort.adapters.transparency.witness_app import witness_app
from lastresort.adapters.transparency.witness_client import Cosigner

from .faults.zygote import Zygote
from .killed import cosign, zygote
from .stores import ROOT, new_url, started
from .transparency_kit import ORIGIN, kept, log_of

__all__ = ["kept", "zygote"]

KILLS = int(os.environ.get("LASTRESORT_WITNESS_KILLS", "20"))
W = "witness.example/w"
SIGNERS = [Signer.generate(W, COSIGNED_ED25519), Signer.generate(W, ML_DSA_44)]
LOG = Signer.generate("log.example/a", ED25519)

VECTORS = json.loads((ROOT / "tests" / "vectors" / "litewitness.json").read_text())
SIGSUM = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
SIGSUM_KEY = VerifierKey(SIGSUM, ED25519, bytes.fromhex(VECTORS["log"]))
LEAVES = [leaf_hash(b"%d" % number) for number in range(64)]


def node(level: int, index: int) -> bytes:
    if level == 0:
        return LEAVES[index]
    return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))


def head(size: int) -> Checkpoint:
    range_ = CompactRange()
    for leaf in LEAVES[:size]:
        range_.append(leaf)
    return Checkpoint(LOG.name, size, range_.root())


def signed(found: Checkpoint, signer: Signer = LOG) -> str:
    return str(Note(found.text, (signer.sign(found.text, 0),)))


def request(old: int, size: int, note: str | None = None, proof: str | None = None) -> bytes:
    hashes = "".join(f"{base64.b64encode(one).decode()}\n" for one in consistency_proof(node, min(old, size), size))
    return f"old {old}\n{hashes if proof is None else proof}\n{note or signed(head(size))}".encode()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    witness = Witness(tmp_path / "state", SIGNERS, [LOG.verifier, SIGSUM_KEY], now=lambda: 1_700_000_000)
    with TestClient(witness_app(witness)) as found:
        yield found
    witness.close()


def test_what_litewitness_is_tested_with(client: TestClient) -> None:
    for step in VECTORS["steps"]:
        answer = client.post("/add-checkpoint", content=step["body"].encode())
        assert answer.status_code == step["status"], step["body"]
        if step["status"] == 200:
            assert answer.text.startswith(f"— {W} ")
    assert (answer.text, answer.headers["content-type"]) == ("5\n", "text/x.tlog.size")


def test_cosignatures_are_of_both_keys_and_verify(client: TestClient) -> None:
    done = client.post("/add-checkpoint", content=request(0, 5))
    note = Note.parse(f"{head(5).text}\n{done.text}")
    assert verified(note, [one.verifier for one in SIGNERS]) == {one.verifier: 1_700_000_000 for one in SIGNERS}
    assert client.post("/add-checkpoint", content=request(5, 9)).status_code == 200
    assert client.post("/add-checkpoint", content=request(9, 9)).status_code == 200  # asked again, with a later time


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff", 400),
        (b"old 0", 400),
        (b"old 00\n\n" + signed(head(3)).encode(), 400),
        (b"old -1\n\n" + signed(head(3)).encode(), 400),
        (b"size 0\n\n" + signed(head(3)).encode(), 400),
        (b"old 0\nAAAA\n\n" + signed(head(3)).encode(), 400),
        (b"old 0\n" + b"A" * 43 + b"=\n" * 64 + b"\n" + signed(head(3)).encode(), 400),
        (request(0, 3, note=head(3).text), 400),  # no signature at all is no note
        (request(9, 3), 400),
        (request(0, 3, signed(head(3)._replace(origin="log.example/b"))), 404),
        (request(0, 3, signed(head(3), Signer.generate(LOG.name, ED25519))), 403),
        (request(0, 3, signed(head(3)).replace(head(3).text, head(4).text)), 403),
        (request(1, 3), 409),
        (request(0, 3, proof="A" * 43 + "=\n"), 422),
        (request(0, 0, signed(head(0)._replace(root=bytes(32)))), 422),
        (b"x" * 2**18 + b"x", 400),
    ],
    ids=count(),  # signatures are others in each process, and such names would be
)
def test_what_is_not_cosigned(client: TestClient, body: bytes, status: int) -> None:
    assert client.post("/add-checkpoint", content=body).status_code == status
    hash = hashlib.sha256(LOG.name.encode()).hexdigest()
    assert client.get(f"/{hash}/checkpoint").status_code == 404


def test_no_second_history(client: TestClient) -> None:
    assert client.post("/add-checkpoint", content=request(0, 5)).status_code == 200
    other = head(5)._replace(root=bytes(32))
    assert client.post("/add-checkpoint", content=request(5, 5, signed(other))).status_code == 422
    longer = head(9)._replace(root=bytes(32))
    assert client.post("/add-checkpoint", content=request(5, 9, signed(longer))).status_code == 422
    assert client.post("/add-checkpoint", content=request(3, 5)).text == "5\n"
    assert client.post("/add-checkpoint", content=request(5, 9)).status_code == 200


def test_monitors_get_what_was_cosigned(client: TestClient) -> None:
    hash = hashlib.sha256(LOG.name.encode()).hexdigest()
    unknown = Signer.generate("somebody.example", ED25519)
    note = Note(head(5).text, (LOG.sign(head(5).text, 0), unknown.sign(head(5).text, 0)))
    client.post("/add-checkpoint", content=request(0, 5, str(note)))
    found = Note.parse(client.get(f"/{hash}/checkpoint").text)
    policy = TrustPolicy.parse(f"log {LOG.verifier}\nwitness w {SIGNERS[0].verifier}\nquorum w")
    assert policy.look_at(found).enough
    assert [one.name for one in found.signatures] == [LOG.name, W, W]  # and nobody whom it does not know


def test_the_empty_tree(client: TestClient) -> None:
    assert head(0).root == EMPTY
    assert client.post("/add-checkpoint", content=request(0, 0)).status_code == 200
    assert client.post("/add-checkpoint", content=request(0, 5)).status_code == 200


def test_of_many_who_ask_at_once_one_history_comes_out(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "state", SIGNERS[:1], [LOG.verifier])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(witness.add_checkpoint, [request(0, 5 + number) for number in range(32)]))
    assert sorted(one.status for one in answers) == [200] + [409] * 31
    witness.close()


# --- asked by a log --------------------------------------------------------------------------------------------------


@contextmanager
def serving(witness: Witness, at: socket.socket | None = None) -> Iterator[str]:
    """Serve a witness in this process, and give its URL."""
    server = uvicorn.Server(uvicorn.Config(witness_app(witness), port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": None if at is None else [at]})
    thread.start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join()
        witness.close()


def test_a_log_is_published_once_enough_witnesses_cosigned(
    tmp_path: Path, kept: Path, request: pytest.FixtureRequest
) -> None:
    """Two of four: one is dead, and one answers with another key than it is known by."""
    key = make_log_key(kept / "first.key", ORIGIN)
    signers = [Signer.generate(f"w.example/{number}", COSIGNED_ED25519) for number in range(4)]
    own = [Witness(tmp_path / f"w{number}", [signers[number]], [key.verifier]) for number in range(3)]
    with serving(own[0]) as one, serving(own[1]) as two, serving(own[2]) as three:
        urls = [one, two, "http://127.0.0.1:9/", three]
        lines = [f"witness w{n} {signers[n].verifier} {url}" for n, url in enumerate(urls)]
        policy = TrustPolicy.parse("\n".join([*lines, "group some 2 w0 w1 w2 w3", "quorum some"]))
        with log_of(new_url("sqlite", request), kept, policy=policy, key=key) as log:
            done = log.checkpoint()
            assert done.enough
            assert set(done.witnesses) == {"w0", "w1"}
            assert set(done.refusals) == {"w2", "w3"}
            assert "another key" in done.refusals["w3"]
            started(log.chats, "more")
            assert log.checkpoint().enough
            fresh = Sequencer(log.tables, key, policy)  # which does not know what the witnesses have seen
            assert fresh.checkpoint().enough
            stricter = policy._replace(groups={"some": Group(3, ("w0", "w1", "w2", "w3"))})
            started(log.chats, "and-more")
            published = log.head()
            Sequencer(log.tables, key, stricter).sequence()
            assert not Sequencer(log.tables, key, stricter).checkpoint().enough
            assert log.head() == published  # the one before stays


def test_a_witness_whose_state_was_put_back_from_a_backup_counts_no_more(
    tmp_path: Path, kept: Path, request: pytest.FixtureRequest
) -> None:
    """It would cosign another history of what it has forgotten. The log knows what it had cosigned, and says so."""
    key, state = make_log_key(kept / "first.key", ORIGIN), tmp_path / "w"
    url = new_url("sqlite", request)
    with log_of(url, kept, key=key) as log, socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        at = f"http://127.0.0.1:{place.getsockname()[1]}/"
        policy = TrustPolicy.parse(f"witness w {SIGNERS[0].verifier} {at}\nquorum w")
        sequencer = Sequencer(log.tables, key, policy)
        with serving(Witness(state, SIGNERS[:1], [key.verifier]), place.dup()):
            sequencer.sequence()
            assert sequencer.checkpoint().enough
            backup, before = sqlite3.connect(state), log.head()
            copy = sqlite3.connect(tmp_path / "copy")
            backup.backup(copy)
            started(log.chats, "more")
            sequencer.sequence()
            assert sequencer.checkpoint().enough
        published = log.head()
        copy.backup(backup)
        backup.close()
        copy.close()
        started(log.chats, "and-more")
        with serving(Witness(state, SIGNERS[:1], [key.verifier]), place.dup()):
            sequencer.sequence()
            for one in (sequencer, Sequencer(log.tables, key, policy)):
                done = one.checkpoint()
                assert not done.enough
                assert f"cosigned {published.size} entries, and knows of {before.size}: its state" in done.refusals["w"]
        assert log.head() == published


def test_a_log_that_nobody_adds_to_is_published_when_its_witness_comes_back(
    tmp_path: Path, kept: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    key = make_log_key(kept / "first.key", ORIGIN)
    witness = Witness(tmp_path / "w", SIGNERS[:1], [key.verifier])
    told = _unpublished()
    seen: list[bool] = []
    with socket.socket() as place, ExitStack() as stack:
        place.bind(("127.0.0.1", 0))  # nobody listens there before the witness does
        url = f"http://127.0.0.1:{place.getsockname()[1]}/"

        def made(done: Published) -> None:
            told(done)
            seen.append(done.enough)
            if len(seen) == 2:
                stack.enter_context(serving(witness, place))

        policy = TrustPolicy.parse(f"witness w {SIGNERS[0].verifier} {url}\nquorum w")
        with log_of(new_url("sqlite", request), kept, policy=policy, key=key) as log:
            log.sequencer.run(lambda: True in seen, 0.01, made)
            assert log.head().size == len(log.rows())
    assert seen == [False, False, True]
    assert capsys.readouterr().err.splitlines() == [
        "not published: too few witnesses cosigned; they are asked again",
        "w did not cosign: <urlopen error [Errno 111] Connection refused>",
        "published again",
    ]


class Nonsense(socketserver.BaseRequestHandler):
    """Answers in no protocol."""

    def handle(self) -> None:
        self.request.recv(2**16)
        self.request.sendall(b"nonsense\r\n")


def test_what_a_log_is_told_that_no_witness_cosigns(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "w", SIGNERS[:1], [LOG.verifier])
    assert witness.add_checkpoint(request(0, 9)).status == 200

    def refused(found: Checkpoint, url: str) -> str:
        cosigner = Cosigner(WitnessKey("w", SIGNERS[0].verifier, url))
        note = Note(found.text, (LOG.sign(found.text, 0),))
        with pytest.raises(OSError, match=r".") as why:
            cosigner.cosign(found, note, lambda old: consistency_proof(node, old, found.size))
        return str(why.value)

    with serving(witness) as url:
        assert refused(head(5), url) == "it has cosigned 9 entries, and there are 5"
        assert refused(head(5)._replace(origin="log.example/other"), url) == "it answered 404"
    assert "unknown url type" in refused(head(5), "nonsense")
    with socketserver.TCPServer(("127.0.0.1", 0), Nonsense) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert refused(head(5), f"http://127.0.0.1:{server.server_address[1]}/") == "what it answered is not HTTP"


def test_killed_between_what_it_keeps_and_what_it_answers(zygote: Zygote, tmp_path: Path) -> None:
    """It has cosigned by then, and says so the next time it is asked; nothing else can be cosigned.

    `LASTRESORT_WITNESS_KILLS=1000` for as many as docs/explanation/tamper-evidence.md tells of.
    """
    state, size = tmp_path / "state", 0
    keys = str(SIGNERS[0]), str(LOG.verifier)
    for number in range(1, KILLS + 1):
        before, size = size, size + number % 5 + 1
        body = request(before, size).decode()
        worker = zygote.spawn(cosign, str(state), *keys, body)
        assert list(worker.rest()) == []
        assert worker.reap() == -signal.SIGKILL
        witness = Witness(state, SIGNERS[:1], [LOG.verifier])
        fork = signed(head(size)._replace(root=bytes(32)))
        assert witness.add_checkpoint(request(before, size, fork)) == Answer(409, f"{size}\n", "text/x.tlog.size")
        assert witness.add_checkpoint(request(size, size, fork)).status == 422
        assert witness.add_checkpoint(request(size, size)).status == 200
        witness.close()
        if size > 50:
            state.unlink()
            size = 0
