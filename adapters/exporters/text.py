"""What somebody wrote, as text that can be written anywhere: no half of a character, nothing that takes over a
terminal, a page or a spreadsheet, and nothing that has it read in another order than it was written in."""

import json
import re
from collections.abc import Callable
from typing import Any

_UNREADABLE = re.compile(r"[^\t\n\r -~\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\U0010ffff]")
"""Controls and halves of characters, which no page can show and no file in UTF-8 can hold; and what embeds, overrides
or isolates a direction, behind which words look reversed. What is written from the right needs none of it."""


_MARKDOWN = re.compile(r"[\\`*_\[\]<>&|~#!]")


def markdown_text(text: str) -> str:
    """Return a text of one line that Markdown shows as it is: no tag, no code, no link under another name."""
    return _MARKDOWN.sub(r"\\\g<0>", readable_text(text))


def json_of(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Return a value as JSON on one line. What cannot be seen is escaped in it, and is read back as it was."""
    text = json.dumps(value, default=default, ensure_ascii=False)
    return text if text.isprintable() else "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def cell(value: object) -> str:
    """Return a cell of a table that no spreadsheet takes for a formula."""
    text = "" if value is None else " ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


def readable_text(text: str) -> str:
    """Return a text to read, with a mark where something in it cannot be read."""
    return _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", text)
