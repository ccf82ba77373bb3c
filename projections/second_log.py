"""The second reading of a whole log: its trees, branch by branch, in one pass; and whether an audit agrees with it.

The audit asks the rules of each event in the state that the events before it add up to; a mistake in either goes unseen
by both. So it asks the second reading too, and says where the two differ.

What an event that should not have happened adds up to, the law does not say, nor what a log that is not whole means. So
a tree in which the audit has found something is compared no further: it has findings already.
"""

from collections.abc import Collection, Container, Iterable, Mapping

from lastresort.domain.events import AssistantTurnTaken, BranchOpened, Event, RecordedEvent, Unreadable, UserTurnTaken

from .second_path import Fork, Holds, Path, Risks
from .second_reading import broken


class SecondReading:
    """What is known of every branch of a log, as far as it was read.

    Memory: a `Path` for each turn, since a branch may open before any of them; they share what is the same in them.

    Args:
        forks: the turns, by branch and version, before which branches open, if it is known: then no others are kept.
    """

    def __init__(self, forks: Container[tuple[str, int]] | None = None) -> None:
        self._wanted = forks
        self.branches: dict[str, Path] = {}
        self._roots: dict[str, str] = {}
        self._trees: dict[str, list[str]] = {}
        self._forks: dict[str, BranchOpened] = {}
        self._before_turns: dict[tuple[str, int], tuple[Path, type[Event]]] = {}

    def take(self, entry: RecordedEvent) -> tuple[str, ...]:
        """Return the ids of the rules that an event breaks, in the order of the law, and go on from it."""
        branch, event = entry.branch, entry.event
        path = self.before(branch, event)
        rules = broken(path, event)
        self.record(branch, event, path)
        return rules

    def root_of(self, branch: str) -> str:
        """Return the root of a branch's tree: the branch itself, if it opened nowhere that is known."""
        return self._roots.get(branch, branch)

    def open_in_tree(self, branch: str) -> Risks:
        """Return every risk that is open on some branch of the tree."""
        tree = self._trees.get(self.root_of(branch), ())
        return frozenset(risk for other in tree for risk in self.branches[other].risks)

    def holds_on_tree(self, branch: str) -> Holds:
        """Return every legal hold on some branch of the tree."""
        tree = self._trees.get(self.root_of(branch), ())
        return frozenset(hold for other in tree for hold in self.branches[other].holds)

    def before(self, branch: str, event: Event) -> Path:
        """Return the path that `event` would continue: for a fork, its prefix."""
        known = self.branches.get(branch)
        if known is not None:
            return known
        if type(event) is not BranchOpened or event.parent not in self.branches:
            return Path()
        prefix, following = self._prefix(event)
        parent = event.parent
        granted = self.branches[parent].granted
        fork = Fork(following, self.open_in_tree(parent), self.holds_on_tree(parent), granted)
        return prefix._replace(begun=False, fork=fork)

    def record(self, branch: str, event: Event, path: Path) -> None:
        """Go on from an event on `path`, lawful or not: it has happened."""
        kind = type(event)
        if kind is UserTurnTaken or kind is AssistantTurnTaken:
            turn = branch, path.version + 1
            if self._wanted is None or turn in self._wanted:
                self._before_turns[turn] = path, kind
        if branch not in self.branches:
            self._plant(branch, event)
        self.branches[branch] = path.then(event)

    def _plant(self, branch: str, event: Event) -> None:
        root = branch
        if type(event) is BranchOpened and event.parent in self.branches:
            root = self._roots[event.parent]
            self._forks[branch] = event
        self._roots[branch] = root
        self._trees.setdefault(root, []).append(branch)

    def _prefix(self, opened: BranchOpened) -> tuple[Path, type[Event] | None]:
        """Return what is known of the path as far as the fork, and the kind of the turn that follows on the parent's.

        Where no turn follows, no branch may open, and what is known of the parent by now stands for the prefix.
        """
        owner = opened.parent
        while owner in self._forks and opened.at < self._forks[owner].at:
            owner = self._forks[owner].parent
        if (found := self._before_turns.get((owner, opened.at + 1))) is not None:
            return found
        head = self.branches[opened.parent]
        ended = head.ended if head.ended <= opened.at else 0
        return head._replace(version=min(head.version, opened.at), ended=ended, must_hold=False), None

    def has_read(self, branch: str, version: int | None) -> bool:
        """Whether `version` is the last that was read of a branch."""
        return branch in self.branches and self.branches[branch].version == version

    def unheld(self) -> Iterable[tuple[str, int]]:
        """Yield each branch that ends with a verdict that saw a risk, so that a hold is missing, and its version."""
        return ((branch, path.version) for branch, path in self.branches.items() if path.must_hold)


# --- Do the readings agree? -------------------------------------------------------------------------------------------

BESIDE: dict[str, frozenset[str]] = {
    "judges-the-latest": frozenset({"refers-to-the-path", "redirects-harm", "proposed-first"}),
    "answers-a-user": frozenset({"refers-to-the-path"}),
    "evidence-is-true": frozenset({"refers-to-the-path"}),
    "forks-at-a-turn": frozenset({"refers-to-the-path", "risk-holds", "forks-before-the-end"}),
}
"""What one reading may name and the other not, beside a rule that both name.

Of an older turn, and of a place where no branch may open, a small state knows less than a history does.
"""


def agree(one: Collection[str], other: Collection[str]) -> bool:
    """Whether two sets of rules that an event breaks are the same, but for what may stand beside a rule of both."""
    named = set(one) & set(other)
    beside = {rule for both in named for rule in BESIDE.get(both, ())}
    return set(one) - beside == set(other) - beside


class Agreement:
    """The second reading of a log, compared with what the audit finds in it."""

    def __init__(self, forks: Container[tuple[str, int]] | None = None) -> None:
        self._second = SecondReading(forks)
        self._damaged: set[str] = set()  # roots of trees

    def take(self, entry: RecordedEvent | Unreadable, found: Collection[str], damaged: Collection[str]) -> str | None:
        """Read one more entry, and return what the readings disagree on, if they do.

        Args:
            found: the rules that the audit found this event to break.
            damaged: the branches in whose structure it has found something since the entry before.
        """
        second = () if isinstance(entry, Unreadable) else self._second.take(entry)
        self._damaged.update(map(self._second.root_of, damaged))
        detail = self._difference(entry.branch, found, second)
        if found and second:
            self._damaged.add(self._second.root_of(entry.branch))
        return detail

    def end(
        self, unheld: Collection[tuple[str, int]], damaged: Collection[str], ends: Mapping[str, int]
    ) -> list[tuple[str, int, str]]:
        """Return where the readings disagree on what is missing at the end of a log.

        Args:
            unheld: where, as the audit found, a verdict saw a risk and no hold followed.
            damaged: the branches in whose structure it has found something at the end.
            ends: the version of the last event of each branch. A branch that was not read as far is left out.
        """
        self._damaged.update(map(self._second.root_of, damaged))
        second = set(self._second.unheld())
        told = []
        for place in sorted(second.symmetric_difference(unheld)):
            if not self._second.has_read(place[0], ends.get(place[0])):
                continue
            missing: tuple[Collection[str], Collection[str]] = (("risk-holds",), ())
            detail = self._difference(place[0], *(missing if place in unheld else missing[::-1]))
            if detail is not None:
                told.append((*place, detail))
        return told

    def _difference(self, branch: str, first: Collection[str], second: Collection[str]) -> str | None:
        if agree(first, second) or self._second.root_of(branch) in self._damaged:
            return None
        return f"the rules say {_told(first)}, the second reading says {_told(second)}"


def _told(rules: Collection[str]) -> str:
    return f"that it breaks {', '.join(rules)}" if rules else "that it is lawful"
