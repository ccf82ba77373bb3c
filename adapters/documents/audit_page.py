"""An audit as a page: of which log, under which editions, by which program, and each finding told with its place."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from lastresort.domain.canonical import canonical
from lastresort.domain.events import RecordedEvent, Unreadable
from lastresort.domain.law import RULES
from lastresort.projections import Finding, Report

from .pages import anchor, page
from .sentences import of_event

_SHOWN = 25
"""Branches with findings whose events are shown."""


class LogFacts(NamedTuple):
    """What a log is, and the events of the branches that are to be shown."""

    events: int
    digest: str | None  # of the lines of its export; None if something in it has no canonical form
    last: str | None
    shown: Mapping[str, tuple[tuple[int, str, str], ...]]  # by branch: version, when, and what happened


class ToldFinding(NamedTuple):
    """A finding in sentences, and where it is in the events that are shown."""

    place: str | None
    branch: str
    version: int
    sentences: tuple[str, ...]


def facts_of(log: Iterable[RecordedEvent | Unreadable], findings: Sequence[Finding]) -> LogFacts:
    """Read a log once more: take its digest, and keep the events of branches with findings.

    The digest is SHA-256 of the canonical forms of all events, each with a line's end: of the file that an export is.
    """
    wanted: dict[str, list[tuple[int, str, str]]] = {one.branch: [] for one in findings[:_SHOWN]}
    digest, whole, events, last = sha256(), True, 0, None
    for entry in log:
        events += 1
        if isinstance(entry, Unreadable):
            whole = False
            if entry.branch in wanted:
                wanted[entry.branch].append((entry.version, "", "cannot be read"))
            continue
        digest.update(canonical(entry) + b"\n")
        last = entry.recorded_at
        if entry.branch in wanted:
            wanted[entry.branch].append((entry.version, entry.recorded_at, of_event(entry.event)))
    shown = {branch: tuple(told) for branch, told in wanted.items()}
    return LogFacts(events, digest.hexdigest() if whole else None, last, shown)


def audit_page(report: Report, findings: Sequence[Finding], facts: LogFacts, program: str) -> str:
    """Return an audit as one HTML file."""
    editions = Counter(state.law for state in report.states.values())
    return page(
        "audit.html",
        report=report,
        facts=facts,
        program=program,
        editions=sorted(editions.items()),
        findings=[_told(one, facts) for one in findings],
        shown=[(anchor("t", branch), branch, _lines(branch, lines)) for branch, lines in facts.shown.items()],
    )


def _lines(branch: str, lines: Sequence[tuple[int, str, str]]) -> list[tuple[str, int, str, str]]:
    return [(anchor("t", branch, version), version, at, told) for version, at, told in lines]


def _told(finding: Finding, facts: LogFacts) -> ToldFinding:
    there = {version: told for version, _, told in facts.shown.get(finding.branch, ())}
    place = anchor("t", finding.branch, finding.version) if finding.version in there else None
    texts = {rule: RULES[rule].text.replace("`", "") for rule in finding.rules if rule in RULES}
    rules = [f"The rule {rule} says: {text}" for rule, text in texts.items()]
    return ToldFinding(place, finding.branch, finding.version, (f"{finding}.", *rules))
