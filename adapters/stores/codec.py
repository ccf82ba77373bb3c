"""How events are written down, and read again for ever.

The envelope of an event is in the columns of its row, and the event itself is JSON with exactly the fields of the law.
But for the digest of its words, which has a column of its own: there it takes half of the room, and what is left
is the same for all that an actor says, so that it need be read but once.

An event is read by the type that is registered for its kind; nothing is imported by a stored name. One of an earlier
schema version is first brought up to date, step by step, by the upcasts of its kind. Events of the current version
cost nothing for that: their row says so, and they are read in one go.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeGuard

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from lastresort.adapters.databases.times import unpacked
from lastresort.domain.events import (
    EVENTS,
    UPCASTS,
    AssistantTurnTaken,
    ConversationStarted,
    EventBase,
    RecordedEvent,
    Unreadable,
    Upcast,
)
from lastresort.domain.values import with_field, with_fields

from .said import BY_A_USER, WORDED, Said, Users, counting, said, split, with_tokens, without_tokens

PREFIX = "sha256:"
_WORDLESS = b'"content":"sha256:"'
_DIGEST_BYTES = 32
_MOST_BEGINNINGS = 1_000
_MOST_KNOWN = 10_000  # rows whose events are kept, or will be when they come again: what bounds memory
_MOST_KNOWN_BYTES = 4_000  # bytes of such a row, at most
_CONTENT, _TOKENS, _BY, _BY_AND_CONTENT = "content", "usage", "by", "by and content"
_BEGINS, _ANSWERS = ConversationStarted.kind, AssistantTurnTaken.kind
_NAME = rb'"([!#-\[\]-~]{1,128})"'  # an id as it is in JSON: without a quotation mark and a backslash
BEGINNING = re.compile(
    rb'(\{"by":\{"kind":"[a-z]+","id":)%b(\},"policy":.*,"conversation":)%b(,"account":)(?:%b|null)(,"model":.*,"arm":)(?:%b|null)(,[^\\]*)?\}'
    % (_NAME, _NAME, _NAME, _NAME),
    re.DOTALL,
)
"""What begins a conversation: what is the same in many, and between that the names of one."""
ALL_BUT_NAMES = (1, 3, 5, 7, 9)  # exported, it says behind the names of which edition it is
_ID_LENGTH = 128
_ID = re.compile(rf"[!-~]{{1,{_ID_LENGTH}}}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TOLD = 10  # problems of one line that are named: mending those shows the rest
_UNKNOWN = "a field that is not known"
_TOO_MUCH = 1_000  # and where that much is wrong, none of it: pydantic can only tell all, at half a kilobyte each


class StoredEvent(NamedTuple):
    """A row of the log as it is read. What an event cannot do without may still be missing from a row that is none."""

    position: int
    branch: str
    version: int
    kind: str
    state: bytes
    digest: bytes | None  # of its words: what stands between `"sha256:` and `"` in the field `content`
    schema_version: int | None
    recorded_at: str | int | None  # a time, or what `packed` made of it
    command_id: str | None
    correlation_id: str | None  # None: the command's


class Encoding:
    """Writes events as the state of a row, and reads them.

    Args:
        events: the type of each kind; its `schema_version` is the current one.
        upcasts: by kind and version, the step to the next version.
    """

    def __init__(
        self, events: Mapping[str, type[EventBase]] = EVENTS, upcasts: Mapping[tuple[str, int], Upcast] = UPCASTS
    ) -> None:
        self._events = events
        self._upcasts = upcasts
        # Pydantic's own doors, without what `model_validate_json` does before it comes to them.
        self._readers: dict[tuple[str, int | None], Any] = {
            (kind, event.schema_version): event.__pydantic_validator__.validate_json for kind, event in events.items()
        }
        self._readable: set[tuple[str, bytes | tuple[bytes, ...]]] = set()  # what was written and can be read
        self._states: dict[Said | None, bytes] = {}  # what was written, by all that it says
        self._known: dict[tuple[str, int | None, str | None, bytes], Any] = {}  # events by what their rows say of them
        self._seen: set[tuple[str, int | None, str | None, bytes]] = set()  # what came by once
        self._beginnings: dict[tuple[int | None, tuple[bytes, ...]], Any] = {}  # by all but the names in them
        self._users = Users()

    def state(self, event: EventBase) -> tuple[bytes, bytes | None]:
        """Return the state of an event's row, and the digest of the words that the event stands for.

        Raises:
            ValueError: that is no digest.
        """
        content = getattr(event, "content", None)
        if content is not None and not is_digest(content):
            raise ValueError("content is not a digest: sha256: and 64 hexadecimal digits in lower case")
        state: bytes = event.__pydantic_serializer__.to_json(event)
        if content is None:
            return state, None
        worded = b'"content":"' + content.encode() + b'"'
        return state.replace(worded, _WORDLESS, 1), bytes.fromhex(content[len(PREFIX) :])

    def written(self, event: EventBase) -> tuple[bytes, bytes | None]:
        """Return the `state` of an event that is to be kept for ever.

        Raises:
            ValueError: it could not be read again: it was made by a way round its type's checks.
        """
        try:
            known = self._states.get(says := said(event))
            state = None if known is None else with_tokens(event, known)
        except (AttributeError, TypeError):
            state = says = None  # made by such a way; it is told below
        if state is not None:
            if type(event) not in WORDED:
                return state, None
            if is_digest(content := event.__dict__.get(_CONTENT)):
                return state, bytes.fromhex(content[len(PREFIX) :])
        state, digest = row = self.state(event)
        self._check_is_read(event, state, digest)
        if says is not None and len(state) <= _MOST_KNOWN_BYTES and (known := without_tokens(event, state)) is not None:
            if len(self._states) >= _MOST_KNOWN:
                self._states.clear()
            self._states[says] = known
        return row

    def _check_is_read(self, event: EventBase, state: bytes, digest: bytes | None) -> None:
        """See that a state can be read again; one that was is known by its kind and by all but names that it gives."""
        begins = BEGINNING.fullmatch(state) if event.kind == _BEGINS else None
        key = (event.kind, state if begins is None else begins.group(*ALL_BUT_NAMES))
        if key in self._readable:
            return
        read = self._readers.get((event.kind, event.schema_version))
        if read is None:
            raise ValueError(f"{event.kind} is not a kind of event that this store reads")
        read(_filled(state, digest))
        if len(state) <= _MOST_KNOWN_BYTES:
            if len(self._readable) >= _MOST_KNOWN:
                self._readable.clear()
            self._readable.add(key)

    def entries(self, rows: Sequence[tuple[Any, ...]]) -> list[RecordedEvent | Unreadable]:
        """Read rows, each with the fields of `StoredEvent`."""
        if not rows:
            return []
        known, make = self._known.get, tuple.__new__  # by the way of `RecordedEvent._make` it takes half as long again
        fine = _are_fine(rows)
        entries: list[RecordedEvent | Unreadable] = []
        last, time = None, None
        for row in rows:
            position, branch, version, kind, state, digest, schema, recorded_at, command_id, correlation_id = row
            if digest is None:
                event = known((kind, schema, None, state))
            elif (event := known((kind, schema, _CONTENT, state))) is not None:
                event = with_field(event, _CONTENT, PREFIX + digest.hex()) if _fits(digest) else None
            if event is None:
                event = self._event(kind, schema, state, digest)
            if recorded_at != last or type(recorded_at) is not type(last):
                last = recorded_at
                time = unpacked(recorded_at) if type(recorded_at) is int else _time(recorded_at)
            if event is None or time is None or not (fine or _is_fine(row)):
                entries.append(self._otherwise(StoredEvent._make(row), event))
            else:
                named = correlation_id or command_id
                entries.append(make(RecordedEvent, (position, branch, version, kind, time, command_id, event, named)))
        return entries

    def _event(self, kind: str, schema_version: int | None, state: bytes, digest: bytes | None) -> Any:
        """Read an event that is not known yet; None if it is none of the current version."""
        key = kind, schema_version, None if digest is None else _CONTENT, state
        if type(state) is not bytes:
            pass
        elif kind == _BEGINS and digest is None:
            return self._beginning(schema_version, state)
        elif kind == _ANSWERS and digest is not None and (counted := split(state)) is not None:
            head, taken, given = counted
            key = kind, schema_version, _TOKENS, head
            if (known := self._known.get(key)) is not None:
                return counting(known, taken, given, content=PREFIX + digest.hex()) if _fits(digest) else None
        elif state.startswith(BY_A_USER) and (divided := self._users.divide(state)) is not None:
            by, rest = divided
            key = kind, schema_version, _BY if digest is None else _BY_AND_CONTENT, rest
            if (known := self._known.get(key)) is not None:
                if digest is None:
                    return with_field(known, _BY, by)
                return with_fields(known, {_BY: by, _CONTENT: PREFIX + digest.hex()}) if _fits(digest) else None
        event = self.read(kind, schema_version, state, digest)
        if event is not None:
            self._keep(key, event, (state, digest))
        return event

    def read(self, kind: str, schema_version: int | None, state: bytes, digest: bytes | None = None) -> Any:
        """Read an event of the current version with every check; None if it is none."""
        try:
            event = self._readers[kind, schema_version](_filled(state, digest))
        except (KeyError, ValidationError):
            return None
        return event if digest is None or _carries(event, digest) else None

    def _keep(self, key: tuple[str, int | None, str | None, bytes], event: EventBase, row: tuple[bytes, Any]) -> None:
        """Keep an event the second time that it comes by: many, which name a branch or count tokens, never do again."""
        if len(key[-1]) > _MOST_KNOWN_BYTES:
            return
        if key not in self._seen:
            if len(self._seen) >= _MOST_KNOWN:
                self._seen.clear()
            self._seen.add(key)
        elif self.state(event) == row:  # only what we wrote says the same with another digest in it
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = event

    def _beginning(self, schema_version: int | None, state: bytes) -> Any:
        """Read what begins a conversation.

        Each has a policy of some length, which takes as long to check as twenty turns, and few policies are in use. So
        what begins one is known but for the names in it.
        """
        parts = BEGINNING.fullmatch(state)
        if parts is None:
            return self.read(_BEGINS, schema_version, state, None)
        key = schema_version, parts.group(*ALL_BUT_NAMES)
        known = self._beginnings.get(key)
        if known is not None:
            return begun_by(known, parts)
        event = self.read(_BEGINS, schema_version, state, None)
        if event is None or len(state) > _MOST_KNOWN_BYTES or self.state(event) != (state, None):
            return event
        if begun_by(event, parts) == event:
            if len(self._beginnings) >= _MOST_BEGINNINGS:
                self._beginnings.clear()
            self._beginnings[key] = event
        return event

    def _otherwise(self, row: StoredEvent, read: Any) -> RecordedEvent | Unreadable:
        """Read a row that is no event of the current version: an earlier one, or say what is wrong with it.

        Args:
            row: of the log.
            read: the event, where it is the rest of the row that is wrong.
        """
        if read is not None:
            if type(row.branch) is not str or type(row.version) is not int:
                return _unreadable(row, "branch or version: no such thing")
            return _unreadable(row, "command_id, correlation_id or recorded_at: missing, or no such thing")
        event = self._events.get(row.kind)
        if event is None:
            return _unreadable(row, f"kind: {row.kind} is not a kind of event")
        try:
            fields = self._upcast(row, event.schema_version)
            return self.entries([row._replace(schema_version=event.schema_version, state=fields, digest=None)])[0]
        except _NoUpcast as why:
            return _unreadable(row, str(why))
        except (KeyError, TypeError, ValueError):
            pass  # there is no such step, or it expects other fields
        return _unreadable(row, _wrong(event, row))

    def _upcast(self, row: StoredEvent, current: int) -> bytes:
        """Bring a state of an earlier schema version up to date."""
        written = row.schema_version
        if written is None or not 0 < written <= current:
            raise _NoUpcast(f"schema_version: {written} where this program reads 1 to {current}")
        fields = from_json(_filled(row.state, row.digest)) if written < current else None
        if not isinstance(fields, dict):
            raise _NoUpcast(_wrong(self._events[row.kind], row))
        for step in range(written, current):
            fields = self._upcasts[row.kind, step](fields)
        return json.dumps(fields).encode()


def begun_by(known: Any, parts: re.Match[bytes]) -> Any:
    """Return what begins a conversation, of one that differs at most in the names; `parts` are as in `BEGINNING`."""
    by, conversation, account, arm = parts.group(2, 4, 6, 8)
    fields = {
        "by": with_field(known.by, "id", by.decode()), "conversation": conversation.decode(),
        "account": account and account.decode(), "arm": arm and arm.decode(),
    }  # fmt: skip
    return with_fields(known, fields)


def _fits(digest: object) -> bool:
    """Whether that is a digest as a row has it."""
    return type(digest) is bytes and len(digest) == _DIGEST_BYTES


def is_digest(content: object) -> TypeGuard[str]:
    return type(content) is str and _DIGEST.fullmatch(content) is not None


class _NoUpcast(Exception):
    """The state is not of an earlier version; it is just wrong, and this says how."""


def _unreadable(row: StoredEvent, why: str) -> Unreadable:
    """Say of a row why it is none. What ought to name it may be anything: then no name is better than a wrong one."""
    branch = row.branch if type(row.branch) is str and row.branch else "?"
    version = row.version if type(row.version) is int else 0
    return Unreadable(row.position, branch, version, str(row.kind), why)


def _are_fine(rows: Sequence[tuple[Any, ...]]) -> bool:
    """Look at the envelopes of a page at once, in a third of the time; if one is wrong, `_is_fine` says which."""
    _, branches, versions, _, _, _, _, _, commands, correlations = zip(*rows, strict=True)
    if set(map(type, branches)) != {str} or set(map(type, versions)) != {int}:
        return False
    named = [one for one in correlations if one is not None]
    return _are_ids(commands) and (not named or _are_ids(named))


def _is_fine(row: tuple[Any, ...]) -> bool:
    _, branch, version, _, _, _, _, _, command_id, correlation_id = row
    if type(branch) is not str or type(version) is not int:
        return False
    return is_id(command_id) and (correlation_id is None or is_id(correlation_id))


def _are_ids(values: Sequence[object]) -> bool:
    """Look at all ids of a page at once, which takes half as long."""
    try:
        joined = "".join(values)  # type: ignore[arg-type]  # that is asked here
    except TypeError:
        return False
    plain = joined.isascii() and joined.isprintable() and " " not in joined
    # They are texts, or they could not have been joined.
    return plain and all(values) and max(map(len, values), default=0) <= _ID_LENGTH  # type: ignore[arg-type]


def is_id(value: object) -> bool:
    """Whether a value may stand for a command, an act or a branch in the log."""
    return type(value) is str and _ID.fullmatch(value) is not None


def is_time(value: object) -> TypeGuard[str]:
    """Whether a value may be a time in the log: ISO 8601 with a zone, and one that UTC has too."""
    if type(value) is not str or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True


def _time(kept: object) -> str | None:
    """Return a time that is kept as text, None if it is none."""
    return kept if is_time(kept) else None


def _carries(event: EventBase, digest: object) -> bool:
    """Whether an event stands for the words that a digest is of."""
    return type(digest) is bytes and getattr(event, _CONTENT, None) == PREFIX + digest.hex()


def _filled(state: bytes, digest: bytes | None) -> bytes:
    """Put the digest of its words into the state of an event."""
    if type(state) is not bytes or type(digest) is not bytes:
        return state
    return state.replace(_WORDLESS, _WORDLESS[:-1] + digest.hex().encode() + b'"', 1)


def _wrong(event: type[EventBase], row: StoredEvent) -> str:
    """Say what keeps a row from being an `event` of the current version."""
    try:
        read = event.model_validate_json(_filled(row.state, row.digest))
    except ValidationError as error:
        return explain(error, "event")
    if row.digest is not None and not _carries(read, row.digest):
        return "digest: of words that the event does not stand for"
    return "a step to the current version makes something else of it"


def explain(error: ValidationError, *within: str) -> str:
    """Say what pydantic found, field by field, on one line and without the values.

    A field that is not known is not named either: where people's words belong, it may be made of them.
    """
    if error.error_count() > _TOO_MUCH:
        return f"{error.error_count():,} fields are not as they should be; is this something else?"
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    told = list(dict.fromkeys(_told(within, problem) for problem in problems))
    more = [f"and {len(told) - _TOLD:,} more"] if len(told) > _TOLD else []
    return "; ".join(told[:_TOLD] + more)


def _told(within: tuple[str, ...], problem: ErrorDetails) -> str:
    """Say what is wrong with a field; of one that is not known, with the one that it is in."""
    unknown = problem["type"] == "extra_forbidden"
    place = ".".join(map(str, (*within, *(problem["loc"][:-1] if unknown else problem["loc"]))))
    said = _UNKNOWN if unknown else problem["msg"].removeprefix("Value error, ")
    if not place and problem["type"] == "value_error":
        return said  # of the whole, which names the field
    return f"{place or 'value'}: {said}"
