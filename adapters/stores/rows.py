"""Between the domain's events and rows: what every engine does alike.

A row's topic is the event's kind, never a Python path, so nothing that a stored topic names is imported; its state is
the event as JSON with exactly the fields of the law; its envelope stands in columns of its own.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from lastresort.adapters.databases.errors import StoreError
from lastresort.application.ports import Append, EventTooLarge, Head, ListRow, Place, VersionConflict
from lastresort.domain.canonical import too_large
from lastresort.domain.events import BranchOpened, ConversationEnded, Event, EventBase, RecordedEvent, Unreadable

from .codec import is_id, is_time

ENDS = ConversationEnded.kind
"""The kind of event with which a branch goes over from the list of those that are active to those that ended."""

WRITTEN = (
    "originator_id, originator_version, topic, state, digest, schema_version, recorded_at, command_id, nth, "
    "correlation_id"
)
"""The columns of a row as it is written: the fields of `Row`."""

READ = WRITTEN.replace(" nth,", "")
"""The columns that are read: after the position, the fields of `codec.StoredEvent`."""

PAGE = 1_000
"""Rows that are read at a time: bounds memory, and the time that a reader holds a connection."""

AT_ONCE = 100
"""Rows made into events at a time: so few that the garbage collector hardly ever sees them."""

_SMALL = 2**14
"""Bytes of a state and a time with which no event is too large."""

LAST = 2**62
"""No branch, and no log, comes as far; a database takes no number of any size."""


class States(Protocol):
    """Writes events: an encoding, or what knows them again."""

    def written(self, event: EventBase) -> tuple[bytes, bytes | None]:
        """See `Encoding.written`."""
        ...


class Row(NamedTuple):
    """A row of the log as it is written, but for its position."""

    branch: str
    version: int
    kind: str
    state: bytes
    digest: bytes | None  # of its words
    schema_version: int
    recorded_at: str | int  # a time, or what `codec.packed` made of it
    command_id: str
    nth: int  # among the events of its command, from 0
    correlation_id: str | None  # None: the command's


class Entry(NamedTuple):
    """A row to write, and what goes with it."""

    row: Row
    begins: bool  # the branch with this event
    sealed: bytes | None
    joins: str | None = None  # the root of the tree that the branch joins with this event
    snapshot: bytes | None = None  # of the state after it


class BranchRow(NamedTuple):
    """A branch in a list: where the events stand in the log that began it, began its root, and ended it."""

    position: int
    root: int
    ended: int | None
    version: int  # of its latest event


def entries_of(
    append: Append, states: States, time: Callable[[str], str | int] = lambda recorded_at: recorded_at
) -> list[Entry]:
    """Return the rows of an append. What could not be read again is not written either: a log is for ever.

    Args:
        append: what one command writes.
        states: writes its events.
        time: returns a time as the engine keeps it.

    Raises:
        ValueError: an id, a time or an event is malformed.
        EventTooLarge: an event is larger than a log may take.
        VersionConflict: a branch does not begin after its prefix.
    """
    command_id, named = append.command_id, append.correlation_id
    if not (is_id(command_id) and (named == command_id or is_id(named))):
        raise ValueError("malformed command_id or correlation_id: use 1 to 128 printable characters without a space")
    recorded_at = time(append.recorded_at)
    made = type(append.recorded_at) is str and type(recorded_at) is int  # a number is made of a time alone
    if not made and not is_time(append.recorded_at):
        raise ValueError("malformed recorded_at: use ISO 8601 with a zone")
    correlation_id = None if named == command_id else named
    make = tuple.__new__  # by the way of `Row(...)` it takes twice as long
    small = _SMALL - len(append.recorded_at)
    entries: list[Entry] = []
    before: EventBase | None = None
    state: tuple[bytes, bytes | None] = (b"", None)
    for nth, (branch, version, event, sealed, snapshot) in enumerate(append.events):
        if not (is_id(branch) and type(version) is int and isinstance(event, EventBase)):
            raise ValueError("malformed branch or version, or no event")
        if (sealed is not None and type(sealed) is not bytes) or (snapshot is not None and type(snapshot) is not bytes):
            raise ValueError("sealed words and snapshots are bytes")
        if not 0 < version < LAST:
            raise VersionConflict(f"branch {branch}: no version {version} follows another")
        begins, joins = version == 1, None
        if isinstance(event, BranchOpened):
            begins, joins = True, event.conversation
            if version != event.at + 1:
                raise VersionConflict(f"branch {branch} opens at {event.at}; version {version} does not follow that")
        if event is not before:  # what is about a whole tree is the same on each of its branches
            before, state = event, states.written(event)
        if len(state[0]) > small:
            _check_size(append, branch, version, event)
        fields = (branch, version, event.kind, *state, event.schema_version)
        row = make(Row, (*fields, recorded_at, command_id, nth, correlation_id))
        entries.append(make(Entry, (row, begins, sealed, joins, snapshot)))
    return entries


def _check_size(append: Append, branch: str, version: int, event: Event) -> None:
    envelope = (event.kind, append.recorded_at, append.command_id, event, append.correlation_id)
    if what := too_large(RecordedEvent(0, branch, version, *envelope)):
        raise EventTooLarge(f"branch {branch}, version {version}: {what}; nothing was written")


def checked_places(places: Iterable[Place]) -> list[Place]:
    """Return places where words can stand.

    Raises:
        ValueError: one of them is no place.
    """
    checked = [Place(*place) for place in places]
    for branch, version in checked:
        if not is_id(branch) or type(version) is not int or not 0 < version < LAST:
            raise ValueError("malformed place of words that are to be erased")
    return checked


def recorded_of(appends: Iterable[Append], position: int) -> tuple[RecordedEvent, ...]:
    """Return the events of appends as they were recorded, the first of them at `position`."""
    make = tuple.__new__  # by the way of `RecordedEvent._make` it takes twice as long
    recorded: list[RecordedEvent] = []
    for append in appends:
        for branch, version, event, *_ in append.events:
            envelope = (append.recorded_at, append.command_id, event, append.correlation_id)
            recorded.append(make(RecordedEvent, (position, branch, version, event.kind, *envelope)))
            position += 1
    return tuple(recorded)


def readable(entries: list[RecordedEvent | Unreadable]) -> list[RecordedEvent]:
    """Return entries that are all events.

    Raises:
        StoreError: one of them cannot be read.
    """
    if Unreadable in map(type, entries):
        wrong = next(entry for entry in entries if type(entry) is Unreadable)
        raise StoreError(f"branch {wrong.branch}, version {wrong.version}: {wrong.why}; run an audit of this store")
    return entries  # type: ignore[return-value]  # looked at each


def positions_of(branches: Iterable[BranchRow]) -> list[int]:
    """Return where the events stand that `list_rows` needs."""
    return sorted({at for one in branches for at in (one.position, one.root, one.ended) if at})


def list_rows(branches: Iterable[BranchRow], events: Mapping[int, RecordedEvent]) -> list[ListRow]:
    """Return branches with the events that stand at their positions."""
    return [
        ListRow(one.version, events[one.position], events[one.root or one.position], events.get(one.ended or 0))
        for one in branches
    ]


def head_of(version: int, began: RecordedEvent) -> Head:
    """Return the head of a branch at `version` that an event began."""
    event = began.event
    parent, at = (event.parent, event.at) if isinstance(event, BranchOpened) else (None, None)
    return Head(began.branch, version, parent, at)


def by_branch(places: Iterable[Place]) -> dict[str, dict[int, Place]]:
    """Group places by branch and version, since what stands close together is read together."""
    grouped: dict[str, dict[int, Place]] = {}
    for place in places:
        branch, version = place
        if 0 < version < LAST:
            grouped.setdefault(branch, {})[version] = place
    # Nothing stands elsewhere, and a database cannot be asked for that.
    return {branch: versions for branch, versions in grouped.items() if is_id(branch)}


def conflict(row: Row, begins: bool) -> VersionConflict:
    """Say what keeps `row` from being written."""
    if begins:
        return VersionConflict(f"branch {row.branch} has begun, or version {row.version} is not how a branch begins")
    return VersionConflict(f"branch {row.branch}: version {row.version} is taken, or leaves a gap")
