"""What of a turn people read, where its words are kept as the messages of an API rather than as plain text.

An adapter that talks to a model over an API keeps a turn whole, as JSON: thinking, tool calls and their results,
images. The
id of the command that recorded it says so, never the words themselves: whoever types such JSON into a chat has typed
text.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lastresort.domain.events import Recorded, UserTurnTaken

MESSAGES = "messages:"
"""How the id of a command begins that recorded a turn as messages."""

ENDING_CALL = "lastresort_end"
"""The tool by which a model asks to end. What stands after it in its message is for nobody to read."""

BETWEEN = "\n\n"
"""What stands between the messages of one turn."""


def is_messages(recorded: Recorded) -> bool:
    """Whether the words of a turn are messages in JSON."""
    return recorded.command_id.startswith(MESSAGES)


def readable(recorded: Recorded, words: str) -> str:
    """Return what people read of the words of a turn."""
    if not is_messages(recorded):
        return words
    role = "user" if isinstance(recorded.event, UserTurnTaken) else "assistant"
    said = (spoken(message["content"]) for message in json.loads(words)["messages"] if message["role"] == role)
    return BETWEEN.join(filter(None, said))


def spoken(content: Sequence[Mapping[str, Any]]) -> str:
    """Return what people read of one message: its text, with a word for what is not text, up to a call to end."""
    return "".join(map(_told, _shown(content)))


def _shown(content: Sequence[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    for block in content:
        if block["type"] == "tool_use" and block["name"] == ENDING_CALL:
            return
        yield block


def _told(block: Mapping[str, Any]) -> str:
    if block["type"] == "text":
        return str(block["text"])
    if block["type"] in ("image", "document", "search_result"):
        return f"[{block.get('title') or block['type']}]"
    return ""
