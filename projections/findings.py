"""What an audit says: its findings, of a tree and of the whole log, and what another edition would say.

What takes the whole log to find is here too: its positions, its appends, and the ids of its commands.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from lastresort.domain.events import BranchOpened, ConversationStarted, PolicyChanged, RecordedEvent, Unreadable
from lastresort.domain.law import Broken, broken_by
from lastresort.domain.state import Conversation
from lastresort.domain.values import EDITIONS, Frozen, with_field

from .replay import Replay, Turn

Entry = RecordedEvent | Unreadable

ENTRIES = 0
"""The stage of what is found of the entries of an append, before what is found of it as a whole."""


class Finding(Frozen):
    """An event that breaks a rule, a place where the log is not whole, or where the two readings disagree."""

    branch: str
    version: int
    rules: tuple[str, ...]
    detail: str

    def __str__(self) -> str:
        """What is wrong, each rule named once."""
        unnamed = ", ".join(rule for rule in self.rules if f"{rule}: " not in self.detail)
        return f"{unnamed}: {self.detail}" if unnamed else self.detail


class LocatedFinding(NamedTuple):
    """A finding, and what orders it in the whole log: append by append, each with what is about it as a whole last.

    An append is named by the place of its first entry.
    """

    append: int
    stage: int
    place: int
    finding: Finding


Findings = tuple[LocatedFinding, ...]

END = 2**63
"""The place, and the append, of what is found where the log ends."""


def in_order(findings: Iterable[LocatedFinding]) -> tuple[Finding, ...]:
    """Return findings in the order of the whole log."""
    return tuple(located.finding for located in sorted(findings, key=_order))


def _order(located: LocatedFinding) -> tuple[int, int, int, str]:
    append, stage, place, finding = located
    return append, stage, place, finding.branch if place == END else ""


class HindsightOfTree(NamedTuple):
    """What an edition would say of the `asked` events of a tree that earlier ones judged, by place in the log."""

    edition: int
    asked: int
    would_say: tuple[tuple[int, Finding], ...]


class EditionReport(NamedTuple):
    """For information, and no findings: what an edition would say of the `asked` events that earlier ones judged."""

    edition: int
    asked: int
    would_say: tuple[Finding, ...]


class Report(NamedTuple):
    """What an audit found: nothing, if `findings` is empty. `read_twice` of its events had a second reading.

    `hindsight` is what another edition would say, if one was asked.
    """

    events: int
    branches: int
    findings: tuple[Finding, ...]
    states: Mapping[str, Conversation]
    read_twice: int
    hindsight: EditionReport | None = None


class TreeAudit(NamedTuple):
    """What the audit of one tree found, and the state of each of its branches."""

    events: int
    findings: Findings
    states: Mapping[str, Conversation]
    read_twice: int
    hindsight: HindsightOfTree | None = None


def breach(recorded: RecordedEvent, broken: tuple[Broken, ...]) -> Finding:
    """Return the finding that an event breaks rules."""
    rules = tuple(dict.fromkeys(one.rule for one in broken))
    return Finding(branch=recorded.branch, version=recorded.version, rules=rules, detail="; ".join(map(str, broken)))


def in_sum(trees: Iterable[HindsightOfTree]) -> EditionReport | None:
    """Put together what an edition says of all trees of a log; None if it was asked of none."""
    asked = list(trees)
    if not asked:
        return None
    said = sorted((one for tree in asked for one in tree.would_say), key=lambda one: one[0])
    return EditionReport(asked[0].edition, sum(tree.asked for tree in asked), tuple(finding for _, finding in said))


FIRST = f"edition {EDITIONS[0]} is the first: nothing was recorded under an earlier one, so it has nothing to say"
"""Why it cannot be asked."""


class Hindsight:
    """What a later edition of the law would say of events that were recorded under earlier ones. For information.

    The log is folded once more, as if it had been under the later edition from the beginning, and its rules are asked
    of each event that an earlier edition judged. So the people in it are held to a law that nobody had told them: read
    it as what would be different today, and not as what was wrong. What names an edition that this program does not
    know is a finding of the audit, and nothing is said of it here.

    Raises:
        ValueError: there is no such edition, or none before it.
    """

    def __init__(self, edition: int, forks: Container[Turn] | None = None) -> None:
        if edition not in EDITIONS:
            raise ValueError(f"edition: one of {', '.join(map(str, EDITIONS))} is needed")
        if edition == EDITIONS[0]:
            raise ValueError(FIRST)
        self._edition = edition
        self._replay = Replay(forks=forks)
        self._asked = 0
        self._said: list[tuple[int, Finding]] = []

    def take(self, place: int, recorded: RecordedEvent, judged_by: int) -> None:
        """Take the next event of the log, which the edition `judged_by` has judged."""
        event = recorded.event
        if isinstance(event, ConversationStarted | PolicyChanged) and event.law < self._edition:
            recorded = recorded._replace(event=with_field(event, "law", self._edition))
        before = self._replay.before(recorded)
        if not isinstance(event, BranchOpened):  # a gap is the audit's to name
            before = before._replace(version=recorded.version - 1)
        if judged_by in EDITIONS and judged_by < self._edition:
            self._asked += 1
            if broken := broken_by(before, recorded.event):
                self._said.append((place, breach(recorded, broken)))
        self._replay.take(recorded, before)

    def found(self) -> HindsightOfTree:
        """Return what the edition says of the events that were taken."""
        return HindsightOfTree(self._edition, self._asked, tuple(self._said))


def of_structure(entry: Entry, what: str, detail: str) -> Finding:
    """Return the finding that something is wrong with the structure of a log at an entry."""
    return Finding(branch=entry.branch, version=entry.version, rules=(f"structure-{what}",), detail=detail)


class WholeLog:
    """What takes the whole log to check."""

    def __init__(self) -> None:
        self.findings: list[LocatedFinding] = []
        self._position = self._place = 0  # of the entry before
        self._append = 0
        self._of = ("", "")  # the tree of the append being read, and the command that it carries out
        self._trees: dict[str, str] = {}  # by branch
        self._commands: dict[str, str] = {}  # by id, the first tree that had one of it
        self._elsewhere: set[tuple[str, str]] = set()  # the other trees, and the id

    def placed(self, log: Iterable[Entry]) -> Iterator[tuple[int, int, Entry]]:
        """Yield each entry of a log with its place and its append there, as a `PlacedEntry` has them.

        What comes in parts goes on where the part before ended.
        """
        position, trees = self._position, self._trees
        place = before = self._place
        tree, command = self._of
        for place, entry in enumerate(log, before + 1):
            position += 1
            begins = False
            if type(entry) is RecordedEvent:
                of = trees.get(entry.branch) or self._tree_of(entry)
                if entry.command_id != command or of != tree:
                    begins, self._append = True, place
                    self._of = tree, command = of, entry.command_id
            if entry.position != position:
                self._gap(place, entry, position)
                position = entry.position
            if begins:
                self._look_for_command(place, entry)
            yield place, self._append, entry
        self._position, self._place = position, place

    def placed_apart(
        self, part: Iterable[tuple[int, Entry]], gaps: Mapping[int, int], unreadable: Container[int]
    ) -> Iterator[tuple[int, int, Entry]]:
        """Yield what `placed` would yield of entries of whole trees, if it were given the whole log.

        Args:
            part: the entries, each with its place in the whole log; those of one tree in that order.
            gaps: the positions that do not follow the one before: by place, the one that was to come.
            unreadable: the places of the entries of the whole log that cannot be read, which end no append.
        """
        last, trees = 0, self._trees  # the place of the last entry that could be read
        tree, command = self._of
        for place, entry in part:
            begins = False
            if type(entry) is RecordedEvent:
                if place - 1 != last and not _follows(last, place, unreadable):
                    self._of = tree, command = "", ""
                last = place
                of = trees.get(entry.branch) or self._tree_of(entry)
                if entry.command_id != command or of != tree:
                    begins, self._append = True, place
                    self._of = tree, command = of, entry.command_id
            if gaps and place in gaps:
                self._gap(place, entry, gaps[place])
            if begins:
                self._look_for_command(place, entry)
            yield place, self._append, entry

    def _tree_of(self, entry: RecordedEvent) -> str:
        """Return the tree of a branch that is not known yet."""
        above = entry.branch
        if isinstance(entry.event, BranchOpened):  # with which no append begins
            above = self._of[0] if entry.command_id == self._of[1] else entry.event.parent
        self._trees[entry.branch] = tree = self._trees.get(above, above)
        return tree

    def _gap(self, place: int, entry: Entry, position: int) -> None:
        self._find(place, entry, "gap", f"position {entry.position} where {position} was to come")

    def _look_for_command(self, place: int, entry: Entry) -> None:
        if self._was_used(*self._of):
            self._find(place, entry, "command", f"command id {self._of[1]} was used by an earlier append")

    def _was_used(self, tree: str, command: str) -> bool:
        """Whether a tree had a command of that id before. Nearly all ids are of one tree, and cost one entry each."""
        if (first := self._commands.get(command)) is None:
            self._commands[command] = tree
            return False
        again = first == tree or (tree, command) in self._elsewhere
        self._elsewhere.add((tree, command))
        return again

    def _find(self, place: int, entry: Entry, what: str, detail: str) -> None:
        self.findings.append(LocatedFinding(self._append, ENTRIES, place, of_structure(entry, what, detail)))


def _follows(last: int, place: int, unreadable: Container[int]) -> bool:
    """Whether nothing that can be read comes between two places."""
    return last < place and all(between in unreadable for between in range(place - 1, last, -1))
