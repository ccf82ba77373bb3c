"""Reading the log from the beginning: the state of every branch, as each event found it and left it.

A branch inherits the state of its parent at the turn where it opens, so the state before each turn is kept.
Memory is proportional to the number of turns, not to what was said in them.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lastresort.domain.events import AssistantTurnTaken, BranchOpened, EventBase, Recorded, UserTurnTaken
from lastresort.domain.state import Conversation, about_to_fork, evolve
from lastresort.domain.values import OpenRisk

_TURNS = (UserTurnTaken, AssistantTurnTaken)


class _Stream(NamedTuple):
    """A branch so far: where it is rooted, where it opened, and the state before each turn on it."""

    root: str
    parent: str | None
    at: int
    before_turns: dict[int, tuple[Conversation, type[EventBase]]]


class Replay:
    """The states of all branches after the events taken so far."""

    def __init__(self, log: Iterable[Recorded] = ()) -> None:
        self.states: dict[str, Conversation] = {}
        self._streams: dict[str, _Stream] = {}
        self._trees: dict[str, list[str]] = {}
        for recorded in log:
            self.take(recorded, self.before(recorded))

    def before(self, recorded: Recorded) -> Conversation:
        """Return the state in which the law asks of an event: of its branch, or of the fork where it opens."""
        state = self.states.get(recorded.branch)
        if state is not None:
            return state
        event = recorded.event
        if not isinstance(event, BranchOpened):
            return Conversation()
        prefix, following = self._prefix(event)
        return about_to_fork(prefix, following, self.open_risks(event.parent))

    def take(self, recorded: Recorded, before: Conversation) -> Conversation:
        """Record that the event happened in the state `before`, and return the state after it."""
        branch, event = recorded.branch, recorded.event
        stream = self._streams.get(branch)
        if stream is None:
            stream = self._begin(branch, event)
        if type(event) in _TURNS:
            stream.before_turns[recorded.version] = before, type(event)
        after = evolve(before, event)
        self.states[branch] = after
        return after

    def tree_of(self, branch: str) -> list[str]:
        """Return the branches of a branch's tree, in the order in which they opened."""
        return self._trees[self._streams[branch].root] if branch in self._streams else []

    def open_risks(self, branch: str) -> tuple[OpenRisk, ...]:
        """Return every risk that is open anywhere in a branch's tree."""
        return tuple(dict.fromkeys(risk for other in self.tree_of(branch) for risk in self.states[other].risks))

    def _begin(self, branch: str, event: EventBase) -> _Stream:
        parent, at = (event.parent, event.at) if isinstance(event, BranchOpened) else (None, 0)
        if parent not in self._streams:  # a fork from nowhere, or from itself: a root, for want of one
            parent = None
        root = self._streams[parent].root if parent else branch
        self._trees.setdefault(root, []).append(branch)
        self._streams[branch] = _Stream(root, parent, at, {})
        return self._streams[branch]

    def _prefix(self, opened: BranchOpened) -> tuple[Conversation, type[EventBase] | None]:
        """Return the state at the fork, and the type of turn that follows there on the parent's path.

        Where no turn follows, the fork is unlawful whatever the state is, and the nearest that is known stands for it.
        """
        owner = self._streams.get(opened.parent)
        if owner is None:
            return Conversation(), None
        head = self.states[opened.parent]
        while owner.parent in self._streams and opened.at < owner.at:
            owner = self._streams[owner.parent]
        found = owner.before_turns.get(opened.at + 1)
        if found is not None:
            return found
        if opened.at >= head.version:
            return head, None
        ended = head.ended if head.ended and head.ended.version <= opened.at else None
        return head._replace(version=opened.at, ended=ended), None
