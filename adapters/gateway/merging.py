"""What a client gets: one message, whatever was asked behind it. Our calls, their results and the rounds that they took
are left out, blocks are counted again, and tokens are summed up.

Of a stream, events are sent on as they came, byte for byte, unless something before them was left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lastresort.adapters.messages_api import sse
from lastresort.adapters.messages_api.wire import events as events_of
from lastresort.adapters.turns.replies import Ended
from lastresort.adapters.turns.tools import CALLS
from lastresort.domain.turn_text import not_shown_from

from . import answers
from .answers import Broken

Block = dict[str, Any]
Message = dict[str, Any]
_TOKENS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
NOTHING_USED = {"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


def shown_of(content: Sequence[Block], *, theirs: bool = True) -> list[Block]:
    """Return what a client sees of a message: up to a call to end, and nothing of our calls."""
    found, muted = [], False
    for block in content:
        muted = not_shown_from({"type": block.get("type", ""), **block}, muted)
        call = block.get("type") == "tool_use"
        if not muted and not (call and (block.get("name") in CALLS or not theirs)):
            found.append(block)
    return found


def summed(before: Mapping[str, Any] | None, usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokens of two messages; what is not a number of tokens is the later one's."""
    if before is None:
        return dict(usage)
    both = {**before, **usage}
    for name in _TOKENS:
        if name in before or name in usage:
            both[name] = int(before.get(name) or 0) + int(usage.get(name) or 0)
    both.pop("iterations", None)
    return both


class Whole:
    """The one message of a turn, put together from whole ones."""

    def __init__(self) -> None:
        self.first: Message | None = None
        self.blocks: list[Block] = []
        self.last: Message = {}
        self.usage: dict[str, Any] | None = None

    def add(self, message: Message) -> None:
        """Take in a message of the model."""
        self.first = self.first or message
        self.last = message
        self.blocks += shown_of(message.get("content") or [])
        self.usage = summed(self.usage, message.get("usage") or {})

    def message(self) -> Message:
        """Return the message as the client gets it."""
        assert self.first is not None
        return {**self.first, **self.last, "id": self.first.get("id"), "content": self.blocks, "usage": self.usage}

    def ended(self, ended: Ended, model: str) -> Message:
        """Return the message with which a client is told of an ending."""
        theirs = [one for one in self.blocks if one.get("type") != "tool_use"]
        whole = self.message() if self.first is not None else _empty(ended, model)
        content = [*theirs, {"type": "text", "text": ended.notice}]
        return {
            **whole,
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "lastresort": told(ended),
        }


def told(ended: Ended) -> dict[str, Any]:
    """Return what an application is told of an ending, beside what people read."""
    return {
        "ended": {
            "ground": str(ended.ground), "branch": ended.branch, "version": ended.version,
            "options": list(ended.options), "appeal_until": ended.appeal_until,
        }
    }  # fmt: skip


def _empty(ended: Ended, model: str) -> Message:
    return {
        "id": f"msg_lastresort_{ended.version}", "type": "message", "role": "assistant", "model": model,
        "content": [], "stop_reason": "end_turn", "stop_sequence": None, "usage": dict(NOTHING_USED),
    }  # fmt: skip


def given_again(id: str, model: str, blocks: list[Block], stop_reason: str | None) -> Message:
    """Return an answer that was recorded, as it is given again: it costs nothing."""
    return {
        "id": id, "type": "message", "role": "assistant", "model": model, "content": blocks,
        "stop_reason": stop_reason, "stop_sequence": None, "usage": dict(NOTHING_USED),
    }  # fmt: skip


def as_stream(message: Message) -> Iterator[bytes]:
    """Yield the events that stream a message which is whole already."""
    extra = {name: message[name] for name in ("lastresort",) if name in message}
    for event in events_of(message):
        if event["type"] == "message_delta":
            event = {**event, **extra}
        yield sse.event(event["type"], event)


class Stream:
    """The one stream of a turn, put together from the streams of its rounds."""

    def __init__(self) -> None:
        self.whole = Whole()
        self.message: Message = {}
        self.stopped = self.failed = self.begun = False
        self._json: dict[int, list[str]] = {}
        self._places: dict[int, int | None] = {}  # of the blocks of this round, where they stand for the client
        self._muted = False
        self._held: list[tuple[dict[str, Any], bytes]] = []
        self._sent = 0
        self._rounds = 0

    def next_round(self) -> None:
        """Begin with the next message of the model."""
        self.message, self.stopped, self._muted = {}, False, False
        self._json, self._places, self._held = {}, {}, []
        self._rounds += 1

    def feed(self, event: sse.Event) -> bytes:
        """Take in an event; return what the client gets of it now.

        Raises:
            Broken: it is not part of a message.
        """
        if not event.data:
            return event.raw
        try:
            return self._fed(answers.parsed(event.data), event.raw)
        except (ValueError, TypeError, LookupError, AttributeError):
            raise Broken("an event is not part of a message") from None

    def _fed(self, data: dict[str, Any], raw: bytes) -> bytes:
        match data["type"]:
            case "message_start":
                if self.message:
                    raise Broken("a message begins within another")
                self.message = {**answers.head(data["message"]), "content": []}
                first, self.begun = not self.begun, True
                return raw if first else b""
            case "content_block_start":
                return self._block(data, raw)
            case "content_block_delta":
                self._delta(self._index(data), data["delta"])
                return self._placed(data, raw)
            case "content_block_stop":
                self._close(self._index(data))
                return self._placed(data, raw)
            case "message_delta":
                self._end(data)
                self._held.append((data, raw))
                return b""
            case "message_stop":
                self.stopped = bool(self.message)
                self._held.append((data, raw))
                return b""
            case "error":
                self.failed = True
                return raw
            case _:
                return raw

    def _index(self, data: dict[str, Any]) -> int:
        """Return which of the blocks that have begun an event is of."""
        index = data["index"]
        if type(index) is not int or index not in self._places:
            raise Broken("an event is of a block that has not begun")
        return index

    def _block(self, data: dict[str, Any], raw: bytes) -> bytes:
        begun, index = dict(answers.block(data["content_block"])), data["index"]
        if type(index) is not int or index != len(self.message["content"]):
            raise Broken("a block begins out of its turn")
        self.message["content"].append(begun)
        self._muted = not_shown_from(begun, self._muted)
        ours = begun["type"] == "tool_use" and begun.get("name") in CALLS
        self._places[index] = None if self._muted or ours else self._sent
        self._sent += self._places[index] is not None
        return self._placed(data, raw)

    def _placed(self, data: dict[str, Any], raw: bytes) -> bytes:
        index = data["index"]
        place = self._places[index]
        if place is None:
            return b""
        return raw if place == index else sse.event(data["type"], {**data, "index": place})

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        begun = self.message["content"][index]
        match delta.get("type"):
            case "text_delta":
                begun["text"] = begun.get("text", "") + delta["text"]
            case "input_json_delta":
                self._json.setdefault(index, []).append("" + delta["partial_json"])
            case "thinking_delta":
                begun["thinking"] = begun.get("thinking", "") + delta["thinking"]
            case "signature_delta":
                begun["signature"] = delta["signature"]
            case "citations_delta":
                begun["citations"] = [*(begun.get("citations") or []), delta["citation"]]
            case _:
                begun |= answers.block({**begun, **{name: value for name, value in delta.items() if name != "type"}})

    def _close(self, index: int) -> None:
        begun = self.message["content"][index]
        if text := "".join(self._json.pop(index, [])):
            try:
                begun["input"] = answers.parsed(text)
            except ValueError:
                begun["input"] = {}

    def _end(self, data: dict[str, Any]) -> None:
        after = dict(self.message)
        for name, value in data.items():
            if name == "delta":
                after.update({key: said for key, said in value.items() if key != "content"})
            elif name == "usage":
                after["usage"] = {**(after.get("usage") or {}), **value}
            elif name not in ("type", "content"):
                after[name] = value
        self.message = answers.head(after)

    def take(self) -> Message:
        """Return the message of this round, which has come whole."""
        self.whole.add(answers.message(self.message))
        return self.message

    def partial(self) -> Message | None:
        """Return what has come of the message under way, without a call that was not finished; None if nothing."""
        if not self.message:
            return None
        content = [one for n, one in enumerate(self.message["content"]) if n not in self._json]
        return {**self.message, "content": content, "stop_reason": None}

    def closing(self, ended: Ended | None, stop_reason: str | None = None) -> Iterator[bytes]:
        """Yield what ends the client's message: as it came, if nothing was left out."""
        if ended is None and self._rounds == 1 and stop_reason is None:
            yield from (raw for _, raw in self._held)
            return
        if ended is not None:
            block = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": ended.notice}
            yield sse.event(
                "content_block_start", {"type": "content_block_start", "index": self._sent, "content_block": block}
            )
            yield sse.event("content_block_delta", {"type": "content_block_delta", "index": self._sent, "delta": delta})
            yield sse.event("content_block_stop", {"type": "content_block_stop", "index": self._sent})
        data: dict[str, Any] = {"type": "message_delta"}
        for held, _ in self._held:
            if held["type"] == "message_delta":
                data = dict(held)
        data["usage"] = self.whole.usage or dict(NOTHING_USED)
        data["delta"] = dict(data.get("delta") or {})
        if ended is not None:
            data["delta"] |= {"stop_reason": "end_turn", "stop_sequence": None}
            data["lastresort"] = told(ended)
        elif stop_reason is not None:
            data["delta"] |= {"stop_reason": stop_reason}
        yield sse.event("message_delta", data)
        yield sse.event("message_stop", {"type": "message_stop"})
