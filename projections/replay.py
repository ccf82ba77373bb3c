"""Reading the log from the beginning: the state of every branch, as each event found it and left it.

A branch inherits the state of its parent at the turn where it opens, so the state before each turn is kept: memory is
proportional to the number of turns. Where it is known at which turns branches open, those before other turns are not
kept, and memory is proportional to the number of branches.
"""

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from lastresort.domain.events import (
    AssistantTurnTaken,
    BranchOpened,
    EventBase,
    RecordedEvent,
    Unreadable,
    UserTurnTaken,
)
from lastresort.domain.state import Conversation, about_to_fork, evolve
from lastresort.domain.values import LegalHold, OpenRisk

Turn = tuple[str, int]
"""A turn by the branch that it was recorded on, and its version."""

_TURNS = frozenset({UserTurnTaken, AssistantTurnTaken})
_NOT_BEGUN = Conversation()


class NotWhole(ValueError):
    """A log from which something is missing: what is counted in it would be wrong."""


class _Fork(NamedTuple):
    """Where a branch opened: in which tree, on which parent, and at which version of it."""

    root: str
    parent: str
    at: int


def _turn_at(opened: BranchOpened, forks: Mapping[str, _Fork]) -> Turn:
    """Return the turn before which a branch opens: on its parent, or where its parent inherits it from."""
    owner = opened.parent
    while (fork := forks.get(owner)) is not None and opened.at < fork.at:
        owner = fork.parent
    return owner, opened.at + 1


def fork_points(log: Iterable[RecordedEvent | Unreadable]) -> frozenset[Turn]:
    """Return the turns of a log at which its branches open: the only ones before which a replay needs the state."""
    turns, forks, begun, last = set[Turn](), dict[str, _Fork](), set[str](), ""
    for entry in log:
        if not isinstance(entry, RecordedEvent):
            continue
        branch, event = entry.branch, entry.event
        if type(event) is BranchOpened:
            turns.add(_turn_at(event, forks))
            if branch not in begun and event.parent in begun:
                forks[branch] = _Fork("", event.parent, event.at)
        if branch is not last:
            begun.add(branch)
            last = branch
    return frozenset(turns)


class Replay:
    """The states of all branches after the events taken so far.

    Args:
        log: events to begin with.
        forks: the turns at which branches will open, as `fork_points` returns them; None if nobody knows.
    """

    def __init__(self, log: Iterable[RecordedEvent] = (), forks: Container[Turn] | None = None) -> None:
        self._open_at = forks
        self._opened_from = frozenset([branch for branch, _ in forks]) if isinstance(forks, frozenset) else None
        self.states: dict[str, Conversation] = {}
        # By branch and version, since a dictionary for each branch would weigh more than what is in it.
        self._before_turns: dict[Turn, Conversation] = {}
        self._answers: set[Turn] = set()  # the turns that are the assistant's
        self._forks: dict[str, _Fork] = {}
        self._trees: dict[str, list[str]] = {}  # by root, those that are more than that
        for recorded in log:
            self.take(recorded, self.before(recorded))

    def before(self, recorded: RecordedEvent) -> Conversation:
        """Return the state in which the law asks of an event: of its branch, or of the fork where it opens."""
        state = self.states.get(recorded.branch)
        if state is not None:
            return state
        event = recorded.event
        if not isinstance(event, BranchOpened):
            return _NOT_BEGUN
        prefix, following = self._prefix(event)
        absolved = event.parent in self.states and self.states[event.parent].absolved
        return about_to_fork(prefix, following, self.open_risks(event.parent), self.open_holds(event.parent), absolved)

    def is_plain(self, branch: str, kind: type[EventBase]) -> bool:
        """Whether nothing of an event is to be known but the state after it, so that no other branch is concerned."""
        if kind in _TURNS:
            return self._opened_from is not None and branch not in self._opened_from
        return kind is not BranchOpened

    def take(self, recorded: RecordedEvent, before: Conversation) -> Conversation:
        """Record that the event happened in the state `before`, and return the state after it."""
        branch, event = recorded.branch, recorded.event
        kind = type(event)
        if kind in _TURNS:
            turn = branch, recorded.version
            if self._open_at is None or turn in self._open_at:
                self._before_turns[turn] = before
                if kind is AssistantTurnTaken:
                    self._answers.add(turn)
                else:
                    self._answers.discard(turn)  # where a log has a version twice, the later counts
        elif kind is BranchOpened and branch not in self.states:
            self._open(branch, event)  # type: ignore[arg-type]  # that is its kind
        after = self.states[branch] = evolve(before, event)
        return after

    def tree_of(self, branch: str) -> list[str]:
        """Return the branches of a branch's tree, in the order in which they opened."""
        fork = self._forks.get(branch)
        root = fork.root if fork else branch
        return self._trees.get(root) or [root] * (root in self.states)

    def open_risks(self, branch: str) -> tuple[OpenRisk, ...]:
        """Return every risk that is open anywhere in a branch's tree."""
        return tuple(dict.fromkeys(risk for other in self.tree_of(branch) for risk in self.states[other].risks))

    def open_holds(self, branch: str) -> tuple[LegalHold, ...]:
        """Return every legal hold that stands anywhere in a branch's tree."""
        return tuple(dict.fromkeys(hold for other in self.tree_of(branch) for hold in self.states[other].holds))

    def _open(self, branch: str, event: BranchOpened) -> None:
        if event.parent not in self.states:  # a fork from nowhere, or from itself: a root, for want of one
            return
        of_parent = self._forks.get(event.parent)
        root = of_parent.root if of_parent else event.parent
        self._trees.setdefault(root, [root]).append(branch)
        self._forks[branch] = _Fork(root, event.parent, event.at)

    def fork_turn(self, opened: BranchOpened) -> Turn:
        """Return the turn before which a branch opens, or would if there were one."""
        return _turn_at(opened, self._forks)

    def _prefix(self, opened: BranchOpened) -> tuple[Conversation, type[EventBase] | None]:
        """Return the state at the fork, and the type of turn that follows there on the parent's path.

        Where no turn follows, the fork is unlawful whatever the state is, and the nearest that is known stands for it.
        """
        head = self.states.get(opened.parent)
        if head is None:
            return _NOT_BEGUN, None
        turn = self.fork_turn(opened)
        if (found := self._before_turns.get(turn)) is not None:
            return found, AssistantTurnTaken if turn in self._answers else UserTurnTaken
        if opened.at >= head.version:
            return head, None
        ended = head.ended if head.ended and head.ended.version <= opened.at else None
        return head._replace(version=opened.at, ended=ended), None
