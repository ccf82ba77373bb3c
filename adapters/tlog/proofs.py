"""Proofs in files: c2sp.org/tlog-proof, and what we put into its extra line."""

import base64
import json
from typing import Any, NamedTuple, Self

from .checkpoints import Checkpoint, whole_number
from .merkle import HASH_BYTES, is_included, leaf_hash
from .notes import BadNote, Note, decoded

HEADER = "c2sp.org/tlog-proof@v1"
_MOST_HASHES = 63


class Proven(NamedTuple):
    """An entry of a log: where it is, what it is, and the way from it to the root."""

    place: int
    entry: bytes
    proof: tuple[bytes, ...]

    def is_in(self, checkpoint: Checkpoint) -> bool:
        """Whether the entry is in the tree of a checkpoint."""
        return is_included(leaf_hash(self.entry), self.place, checkpoint.size, self.proof, checkpoint.root)


class ProofFile(NamedTuple):
    """An entry, the entries that it rests on, and a checkpoint that all of them are under.

    The entries stand in the extra line, as JSON: `entry` of the file's own, and `rests_on` with `index`, `entry` and
    `proof` of each other.
    """

    proven: Proven
    rests_on: tuple[Proven, ...]
    note: Note

    def __str__(self) -> str:
        extra = {"entry": self.proven.entry.decode(), "rests_on": [_as_json(one) for one in self.rests_on]}
        encoded = base64.b64encode(json.dumps(extra, separators=(",", ":")).encode()).decode()
        hashes = "".join(f"{base64.b64encode(part).decode()}\n" for part in self.proven.proof)
        return f"{HEADER}\nextra {encoded}\nindex {self.proven.place}\n{hashes}\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a proof that we made.

        Raises:
            BadNote: it is none.
        """
        head, _, note = text.partition("\n\n")
        lines = head.split("\n")
        if len(lines) < 3 or lines[0] != HEADER or not lines[1].startswith("extra ") or lines[2][:6] != "index ":
            raise BadNote(f"malformed proof: the lines {HEADER}, `extra BASE64` and `index N` are needed")
        index, extra = whole_number(lines[2][6:]), decoded(lines[1][6:])
        try:
            told: Any = json.loads(extra or b"")
            proven = _proven({"index": index, "entry": told["entry"], "proof": lines[3:]})
            rests_on = tuple(map(_proven, told["rests_on"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BadNote("malformed proof: its extra line, its index or one of its hashes") from None
        return cls(proven, rests_on, Note.parse(note))


def _as_json(one: Proven) -> dict[str, Any]:
    proof = [base64.b64encode(part).decode() for part in one.proof]
    return {"index": one.place, "entry": one.entry.decode(), "proof": proof}


def _proven(told: Any) -> Proven:
    proof = [decoded(part) for part in told["proof"]]
    if type(told["index"]) is not int or len(proof) > _MOST_HASHES:
        raise ValueError
    if any(part is None or len(part) != HASH_BYTES for part in proof):
        raise ValueError
    return Proven(told["index"], told["entry"].encode(), tuple(part or b"" for part in proof))
