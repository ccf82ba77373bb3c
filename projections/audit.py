"""The audit: replay everything, ask the law of each event, and look at the structure of the log.

It asks the same rules as `decide`, of events that anybody may have recorded. What is wrong with the structure is named
beside the rules, with ids that begin with `structure-`:

* structure-unreadable: an entry of an unknown kind, or with fields that its kind does not have;
* structure-gap: positions or versions that do not follow one another;
* structure-fork: a fork pointer to nowhere, or a fork that only one of parent and child knows of;
* structure-conversation: a branch of another conversation than its parent's, or a root that does not bear its
  conversation's id, so that one conversation might have two;
* structure-risk: a risk raised or cleared on some branches of a tree only;
* structure-command: a command id that was used for two appends, or, in a database, could be used for another;
* structure-state: a live state that is not what the log adds up to.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lastresort.domain.events import (
    BranchedOff,
    BranchOpened,
    ConversationStarted,
    EventBase,
    Recorded,
    RiskCleared,
    RiskRaised,
    Unreadable,
)
from lastresort.domain.law import GOVERNING, Law, broken_by
from lastresort.domain.rules import BEGINNINGS
from lastresort.domain.state import Conversation
from lastresort.domain.values import Frozen

from .replay import Replay

OF_SEVERAL_BRANCHES = frozenset({BranchedOff, BranchOpened, RiskRaised, RiskCleared})
"""What is recorded on more than one branch by one append."""


class Finding(Frozen):
    """An event that breaks a rule, or a place where the log is not whole."""

    branch: str
    version: int
    rules: tuple[str, ...]
    detail: str


class Report(NamedTuple):
    """What an audit found: nothing, if `findings` is empty."""

    events: int
    branches: int
    findings: tuple[Finding, ...]
    states: Mapping[str, Conversation]


def audit(log: Iterable[Recorded | Unreadable], law: Law = GOVERNING) -> Report:
    """Replay a whole log in its order and return every finding, in that order."""
    auditor = _Auditor(law)
    for entry in log:
        auditor.take(entry)
    return auditor.report()


class _Auditor:
    def __init__(self, law: Law) -> None:
        self.replay = Replay()
        self._events = 0
        self._position = 0  # of the entry before
        self.findings: list[Finding] = []
        self._law = law
        self._shared: list[Recorded] = []  # the events that the append being read has for several branches
        self._command = ""  # that it carries out
        self._commands: dict[str, None] = {}  # no set, which the garbage collector would look through again and again
        self._lacks = {kind: tuple(rule.lacks for rule in rules) for kind, rules in law.items()}

    def take(self, entry: Recorded | Unreadable) -> None:
        self._events += 1
        self._position += 1
        if entry.position != self._position:
            self._find(entry, "gap", f"position {entry.position} where {self._position} was to come")
            self._position = entry.position
        if isinstance(entry, Unreadable):
            self._find(entry, "unreadable", entry.why)
            if entry.branch in self.replay.states:
                state = self.replay.states[entry.branch]
                self.replay.states[entry.branch] = state._replace(version=entry.version)
            return
        _, _, version, _, _, command_id, event, _ = entry
        if command_id != self._command:
            self._begin_append(entry)
        kind = type(event)
        if kind in OF_SEVERAL_BRANCHES:
            self._shared.append(entry)
        before = self.replay.before(entry)
        usual = version == before.version + 1 and kind not in BEGINNINGS
        if not usual:
            before = self._whole(entry, before)
        for lacks in self._lacks[kind]:
            if lacks(before, event) is not None:
                self._breaks(entry, before)
                break
        after = self.replay.take(entry, before)
        if not usual and after.version != version:  # said above; from here on the log is counted as it counts itself
            self.replay.states[entry.branch] = after._replace(version=version)

    def _breaks(self, entry: Recorded, before: Conversation) -> None:
        broken = broken_by(before, entry.event, self._law)
        self._breach(entry, tuple(dict.fromkeys(b.rule for b in broken)), "; ".join(str(b) for b in broken))

    def _whole(self, entry: Recorded, before: Conversation) -> Conversation:
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

    def _one_conversation(self, entry: Recorded) -> None:
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

    def _begin_append(self, first: Recorded) -> None:
        if self._shared:
            self._close_append()
        self._command = first.command_id
        if self._command in self._commands:
            self._find(first, "command", f"command id {self._command} was used by an earlier append")
        self._commands[self._command] = None

    def _close_append(self) -> None:
        """Check what holds of an append as a whole."""
        self._forks_are_mutual()
        self._risks_are_everywhere()
        self._shared = []

    def _forks_are_mutual(self) -> None:
        children = {(e.branch, e.event.child, e.event.at) for e in self._shared if isinstance(e.event, BranchedOff)}
        parents = {(e.event.parent, e.branch, e.event.at) for e in self._shared if isinstance(e.event, BranchOpened)}
        for entry in self._shared:
            event = entry.event
            if isinstance(event, BranchedOff) and (entry.branch, event.child, event.at) not in parents:
                self._find(entry, "fork", f"branch {event.child} did not open at {event.at} in the same append")
            if isinstance(event, BranchOpened) and (event.parent, entry.branch, event.at) not in children:
                self._find(entry, "fork", f"branch {event.parent} does not note this fork in the same append")

    def _risks_are_everywhere(self) -> None:
        for entry in self._shared:
            if isinstance(entry.event, RiskRaised | RiskCleared):
                same = {e.branch for e in self._shared if _same_risk(e.event, entry.event)}
                missing = [branch for branch in self.replay.tree_of(entry.branch) if branch not in same]
                if missing:
                    self._find(entry, "risk", f"{entry.kind} {entry.event.risk} is not on: {', '.join(missing)}")

    def _find(self, entry: Recorded | Unreadable, what: str, detail: str) -> None:
        self._breach(entry, (f"structure-{what}",), detail)

    def _breach(self, entry: Recorded | Unreadable, rules: tuple[str, ...], detail: str) -> None:
        self.findings.append(Finding(branch=entry.branch, version=entry.version, rules=rules, detail=detail))

    def report(self) -> Report:
        self._close_append()
        for branch, state in self.replay.states.items():
            if state.hold_due == state.version:
                detail = f"the verdict at {state.version} saw a risk, and no RiskRaised followed"
                self.findings.append(
                    Finding(branch=branch, version=state.version, rules=("risk-holds",), detail=detail)
                )
        return Report(self._events, len(self.replay.states), tuple(self.findings), self.replay.states)


def _same_risk(one: EventBase, other: RiskRaised | RiskCleared) -> bool:
    if isinstance(one, RiskRaised) and isinstance(other, RiskRaised):
        return (one.risk, one.about) == (other.risk, other.about)
    return isinstance(one, RiskCleared) and isinstance(other, RiskCleared) and one.risk == other.risk


def compare_live(report: Report, live: Mapping[str, Conversation]) -> tuple[Finding, ...]:
    """Return a finding for each branch whose live state is not what the log adds up to."""
    return tuple(
        Finding(branch=branch, version=state.version, rules=("structure-state",), detail="live state differs")
        for branch, state in report.states.items()
        if live.get(branch) != state
    )
