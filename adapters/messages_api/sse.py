"""Server-sent events: a reader that takes what servers send, and a writer.

The reader is told of bytes as they come, wherever they are cut, and returns the events that have come whole, each with
its own bytes, so that one that only passes through is sent on as it came.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

MEDIA_TYPE = "text/event-stream"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
MOST = 64 * 2**20  # bytes of one event
_LINE = re.compile(r"\r\n|\n|\r")  # and no other: `splitlines` would break at what JSON may hold
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n|\r\n\n")


class TooLong(ValueError):
    """An event does not end."""


class Event(NamedTuple):
    """An event that has come: its name, its data, its id, and its bytes. A comment has a name and data of nothing."""

    name: str
    data: str
    id: str | None
    raw: bytes


class Reader:
    """Reads events from bytes."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield the events that end in `data`.

        Raises:
            TooLong: one does not end.
        """
        text = self._left + data
        begin = 0
        while (end := _END.search(text, begin)) is not None:
            if end.end() == len(text) and text.endswith(b"\r\n\r"):
                break  # half of a line's end
            yield _parsed(text[begin : end.end()])
            begin = end.end()
        self._left = text[begin:]
        if len(self._left) > MOST:
            raise TooLong(f"an event has more than {MOST:,} bytes")

    @property
    def left(self) -> bytes:
        """What has come of an event that has not ended."""
        return self._left


def _parsed(raw: bytes) -> Event:
    name, id = "", None
    data: list[str] = []
    for line in _LINE.split(raw.decode("utf-8", "replace")):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            id = value
    return Event(name, "\n".join(data), id, raw)


def event(name: str, data: Any, *, id: str | None = None) -> bytes:
    """Return an event whose data is JSON."""
    head = f"id: {id}\n" if id is not None else ""
    try:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return f"{head}event: {name}\ndata: {text}\n\n".encode()
    except UnicodeEncodeError:
        return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def comment(text: str = "") -> bytes:
    """Return a comment, which no reader shows: it keeps a connection open."""
    return f": {text}\n\n".encode()
