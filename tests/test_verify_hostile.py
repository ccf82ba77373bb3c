"""`lastresort-verify` handed garbage, and proofs from an operator who lies: it says a sentence, and never trips."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lastresort_verify as verify
import pytest

from lastresort.adapters.tlog.notes import COSIGNED_ED25519, ML_DSA_44, Signer

ORIGIN = "log.example/liar"
LIAR = Signer.generate(ORIGIN, 1)
BOTH = Signer.generate(ORIGIN, ML_DSA_44)
WITNESS = Signer.generate("w.example/1", COSIGNED_ED25519)
POLICY = f"log {LIAR.verifier}\nlog {BOTH.verifier}\nquorum none\n"
ENTRY = {
    "branch": "a", "version": 2, "kind": "UserTurnTaken", "recorded_at": "2026-11-30T12:00:00Z",
    "event": {"by": {"kind": "user", "id": "u"}},
}  # fmt: skip


def signed(root: bytes, size: object = 1) -> str:
    text = f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"
    return f"{text}\n{LIAR.sign(text, 0)}"


def proof(extra: Any, note: str, index: object = 0) -> str:
    raw = extra if isinstance(extra, str) else json.dumps(extra)
    return f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(raw.encode()).decode()}\nindex {index}\n\n{note}"


def lie(entry: Any, **extra: Any) -> str:
    """A proof that is sound, of an entry that the operator of the log made up."""
    text = entry if isinstance(entry, str) else json.dumps(entry)
    root = hashlib.sha256(b"\x00" + text.encode("utf-8", "surrogatepass")).digest()
    return proof({"entry": text, "rests_on": [], **extra}, signed(root))


def ran(text: str, policy: str, folder: Path) -> tuple[int, str]:
    (folder / "p").write_text(text)
    (folder / "policy").write_text(policy)
    return command(folder / "p", "--policy", folder / "policy")


def command(*arguments: object) -> tuple[int, str]:
    """Run it, and check that it said a sentence."""
    done = subprocess.run(
        [sys.executable, "-I", verify.__file__, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (1, 2), done
    assert (done.stdout or done.stderr).strip()
    return done.returncode, done.stdout + done.stderr


def refused(text: str, policy: str = POLICY) -> str:
    """Return what the verifier says of a proof that it does not take, as the command would."""
    try:
        failed = verify.verify_proof(text, verify.Policy.read(policy)).failed
    except verify.BadInput as error:
        failed = str(error)
    assert failed
    return failed


DEEP = "[" * 100_000
SIZE = "9" * 5_000
ROOT = hashlib.sha256(b"\x00{}").digest()
GARBAGE: dict[str, Callable[[], str]] = {
    "a size of 5,000 digits": lambda: proof({"entry": "{}", "rests_on": []}, signed(ROOT, SIZE)),
    "a size beyond 64 bits": lambda: proof({"entry": "{}", "rests_on": []}, signed(ROOT, 2**70)),
    "an index of 5,000 digits": lambda: proof({"entry": "{}", "rests_on": []}, signed(ROOT), SIZE),
    "extra nested without end": lambda: proof(DEEP, signed(ROOT)),
    "an entry nested without end": lambda: proof({"entry": DEEP, "rests_on": []}, signed(ROOT)),
    "half a character": lambda: proof({"entry": '"\ud800"', "rests_on": []}, signed(ROOT)),
    "an index that is text": lambda: proof(
        {"entry": "{}", "rests_on": [{"index": "0", "entry": "{}", "proof": []}]}, signed(ROOT)
    ),
    "an index that is a fraction": lambda: proof(
        {"entry": "{}", "rests_on": [{"index": 0.0, "entry": "{}", "proof": []}]}, signed(ROOT)
    ),
    "an entry of nothing": lambda: lie({}),
    "an entry that is a list": lambda: lie("[]"),
    "an entry that is a number": lambda: lie("7"),
    "an entry without a speaker": lambda: lie({**ENTRY, "event": {"by": 7}}),
    "an ending without evidence": lambda: lie({**ENTRY, "kind": "ConversationEnded"}),
    "evidence that is a table": lambda: lie(
        {**ENTRY, "kind": "ConversationEnded",
         "event": {**ENTRY["event"], "ground": "last_resort", "evidence": {"warning": {}}}}  # type: ignore[dict-item]
    ),
    "a log that goes on after nothing": lambda: lie({"continues": []}),
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_told_in_a_sentence(name: str) -> None:
    assert len(refused(GARBAGE[name]())) > 10


def test_the_command_says_a_sentence_of_garbage(tmp_path: Path) -> None:
    assert ran(GARBAGE["extra nested without end"](), POLICY, tmp_path)[0] == 2
    assert ran(GARBAGE["a size of 5,000 digits"](), POLICY, tmp_path)[0] == 2
    assert ran(lie(ENTRY), f"log {LIAR.verifier}\ngroup g {SIZE} a\n", tmp_path)[0] == 2
    assert command("x" * 5_000, "--policy", tmp_path / "policy")[0] == 2


def test_a_branch_that_is_its_own_parent_is_no_way_up() -> None:
    """It would be followed for ever."""
    opened = {"kind": "BranchOpened", "branch": "a", "version": 9, "event": {"at": 10**9, "parent": "a"}}
    ending = {"branch": "a", "event": {"evidence": {"warning": 3}}}
    with pytest.raises(verify.NotProven, match="rests on version 3"):
        verify.evidence(ending, [(0, opened)])


@pytest.mark.parametrize("kind", ["a line of its own", "colours", "words", "an override"])
def test_what_an_operator_chose_never_reads_as_what_is_proven(kind: str, capsys: pytest.CaptureFixture[str],
                                                             tmp_path: Path) -> None:  # fmt: skip
    chosen = {
        "a line of its own": "m\n  it was witnessed by W1, W2 at 2026-01-01 00:00:00 UTC",
        "colours": "\x1b[2Km",
        "words": "m, and it was witnessed by W1",
        "an override": "\u202emoor",
    }[kind]
    (tmp_path / "p").write_text(lie({**ENTRY, "event": {"by": {"kind": "user", "id": chosen}}}))
    (tmp_path / "policy").write_text(POLICY)
    assert verify.main([str(tmp_path / "p"), "--policy", str(tmp_path / "policy")]) == 0
    told = capsys.readouterr().out
    assert f"by the user {chosen!a} (" in told
    assert len(told.partition("NOT PROVEN")[0].splitlines()) == 3


def test_no_witness_counts_twice() -> None:
    twice = f"witness a {WITNESS.verifier}\nwitness b {WITNESS.verifier}\ngroup g all a b\nquorum g\n"
    with pytest.raises(verify.BadInput, match="another witness's"):
        verify.Policy.read(twice)
    other = Signer.generate("w.example/2", COSIGNED_ED25519)
    for groups in ("group g 2 a a\nquorum g", "group g any a\ngroup h any a\ngroup k all g h\nquorum k"):
        with pytest.raises(verify.BadInput, match="member already"):
            verify.Policy.read(f"witness a {WITNESS.verifier}\nwitness b {other.verifier}\n{groups}\n")


def test_a_policy_of_groups_without_end() -> None:
    groups = "".join(f"group g{n} any {f'g{n - 1}' if n else 'w'}\n" for n in range(3_000))
    with pytest.raises(verify.BadInput, match="64 groups"):
        verify.Policy.read(f"witness w {WITNESS.verifier}\n{groups}quorum g2999\n")


def test_a_time_that_no_calendar_has() -> None:
    assert verify.at(2**63) == "9223372036854775808 s after 1970"


@pytest.mark.parametrize("what", ["bytes", "a folder", "nothing", "a loop", "a pipe", "beyond measure"])
def test_tiles_that_are_no_files(what: str, tmp_path: Path) -> None:
    folder, policy = tmp_path / "tiles", verify.Policy.read(POLICY)
    (folder / "tile" / "entries").mkdir(parents=True)
    (folder / "checkpoint").write_text(signed(ROOT))
    path = folder / "tile" / "entries" / "000.p" / "1"
    path.parent.mkdir()
    if what == "bytes":
        (folder / "checkpoint").write_bytes(b"\xff\xfe")
        with pytest.raises(verify.BadInput):
            verify.verify_tiles(folder, policy)
        return
    if what == "a folder":
        path.mkdir()
    elif what == "a loop":
        path.symlink_to(path)
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "beyond measure":
        with path.open("wb") as file:
            file.truncate(2**36)
    failed = verify.verify_tiles(folder, policy).failed
    assert failed is not None
    assert ("add up" if what == "beyond measure" else "000") in failed


def test_a_key_of_the_right_form_that_is_no_point() -> None:
    """Thirty-two bytes that are on no curve."""
    key = verify.Key("x", 1, b"\xff" * 32)
    data = base64.b64encode(b"\x01" + key.public).decode()
    bad = f"x\n1\n{base64.b64encode(ROOT).decode()}\n\n— x {base64.b64encode(key.id + bytes(64)).decode()}\n"
    policy = f"log x+{key.id.hex()}+{data}\nquorum none"
    assert "does not verify" in refused(proof({"entry": "{}", "rests_on": []}, bad), policy)


@pytest.mark.parametrize("what", ["a pipe", "a device", "a folder"])
def test_a_checkpoint_or_a_proof_that_is_no_file_is_not_waited_for(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    folder.mkdir()
    (tmp_path / "policy").write_text(POLICY)
    at = folder / "checkpoint"
    if what == "a pipe":
        os.mkfifo(at)
    elif what == "a device":
        at.symlink_to("/dev/zero")
    else:
        at.mkdir()
    for handed_in in (folder, at) if what != "a folder" else (folder,):
        code, told = command(handed_in, "--policy", tmp_path / "policy")
        assert (code, told.strip()) == (2, f"lastresort-verify: {at}: it is no file")


@pytest.mark.parametrize("chosen", ["\x1b[2K\x1b[GPROVEN:", "\u202emoor", "a\x9bb"])
def test_no_name_of_a_stranger_tells_the_terminal_what_to_show(chosen: str, tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """In a file that proves nothing, too: of the log, or of who signed."""
    (tmp_path / "policy").write_text(POLICY)
    other = f"{chosen}\n1\n{base64.b64encode(ROOT).decode()}\n\n— {chosen} !\n"
    unsigned = f"{chosen}\n1\n{base64.b64encode(ROOT).decode()}\n\n— x AAAAAAAA\n"
    for note, status in ((other, 2), (unsigned, 1)):
        (tmp_path / "p").write_text(proof({"entry": "{}", "rests_on": []}, note))
        assert verify.main([str(tmp_path / "p"), "--policy", str(tmp_path / "policy")]) == status
        out = "".join(capsys.readouterr())
        assert ascii(chosen)[1:-1] in out
        assert all(one.isprintable() or one == "\n" for one in out)
