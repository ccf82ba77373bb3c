"""Lines of an exported log, read fast where they look as an export writes them; slowly, and with the same result, where
they do not.

Few events are new: somebody speaks again, another turn is found harmless. What differs then is the envelope, which one
expression reads, which user it was, the digest of the words, how many tokens an answer took, and the names in what
begins a conversation.
So an event is known by its text without those, once it was read with every check that there is. All else goes the long
way, and so does what is wrong, to be told what is wrong with it.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_core import from_json, to_json

from lastresort.adapters.stores.codec import ALL_BUT_NAMES, BEGINNING, Encoding, begun_by
from lastresort.adapters.stores.said import counting, split
from lastresort.domain.canonical import canonical_fields, left_out
from lastresort.domain.events import (
    EVENTS,
    AssistantTurnTaken,
    BranchOpened,
    ConversationStarted,
    EventBase,
    RecordedEvent,
    Unreadable,
)
from lastresort.domain.tuples import made
from lastresort.domain.values import Actor, ActorKind, Frozen, Id, Usage, Version, with_fields

from .inputs import BadInput, parsed, raw_lines, repeats_a_field, shown_path

_ENCODING = Encoding()
_MOST_KNOWN = 20_000
"""Events that are known, at most: what bounds memory."""
_MOST_BEGINNINGS = 1_000
_MOST_KNOWN_BYTES = 4_000
"""Bytes that the text of a known event has, at most."""

_SECOND = len("2026-01-31T12:00:00")
_ID = rb"[!#-\[\]-~]{1,128}"  # without a quotation mark and a backslash, which JSON has in other words
_NUMBER = rb"[1-9][0-9]{0,14}"
_LINE = re.compile(
    rb'\{"position": (%(n)b), "branch": "(%(id)b)", "version": (%(n)b), "kind": "([A-Za-z]{1,64})", "recorded_at": '
    rb'"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?\+00:00)", "command_id": "(%(id)b)"'
    rb'(?:, "correlation_id": "(%(id)b)")?(?:, "schema_version": (%(n)b))?, "event": (\{[!-~]*\})\}\r?\n?'
    % {b"n": _NUMBER, b"id": _ID}
)
_BRANCH = b', "branch": "'
_BEFORE_A_BRANCH = len(b'{"position": ') + 15 + len(_BRANCH)  # so near to its beginning a line of ours has it
_CONTENT = re.compile(rb'"content":"sha256:([0-9a-f]{64})"')
_NAME = re.compile(_ID)
_BY_A_USER = b'{"by":{"kind":"user","id":"'
_STARTED, _ANSWERED = ConversationStarted.kind.encode(), AssistantTurnTaken.kind.encode()


class LogLine(Frozen):
    """An exported event in its envelope."""

    position: Version
    branch: Id
    version: Version
    kind: Id
    recorded_at: str
    command_id: Id
    event: dict[str, Any]
    correlation_id: Id | None = None
    schema_version: Annotated[int, Field(strict=True, ge=1)] = 1

    @field_validator("recorded_at")
    @classmethod
    def _is_a_time_in_utc(cls, value: str) -> str:
        try:
            offset = datetime.fromisoformat(value).utcoffset()
        except ValueError:  # which repeats the value
            offset = None
        if offset != timedelta(0):
            raise ValueError("not a time in UTC, as in 2026-01-31T12:00:00.000000+00:00")
        return value


Entry = RecordedEvent | Unreadable


class LogReader:
    """Reads lines, and knows events again."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes | None, ...], Any] = {}
        self._beginnings: dict[tuple[bytes | None, ...], Any] = {}  # by all but the names in them
        self._users: dict[bytes, Actor] = {}
        self._last_time, self._time = b"", ""

    def entries(self, path: Path) -> Iterator[tuple[int, Entry]]:
        """Yield the entries of a log, each with its line number; an event that is none as Unreadable.

        Raises:
            BadInput: a line is not an envelope.
        """
        source = shown_path(path)
        for number, line in raw_lines(path, "an exported log"):
            yield number, self.entry(line) or entry_of(parsed(source, number, line, LogLine))

    def entry(self, line: bytes) -> RecordedEvent | None:
        """Return the entry of a line that is as an export writes it; None if it is not, or something is wrong."""
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        position, branch, version, kind, recorded_at, command_id, correlation_id, schema_version, text = found.groups()
        event = self._event(kind, schema_version, text)
        if event is None or (recorded_at != self._last_time and not self._is_time(recorded_at)):
            return None
        command = command_id.decode()
        correlation = command if correlation_id is None else correlation_id.decode()
        at = int(position), branch.decode(), int(version)
        return made(RecordedEvent, (*at, event.kind, self._time, command, event, correlation))

    def _is_time(self, text: bytes) -> bool:
        """Look at a time, and keep it: the events of one command bear the same, and many come within one second."""
        time = text.decode()
        if text[:_SECOND] != self._last_time[:_SECOND]:  # what follows is of the form that a line has
            try:
                datetime.fromisoformat(time)
            except ValueError:
                return False
        self._last_time, self._time = text, time
        return True

    # --- Events ---------------------------------------------------------------------------------------------------

    def _event(self, kind: bytes, schema_version: bytes | None, text: bytes) -> Any:
        if kind == _STARTED and (begins := BEGINNING.fullmatch(text)) is not None:
            return self._beginning(schema_version, text, begins)
        fields: dict[str, Any] = {}  # what is not in the key
        rest = text
        if text.startswith(_BY_A_USER) and (by := self._user(text)) is not None:
            fields["by"], rest = by, text[len(_BY_A_USER) + len(by.id) :]
        key: tuple[bytes | None, ...] = kind, schema_version, rest
        if (content := _CONTENT.search(rest)) is not None:
            start, end = content.span(1)
            fields["content"] = f"sha256:{content[1].decode()}"
            key = kind, schema_version, rest[:start], rest[end:]
            if kind == _ANSWERED and (counted := split(rest[end:])) is not None:
                head, taken, given = counted
                key = kind, schema_version, rest[:start], head, b"tokens"
                if (known := self._known.get(key)) is not None:
                    return counting(known, taken, given, **fields)
                return self._new(key, text, **fields, usage=Usage(input_tokens=taken, output_tokens=given))
        known = self._known.get(key)
        if known is None:
            return self._new(key, text, **fields)
        return with_fields(known, fields) if fields else known

    def _user(self, text: bytes) -> Actor | None:
        """Return the user by whom an event is; None if their name is to be read with every check."""
        start = len(_BY_A_USER)
        name = text[start : text.find(b'"', start)]
        by = self._users.get(name)
        if by is None and _NAME.fullmatch(name):
            if len(self._users) >= _MOST_KNOWN:
                self._users.clear()
            by = self._users[name] = Actor(kind=ActorKind.USER, id=name.decode())
        return by

    def _beginning(self, schema_version: bytes | None, text: bytes, parts: re.Match[bytes]) -> Any:
        """Return what begins a conversation, which is known but for the names in it."""
        key = _STARTED, schema_version, *parts.group(*ALL_BUT_NAMES)
        known = self._beginnings.get(key)
        if known is not None:
            return begun_by(known, parts)
        event = self._new(key, text)
        if event is not None and len(text) <= _MOST_KNOWN_BYTES and begun_by(event, parts) == event:
            if len(self._beginnings) >= _MOST_BEGINNINGS:
                self._beginnings.clear()
            self._beginnings[key] = event
        return event

    def _new(self, key: tuple[bytes | None, ...], text: bytes, **without: object) -> Any:
        """Read an event that is not known; None if it is none. The second time that it comes by it is kept.

        Args:
            key: what it is to be known by.
            text: of it.
            without: the fields that are not in the key. It is known only if it has them where they were found.
        """
        kind, schema_version = key[0], key[1]
        assert kind is not None
        version = 1 if schema_version is None else int(schema_version)
        row = (1, "b", 1, kind.decode(), text, None, version, "2026-01-01T00:00:00+00:00", "c", None)
        (read,) = _ENCODING.entries([row])
        if isinstance(read, Unreadable):
            return None
        event = read.event
        if canonical_fields(event) != (version, text) and not _is_exact(event, text, version):
            return None
        as_found = all(getattr(event, field, None) == value for field, value in without.items())
        if kind != _STARTED and len(text) <= _MOST_KNOWN_BYTES and as_found:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = event if key in self._known else None
        return event


def _is_exact(event: EventBase, text: bytes, version: int) -> bool:
    """Whether an event has each of its fields once, in whatever order. In the form that an export writes it has."""
    return not repeats_a_field(text) and left_out(event, from_json(text), version) is None


_OPENED = b'"%b"' % BranchOpened.kind.encode()


def beginnings(path: Path) -> Iterator[RecordedEvent]:
    """Yield the first event of each branch of a log, and whatever else may open one: all that `fork_points` looks at.

    A line that cannot be read is passed over: the reader of all of them says what is wrong with it.

    Raises:
        BadInput: the file cannot be read.
    """
    reader, begun = LogReader(), set[bytes]()
    for number, line in raw_lines(path, "an exported log"):
        at = line.find(_BRANCH, 0, _BEFORE_A_BRANCH) + len(_BRANCH)
        branch = line[at : line.find(b'"', at)] if at >= len(_BRANCH) else b""  # none found: a line of another form
        if branch not in begun or _OPENED in line or b"\\" in line:
            with suppress(BadInput):
                entry = reader.entry(line) or entry_of(parsed("", number, line, LogLine))
                if isinstance(entry, RecordedEvent):
                    begun.add(entry.branch.encode())
                    yield entry


def entry_of(line: LogLine) -> Entry:
    """Return the entry of a line that was read with every check."""
    state = to_json(line.event, inf_nan_mode="constants")  # so that what is no number is not taken for null
    envelope = (None, line.schema_version, line.recorded_at, line.command_id, line.correlation_id)
    entry = _ENCODING.entries([(line.position, line.branch, line.version, line.kind, state, *envelope)])[0]
    if line.kind not in EVENTS and isinstance(entry, Unreadable):
        return entry._replace(why="kind: not a known kind of event")  # a store names it; here it may be words
    if isinstance(entry, RecordedEvent) and (what := left_out(entry.event, line.event, line.schema_version)):
        return Unreadable(line.position, line.branch, line.version, line.kind, f"event.{what}: Field required")
    return entry
