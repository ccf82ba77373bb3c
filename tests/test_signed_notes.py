"""Notes, keys, signatures, checkpoints, trust policies and proof files, by the examples of C2SP and against forgers."""

import random
from dataclasses import replace

import pytest

from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import inclusion_proof, leaf_hash, node_hash
from lastresort.adapters.tlog.notes import (
    COSIGNED_ED25519,
    ED25519,
    ML_DSA_44,
    BadNote,
    Note,
    Signer,
    VerifierKey,
    signatures_in,
    verified,
)
from lastresort.adapters.tlog.policy import PolicyError, TrustPolicy
from lastresort.adapters.tlog.proofs import ProofFile, Proven

# c2sp.org/signed-note, "Example".
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
# c2sp.org/tlog-cosignature and c2sp.org/tlog-checkpoint; nobody publishes the keys.
SOFA = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501  # as it is published
KINDS = [ED25519, COSIGNED_ED25519, ML_DSA_44]
HEAD = Checkpoint("log.example/a", 3, bytes(range(32)))


def test_the_example_of_signed_note() -> None:
    key, note = VerifierKey.parse(EXAMPLE_KEY), Note.parse(EXAMPLE)
    assert str(key) == EXAMPLE_KEY
    assert str(note) == EXAMPLE
    assert verified(note, [key]) == {key: 0}


def test_the_example_of_cosignatures() -> None:
    note = Note.parse(SOFA)
    assert str(note) == SOFA
    assert Checkpoint.parse(note.text).size == 20852163
    assert Checkpoint.parse(note.text).text == note.text
    assert int.from_bytes(note.signatures[1].data[:8]) == 1679315147  # the time in the text of the specification


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_signed_verifies__and_no_other_bit(kind: int) -> None:
    signer = Signer.generate("log.example/a", kind)
    assert Signer.parse(str(signer)) == signer
    key = VerifierKey.parse(str(signer.verifier))
    signature = signer.sign(HEAD.text, 1_700_000_000)
    note = Note.parse(str(Note(HEAD.text, (signature,))))
    assert verified(note, [key]) == {key: 0 if kind == ED25519 else 1_700_000_000}
    chance = random.Random(kind)
    for bit in chance.sample(range(len(signature.data) * 8), 60):
        data = bytearray(signature.data)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadNote, match="does not verify"):
            verified(Note(HEAD.text, (signature._replace(data=bytes(data)),)), [key])
    for other in (HEAD._replace(size=4), HEAD._replace(root=bytes(32)), HEAD._replace(origin="log.example/b")):
        with pytest.raises(BadNote, match="does not verify"):
            verified(Note(other.text, (signature,)), [key])
    assert verified(note, [replace(key, name="log.example/b")]) == {}  # somebody else's, of another id
    with pytest.raises(BadNote, match="does not verify"):
        verified(Note(HEAD.text, (signature._replace(data=signature.data[:-1]),)), [key])


def test_the_latest_time_counts() -> None:
    signer = Signer.generate("w", COSIGNED_ED25519)
    note = Note(HEAD.text, (signer.sign(HEAD.text, 5), signer.sign(HEAD.text, 3)))
    assert verified(note, [signer.verifier]) == {signer.verifier: 5}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no signatures\n",
        "text\n\n",
        EXAMPLE[:-1],
        EXAMPLE.replace("—", "-"),
        EXAMPLE.replace("\n\n", "\r\n\r\n"),
        EXAMPLE.replace("Uw2Q", "Uw2Q\t"),
        EXAMPLE.replace("yaQM=", "yaQM"),
        EXAMPLE.replace("example.com/foo", "example.com+foo"),
        "text\n\n— name AAAA\n",
        "x" * 2**20 + EXAMPLE,
        "text\n\n" + EXAMPLE.splitlines(keepends=True)[-1] * 65,
    ],
)
def test_what_is_no_note(text: str) -> None:
    with pytest.raises(BadNote, match="malformed note"):
        Note.parse(text)


def test_signature_lines_end_their_line() -> None:
    with pytest.raises(BadNote):
        signatures_in("— name AAAAAAAA")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log.example/a\n3\n",
        HEAD.text + "an extension that nobody can check\n",
        HEAD.text.replace("\n3\n", "\n03\n"),
        HEAD.text.replace("\n3\n", "\n-3\n"),
        HEAD.text.replace("\n3\n", "\n٣\n"),
        HEAD.text.replace("\n3\n", f"\n{2**63}\n"),
        HEAD.text.replace("log.example/a", ""),
        "log.example/a\n3\nAAAA\n",
        "log.example/a\n3\nno base64\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(BadNote, match="malformed checkpoint"):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "text", ["", "a", "a+b+c", EXAMPLE_KEY[:-4], EXAMPLE_KEY.replace("Aek", "Ael"), "a+00000000+/w=="]
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(BadNote, match="key"):
        VerifierKey.parse(text)


def test_a_key_of_another_id() -> None:
    with pytest.raises(BadNote, match="has the id 00000000, and its bytes have 530d903a"):
        VerifierKey.parse(EXAMPLE_KEY.replace("530d903a", "00000000"))


@pytest.mark.parametrize("text", ["", "PRIVATE+KEY+a+b", EXAMPLE_KEY])
def test_what_is_no_private_key(text: str) -> None:
    with pytest.raises(BadNote, match="malformed private key"):
        Signer.parse(text)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb"])
def test_who_can_have_no_key(name: str) -> None:
    with pytest.raises(BadNote, match="no spaces"):
        Signer.generate(name, ED25519)


def test_only_checkpoints_are_signed_by_ml_dsa() -> None:
    with pytest.raises(BadNote, match="only checkpoints"):
        Signer.generate("a", ML_DSA_44).sign("text\n", 1)
    with pytest.raises(BadNote, match="1 to 255 bytes"):
        Signer.generate("a" * 256, ML_DSA_44).sign(HEAD.text, 1)


# --- whom to believe -------------------------------------------------------------------------------------------------

LOG = Signer.generate("log.example/a", ED25519)
WITNESSES = [Signer.generate(f"w.example/{number}", kind) for number, kind in enumerate([4, 6, 4, 4])]
LINES = [f"log {LOG.verifier}", *(f"witness w{n} {one.verifier} http://w{n}/" for n, one in enumerate(WITNESSES))]


def policy(*more: str) -> TrustPolicy:
    return TrustPolicy.parse("\n".join(["# whom we believe", *LINES, "", *more]))


def signed(*witnesses: int) -> Note:
    times = ((WITNESSES[number], 100 + number) for number in witnesses)
    return Note(HEAD.text, (LOG.sign(HEAD.text, 0), *(one.sign(HEAD.text, time) for one, time in times)))


def test_k_of_n_and_groups_of_groups() -> None:
    one = policy("group ours 2 w0 w1 w2", "\tgroup  both all  ours w3 ", "quorum both")
    assert [one.look_at(signed(*who)).enough for who in [(0, 1, 3), (0, 1), (0, 3), (0, 1, 2, 3), ()]] == [
        True, False, False, True, False,
    ]  # fmt: skip
    seen = one.look_at(signed(1, 3))
    assert (seen.checkpoint, seen.logs, seen.witnesses) == (HEAD, (LOG.verifier,), {"w1": 101, "w3": 103})
    assert policy("group some any w0 w1", "quorum some").look_at(signed(1)).enough
    assert policy("quorum w2").look_at(signed(2)).enough
    assert policy("quorum none").look_at(signed()).enough
    assert one.witnesses[0].url == "http://w0/"


def test_without_the_logs_own_signature_nothing_is_enough() -> None:
    unsigned = Note(HEAD.text, signed(0, 1).signatures[1:])
    assert policy("quorum none").look_at(unsigned).logs == ()
    assert not policy("quorum none").look_at(unsigned).enough
    other = HEAD._replace(origin="log.example/b")  # signed by a key that is not known for this origin
    assert not policy("quorum none").look_at(Note(other.text, (LOG.sign(other.text, 0),))).enough


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no quorum"),
        (["quorum w9"], "line 8 of the policy: the name is not defined"),
        (["quorum none", "quorum none"], "line 9 .* one `quorum NAME`"),
        (["group a 2 w0", "quorum a"], "2 of 1 cannot be had"),
        (["group a 0 w0"], "0 of 1"),
        (["group a x w0"], "`all`, `any` or a number"),
        (["group a"], "is needed"),
        (["group a all b"], "a member is not defined on a line before"),
        (["group a all w0", "group b all w0 w1"], "a member is one already"),
        (["group w0 all w1"], "the name is taken"),
        (["group none all w1"], "the name is taken"),
        (["log"], "`log VKEY"),
        (["log nonsense"], "malformed key"),
        ([LINES[0]], "in the policy already"),
        ([f"log {WITNESSES[0].verifier}"], "its type is of cosignatures"),
        (["witness w"], "`witness NAME VKEY"),
        ([f"witness w {LOG.verifier}"], "its type tells no time"),
        (["believe nobody"], "log, witness, group or quorum"),
    ],
)
def test_what_is_no_policy(lines: list[str], why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        policy(*lines)


# --- proofs in files -------------------------------------------------------------------------------------------------


def proof_file() -> ProofFile:
    entries = [b'{"kind":"a"}', b'{"kind":"b"}', b'{"kind":"c"}']
    hashes = [[leaf_hash(one) for one in entries]]
    hashes.append([node_hash(hashes[0][0], hashes[0][1])])

    def proven(index: int) -> Proven:
        return Proven(index, entries[index], tuple(inclusion_proof(lambda level, at: hashes[level][at], index, 3)))

    head = HEAD._replace(root=node_hash(hashes[1][0], hashes[0][2]))
    return ProofFile(proven(2), (proven(0), proven(1)), Note(head.text, (LOG.sign(head.text, 0),)))


def test_a_proof_goes_through_a_file() -> None:
    made = proof_file()
    assert ProofFile.parse(str(made)) == made
    head = Checkpoint.parse(made.note.text)
    assert all(one.is_in(head) for one in (made.proven, *made.rests_on))
    assert not made.proven._replace(place=1).is_in(head)
    assert str(made).startswith("c2sp.org/tlog-proof@v1\nextra ")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("tlog-proof@v1", "tlog-proof@v2"),
        ("extra ", "ex "),
        ("index 2", "index 02"),
        ("index 2", "index -2"),
        ("index 2", "idx 2"),
        ("extra ", "extra e30="),
        ("extra ", "extra !"),
        ("index 2\n", "index 2\nAAAA\n"),
        ("index 2\n", "index 2\n" + "A" * 43 + "=\n" * 64),
    ],
)
def test_what_is_no_proof(before: str, after: str) -> None:
    with pytest.raises(BadNote, match="malformed"):
        ProofFile.parse(str(proof_file()).replace(before, after, 1))
