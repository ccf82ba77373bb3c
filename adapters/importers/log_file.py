"""The log as JSON lines, loss-free in both directions.

The format is fixed, since others read and write it: see docs/reference/formats.md. A line carries `correlation_id` and
`schema_version` only where they are not what they usually are (the command's id, and 1).
"""

import os
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_core import to_json

from lastresort.adapters.stores.codec import Encoding
from lastresort.application.ports import Append, CommandRecorded, EventStore, EventTooLarge, NewEvent, VersionConflict
from lastresort.domain.canonical import canonical
from lastresort.domain.events import EVENTS, BranchOpened, RecordedEvent, Unreadable
from lastresort.domain.values import Frozen, Id, Version
from lastresort.projections import Report, audit

from .inputs import BadInput, read_lines, shown_path

_ENCODING = Encoding()
_STRUCTURE = "structure-"
"""How the rules begin that are about a log being whole."""


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


def export_line(recorded: RecordedEvent) -> str:
    """Return the canonical form of a recorded event, which is a line of JSON, without the line's end."""
    return canonical(recorded).decode("ascii")


def write_file(log: Iterable[RecordedEvent], path: Path) -> int:
    """Export a log to a file, in place of the one that is there, and return how many events are in it.

    It is written under another name beside it, and takes its own when it is complete.

    Raises:
        BadInput: it cannot be written. What was there before is there still, and nothing else.
    """
    try:
        path = _behind_links(path)
        if path.exists() and not path.is_file():
            raise BadInput(f"{path}: is there, and is not a file")
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            events = _written(log, draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from None
    return events


def _behind_links(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:  # where Python has no OSError for it
        raise BadInput(f"{path}: cannot be written: its links form a loop") from None


def _written(log: Iterable[RecordedEvent], path: Path) -> int:
    events = 0
    with open(path, "x", encoding="utf-8", opener=_private) as file:
        for recorded in log:
            file.write(f"{export_line(recorded)}\n")
            events += 1
        file.flush()
        os.fsync(file.fileno())
    return events


def _private(path: str, flags: int) -> int:
    """Make a file that its owner alone can read, where nobody can have prepared one."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def read_log(path: Path) -> Iterator[tuple[int, RecordedEvent | Unreadable]]:
    """Yield the entries of an exported log, each with its line number; an event that is none as Unreadable.

    Raises:
        BadInput: a line is not an envelope.
    """
    for number, line in read_lines(path, LogLine):
        yield number, _entry(line)


def _entry(line: LogLine) -> RecordedEvent | Unreadable:
    state = to_json(line.event, inf_nan_mode="constants")  # so that what is no number is not taken for null
    envelope = (None, line.schema_version, line.recorded_at, line.command_id, line.correlation_id)
    entry = _ENCODING.entries([(line.position, line.branch, line.version, line.kind, state, *envelope)])[0]
    if line.kind not in EVENTS and isinstance(entry, Unreadable):
        return entry._replace(why="kind: no kind of event that is known")  # a store names it; here it may be words
    return entry


def checked_log(path: Path) -> tuple[list[RecordedEvent], Report]:
    """Read a whole log and audit it.

    Raises:
        BadInput: a line cannot be read.
    """
    entries = _whole_log(path)
    return entries, audit(entries)


def load_log(path: Path, store: EventStore) -> None:
    """Read a log into an empty store in memory, to look at it. It may break the law, and must be whole.

    Raises:
        BadInput: a line cannot be read, something is missing from the log, or an event is larger than a store takes.
    """
    entries = _whole_log(path)
    findings = audit(entries, read_twice=0).findings
    if any(rule.startswith(_STRUCTURE) for finding in findings for rule in finding.rules):
        raise BadInput(
            f"{shown_path(path)}: is no whole log; `lastresort audit` says of the file what is wrong with it"
        )
    _import(path, entries, store)


def _whole_log(path: Path) -> list[RecordedEvent]:
    entries: list[RecordedEvent] = []
    for number, entry in read_log(path):
        if isinstance(entry, Unreadable):
            raise BadInput(f"{shown_path(path)}:{number}: {entry.why}")
        if entries and entry.command_id == entries[-1].command_id and _envelope(entry) != _envelope(entries[-1]):
            raise BadInput(f"{shown_path(path)}:{number}: recorded_at or correlation_id differs within one command")
        entries.append(entry)
    return entries


def _envelope(entry: RecordedEvent) -> tuple[str, str]:
    return entry.recorded_at, entry.correlation_id


def write_log(path: Path, entries: Iterable[RecordedEvent], store: EventStore) -> None:
    """Write a log that was read from `path` into `store`, in one transaction.

    Raises:
        BadInput: the store holds a branch or a command of the log already, or an event is larger than it takes.
    """
    try:
        _import(path, entries, store)
    except (VersionConflict, CommandRecorded) as error:
        raise BadInput(
            f"{shown_path(path)}: the store holds some of this log already: {error}; import it into another"
        ) from None


def _import(path: Path, entries: Iterable[RecordedEvent], store: EventStore) -> None:
    try:
        store.import_log(_appends(entries))
    except EventTooLarge as error:
        raise BadInput(f"{shown_path(path)}: {error}") from None


def _appends(entries: Iterable[RecordedEvent]) -> Iterator[Append]:
    trees: dict[str, str] = {}

    def act(recorded: RecordedEvent) -> tuple[str, str]:
        event = recorded.event
        tree = event.conversation if isinstance(event, BranchOpened) else recorded.branch
        return trees.setdefault(recorded.branch, tree), recorded.command_id

    for (tree, command_id), group in groupby(entries, key=act):
        events = list(group)
        yield Append(
            tree=tree,
            command_id=command_id,
            correlation_id=events[0].correlation_id,
            recorded_at=events[0].recorded_at,
            events=tuple(NewEvent(recorded.branch, recorded.version, recorded.event) for recorded in events),
        )
