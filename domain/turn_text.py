"""The part of a turn that people read, where its words are the messages of an API rather than plain text.

An adapter that talks to a model over an API keeps a turn whole, as JSON: thinking, tool calls and their results,
images. That it did is sealed with the words and told by their type, `Messages`, never by the words themselves: someone
who types such JSON into a chat has typed text.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .events import RecordedEvent, UserTurnTaken
from .values import Messages

ENDING_CALL = "lastresort_end"
"""The tool by which a model asks to end. What stands after it in its message is for nobody to read."""

BETWEEN = "\n\n"
"""What stands between the messages of one turn."""


def messages_in(words: str) -> dict[str, Any] | None:
    """Return what is kept of a turn in the messages of an API, its `messages` among it; None of plain text.

    Words that say that they are messages, and are none, are plain text.
    """
    if not isinstance(words, Messages):
        return None
    try:
        kept = json.loads(words)
    except ValueError:
        return None
    messages = kept.get("messages") if isinstance(kept, dict) else None
    return kept if isinstance(messages, list) and all(map(_is_message, messages)) else None


def _is_message(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) and "role" in message else None
    return isinstance(content, list) and all(isinstance(block, dict) and "type" in block for block in content)


def readable(recorded: RecordedEvent, words: str) -> str:
    """Return what people read of the words of a turn."""
    return said_by("user" if isinstance(recorded.event, UserTurnTaken) else "assistant", words)


def said_by(role: str, words: str) -> str:
    """Return what people read of words as far as they are somebody's: all of plain text."""
    kept = messages_in(words)
    if kept is None:
        return words
    said = (spoken(message["content"]) for message in kept["messages"] if message["role"] == role)
    return BETWEEN.join(filter(None, said))


def spoken_in(words: str) -> str:
    """Return all text in words, of every speaker."""
    kept = messages_in(words)
    return words if kept is None else BETWEEN.join(spoken(message["content"]) for message in kept["messages"])


def foreign_id_in(words: str) -> str | None:
    """Return the id that words have in another system, None if none is kept with them."""
    found = (messages_in(words) or {}).get("id")
    return found if isinstance(found, str) else None


def spoken(content: Sequence[Mapping[str, Any]]) -> str:
    """Return what people read of one message: its text, with a word for what is not text, up to a call to end. If
    another model took over after that call, it had not called, and its words are read."""
    return "".join(map(_text_of, _shown(content)))


def _shown(content: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    muted = False
    for block in content:
        muted = not_shown_from(block, muted)
        if not muted:
            yield block


def not_shown_from(block: Mapping[str, Any], muted: bool) -> bool:
    """Return whether nothing is shown from a block of a message on, if so far nothing was (`muted`) or all was."""
    if block["type"] == "fallback":
        return False
    return muted or (block["type"] == "tool_use" and block.get("name") == ENDING_CALL)


def _text_of(block: Mapping[str, Any]) -> str:
    if block["type"] == "text":
        return str(block.get("text", ""))
    if block["type"] in ("image", "document", "search_result"):
        return f"[{block.get('title') or block['type']}]"
    return ""
