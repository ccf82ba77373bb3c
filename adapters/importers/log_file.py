"""The log as JSON lines, loss-free in both directions.

The format is fixed, since others read and write it: see docs/reference/formats.md. A line carries `correlation_id` and
`schema_version` only where they are not what they usually are (the command's id, and 1).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import chain, islice
from pathlib import Path

from lastresort.adapters.exporters.whole_file import whole_file
from lastresort.application.ports import Append, CommandRecorded, EventStore, EventTooLarge, NewEvent, VersionConflict
from lastresort.domain.canonical import canonical
from lastresort.domain.events import BranchOpened, RecordedEvent, Unreadable
from lastresort.projections import Report, audit, fork_points
from lastresort.projections.audit import READ_TWICE, Audit
from lastresort.projections.replay import Turn

from .inputs import BadInput, shown_path
from .log_lines import Entry, LogReader, beginnings

_STRUCTURE = "structure-"
"""How the rules begin that are about a log being whole."""
_PART = 200
"""Events that are audited at a time, and written then."""
_AHEAD = 1_000
"""Events that are read and audited before a store is opened: if something is wrong with them, none is made."""
_SCANNED_FROM = 4 * 2**20
"""Bytes of an exported log, some 12,000 events: one that is longer is scanned first for the turns at which branches
open."""


def export_line(recorded: RecordedEvent) -> str:
    """Return the canonical form of a recorded event, which is a line of JSON, without the line's end."""
    return canonical(recorded).decode("ascii")


def _lines(log: Iterable[RecordedEvent]) -> Iterator[str]:
    return map(export_line, log)


def write_file(
    log: Iterable[RecordedEvent], path: Path, lines: Callable[[Iterable[RecordedEvent]], Iterable[str]] = _lines
) -> int:
    """Export a log to a file, in place of the one that is there, and return how many events are in it.

    It is written under another name beside it, and takes its own when it is complete; see `whole_file`.

    Args:
        log: the events.
        path: of the file.
        lines: makes a line of each event, without its end.

    Raises:
        BadInput: it cannot be written. What was there before is there still, and nothing else.
    """
    events = 0
    try:
        if path.is_dir():
            raise BadInput(f"{path}: is there, and is not a file")
        with whole_file(path) as file:
            for line in lines(log):
                file.write(f"{line}\n")
                events += 1
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from None
    return events


def read_log(path: Path) -> Iterator[tuple[int, Entry]]:
    """Yield the entries of an exported log, each with its line number; an event that is none as Unreadable.

    Raises:
        BadInput: a line is not an envelope.
    """
    return LogReader().entries(path)


def audit_file(path: Path, read_twice: int | None = READ_TWICE, edition: int | None = None) -> Report:
    """Audit an exported log in a file. What cannot be read as an event is a finding.

    Raises:
        BadInput: a line is not an envelope.
    """
    entries = (entry for _, entry in read_log(path))
    return audit(entries, forks=forks_in(path), read_twice=read_twice, edition=edition)


def checked_log(path: Path) -> tuple[list[RecordedEvent], Report]:
    """Read a whole log into memory and audit it.

    Raises:
        BadInput: a line cannot be read.
    """
    entries = list(_events(path))
    return entries, audit(entries)


def load_log(path: Path, store: EventStore) -> None:
    """Read a log into an empty store in memory, to look at it. It may break the law, and must be whole.

    Raises:
        BadInput: a line cannot be read, something is missing from the log, or an event is larger than a store takes.
    """
    entries = list(_events(path))
    findings = audit(entries, read_twice=0).findings
    if any(rule.startswith(_STRUCTURE) for finding in findings for rule in finding.rules):
        raise BadInput(
            f"{shown_path(path)}: is not a whole log; `lastresort audit` says of the file what is wrong with it"
        )
    try:
        store.import_log(appends_of(entries))
    except EventTooLarge as error:
        raise BadInput(f"{shown_path(path)}: {error}") from None


def import_log(path: Path, opening: AbstractContextManager[EventStore]) -> Report:
    """Write an exported log into a store, all of it if the audit has no finding, or else nothing; return the audit.

    The log is read, audited and written in one pass and one transaction, which is taken back in the end if something
    was found. So memory does not grow with the events, but with the branches.

    Args:
        path: of the file.
        opening: opens the store. It is entered only if nothing is wrong with the first events of the log.

    Raises:
        BadInput: a line cannot be read, the store holds a branch or a command of the log already, or an event is
            larger than it takes.
    """
    audited = Audit(forks=forks_in(path))
    events = _events(path)
    first = list(islice(events, _AHEAD))
    audited.take(first)
    if len(first) < _AHEAD and (report := audited.report()).findings:
        return report
    with opening as store:
        try:
            store.import_log(appends_of(chain(first, _if_lawful(events, audited))))
        except _Unlawful as found:
            return found.report
        except (VersionConflict, CommandRecorded, EventTooLarge) as error:
            audited.take(events)  # what it has in common may be with itself, and that is for the audit to say
            if (report := audited.report()).findings:
                return report
            held = "" if isinstance(error, EventTooLarge) else "the store holds some of this log already: "
            raise BadInput(f"{shown_path(path)}: {held}{error}{'; import it into another' if held else ''}") from None
    return audited.report()


def _if_lawful(events: Iterator[RecordedEvent], audited: Audit) -> Iterator[RecordedEvent]:
    """Yield events that the audit has taken, and at the end hear what it has found."""
    while part := list(islice(events, _PART)):
        audited.take(part)
        yield from part
    if (report := audited.report()).findings:
        raise _Unlawful(report)


class _Unlawful(Exception):
    """The audit of what was about to be written has findings."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


def _events(path: Path) -> Iterator[RecordedEvent]:
    """Yield the events of a log that is to be written.

    Raises:
        BadInput: a line cannot be read, or could not be written as it is.
    """
    last: RecordedEvent | None = None
    for number, entry in read_log(path):
        if isinstance(entry, Unreadable):
            raise BadInput(f"{shown_path(path)}:{number}: {entry.why}")
        if last is not None and entry.command_id == last.command_id and _envelope(entry) != _envelope(last):
            raise BadInput(f"{shown_path(path)}:{number}: recorded_at or correlation_id differs within one command")
        last = entry
        yield entry


def _envelope(entry: RecordedEvent) -> tuple[str, str]:
    return entry.recorded_at, entry.correlation_id


def appends_of(entries: Iterable[RecordedEvent]) -> Iterator[Append]:
    """Yield what each command of a log wrote: its events in a row, as far as they are of one tree."""
    trees: dict[str, str] = {}
    before = named = ("", "")  # the tree and the command, its correlation and its time
    new: list[NewEvent] = []
    for _, branch, version, _, recorded_at, command_id, event, correlation_id in entries:
        tree = trees.get(branch)
        if tree is None:
            tree = trees[branch] = event.conversation if isinstance(event, BranchOpened) else branch
        if new and before != (tree, command_id):
            yield Append(*before, *named, tuple(new))
            new = []
        if not new:
            before, named = (tree, command_id), (correlation_id, recorded_at)
        new.append(NewEvent(branch, version, event))
    if new:
        yield Append(*before, *named, tuple(new))


def forks_in(path: Path) -> frozenset[Turn] | None:
    """Return the turns of a log at which its branches open; None if it is short, or can be read only once.

    With them an audit keeps no state before any other turn.
    """
    if not path.is_file() or path.stat().st_size < _SCANNED_FROM:
        return None
    return fork_points(entry for entry in beginnings(path))
