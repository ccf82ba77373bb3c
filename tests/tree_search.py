"""The search of `search.py`, of a tree of branches: two actors who read, decide and commit in any order.

TreeSearch(...).run(start)
"""

import gc
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

from lastresort.domain.commands import BranchOff, Command, OpenBranch
from lastresort.domain.decider import Refused, decide, propose
from lastresort.domain.events import (
    BranchOpened,
    ContentErased,
    ConversationEnded,
    ErasureHeld,
    ErasureReleased,
    Event,
    RiskCleared,
    RiskRaised,
)
from lastresort.domain.state import Conversation, about_to_fork, evolve
from lastresort.domain.values import ForkCause

from . import oracle
from .narrow import present
from .oracle import History
from .search import Seen, Turns, canonical, check, holds_that_stand, told, turns_of, unsound
from .vocabulary import USER


class Branch(NamedTuple):
    """A branch of a tree in the search."""

    parent: int | None
    states: tuple[Conversation, ...]  # after each version of its path, the inherited ones too
    past: History
    key: tuple[Any, ...]  # what anything later can depend on

    @property
    def state(self) -> Conversation:
        return self.states[-1]


OF_THE_TREE = frozenset({RiskRaised, RiskCleared, ErasureHeld, ErasureReleased})
"""What is recorded on every branch in one append."""


class Fork(NamedTuple):
    """Where on the path of a branch another may be opened: the act names the turn, not the version."""

    cause: ForkCause
    at: int


class Doing(NamedTuple):
    """What an actor has read and decided, and not yet committed."""

    act: int  # which of the actor's acts
    branch: int
    command: Command
    written: tuple[tuple[int, tuple[Event, ...]], ...]
    read: tuple[tuple[int, int], ...]  # which branches at which versions


class Tree(NamedTuple):
    """Branches in the order of their opening, what each actor is at, and the log that led here."""

    branches: tuple[Branch, ...]
    doing: tuple[Doing | None, ...]
    log: Any = None  # (before, branch, version, event)

    def open_risks(self) -> oracle.Risks:
        return frozenset(risk for branch in self.branches for risk in oracle.open_risks(branch.past))


TreeActs = Callable[[Turns], tuple[Command | Fork, ...]]


class TreeSearch:
    """Every order in which two actors read, decide and commit on a tree of up to three branches.

    An actor reads every branch that the act concerns and decides; others may commit before it does. Then the append
    conflicts, as in the store, and the act is decided again on what is there now: it still names the turn that
    the actor had seen. A refusal is given only on a fresh state, and leaves nothing behind.

    Args:
        actors: for each actor the acts that it may try on any branch. A `Fork` opens a branch at a turn.
        cap: the most failed redirections that any policy among them asks for.
    """

    MOST_BRANCHES = 3

    def __init__(self, actors: Sequence[TreeActs], cap: int) -> None:
        self.actors = [lru_cache(maxsize=None)(acts) for acts in actors]
        self.cap = cap
        self.refusals: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.grounds: Counter[str] = Counter()

    def run(self, *prelude: Event) -> Seen:
        """Search from a tree of one branch whose history is `prelude`, until nothing new turns up."""
        root = self._branch(None, tuple(accumulate(prelude, evolve, initial=Conversation())), History.of(prelude))
        start = Tree((root,), (None,) * len(self.actors))
        known = {self._key(start)}
        waiting = deque([start])
        transitions = 0
        gc.disable()
        while waiting:
            tree = waiting.popleft()
            for after in self._steps(tree):
                transitions += 1
                key = self._key(after)
                if key not in known:
                    known.add(key)
                    waiting.append(after)
        gc.enable()
        return Seen(len(known), transitions, self.refusals, self.kinds, self.grounds)

    def _steps(self, tree: Tree) -> Iterator[Tree]:
        for actor, doing in enumerate(tree.doing):
            if doing is not None:
                yield self._commit(tree, actor, doing)
                continue
            for place, branch in enumerate(tree.branches):
                for act, command in enumerate(self.actors[actor](turns_of(branch.state, branch.past))):
                    yield self._read_and_decide(tree, actor, act, place, command)

    def _read_and_decide(self, tree: Tree, actor: int, act: int, place: int, command: Command | Fork) -> Tree:
        if isinstance(command, Fork):
            if len(tree.branches) == self.MOST_BRANCHES:
                return tree
            command = OpenBranch(id="fork", by=USER, parent=f"b{place}", at=command.at, cause=command.cause)
        written = self._decide(tree, place, command)
        if written is None:
            return tree
        read = tuple((other, tree.branches[other].state.version) for other, _ in written if other < len(tree.branches))
        return _at(tree, actor, Doing(act, place, command, written, read))

    def _commit(self, tree: Tree, actor: int, doing: Doing) -> Tree:
        written: Written | None = doing.written
        if any(tree.branches[other].state.version != version for other, version in doing.read):
            written = self._decide(tree, doing.branch, doing.command)
        tree = _at(tree, actor, None)
        return tree if written is None else self._append(tree, written)

    def _decide(self, tree: Tree, place: int, command: Command) -> "Written | None":
        """Return what each branch is to record, None if the law refuses. The oracle is asked about each decision."""
        branch = tree.branches[place]
        if isinstance(command, OpenBranch):
            return self._decide_fork(tree, place, command)
        # A branch is part of many trees, and what is decided on it depends on it alone: once is enough.
        if id(command) not in branch.past.memo:
            branch.past.memo[id(command)] = self._accepts(command, branch.state, branch.past)
        if not branch.past.memo[id(command)]:
            return None
        events = propose(command, branch.state)
        shared = tuple(event for event in events if type(event) in OF_THE_TREE)
        others = [(other, shared) for other in range(len(tree.branches)) if other != place and shared]
        return ((place, events), *others)

    def _decide_fork(self, tree: Tree, place: int, command: OpenBranch) -> "Written | None":
        parent, child = tree.branches[place], len(tree.branches)
        if child == self.MOST_BRANCHES:
            return None
        following = type(parent.past.path[command.at]) if command.at < parent.state.version else None
        now = parent.state
        at_fork = about_to_fork(parent.states[command.at], following, now.risks, now.holds, now.absolved)
        past = parent.past.about_to_fork(command.at, tree.open_risks())
        note = BranchOff(id="fork", by=command.by, child=f"b{child}", at=command.at)
        # Both are asked, so that both are compared with the oracle.
        if not all([self._accepts(command, at_fork, past), self._accepts(note, parent.state, parent.past)]):
            return None
        return ((place, propose(note, parent.state)), (child, propose(command, at_fork)))

    def _accepts(self, command: Command, state: Conversation, past: History) -> bool:
        decision = decide(command, state)
        if isinstance(decision, Refused):
            check(past, state, propose(command, state), frozenset(decision.rules))
            self.refusals.update(decision.rules)
            return False
        check(past, state, decision.events, frozenset())
        return True

    def _append(self, tree: Tree, written: "Written") -> Tree:
        """Append, and ask the oracle once more of each event: now it is in the log."""
        branches, log = list(tree.branches), tree.log
        for place, events in written:
            for event in events:
                if type(event) is BranchOpened:
                    parent = int(event.parent[1:])
                    states = branches[parent].states[: event.at + 1]
                    past = branches[parent].past.about_to_fork(event.at, tree.open_risks())
                    branches.append(Branch(parent, states, past, ()))
                branch = branches[place]
                if rules := oracle.broken(branch.past, event):
                    raise unsound(f"b{place} recorded what is unlawful: {rules}\n{told_log(log)}", branch.past, event)
                self.kinds[event.kind] += 1
                if type(event) is ConversationEnded:
                    self.grounds[event.ground] += 1
                log = (log, place, len(branch.states), event)
                states = (*branch.states, evolve(branch.state, event))
                branches[place] = self._branch(branch.parent, states, branch.past.then(event))
        after = Tree(tuple(branches), tree.doing, log)
        self._check_tree(tree, after, written)
        return after

    def _check_tree(self, before: Tree, after: Tree, written: "Written") -> None:
        """What must hold of a tree whatever happens in it."""
        known = {(oracle.open_risks(branch.past), branch.past.known.holds) for branch in after.branches}
        if len(known) > 1:
            raise unsound(f"the branches do not agree on what is open\n{told_log(after.log)}", after.branches[0].past)
        erased = any(type(event) is ContentErased for _, events in written for event in events)
        if erased and any(holds_that_stand(branch.past) for branch in before.branches):
            raise unsound(f"words were erased that are held\n{told_log(after.log)}", after.branches[0].past)
        for was, branch in zip(before.branches, after.branches, strict=False):
            if was.state.ended is not None and branch.state.ended is None:
                raise unsound(f"an ending was undone\n{told_log(after.log)}", branch.past)
        if any(type(event) is ConversationEnded for _, events in written for event in events) and len(written) > 1:
            raise unsound(f"an ending touched another branch\n{told_log(after.log)}", after.branches[0].past)

    def _branch(self, parent: int | None, states: tuple[Conversation, ...], past: History) -> Branch:
        """Where a branch can be left is part of what may happen: the state before each turn that a `Fork` can name.

        That is the latest user turn and the latest assistant turn; the first one is the same in all.
        """
        state = states[-1]
        before_user = canonical(states[state.unit.turn - 1], self.cap) if state.unit else None
        before_answer = canonical(states[state.answered_by - 1], self.cap) if state.answered_by else None
        return Branch(parent, states, past, (parent, canonical(state, self.cap), before_user, before_answer))

    def _key(self, tree: Tree) -> tuple[Any, ...]:
        return (
            tuple(branch.key for branch in tree.branches),
            tuple(doing and self._key_of_doing(tree, doing) for doing in tree.doing),
        )

    def _key_of_doing(self, tree: Tree, doing: Doing) -> tuple[Any, ...]:
        # Of what was decided only this matters: whether it can still be committed, and if not, what is asked again:
        # about the latest turn or about one that is stale for ever, or to fork at a place that stays what it is.
        branch, command = tree.branches[doing.branch], doing.command
        current = all(tree.branches[other].state.version == version for other, version in doing.read)
        if isinstance(command, OpenBranch):
            named: Any = canonical(branch.states[command.at], self.cap), type(branch.past.path[command.at])
        else:
            turn = command.__dict__.get("seen") or command.__dict__.get("turn")
            named = turn is None or turn == present(branch.state.unit).turn
        return doing.act, doing.branch, current, named


Written = tuple[tuple[int, tuple[Event, ...]], ...]


def _at(tree: Tree, actor: int, doing: Doing | None) -> Tree:
    return tree._replace(doing=(*tree.doing[:actor], doing, *tree.doing[actor + 1 :]))


def told_log(log: Any) -> str:
    """The log of a tree since the search began, one event a line."""
    lines: list[str] = []
    while log is not None:
        log, place, version, event = log
        lines.append(f"b{place} {version:4}  {told(event)}")
    return "\n".join(reversed(lines))
