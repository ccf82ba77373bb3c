"""Files that are written whole or not at all, and what is there already that can only be written to.

What is written takes the place of a plain file, or a new name, and of nothing else: root could replace a device, and
every program that writes to it afterwards would fill a file.
"""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

PRIVATE = 0o600
"""What its owner alone can read: a page may have words in it, and a report of few tells of people."""
_STREAMS = {1: "stdout", 2: "stderr"}


def write_whole(path: Path, text: str, mode: int = PRIVATE) -> None:
    """Write a file in place of the one that is there: see `whole_file`."""
    with whole_file(path, mode) as file:
        file.write(text)


@contextmanager
def whole_file(path: Path, mode: int = PRIVATE) -> Iterator[TextIO]:
    """Give a file to write into, which takes the place of the one that is there once it is complete.

    Until then it has another name beside that. A link stays one, and what it leads to is written. A pipe or a
    character device is written to as it is, and so is what this process has as its standard output.

    Args:
        path: where to.
        mode: of the file that is made, before the umask.

    Raises:
        OSError: it cannot be written. What was there before is there still, and nothing else.
    """
    handle = _as_it_is(path)
    if handle is not None:
        with open(handle, "w", encoding="utf-8") as file:
            yield file
        return
    place = place_of(path)
    draft = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    made = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        with open(made, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(made)
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)


def overwrites(output: Path, source: Path) -> bool:
    """Whether a file that is written would be one that is read, or one in a folder that is read, by whatever name.

    Only a plain file, or one that is not there yet, can be: nothing takes the place of anything else.
    """
    found = _found(output)
    if found is None:
        with suppress(OSError, RuntimeError):
            return output.resolve() == source.resolve()
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    read = source.rglob("*") if source.is_dir() else (source,)
    return any(os.path.samestat(found, there) for one in read if (there := _found(one)) is not None)


def place_of(path: Path) -> Path:
    """Return where a file or a folder is to be put that is made under another name: where links lead to.

    Raises:
        OSError: they lead round in a ring, or something is there that is neither a file nor a folder.
    """
    found = _found(path)
    if found is not None and not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise OSError(errno.EEXIST, "is there, and is not a file", str(path))
    try:
        return path.resolve()
    except RuntimeError:  # where Python has no OSError for a loop of links
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None


def _as_it_is(path: Path) -> int | None:
    """Open what is written to as it is; return None for what a file takes the place of."""
    found = _found(path)
    if found is None or stat.S_ISDIR(found.st_mode):
        return None
    for stream, name in _STREAMS.items():
        with suppress(OSError):
            if os.path.samestat(found, os.fstat(stream)):
                if (written := getattr(sys, name)) is not None:
                    written.flush()  # what was printed before comes first
                return os.dup(stream)  # opened by its name, a file would be written from its beginning
    if stat.S_ISFIFO(found.st_mode) or stat.S_ISCHR(found.st_mode):
        return os.open(path, os.O_WRONLY)
    return None


def _found(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return path.stat()
    return None
