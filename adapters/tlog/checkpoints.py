"""Checkpoints: how large a log is and what its root is, as c2sp.org/tlog-checkpoint says."""

import base64
from typing import NamedTuple, Self

from .merkle import HASH_BYTES
from .notes import BadNote, decoded

_MOST_SIZE = 2**63 - 1


class Checkpoint(NamedTuple):
    """The head of a log's tree."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text of the note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a note. Lines behind the third, which no monitor can check, are refused.

        Raises:
            BadNote: it is no checkpoint.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:
            raise BadNote("malformed checkpoint: an origin, a size and a root are needed, a line each, and no more")
        origin, size, encoded = lines[:3]
        root = decoded(encoded)
        if (number := whole_number(size)) is None or number > _MOST_SIZE:
            raise BadNote("malformed checkpoint: the second line is the size, a whole number")
        if root is None or len(root) != HASH_BYTES:
            raise BadNote("malformed checkpoint: the third line is the root, 32 bytes in base64")
        return cls(origin, number, root)


def whole_number(text: str) -> int | None:
    """Return a whole number that is written in the one way; None if it is none."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 19 or (text != "0" and text[0] == "0"):
        return None
    return int(text)
