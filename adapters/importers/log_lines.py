"""Lines of an exported log, read fast where they look as an export writes them; slowly, and with the same result, where
they do not.

Few events are new: somebody speaks again, another turn is found harmless. What differs then is the envelope, which one
expression reads, which user it was, the digest of the words, how many tokens an answer took, the names in what begins a
conversation, and where a branch opens.
So an event is known by its text without those, once it was read with every check that there is. All else goes the long
way, and so does what is wrong, to be told what is wrong with it.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_core import from_json, to_json

from lastresort.adapters.stores.codec import ALL_BUT_NAMES, BEGINNING, Encoding, begun_by
from lastresort.adapters.stores.said import BY_A_USER, Users, counting, split
from lastresort.domain.canonical import canonical_fields, left_out
from lastresort.domain.events import (
    EVENTS,
    AssistantTurnTaken,
    BranchedOff,
    BranchOpened,
    ConversationStarted,
    EventBase,
    RecordedEvent,
    Unreadable,
)
from lastresort.domain.tuples import made
from lastresort.domain.values import Frozen, Id, Usage, Version, with_fields

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
_CONTENT = re.compile(rb'"content":"sha256:([0-9a-f]{64})"')
_STARTED, _ANSWERED = ConversationStarted.kind.encode(), AssistantTurnTaken.kind.encode()
_BRANCHES = {
    BranchedOff.kind.encode(): re.compile(rb'(.*?"child":")(?P<child>%b)(","at":)(?P<at>%b)(\})' % (_ID, _NUMBER)),
    BranchOpened.kind.encode(): re.compile(
        rb'(.*?"conversation":")(?P<conversation>%b)(","parent":")(?P<parent>%b)(","at":)(?P<at>%b)(,.*)'
        % (_ID, _ID, _NUMBER)
    ),
}
"""What opens a branch: what is the same in many, and between that which branch it is, and where."""


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
        self._users = Users()
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
        if text.startswith(BY_A_USER) and (divided := self._users.divide(text)) is not None:
            fields["by"], rest = divided
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
        elif (branches := _BRANCHES.get(kind)) is not None and (opens := branches.fullmatch(rest)) is not None:
            for name, value in opens.groupdict().items():
                fields[name] = int(value) if name == "at" else value.decode()
            key = kind, schema_version, *opens.groups()[::2], b"branch"
        known = self._known.get(key)
        if known is None:
            return self._new(key, text, **fields)
        return with_fields(known, fields) if fields else known

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
        event = _ENCODING.read(kind.decode(), version, text) or _of_an_earlier_version(kind.decode(), version, text)
        if event is None or not _is_exact(event, text, version):
            return None
        as_found = all(getattr(event, field, None) == value for field, value in without.items())
        if kind != _STARTED and len(text) <= _MOST_KNOWN_BYTES and as_found:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = event if key in self._known else None
        return event


def _of_an_earlier_version(kind: str, version: int, text: bytes) -> Any:
    row = (1, "b", 1, kind, text, None, version, "2026-01-01T00:00:00+00:00", "c", None)
    (read,) = _ENCODING.entries([row])
    return None if isinstance(read, Unreadable) else read.event


def _is_exact(event: EventBase, text: bytes, version: int) -> bool:
    """Whether an event has each of its fields once, in whatever order.

    In the form in which a store keeps it, or an export writes it, it has; and that is told in less time.
    """
    if event.__pydantic_serializer__.to_json(event) == text and version == event.schema_version:
        return True
    if canonical_fields(event) == (version, text):
        return True
    return not repeats_a_field(text) and left_out(event, from_json(text), version) is None


_OPENED = b'"%b"' % BranchOpened.kind.encode()
_BRANCH = re.compile(rb'\n\{"position": %b, "branch": "(%b)"' % (_NUMBER, _ID))
_AT_ONCE = 2**18
"""Bytes that are looked through together: of most lines nothing is to be known but which branch they are of."""


def beginnings(path: Path) -> Iterator[RecordedEvent]:
    """Yield the first event of each branch of a log, and whatever else may open one: all that `fork_points` looks at.

    A line that cannot be read is passed over: the reader of all of them says what is wrong with it.

    Raises:
        BadInput: the file cannot be read.
    """
    reader, begun = LogReader(), set[bytes]()
    for lines in _some_at_once(path):
        worth = _worth_reading(lines, begun)
        for at, line in enumerate(lines):
            if worth is not None and at not in worth:
                continue
            try:
                entry = reader.entry(line) or entry_of(parsed("", 0, line, LogLine))
            except BadInput:
                entry = None
            if isinstance(entry, RecordedEvent):
                begun.add(entry.branch.encode())
                yield entry
            else:
                worth = None  # what it was to begin, one of those behind it may


def _some_at_once(path: Path) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    size = 0
    for _, line in raw_lines(path, "an exported log"):
        lines.append(line)
        size += len(line)
        if size >= _AT_ONCE:
            yield lines
            lines, size = [], 0
    yield lines


def _worth_reading(lines: Sequence[bytes], begun: set[bytes]) -> set[int] | None:
    """Return which of some lines may be the first of a branch, or open one; None if any may.

    Args:
        lines: some of a log that follow each other.
        begun: the branches that began before.
    """
    text = b"\n" + b"".join(lines)
    branches = _BRANCH.findall(text)
    if len(branches) != len(lines) or b"\\" in text:  # one has another form, and may say anything in other words
        return None
    first = dict(zip(reversed(branches), range(len(branches) - 1, -1, -1), strict=True))  # line of each: the last stays
    found = {first[branch] for branch in first.keys() - begun}
    number, before = -1, 0
    while (at := text.find(_OPENED, before)) >= 0:
        number += text.count(b"\n", before, at)
        found.add(number)
        before = at + 1
    return found


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
