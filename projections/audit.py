"""The audit: replay everything, ask the law of each event, and look at the structure of the log.

It asks the same rules as `decide`, of events that anybody may have recorded. What is wrong with the structure is named
beside the rules, with ids that begin with `structure-`:

* structure-unreadable: an entry of an unknown kind, or with fields that its kind does not have;
* structure-gap: positions or versions that do not follow one another;
* structure-fork: a fork pointer to nowhere, or a fork that only one of parent and child knows of;
* structure-conversation: a branch of another conversation than its parent's, or a root that does not bear its
  conversation's id, so that one conversation might have two;
* structure-risk: a risk raised or cleared on some branches of a tree only;
* structure-hold: a legal hold set or released on some branches of a tree only;
* structure-size: an event, or the policy in it, is larger than a log may take (see `domain.canonical.too_large`), since
  edition 2;
* structure-command: a command id that was used for two appends to a tree, or whose events a database counts otherwise
  than they stand there;
* structure-state: a live state that is not what the log adds up to.

All but positions and command ids can be checked tree by tree, so an audit can be distributed:

    audit(log) == merge(audit_global(log), map(audit_tree, by_tree(log)))

What bounds its memory: of the whole log, the id of every append; of a tree, the state of each branch and the state
before each turn, since a branch may open at any of them. Where it is known beforehand at which turns branches open
(`fork_points`), only the states before those are kept, and memory grows with branches and not with turns. Figures are
in docs/explanation/performance.md.

Its first events are read twice: `disagreement` says where the second reading of the law, which shares no code with the
rules and with what they are asked of, says something else (see `second_log`).

Asked for an edition, it also says what that one would say of what earlier editions judged, apart from the findings (see
`findings.Hindsight`).
"""

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from lastresort.domain.canonical import OF_ANY_LENGTH, too_large
from lastresort.domain.events import (
    BranchedOff,
    BranchOpened,
    ConversationStarted,
    ErasureHeld,
    ErasureReleased,
    EventBase,
    RecordedEvent,
    RiskCleared,
    RiskRaised,
    Unreadable,
)
from lastresort.domain.law import GOVERNING, UNKNOWN, Law, broken_by
from lastresort.domain.rules import BEGINNINGS
from lastresort.domain.state import Conversation

from .findings import (
    END,
    ENTRIES,
    Entry,
    Finding,
    Findings,
    Hindsight,
    HindsightOfTree,
    LocatedFinding,
    Report,
    TreeAudit,
    WholeLog,
    breach,
    in_order,
    in_sum,
    of_structure,
)
from .replay import Replay, Turn
from .second_log import Agreement

DISAGREEMENT = "disagreement"
READ_TWICE = 100_000
"""So many events of a log are read twice, unless an audit is told otherwise."""

OF_SEVERAL_BRANCHES = frozenset({BranchedOff, BranchOpened, RiskRaised, RiskCleared, ErasureHeld, ErasureReleased})
"""What is recorded on more than one branch by one append."""
_UNUSUAL = OF_SEVERAL_BRANCHES.union(BEGINNINGS, OF_ANY_LENGTH)  # what more has to be looked at than the rules


class PlacedEntry(NamedTuple):
    """An entry and where it stands in the whole log, as that was read: at which place, in which append."""

    place: int  # from 1
    append: int  # the place of its first entry; one that cannot be read counts to the append before it
    entry: Entry


_FORKS, _RISKS = ENTRIES + 1, ENTRIES + 2  # the later stages of what is found in one append
_LONGEST_TIME = 100  # characters that no time of ours has


def audit(
    log: Iterable[Entry],
    law: Law = GOVERNING,
    forks: Container[Turn] | None = None,
    read_twice: int | None = READ_TWICE,
    edition: int | None = None,
) -> Report:
    """Replay a whole log in its order and return every finding, in that order.

    Args:
        log: every entry from the beginning; read once.
        law: what to ask of each event. Under any but the whole law nothing is read twice.
        forks: the turns at which branches open, as `fork_points` returns them for the same log, to save memory.
        read_twice: how many events of the log, from the first, have a second reading; None: all of them.
        edition: also say, in `hindsight`, what this edition would say of events that earlier ones judged.

    Raises:
        ValueError: this program knows no such edition, or it is the first, which judged whatever it could.
    """
    audited = Audit(law, forks, read_twice, edition)
    audited.take(log)
    return audited.report()


class Audit:
    """An audit of a log that comes in parts, so that its reader can do something else with it on the way.

    See `audit`, which takes it as a whole.
    """

    def __init__(
        self,
        law: Law = GOVERNING,
        forks: Container[Turn] | None = None,
        read_twice: int | None = READ_TWICE,
        edition: int | None = None,
    ) -> None:
        self._whole, self._trees = WholeLog(), _Trees(law, forks, read_twice, edition)

    def take(self, part: Iterable[Entry]) -> None:
        """Take the next entries of the log."""
        self._trees.take_all(self._whole.placed(part))

    def report(self) -> Report:
        """Return what was found, now that the log has ended."""
        return merge(tuple(self._whole.findings), [self._trees.audited()])


def audit_global(log: Iterable[Entry]) -> Findings:
    """Return what takes the whole log to see: gaps in its positions, and command ids that a tree used twice."""
    whole = WholeLog()
    for _ in whole.placed(log):
        pass
    return tuple(whole.findings)


def audit_tree(
    tree: Iterable[tuple[int, int, Entry]],
    law: Law = GOVERNING,
    read_twice: int | None = READ_TWICE,
    edition: int | None = None,
) -> TreeAudit:
    """Audit the entries of one tree, or of several, each a `PlacedEntry` and in the order of the log.

    `read_twice` is of the whole log too.
    """
    trees = _Trees(law, None, read_twice, edition)
    trees.take_all(tree)
    return trees.audited()


def merge(whole: Findings, trees: Iterable[TreeAudit]) -> Report:
    """Put together the audit of a log from `audit_global` and the audits of all its trees, in any order.

    Raises:
        ValueError: a branch is in two trees, so the log was not split by tree.
    """
    events, read_twice, findings, states = 0, 0, list(whole), dict[str, Conversation]()
    hindsight: list[HindsightOfTree] = []
    for tree in trees:
        if twice := states.keys() & tree.states.keys():
            raise ValueError(f"branch {min(twice)} is in two trees: split a log by `by_tree`")
        events += tree.events
        read_twice += tree.read_twice
        findings += tree.findings
        states.update(tree.states)
        hindsight += [tree.hindsight] if tree.hindsight else []
    return Report(events, len(states), in_order(findings), states, read_twice, in_sum(hindsight))


def by_tree(log: Iterable[Entry]) -> tuple[tuple[PlacedEntry, ...], ...]:
    """Split a log by tree, in the order in which the trees begin.

    Branches are of one tree if one names the other as its parent or child, lawfully or not.
    """
    entries, joined = [PlacedEntry(*placed) for placed in WholeLog().placed(log)], dict[str, str]()

    def root_of(branch: str) -> str:
        while (above := joined.setdefault(branch, branch)) != branch:
            joined[branch] = branch = joined[above]
        return branch

    for _, _, entry in entries:
        if isinstance(entry, RecordedEvent):
            if isinstance(entry.event, BranchOpened):
                joined[root_of(entry.branch)] = root_of(entry.event.parent)
            elif isinstance(entry.event, BranchedOff):
                joined[root_of(entry.event.child)] = root_of(entry.branch)
    trees: dict[str, list[PlacedEntry]] = {}
    for placed in entries:
        trees.setdefault(root_of(placed.entry.branch), []).append(placed)
    return tuple(map(tuple, trees.values()))


class _Trees:
    """What can be checked tree by tree: here of one, or of as many as come."""

    def __init__(
        self, law: Law, forks: Container[Turn] | None, read_twice: int | None, edition: int | None = None
    ) -> None:
        self.replay = Replay(forks=forks)
        self._hindsight = None if edition is None else Hindsight(edition, forks)
        self._agreement = Agreement(forks)
        self._twice_until = 0 if law is not GOVERNING else END if read_twice is None else read_twice
        self._read_twice = 0
        self.findings: list[LocatedFinding] = []
        self._events = 0
        self._place = 0
        self._law = law
        self._append = 0
        self._shared: list[
            tuple[int, RecordedEvent]
        ] = []  # the events that the append being read has for several branches
        self._lacks = {
            edition: {kind: tuple(rule.lacks for rule in rules) for kind, rules in book.items()}
            for edition, book in law.items()
        }

    def take_all(self, placed: Iterable[tuple[int, int, Entry]]) -> None:
        """Take the next entries, each with its place and its append.

        Most are the next events of their branches and nothing else. Those are taken here, where what that needs is at
        hand; `take` says the same of them, and more of the others, in twice the time.
        """
        replay, states, lacking, unknown = self.replay, self.replay.states, self._lacks, self._lacks[UNKNOWN]
        long_until = self._twice_until if self._hindsight is None else END
        for place, append, entry in placed:
            if place > long_until and type(entry) is RecordedEvent:
                _, branch, version, _, recorded_at, _, event, _ = entry
                kind, before, short = type(event), states.get(branch), len(recorded_at) <= _LONGEST_TIME
                if before is not None and version == before.version + 1 and short and kind not in _UNUSUAL:
                    if append != self._append:
                        self._begin_append(append)
                    self._events += 1
                    for lacks in lacking.get(before.law, unknown)[kind]:
                        if lacks(before, event) is not None:
                            self._place = place
                            self._locate(breach(entry, broken_by(before, event, self._law)))
                            break
                    replay.take(entry, before)
                    continue
            self.take(place, append, entry)

    def take(self, place: int, append: int, entry: Entry) -> None:
        """Take the next entry, and hear what the second reading says of it."""
        known = len(self.findings)
        self._take(place, append, entry)
        if place > self._twice_until:
            return
        self._read_twice += 1
        found: tuple[str, ...] = ()
        damaged: list[str] = []
        for _, _, _, finding in self.findings[known:]:
            if finding.rules[0].startswith("structure-"):
                damaged.append(finding.branch)
            else:
                found = finding.rules
        detail = self._agreement.take(entry, found, damaged)
        if detail is not None:
            self._locate(_disagreement(entry.branch, entry.version, detail))

    def _take(self, place: int, append: int, entry: Entry) -> None:
        if append != self._append:
            self._begin_append(append)
        self._events += 1
        self._place = place
        if isinstance(entry, Unreadable):
            self._find(entry, "unreadable", entry.why)
            if entry.branch in self.replay.states:
                state = self.replay.states[entry.branch]
                self.replay.states[entry.branch] = state._replace(version=entry.version)
            return
        _, _, version, _, recorded_at, _, event, _ = entry
        kind = type(event)
        if kind in OF_SEVERAL_BRANCHES:
            self._shared.append((place, entry))
        before = self.replay.before(entry)
        usual = version == before.version + 1 and kind not in BEGINNINGS
        if not usual:
            before = self._whole(entry, before)
        edition = event.law if isinstance(event, ConversationStarted) else before.law
        if (kind in OF_ANY_LENGTH or len(recorded_at) > _LONGEST_TIME) and edition > 1 and (what := too_large(entry)):
            self._find(entry, "size", what)
        for lacks in self._lacks.get(edition, self._lacks[UNKNOWN])[kind]:
            if lacks(before, event) is not None:
                self._locate(breach(entry, broken_by(before, event, self._law)))
                break
        if self._hindsight is not None:
            self._hindsight.take(place, entry, edition)
        after = self.replay.take(entry, before)
        if not usual and after.version != version:  # said above; from here on the log is counted as it counts itself
            self.replay.states[entry.branch] = after._replace(version=version)

    def _whole(self, entry: RecordedEvent, before: Conversation) -> Conversation:
        """Check that the event is the next on its branch, and return the state with the version that it follows."""
        event = entry.event
        if isinstance(event, BranchOpened) and event.parent not in self.replay.states:
            self._find(entry, "fork", f"the fork points to branch {event.parent}, which is not there")
        self._one_conversation(entry)
        begins = event.at if isinstance(event, BranchOpened) else 0
        known = entry.branch in self.replay.states
        follows = before.version if known or not isinstance(event, ConversationStarted | BranchOpened) else begins
        if entry.version == follows + 1:
            return before
        self._find(entry, "gap", f"version {entry.version} follows version {follows}")
        return before if isinstance(event, BranchOpened) else before._replace(version=entry.version - 1)

    def _one_conversation(self, entry: RecordedEvent) -> None:
        """Words are sealed by conversation, so one that is not what it seems would be erased with another."""
        event = entry.event
        if isinstance(event, ConversationStarted):
            if event.conversation != entry.branch:
                self._find(
                    entry, "conversation", f"a root of conversation {event.conversation} that does not bear its id"
                )
        elif isinstance(event, BranchOpened) and event.parent in self.replay.states:
            parent = self.replay.states[event.parent].conversation
            if event.conversation != parent:
                self._find(entry, "conversation", f"the parent's conversation is {parent}, not {event.conversation}")

    def _begin_append(self, append: int) -> None:
        if self._shared:
            self._close_append()
        self._append = append

    def _close_append(self) -> None:
        """Check what holds of an append as a whole."""
        self._forks_are_mutual()
        self._what_a_tree_shares_is_everywhere()
        self._shared = []

    def _forks_are_mutual(self) -> None:
        events = [entry for _, entry in self._shared]
        children = {(e.branch, e.event.child, e.event.at) for e in events if isinstance(e.event, BranchedOff)}
        parents = {(e.event.parent, e.branch, e.event.at) for e in events if isinstance(e.event, BranchOpened)}
        for place, entry in self._shared:
            event = entry.event
            if isinstance(event, BranchedOff) and (entry.branch, event.child, event.at) not in parents:
                detail = f"branch {event.child} did not open at {event.at} in the same append"
                self.findings.append(LocatedFinding(self._append, _FORKS, place, of_structure(entry, "fork", detail)))
            if isinstance(event, BranchOpened) and (event.parent, entry.branch, event.at) not in children:
                detail = f"branch {event.parent} does not note this fork in the same append"
                self.findings.append(LocatedFinding(self._append, _FORKS, place, of_structure(entry, "fork", detail)))

    def _what_a_tree_shares_is_everywhere(self) -> None:
        """Risks and legal holds begin and end on every branch of a tree in one append."""
        on = {(e.branch, shared) for _, e in self._shared if (shared := _shared_by_a_tree(e.event)) is not None}
        for place, entry in self._shared:
            shared = _shared_by_a_tree(entry.event)
            if shared is None:
                continue
            missing = [branch for branch in self.replay.tree_of(entry.branch) if (branch, shared) not in on]
            if missing:
                detail = f"{entry.kind} {shared.name} is not on: {', '.join(missing)}"
                found = of_structure(entry, shared.what, detail)
                self.findings.append(LocatedFinding(self._append, _RISKS, place, found))

    def _find(self, entry: Entry, what: str, detail: str) -> None:
        self._locate(of_structure(entry, what, detail))

    def _locate(self, finding: Finding) -> None:
        self.findings.append(LocatedFinding(self._append, ENTRIES, self._place, finding))

    def audited(self) -> TreeAudit:
        """Close what is open where the log ends, and return what was found."""
        known = len(self.findings)
        self._close_append()
        damaged = [located.finding.branch for located in self.findings[known:]]
        states = self.replay.states
        unheld = [(branch, state.version) for branch, state in states.items() if _lacks_its_hold(state)]
        at_the_end = []
        for branch, version in unheld:
            detail = f"the verdict at {version} saw a risk, and no RiskRaised followed"
            at_the_end.append(Finding(branch=branch, version=version, rules=("risk-holds",), detail=detail))
        ends = {branch: state.version for branch, state in states.items()} if self._read_twice else {}
        at_the_end += [_disagreement(*place) for place in self._agreement.end(unheld, damaged, ends)]
        self.findings += [LocatedFinding(END, ENTRIES, END, finding) for finding in at_the_end]
        hindsight = None if self._hindsight is None else self._hindsight.found()
        return TreeAudit(self._events, tuple(self.findings), states, self._read_twice, hindsight)


def _lacks_its_hold(state: Conversation) -> bool:
    return state.hold_due == state.version


def _disagreement(branch: str, version: int, detail: str) -> Finding:
    return Finding(branch=branch, version=version, rules=(DISAGREEMENT,), detail=detail)


class _Shared(NamedTuple):
    """What an event says of a whole tree: of a risk or a hold, which one, and all that has to be alike."""

    what: str
    name: str
    alike: tuple[object, ...]


def _shared_by_a_tree(event: EventBase) -> _Shared | None:
    """Return what an event says of its whole tree; None if it speaks of its branch alone."""
    match event:
        case RiskRaised():
            return _Shared("risk", event.risk, (RiskRaised, event.about))
        case RiskCleared():
            return _Shared("risk", event.risk, (RiskCleared,))
        case ErasureHeld() | ErasureReleased():
            return _Shared("hold", event.hold, (type(event), event.reason, event.until))
        case _:
            return None


def compare_live(report: Report, live: Mapping[str, Conversation]) -> tuple[Finding, ...]:
    """Return a finding for each branch whose live state is not what the log adds up to."""
    return tuple(
        Finding(branch=branch, version=state.version, rules=("structure-state",), detail="live state differs")
        for branch, state in report.states.items()
        if live.get(branch) != state
    )
