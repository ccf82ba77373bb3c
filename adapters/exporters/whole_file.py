"""Files that are written whole or not at all."""

import secrets
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file in place of the one that is there: under another name beside it, which it gives up when complete.

    Raises:
        OSError: it cannot be written. What was there before is there still, and nothing else.
    """
    path = path.resolve()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
