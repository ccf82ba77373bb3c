"""`lastresort-verify`: what it says of proofs and tiles that lastresort makes, and of those that somebody changed."""

import ast
import base64
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lastresort_verify as verify
import pytest

from lastresort.adapters.tlog.notes import COSIGNED_ED25519, ML_DSA_44, Note, Signer
from lastresort.adapters.transparency.publishing import PublishedLog, prove_event

from .stores import ROOT, ended, long, new_url, started
from .transparency_kit import ORIGIN, Log, kept, log_of

__all__ = ["kept"]

MODULE = ROOT / "verify" / "lastresort_verify.py"
WITNESSES = [Signer.generate(f"w.example/{kind}", kind) for kind in (COSIGNED_ED25519, ML_DSA_44)]
TIME = 1_800_000_000


@pytest.fixture
def log(request: pytest.FixtureRequest, kept: Path) -> Iterator[Log]:
    with log_of(new_url("sqlite", request), kept) as found:
        chat = found.chats.chat("b")
        child = chat.edit(8, "Instead, again.", child="b3")
        assert child
        ended(started(found.chats, "c"))
        done = found.checkpoint()
        lines = tuple(one.sign(done.note.text, TIME) for one in WITNESSES)
        note = done.note._replace(signatures=(*done.note.signatures, *lines))
        found.tables.keep("published", note)
        yield found


def policy_of(log: Log, *more: str) -> str:
    keys = [f"log {log.key.verifier}", *(f"witness w{n} {one.verifier}" for n, one in enumerate(WITNESSES))]
    return "\n".join([*keys, *(more or ["group both all w0 w1", "quorum both"])])


def proof_of(log: Log, branch: str = "a", version: int | None = None) -> str:
    return str(prove_event(log.chats, PublishedLog(log.tables), branch, version))


def verified(log: Log, text: str, *policy: str) -> verify.Result:
    return verify.verify_proof(text, verify.Policy.read(policy_of(log, *policy)))


def test_it_needs_the_standard_library_and_cryptography_alone() -> None:
    tree = ast.parse(MODULE.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"cryptography"}
    assert len(MODULE.read_text().splitlines()) <= 450


def test_what_an_ended_user_is_told(log: Log) -> None:
    found = verified(log, proof_of(log))
    assert found.failed is None
    told = "\n".join(found.proven)
    assert f"the log of {ORIGIN} had " in told
    assert "witnessed by w0 at 2027-01-15 08:00:00 UTC, w1 at 2027-01-15 08:00:00 UTC" in told
    assert "the conversation ended, by the model claude-opus-4-1, on the ground last_resort, for abuse" in told
    assert told.count("on which it rests: RedirectionAttempted") == 3
    assert "on which it rests: WarningGiven" in told
    assert "what was said: the log has digests" in found.unproven[0]


def test_without_witnesses_it_says_what_that_means(log: Log) -> None:
    log.tables.keep("published", log.key.sign(log.head(), 1))
    text = proof_of(log)
    assert verified(log, text, "quorum none").unproven[0] == verify.ALONE
    failed = verified(log, text).failed
    assert failed is not None
    assert "cosigned by nobody, and the policy asks for more" in failed
    assert verified(log, text, "group one 1 w0 w1", "quorum one").failed
    assert verified(log, text, "quorum w0").failed


def test_an_event_that_is_no_ending(log: Log) -> None:
    found = verified(log, proof_of(log, "b", 2))
    assert found.failed is None
    assert "says: UserTurnTaken by the user account (branch b, version 2" in found.proven[1]
    assert len(found.proven) == 2


def test_evidence_on_the_branch_above(log: Log) -> None:
    """An ending whose redirections stand on the branch that its own was opened from."""
    chat = log.chats.chat("a")
    assert chat.branch == "a"
    path = log.chats.path("a")
    warned = next(one.version for one in path if one.kind == "WarningGiven")
    text = proof_of(log)
    entry = json.loads(base64.b64decode(text.split("\n")[1][6:]))
    ending = json.loads(entry["entry"])
    ending["branch"] = "child"
    others = [(one["index"], json.loads(one["entry"])) for one in entry["rests_on"]]
    opened = {"kind": "BranchOpened", "branch": "child", "version": 99, "event": {"at": 98, "parent": "a", "by": {}}}
    told = verify.evidence(ending, [*others, (7, opened)])
    assert any(f"version {warned}" in one for one in told)
    with pytest.raises(verify.NotProven, match="no proof of that is in the file"):
        verify.evidence(ending, others)  # without what says to which branch it belongs


def test_every_bit_counts(log: Log) -> None:
    """Of what is hashed; what is signed is below. In base64 some bits stand for nothing."""
    chance = random.Random(19)
    text = proof_of(log)
    head, _, note = text.partition("\n\n")
    lines = head.split("\n")
    extra = json.loads(base64.b64decode(lines[1][6:]))
    for _ in range(60):
        kind = chance.randrange(5)
        changed, other, path, at = json.loads(json.dumps(extra)), note, list(lines[3:]), chance.randrange(40)
        index = lines[2]
        if kind == 0:
            changed["entry"] = flipped(changed["entry"], chance)
        elif kind == 1:
            one = chance.choice(changed["rests_on"])
            one["entry"] = flipped(one["entry"], chance)
        elif kind == 2:
            one = chance.choice(changed["rests_on"])
            one["index"] ^= 1 << chance.randrange(5)
        elif kind == 3:
            path[at % len(path)] = base64.b64encode(chance.randbytes(32)).decode()
        else:
            index = f"index {int(index[6:]) ^ 1 << chance.randrange(5)}"
        encoded = base64.b64encode(json.dumps(changed).encode()).decode()
        forged = "\n".join([lines[0], f"extra {encoded}", index, *path]) + f"\n\n{other}"
        try:
            assert verified(log, forged).failed is not None, kind
        except verify.BadInput:
            assert kind < 2  # the entry is not JSON any more


def flipped(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chr(ord(text[at]) ^ 1 << chance.randrange(5)) + text[at + 1 :]


def test_a_checkpoint_that_was_changed(log: Log) -> None:
    text = proof_of(log)
    note = Note.parse(text.partition("\n\n")[2])
    size = note.text.split("\n")[1]
    for before, after in ((f"\n{size}\n", f"\n{int(size) + 1}\n"), (ORIGIN + "\n", "log.example/other\n")):
        assert verified(log, text.replace(before, after, 1)).failed
    unsigned = str(note._replace(signatures=note.signatures[1:]))
    assert verified(log, text.replace(str(note), unsigned)).failed
    for number in range(3):
        lines = list(note.signatures)
        if number != 1:  # the log's own ML-DSA-44 signature, which the policy does not name
            data = lines[number].data
            lines[number] = lines[number]._replace(data=data[:-1] + bytes([data[-1] ^ 1]))
            failed = verified(log, text.replace(str(note), str(note._replace(signatures=tuple(lines))))).failed
            assert failed is not None
            assert "does not verify" in failed


# --- tiles, and the command -------------------------------------------------------------------------------------------


@pytest.fixture
def tiles(log: Log, tmp_path: Path) -> Path:
    long(log.chats, 140, "long")
    log.checkpoint()
    PublishedLog(log.tables).export_tiles(tmp_path / "tiles")
    (tmp_path / "policy").write_text(policy_of(log, "quorum none"))
    return tmp_path / "tiles"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(MODULE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command(log: Log, tiles: Path, tmp_path: Path) -> None:
    proof, policy = tmp_path / "e.tlog-proof", tmp_path / "policy"
    proof.write_text(proof_of(log))
    done = run(proof, "--policy", policy)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PROVEN:\n  the log of log.example/chats had ")
    assert verify.main([str(tiles), "--policy", str(policy)]) == 0


def test_what_the_command_prints(log: Log, tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = str(tmp_path / "policy")
    assert verify.main([str(tiles), "--policy", policy, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert f"these {log.head().size} entries are all of it, in their order" in told["proven"][1]
    bundle = tiles / "tile/entries/000"
    whole = bundle.read_bytes()
    for data, why in ((whole.replace(b"user", b"abel", 1), "do not add up"), (whole[:-5], "entries are missing")):
        bundle.write_bytes(data)
        assert verify.main([str(tiles), "--policy", policy]) == 1
        out = capsys.readouterr().out
        assert out.startswith("NOT PROVEN: ")
        assert why in out
    bundle.unlink()
    assert verify.main([str(tiles), "--policy", policy]) == 1
    assert "it is not there" in capsys.readouterr().out
    (tiles / "checkpoint").unlink()
    assert verify.main([str(tiles), "--policy", policy]) == 2
    assert verify.main([str(tmp_path / "none"), "--policy", policy]) == 2
    assert verify.main([str(tmp_path / "none"), "--policy", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("No such file") == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "this is not a whole proof"),
        ("c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\n", "checkpoint: an origin"),
        ("c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\na\n1\nAAAA\n\n— a\n", "signature line"),
        ("c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\na\n1\nAAAA\n\n— a !\n", "no base64"),
        ("c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\na\n1\nAAAA\n\n— a AAAAAAAA\n", "32 bytes"),
        (f"c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\na\n01\n{'A' * 43}=\n\n— a AAAAAAAA\n", "whole number"),
        (f"c2sp.org/tlog-proof@v1\nextra e30=\nindex 0\n\na\n1\n{'A' * 43}=\n\n— a AAAAAAAA\n", "extra line"),
    ],
)
def test_what_is_no_proof(text: str, why: str) -> None:
    with pytest.raises(verify.BadInput, match=why):
        verify.verify_proof(text, verify.Policy())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no quorum"),
        ("nonsense", "line 1 of the policy: `log KEY`"),
        ("log a", "NAME.ID.BASE64"),
        ("log a+b+AAAA", "its type has to be"),
        (f"log {str(WITNESSES[0].verifier).replace('+', '+0', 1)}", "copied whole"),
        ("quorum w", "w is not defined"),
        (f"witness none {WITNESSES[0].verifier}", "is taken"),
        (f"witness w {WITNESSES[0].verifier}\ngroup g 2 w", "2 of 1"),
    ],
    ids=lambda text: text.replace("\n", " ").partition("+")[0],  # without the key, which each process makes anew
)
def test_what_is_no_policy(text: str, why: str) -> None:
    with pytest.raises(verify.BadInput, match=why):
        verify.Policy.read(text)


def test_a_log_that_goes_on_after_another() -> None:
    told = verify.said({"continues": {"origin": "log.example/before", "size": 7, "root": "x"}})
    assert told == "this log goes on after 7 entries of log.example/before"
