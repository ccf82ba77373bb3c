"""The audit of a log that is in parts, each of whole trees: of one part, and of all of them put together.

It is the audit by tree (see `audit.py`) for logs of which no process holds the whole, nor a state of each branch. What
a part needs to know of the others is little, and found beforehand: which positions do not follow one another, and which
entries cannot be read, since these end no append.

    merge_parts(known, [audit_part(part, known) for part in parts]) == audit(log), but for the states

What another policy makes of a part needs to know nothing of the others. A report does: see `reports/parts.py`.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lastresort.domain.events import BranchOpened, ConversationStarted, RecordedEvent
from lastresort.domain.policy import Policy

from .audit import READ_TWICE, audit_tree
from .findings import Entry, HindsightOfTree, LocatedFinding, Report, WholeLog, in_order, in_sum
from .replay import NotWhole, Turn
from .supposed import WhatIf
from .what_if import Play

UNREADABLE = ("structure-unreadable",)


class Known(NamedTuple):
    """What is known of a whole log before its parts are audited.

    Attributes:
        gaps: the positions that do not follow the one before: by place, the one that was to come.
        unreadable: the places of the entries that cannot be read.
    """

    gaps: Mapping[int, int] = {}
    unreadable: frozenset[int] = frozenset()

    def before(self, place: int) -> int:
        """Return the place of the last entry before a place that can be read; 0 if there is none."""
        place -= 1
        while place in self.unreadable:
            place -= 1
        return place


class PartAudit(NamedTuple):
    """What the audit of a part found.

    Attributes:
        unreadable: the places of its entries that cannot be read. If they were not known, nothing else here counts.
        appends: the appends of the entries behind which one stands that cannot be read, by place.
    """

    events: int
    branches: int
    findings: tuple[LocatedFinding, ...]
    read_twice: int
    hindsight: HindsightOfTree | None
    unreadable: tuple[int, ...]
    appends: Mapping[int, int]


def audit_part(
    trees: Iterable[Iterable[tuple[int, Entry]]],
    known: Known,
    read_twice: int | None = READ_TWICE,
    edition: int | None = None,
) -> PartAudit:
    """Audit a part of a log.

    Args:
        trees: of the part, one or several at a time, each entry with its place in the whole log; those of one tree in
            the order of the log. What is kept in memory is that of one item.
        known: of the whole log.
        read_twice: as for `audit`: of the whole log.
        edition: as for `audit`.
    """
    asked = frozenset(map(known.before, known.unreadable))
    appends: dict[int, int] = {}
    events, branches, twice = 0, 0, 0
    findings: list[LocatedFinding] = []
    hindsight: list[HindsightOfTree] = []
    for some in trees:
        whole = WholeLog()
        placed = whole.placed_apart(some, known.gaps, known.unreadable)
        if asked:
            placed = _heard(placed, asked, appends)
        found = audit_tree(placed, read_twice=read_twice, edition=edition)
        events += found.events
        branches += len(found.states)
        twice += found.read_twice
        findings += [*whole.findings, *found.findings]
        hindsight += [found.hindsight] if found.hindsight else []
    unreadable = tuple(one.place for one in findings if one.finding.rules == UNREADABLE)
    return PartAudit(events, branches, tuple(findings), twice, _together(hindsight), unreadable, appends)


def _heard(
    placed: Iterator[tuple[int, int, Entry]], asked: Container[int], appends: dict[int, int]
) -> Iterator[tuple[int, int, Entry]]:
    """Yield entries, and note the appends of those at the places that are asked."""
    for one in placed:
        place, append, _ = one
        if place in asked:
            appends[place] = append
        yield one


def _together(hindsight: Iterable[HindsightOfTree]) -> HindsightOfTree | None:
    asked = list(hindsight)
    if not asked:
        return None
    told = tuple(one for tree in asked for one in tree.would_say)
    return HindsightOfTree(asked[0].edition, sum(tree.asked for tree in asked), told)


def merge_parts(known: Known, parts: Iterable[PartAudit]) -> Report:
    """Put together the audits of all parts of a log, in any order. The states are left out.

    Raises:
        ValueError: a part has entries that cannot be read, and they were not known.
    """
    events, branches, twice = 0, 0, 0
    found: list[LocatedFinding] = []
    hindsight: list[HindsightOfTree] = []
    appends: dict[int, int] = {}
    for part in parts:
        if not known.unreadable.issuperset(part.unreadable):
            raise ValueError("entries that cannot be read were not known: audit all parts again, with their places")
        events += part.events
        branches += part.branches
        twice += part.read_twice
        found += part.findings
        hindsight += [part.hindsight] if part.hindsight else []
        appends.update(part.appends)
    located = (
        one._replace(append=appends.get(known.before(one.place), 0)) if one.place in known.unreadable else one
        for one in found
    )
    return Report(events, branches, in_order(located), {}, twice, in_sum(hindsight))


# --- Another policy ---------------------------------------------------------------------------------------------------


def suppose_part(
    trees: Iterable[Iterable[tuple[int, RecordedEvent]]],
    policies: Sequence[Policy],
    edition: int | None = None,
    forks: Container[Turn] | None = None,
) -> Iterator[tuple[tuple[int, ...], tuple[WhatIf, ...]]]:
    """Yield what other policies make of the conversations of a part, item by item of `trees`.

    Args:
        trees: of the part, one or several at a time, each event with its place in the whole log, and those of an item
            in the order of the log. What is kept in memory is that of one item.
        policies: the others, each by itself.
        edition, forks: as for `what_if`.

    Yields:
        The places at which the branches begin, and under each policy what comes of these branches.

    Raises:
        NotWhole: something is missing.
    """
    for some in trees:
        plays = [Play(policy, edition, forks) for policy in policies]
        begun: list[int] = []
        for recorded in whole(some, begun):
            for play in plays:
                play.take(recorded)
        yield tuple(begun), tuple(play.finish() for play in plays)


def whole(log: Iterable[tuple[int, RecordedEvent]], begun: list[int]) -> Iterator[RecordedEvent]:
    """Yield the events of whole conversations; note the places at which branches begin.

    Raises:
        NotWhole: something is missing.
    """
    versions: dict[str, int] = {}
    for place, recorded in log:
        event, branch = recorded.event, recorded.branch
        before = versions.get(branch)
        if before is None:
            begun.append(place)
            if isinstance(event, BranchOpened) and event.parent in versions:
                before = event.at
            elif isinstance(event, ConversationStarted):
                before = 0
            else:
                raise NotWhole(f"branch {branch}: what began it, or its parent, is missing")
        if recorded.version != before + 1:
            raise NotWhole(f"branch {branch}: version {recorded.version} follows {before}")
        versions[branch] = recorded.version
        yield recorded
