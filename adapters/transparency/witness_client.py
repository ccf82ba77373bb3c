"""Asking a witness for its cosignature, as c2sp.org/tlog-witness says."""

import base64
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

from lastresort.adapters.tlog.checkpoints import Checkpoint, whole_number
from lastresort.adapters.tlog.notes import BadNote, Note, NoteSignature, signatures_in, verified
from lastresort.adapters.tlog.policy import WitnessKey

_TIMEOUT = 5.0
_MOST_BYTES = 2**20
Prove = Callable[[int], Sequence[bytes]]
"""Returns the consistency proof from a tree of so many leaves."""


class WitnessRefused(OSError):
    """A witness did not cosign: the message says what it answered."""


class Cosigner:
    """A witness that is asked.

    Args:
        witness: whom, where, and by which key it is known.
        published: the checkpoint of the log that was published last.
    """

    def __init__(self, witness: WitnessKey, published: Note | None = None) -> None:
        self.witness = witness
        self._size = _cosigned(published, witness)  # of the checkpoint that it cosigned last, as far as is known

    def cosign(self, checkpoint: Checkpoint, note: Note, prove: Prove) -> tuple[NoteSignature, ...]:
        """Return the witness's cosignatures of a checkpoint.

        Raises:
            OSError: it did not answer, or did not cosign.
            BadNote: it answered with something else than its cosignature.
        """
        status, body = self._ask(checkpoint, note, prove)
        if status == 409:
            size = whole_number(body.strip())
            if size is None or size > checkpoint.size:
                raise WitnessRefused(f"it has cosigned {body.strip()[:20]} entries, and there are {checkpoint.size}")
            if size < self._size:  # and may have cosigned another history since
                raise WitnessRefused(
                    f"it has cosigned {self._size} entries, and knows of {size}: its state was lost, or put back from "
                    "a backup, so its word is worth nothing until it has a new key"
                )
            self._size = size
            status, body = self._ask(checkpoint, note, prove)
        if status != 200:
            raise WitnessRefused(f"it answered {status}")
        found = tuple(one for one in signatures_in(body) if verified(Note(note.text, (one,)), [self.witness.key]))
        if not found:
            raise BadNote("it answered with a signature of another key than the policy has")
        self._size = checkpoint.size
        return found

    def _ask(self, checkpoint: Checkpoint, note: Note, prove: Prove) -> tuple[int, str]:
        old = min(self._size, checkpoint.size)
        proof = "".join(f"{base64.b64encode(part).decode()}\n" for part in prove(old))
        url = f"{(self.witness.url or '').rstrip('/')}/add-checkpoint"
        data = f"old {old}\n{proof}\n{note}".encode()
        try:
            request = urllib.request.Request(url, data=data, method="POST")
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                return answer.status, answer.read(_MOST_BYTES).decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(_MOST_BYTES).decode(errors="replace")
        except http.client.HTTPException:  # its text is what a stranger answered
            raise WitnessRefused("what it answered is not HTTP") from None
        except ValueError as error:  # an URL of no known form
            raise WitnessRefused(str(error)) from None


def _cosigned(note: Note | None, witness: WitnessKey) -> int:
    """Return of how many entries a checkpoint is that a witness has cosigned; 0 if it has not."""
    try:
        return Checkpoint.parse(note.text).size if note is not None and verified(note, [witness.key]) else 0
    except BadNote:
        return 0
