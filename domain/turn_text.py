"""The part of a turn that people read, where its words are the messages of an API rather than plain text.

An adapter that talks to a model over an API keeps a turn whole, as JSON: thinking, tool calls and their results,
images. That it did is sealed with the words and told by their type, `Messages`, never by the words themselves: someone
who types such JSON into a chat has typed text.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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


# --- all that is kept, read or not --------------------------------------------------------------------------------


class Piece(NamedTuple):
    """A part of the words of a turn. Together the pieces are all of them: what is not `text` is in `rest`.

    Attributes:
        by: who says it, as it is kept: `user`, `assistant`, `system`, `tool`; None of what is kept about the turn.
        kind: the type of a content block; or the field that it stands in.
        place: where it stands in what is kept, by names of fields and from 1: `messages, 2, content, 1`.
        text: its text, empty where it is something else.
        rest: what else it has, by name.
        read: whether it stands before any call to end in its message: people are not shown what stands after.
    """

    by: str | None
    kind: str
    place: str
    text: str
    rest: Mapping[str, Any] = {}
    read: bool = True


_MOST_WITHIN = 8  # blocks within blocks: a tool's result has texts, and nobody has more
_Other = tuple[int, Mapping[str, Any]]


def pieces(words: str, role: str, place: str = "") -> Iterator[Piece]:
    """Yield all that is kept of words, in the order in which it was said: `role` says who spoke plain text."""
    kept = messages_in(words)
    if kept is None:
        yield Piece(role, "text", place, words)
        return
    at = f"{place}, " if place else ""
    others = _others_in(kept)
    for number, message in enumerate(kept["messages"]):
        yield from _of_others((one for one in others if one[1]["before"] == number), at)
        yield from _of_message(message, message["role"], f"{at}messages, {number + 1}")
    yield from _of_others((one for one in others if one[1]["before"] >= len(kept["messages"])), at)
    for name, value in kept.items():
        if name != "messages" and not (name == "others" and others):
            yield _beside(name, value, at + name)


def _others_in(kept: Mapping[str, Any]) -> list[_Other]:
    """Return what was said that is nobody's act, with its number; nothing if it is not of that form."""
    found = kept.get("others")
    if not isinstance(found, list) or not all(
        isinstance(one, dict) and _is_message({"role": "", **one}) for one in found
    ):
        return []
    places = (one.get("before") for one in found)
    return list(enumerate(found, 1)) if all(type(one) is int and one >= 0 for one in places) else []


def _of_others(others: Iterable[_Other], at: str) -> Iterator[Piece]:
    for number, one in others:
        about = {name: value for name, value in one.items() if name not in ("speaker", "before")}
        yield from _of_message(about, str(one.get("speaker")), f"{at}others, {number}")


def _of_message(message: Mapping[str, Any], by: str, place: str) -> Iterator[Piece]:
    muted = False
    for number, block in enumerate(message["content"], 1):
        muted = not_shown_from(block, muted)
        yield from _of_block(block, by, f"{place}, content, {number}", 1, read=not muted)
    if about := {name: value for name, value in message.items() if name not in ("role", "content")}:
        yield Piece(by, "message", place, "", about)


def _of_block(block: Mapping[str, Any], by: str, place: str, depth: int, *, read: bool) -> Iterator[Piece]:
    kind = str(block["type"])
    by = "tool" if kind.endswith("tool_result") else by
    within = block.get("content")
    nested = depth < _MOST_WITHIN and _is_message({"role": by, "content": within})
    text, rest = _text_and_rest({name: one for name, one in block.items() if not (nested and name == "content")})
    yield Piece(by, kind, place, text, rest, read)
    for number, one in enumerate(within if nested and within else (), 1):
        yield from _of_block(one, by, f"{place}, content, {number}", depth + 1, read=read)


def _text_and_rest(block: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    rest = {name: value for name, value in block.items() if name != "type"}
    for name in ("text", "thinking", "content"):
        if isinstance(rest.get(name), str):
            return rest.pop(name), rest
    source = rest.get("source")
    if isinstance(source, dict) and source.get("type") == "text" and isinstance(source.get("data"), str):
        return source["data"], rest | {"source": {name: one for name, one in source.items() if name != "data"}}
    return "", rest


def _beside(name: str, value: Any, place: str) -> Piece:
    if isinstance(value, str):
        return Piece(None, name, place, value)
    return Piece(None, name, place, "", value if isinstance(value, dict) else {name: value})


def leaves(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what data consists of, each part with the names that lead to it; of Base64 it says how long it is."""
    waiting: list[tuple[str, Any]] = [("", data)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping) and value:
            if value.get("type") == "base64" and isinstance(held := value.get("data"), str):
                value = {**value, "data": f"{len(held):,} characters of Base64"}
            waiting += reversed([(f"{name}, {one}" if name else str(one), found) for one, found in value.items()])
        elif isinstance(value, list) and value:
            waiting += reversed([(f"{name}, {number}", one) for number, one in enumerate(value, 1)])
        elif name:
            yield name, "" if value is None else str(value)
