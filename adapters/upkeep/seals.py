"""Seals of backups: whether a file is as this program wrote it, or was written by somebody without the master key.

A seal is an HMAC under a key that is derived from the master key. Each file of a backup bears its own, so that an old
log can be restored with the newest keys. In an SQLite file it stands where SQLite has two numbers for applications (8
bytes of it), in a file of ours in the last line.
"""

import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Role = Literal["log", "keys"]
"""What a file is of a backup: one does not pass for the other."""

_SQLITE = b"SQLite format 3\0"
_USER_VERSION, _APPLICATION_ID = slice(60, 64), slice(68, 72)  # sqlite.org/fileformat.html, "The Database Header"
_HEADER = 100
_LAST_LINE, _LINE_BYTES = b"seal ", 70  # and 64 digits, and the line's end
_AT_A_TIME = 2**20


def seal(path: Path, master: bytes, role: Role) -> None:
    """Put a seal into a file that is complete."""
    made = _seal_of(path, master, role)
    with path.open("r+b") as file:
        if file.read(len(_SQLITE)) == _SQLITE:
            for place, part in ((_USER_VERSION, made[:4]), (_APPLICATION_ID, made[4:8])):
                file.seek(place.start)
                file.write(part)
        else:
            file.seek(0, 2)
            file.write(_LAST_LINE + made.hex().encode() + b"\n")


def is_sealed(path: Path, master: bytes, role: Role) -> bool:
    """Whether a file bears its seal: whether it is as somebody wrote it who had the master key."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
        if header[: len(_SQLITE)] == _SQLITE:
            found, length = header[_USER_VERSION] + header[_APPLICATION_ID], 8
        else:
            file.seek(max(0, file.seek(0, 2) - _LINE_BYTES))
            line = file.read()
            found, length = line[len(_LAST_LINE) :] if line.startswith(_LAST_LINE) else b"", 32
    made = _seal_of(path, master, role)[:length]
    return hmac.compare_digest(found, made if length == 8 else made.hex().encode() + b"\n")


def _seal_of(path: Path, master: bytes, role: Role) -> bytes:
    key = hmac.digest(master, b"lastresort: seals of backups", "sha256")
    made = hmac.new(key, role.encode() + b"\n", "sha256")
    for piece in _pieces(path):
        made.update(piece)
    return made.digest()


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield what a file holds beside its seal."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = bytearray(file.read(_HEADER))
        if header[: len(_SQLITE)] == _SQLITE:
            header[_USER_VERSION] = header[_APPLICATION_ID] = bytes(4)
        elif size >= _LINE_BYTES:
            file.seek(size - _LINE_BYTES)
            size -= _LINE_BYTES * file.read(len(_LAST_LINE)).startswith(_LAST_LINE)
            file.seek(len(header))
        yield bytes(header[:size])
        left = size - len(header)
        while left > 0 and (piece := file.read(min(left, _AT_A_TIME))):
            left -= len(piece)
            yield piece
