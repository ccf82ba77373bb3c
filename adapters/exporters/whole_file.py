"""Files that are written whole or not at all."""

import errno
import os
import secrets
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file in place of the one that is there: under another name beside it, which it gives up when complete.

    Its owner alone can read it: a page may have words in it, and a report of few tells of people. A link stays one, and
    what it leads to is written.

    Raises:
        OSError: it cannot be written. What was there before is there still, and nothing else.
    """
    try:
        path = path.resolve()
    except RuntimeError:  # where Python has no OSError for a loop of links
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        made = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with open(made, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
