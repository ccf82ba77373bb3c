"""The ledger of destroyed keys: a file that no backup takes back.

A backup of the keys that is older than an erasure has the key that the erasure destroyed. So the name of each key is
written here before it is destroyed, a line each, and keys that are opened are compared with it: what is in the ledger
and in the keys is destroyed again. A name tells nothing of the key, nor of whose it was.

What was not written whole, since the disk was full or the power failed, is a line without its end: its key was not
destroyed, and the next write cuts it off first. Otherwise the next name would continue that line, and be lost with it.
"""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.databases.files import sync_folder

VARIABLE = "LASTRESORT_DESTROYED_KEYS"
_LONGEST = 4_096  # bytes: more than what may be left of a write of one line


class Ledger:
    """The names of the keys that were destroyed.

    Args:
        path: of the file; it is made when a first key is destroyed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def at(cls, beside: Path | None) -> "Ledger | None":
        """Return the ledger that the environment names, or else the one beside a store; None if there is neither."""
        named = os.environ.get(VARIABLE)
        path = Path(named) if named else beside
        return None if path is None else cls(path)

    def add(self, names: Iterable[bytes]) -> None:
        """Write names, for good.

        Raises:
            StoreError: they could not be written.
        """
        lines = "".join(f"{name.hex()}\n" for name in names)
        if not lines:
            return
        try:
            made = not self.path.exists()
            with open(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(_whole(file))
                file.truncate()
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
            if made:
                sync_folder(self.path.parent)  # or the file itself might be gone once the power fails
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written, so no key was destroyed: {error.strerror}") from None

    def names(self) -> list[bytes]:
        """Return all names. A last line that is not whole is none: what it was of was not destroyed.

        Raises:
            StoreError: it cannot be read, or is no ledger.
        """
        try:
            lines = self.path.read_text().split("\n")[:-1] if self.path.exists() else []
            return [bytes.fromhex(line) for line in lines]
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "a line of it is not the name of a key"
            raise StoreError(f"{self.path}: the ledger of destroyed keys cannot be read: {why}") from None


def _whole(file: BinaryIO) -> int:
    """Return where the last line that was written whole ends."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _LONGEST))
    tail = file.read()
    return end - len(tail) + tail.rfind(b"\n") + 1
