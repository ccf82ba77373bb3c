"""Our trees, proofs and notes, and those of `aics-tlog`, which other people wrote, are the same.

It needs Python 3.12; `.ci/run` installs it where there is one. LASTRESORT_TREES sets how many random trees there are.
"""

import os
import random
import sys
from pathlib import Path
from typing import Any

import lastresort_verify as verify
import pytest

from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import (
    CompactRange,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    root,
)
from lastresort.adapters.tlog.notes import COSIGNED_ED25519, ED25519, Note, Signer
from lastresort.adapters.tlog.tiles import Tile, bundle_of, grown, nodes, tiles_of

if sys.version_info < (3, 12):
    pytest.skip("aics-tlog needs Python 3.12", allow_module_level=True)
aics: Any = pytest.importorskip("aics_tlog", reason="aics-tlog is not installed: pip install aics-tlog")
TREES = int(os.environ.get("LASTRESORT_TREES", "10000"))


def test_trees_and_proofs() -> None:
    chance = random.Random(19)
    for _ in range(TREES):
        size = chance.randrange(1, 40) if chance.random() < 0.97 else chance.randrange(1, 900)
        entries = [chance.randbytes(chance.randrange(20)) for _ in range(size)]
        theirs, leaves = aics.MerkleTree(entries), [leaf_hash(one) for one in entries]
        kept = grown({}, 0, b"".join(leaves))
        node = nodes(lambda level, number, kept=kept: kept[level, number])
        stack, range_ = verify.Stack(), CompactRange()
        for leaf in leaves:
            stack.push(leaf)
            range_.append(leaf)
        whole = theirs.root()
        assert whole == root(node, size) == stack.root() == range_.root()
        index, old = chance.randrange(size), chance.randrange(1, size + 1)
        proof, consistent = theirs.inclusion_proof(index), theirs.consistency_proof(old, size)
        assert proof == inclusion_proof(node, index, size)
        assert consistent == consistency_proof(node, old, size)
        assert verify.root_from_inclusion(leaves[index], index, size, proof) == whole
        forged = [*proof]
        if forged:
            forged[chance.randrange(len(forged))] = chance.randbytes(32)
        at, of = chance.choice([(index, size), (index ^ 1, size), (index, size + 1), (index, max(1, size - 1))])
        for path in (proof, forged, proof[1:]):
            expected = bool(aics.verify_inclusion(leaves[index], at, of, path, whole))
            assert expected is is_included(leaves[index], at, of, path, whole)
            assert expected is (verify.root_from_inclusion(leaves[index], at, of, path) == whole)
        for path in (consistent, consistent[1:], [*consistent, whole]):
            roots = theirs.root(old), chance.choice([whole, chance.randbytes(32)])
            assert bool(aics.verify_consistency(old, size, *roots, path)) is is_consistent(old, size, path, *roots)


def test_notes_and_cosignatures() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    seeds = bytes(range(32)), bytes(range(1, 33))
    log, witness = Signer("log.example/a", ED25519, seeds[0]), Signer("w.example/w", COSIGNED_ED25519, seeds[1])
    keys = [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]
    theirs_key = aics.vkey_from_ed25519("log.example/a", keys[0].public_key())
    assert (theirs_key.key_id, theirs_key.public_key) == (log.verifier.key_id, log.verifier.public)
    head = Checkpoint("log.example/a", 3, bytes(range(32)))
    theirs = aics.sign_checkpoint(aics.Checkpoint(head.origin, head.size, head.root), keys[0], head.origin)
    ours = Note(head.text, (log.sign(head.text, 0),))
    assert theirs.to_bytes() == str(ours).encode()
    _, line = aics.sign_cosignature(keys[1], "w.example/w", 1_800_000_000, head.origin, head.size, head.root)
    both = Note(head.text, (*ours.signatures, witness.sign(head.text, 1_800_000_000)))
    signed = aics.Note(text=theirs.text, signatures=(*theirs.signatures, line))
    assert signed.to_bytes() == str(both).encode()


def test_tiles_in_a_folder(tmp_path: Path) -> None:
    entries = [b"entry %d" % number for number in range(700)]
    kept = grown({}, 0, b"".join(map(leaf_hash, entries)))
    store = aics.DirectoryTileStore(str(tmp_path))
    writer = aics.IncrementalTileWriter(store, size=0)
    writer.append(entries)
    for tile in tiles_of(700):
        assert (tmp_path / tile.path).read_bytes() == kept[tile.level, tile.number]
        if tile.level == 0:
            first = tile.number * 256
            assert (tmp_path / tile.bundle).read_bytes() == bundle_of(entries[first : first + tile.width])
    assert Tile(0, 2, 188) in set(tiles_of(700))
