"""A witness: remembers the largest checkpoint of each log that it saw, and cosigns what goes on from that.

It answers as c2sp.org/tlog-witness says. That somebody else runs it is the point of it: it never sees an event.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from lastresort.adapters.databases.errors import reached
from lastresort.adapters.databases.sqlite import connect
from lastresort.adapters.tlog.checkpoints import Checkpoint, whole_number
from lastresort.adapters.tlog.merkle import EMPTY, HASH_BYTES, is_consistent
from lastresort.adapters.tlog.notes import BadNote, Note, Signer, VerifierKey, decoded, verified

_MOST_HASHES = 63
_TABLE = (
    "CREATE TABLE IF NOT EXISTS witnessed (origin TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, "
    "root BLOB NOT NULL, note TEXT NOT NULL)"
)


class Answer(NamedTuple):
    """What a witness answers."""

    status: int
    body: str = ""
    media_type: str = "text/plain; charset=utf-8"


class _Refused(Exception):
    """Why a checkpoint is not cosigned."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


class Witness:
    """Cosigns checkpoints. Threads may share it, and so may processes that have the same file.

    Args:
        state: the file in which it remembers what it cosigned.
        signers: its keys, of types that tell the time.
        logs: the keys of the logs that it knows.
        now: tells the seconds since 1970.
    """

    def __init__(
        self,
        state: Path,
        signers: Sequence[Signer],
        logs: Sequence[VerifierKey],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._signers = signers
        self._logs = logs
        self._now = now
        self._lock = Lock()
        with reached():
            self._connection = connect(str(state))
            self._connection.execute(_TABLE)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer a request to cosign a checkpoint."""
        try:
            old, proof, note, checkpoint = _read(body)
            by = self._signed_by(note, checkpoint)
            if old > checkpoint.size:
                raise _Refused(Answer(400, "the old size is larger than the checkpoint's\n"))
            cosigned = self._cosigned(old, proof, checkpoint, by)
        except _Refused as refused:
            return refused.answer
        return Answer(200, cosigned)

    def checkpoint(self, hash: str) -> Answer:
        """Answer a request for the latest checkpoint of a log, by the SHA-256 of its origin in hexadecimal."""
        with reached(), self._lock:
            row = self._connection.execute("SELECT note FROM witnessed WHERE hash=?", (hash,)).fetchone()
        return Answer(404, "no checkpoint of this log was cosigned\n") if row is None else Answer(200, row[0])

    def _signed_by(self, note: Note, checkpoint: Checkpoint) -> Note:
        """Return the note with no signature but those of the log."""
        known = [key for key in self._logs if key.name == checkpoint.origin]
        if not known:
            raise _Refused(Answer(404, "the origin is not known\n"))
        try:
            signed = verified(note, known)
        except BadNote as error:
            raise _Refused(Answer(403, f"{error}\n")) from None
        if not signed:
            raise _Refused(Answer(403, "no key of this log has signed it\n"))
        ids = {(key.name, key.key_id) for key in known}
        return note._replace(signatures=tuple(one for one in note.signatures if one[:2] in ids))

    def _cosigned(self, old: int, proof: Sequence[bytes], checkpoint: Checkpoint, by: Note) -> str:
        """Remember a checkpoint, and then return cosignatures of it."""
        with reached(), self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                row = self._connection.execute(
                    "SELECT size, root FROM witnessed WHERE origin=?", (checkpoint.origin,)
                ).fetchone()
                size, root = row or (0, EMPTY)
                _check(old, size, root, proof, checkpoint)
                now = int(self._now())
                lines = tuple(one.sign(checkpoint.text, now) for one in self._signers)
                note = str(by._replace(signatures=(*by.signatures, *lines)))
                hash = hashlib.sha256(checkpoint.origin.encode()).hexdigest()
                self._connection.execute(
                    "INSERT INTO witnessed VALUES (?,?,?,?,?) ON CONFLICT (origin) DO UPDATE "
                    "SET size=excluded.size, root=excluded.root, note=excluded.note",
                    (checkpoint.origin, hash, checkpoint.size, checkpoint.root, note),
                )
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        return "".join(map(str, lines))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _check(old: int, size: int, root: bytes, proof: Sequence[bytes], checkpoint: Checkpoint) -> None:
    if old != size:
        raise _Refused(Answer(409, f"{size}\n", "text/x.tlog.size"))
    if checkpoint.size == 0 and checkpoint.root != EMPTY:
        raise _Refused(Answer(422, "the root is not that of no entries\n"))
    if not is_consistent(old, checkpoint.size, proof, root, checkpoint.root):
        raise _Refused(Answer(422, "the proof of consistency does not verify\n"))


def _read(body: bytes) -> tuple[int, list[bytes], Note, Checkpoint]:
    """Read a request."""
    try:
        head, gap, note = body.decode().partition("\n\n")
        first, *lines = head.split("\n")
        old = whole_number(first.removeprefix("old "))
        proof = [decoded(line) for line in lines]
        well = gap and first.startswith("old ") and len(proof) <= _MOST_HASHES
        if old is None or not well or any(part is None or len(part) != HASH_BYTES for part in proof):
            raise BadNote("`old SIZE`, at most 63 hashes, an empty line and a checkpoint are needed")
        read = Note.parse(note)
        return old, [part or b"" for part in proof], read, Checkpoint.parse(read.text)
    except (BadNote, UnicodeDecodeError) as error:
        raise _Refused(Answer(400, f"{error}\n")) from None
