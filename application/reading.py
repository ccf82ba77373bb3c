"""The read side: the state of a branch, its path, its tree, and the state at a place where a branch may open.

States come from memory, from snapshots beside the log, or from the log alone; the log decides what they are. Nothing
here writes to a store.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lastresort.domain.canonical import recorded_digest
from lastresort.domain.events import AssistantTurnTaken, BranchOpened, EventBase, RecordedEvent, UserTurnTaken
from lastresort.domain.state import Conversation, about_to_fork, fold

from .arguments import described_id
from .directory import utc
from .hot_states import HotStates
from .outcomes import UnknownBranch, UnknownTurn, appeal_until
from .ports import EventStore, Ports, Snapshots

FEW = 100
"""How many events a fold reads at a time: so few that the garbage collector hardly ever has to look at them."""

_MOST_OF_OTHERS = 4
"""Snapshots of another history that are passed over for one of this: to look at one takes reading what follows it."""

_TURNS = (UserTurnTaken, AssistantTurnTaken)


class Reading:
    """What a store says of its branches. Threads may share it.

    Args:
        ports: the store and the snapshots beside it; the vault, which is told where somebody else wrote.
        hot: how many states are kept in memory.
    """

    def __init__(self, ports: Ports, hot: int) -> None:
        self.hot = HotStates(hot)
        self._ports = ports

    def tree_of(self, branch: str) -> str:
        """Return the conversation that a branch belongs to.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        state = self.hot.get(branch)
        tree = state.conversation if state else self._ports.store.tree_of(branch)
        if tree is None:
            raise unknown(branch)
        return tree

    def path(self, branch: str, upto: int | None = None) -> list[RecordedEvent]:
        """Return the events on the path of a branch, the inherited prefix first, up to version `upto`.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        pieces = pieces_of(self._ports.store, None, self.tree_of(branch), branch, upto)
        return [recorded for piece in pieces for recorded in piece.events]

    def tree(self, branch: str, *, fresh: bool = True) -> dict[str, Conversation]:
        """Return the states of the branches of the tree that `branch` belongs to, root first.

        Not `fresh`: as they were a while ago, where they are at hand. A branch that others opened meanwhile may be
        missing; its parent has gone on since.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        root = self.tree_of(branch)
        heads = self._ports.store.heads(root) if fresh else ()
        versions = {head.branch: head.version for head in heads}
        states: dict[str, Conversation] = {}
        waiting = deque([root])
        while waiting:  # which branches there are, their own events say, whatever the store has listed
            one = waiting.popleft()
            states[one] = self._no_older_than(versions.get(one), one) if fresh else self.state(one, fresh=False)
            waiting.extend(states[one].children)
        return states

    def check_answer(self, branch: str, turn: int) -> None:
        """Check that an answer stands at a version of a branch's path.

        Raises:
            UnknownBranch: the store has no such branch.
            UnknownTurn: none does.
        """
        at = self.path(branch, upto=turn)
        if not at or len(at) != turn or not isinstance(at[-1].event, AssistantTurnTaken):
            raise UnknownTurn(f"no answer stands at version {turn} of branch {branch}")

    def last_turn(self, tree: str, branches: Iterable[str]) -> str:
        """Return when somebody last spoke on branches, ISO 8601 in UTC; nothing, if nobody did."""
        turns = (
            one for branch in branches for one in self._ports.store.read(tree, branch) if isinstance(one.event, _TURNS)
        )
        return max((utc(one.recorded_at) for one in turns), default="")

    def appeal_until(self, branch: str) -> str | None:
        """Return the day until which an appeal against the ending of a branch is open at least, None if it goes on.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        state = self.state(branch)
        if state.ended is None:
            return None
        ending = self._ports.store.read(state.conversation, branch, after=state.ended.version - 1, limit=1)[0]
        return appeal_until(ending.recorded_at, state.policy.appeal_months)

    def _no_older_than(self, version: int | None, branch: str) -> Conversation:
        state = self.hot.get(branch)
        return self.state(branch) if state is None or version is None or state.version < version else state

    def tree_log(self, branch: str) -> list[RecordedEvent]:
        """Return the events of every branch of the tree that `branch` belongs to, parents before children.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        tree = self.tree_of(branch)
        return [recorded for one in self.tree(branch) for recorded in self._ports.store.read(tree, one)]

    def state(self, branch: str, *, fresh: bool = True) -> Conversation:
        """Return the state of a branch as the log has it now; or, if it need not be `fresh`, as it was a while ago.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        state = self.hot.get(branch)
        if state is not None and not fresh:
            return state
        store, snapshots = self._ports.store, self._ports.snapshots
        if state is None:
            tree = self.tree_of(branch)
            pieces = pieces_of(store, snapshots, tree, branch, at_once=FEW)
            inherited = fold((one for piece in pieces[:-1] for one in piece.events), pieces[0].state)
            own = pieces[-1].events
        elif new := store.read(tree := state.conversation, branch, after=state.version):
            inherited, own = state, new
        else:
            return state
        return self.hot.fold(branch, self._with_renewal(tree, own), inherited)

    def _with_renewal(self, tree: str, events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
        """Yield events that others wrote, and have the key looked up again once they are read: it may be retired.

        That comes before the state after them is hot, or another thread would seal with that key and be right about the
        state.
        """
        yield from events
        self._ports.vault.renew(tree)

    def state_at_fork(self, branch: str, at: int, parent: Conversation) -> Conversation:
        """Return the state at version `at` of a path, and what comes next on it, from the nearest state at hand."""
        following: type[EventBase] | None = None
        store, tree = self._ports.store, parent.conversation
        while (near := self.hot.at(branch, at)) is None:
            first = store.read(tree, branch, limit=1)[0].event
            if not isinstance(first, BranchOpened) or first.at < at:
                break
            following = following or (BranchOpened if first.at == at else None)
            branch = first.parent
        if near is None:
            pieces = pieces_of(store, self._ports.snapshots, tree, branch, at + 1, kept=at)
            near, path = pieces[0].state, [recorded for piece in pieces for recorded in piece.events]
        else:
            path = list(store.read(tree, branch, after=near.version, upto=at + 1))
        after = path[-1] if path and path[-1].version == at + 1 else None
        prefix = fold(path[:-1] if after else path, near)
        following = following or (type(after.event) if after else None)
        return about_to_fork(prefix, following, parent.risks, parent.holds, parent.absolved)


# --- paths ----------------------------------------------------------------------------------------------------------


class Piece(NamedTuple):
    """A stretch of a path in one stream; of the first, the state before it too."""

    state: Conversation
    events: Iterable[RecordedEvent]  # to be gone through once


def pieces_of(
    store: EventStore,
    snapshots: Snapshots | None,
    tree: str,
    branch: str,
    upto: int | None = None,
    kept: int | None = None,
    at_once: int | None = None,
) -> list[Piece]:
    """Return the path of a branch up to a version, from the latest state that is kept of no later than `kept` on it.

    Where no state is kept, so many events are read `at_once`, the others when they are asked for; all, if it is None.

    Raises:
        UnknownBranch: the store has no such branch.
    """
    pieces: list[Piece] = []
    kept = upto if kept is None else kept
    passed: set[str] = set()
    while (piece := _since_kept(store, snapshots, tree, branch, upto, kept)) is None:
        own = store.read(tree, branch, upto=upto, limit=at_once)
        first = own[:1] or store.read(tree, branch, limit=1)
        if not first or branch in passed:  # or else its parents go round in a ring: an audit says so
            raise unknown(branch, "" if not first else "that begins ")
        passed.add(branch)
        pieces.append(Piece(Conversation(), _from(own, store, tree, branch, upto, at_once)))
        opened = first[0].event
        if not isinstance(opened, BranchOpened):
            return pieces[::-1]
        branch, at = opened.parent, opened.at
        upto, kept = (at if most is None else min(most, at) for most in (upto, kept))
    return [piece, *pieces[::-1]]


def state_of(store: EventStore, snapshots: Snapshots | None, tree: str, branch: str) -> Conversation:
    """Return the state of a branch as the log has it now, from the nearest snapshot on.

    Raises:
        UnknownBranch: the store has no such branch.
    """
    pieces = pieces_of(store, snapshots, tree, branch, at_once=FEW)
    return fold((one for piece in pieces for one in piece.events), pieces[0].state)


def _from(
    events: Sequence[RecordedEvent], store: EventStore, tree: str, branch: str, upto: int | None, at_once: int | None
) -> Iterable[RecordedEvent]:
    """Yield events of a branch, and those that follow them."""
    while events:
        yield from events
        if len(events) != at_once:
            return
        events = store.read(tree, branch, after=events[-1].version, upto=upto, limit=at_once)


def _since_kept(
    store: EventStore, snapshots: Snapshots | None, tree: str, branch: str, upto: int | None, kept: int | None
) -> Piece | None:
    """Return the latest state of a branch's own that is kept, and the events since; None if there is no such state."""
    if snapshots is None:
        return None
    for _ in range(_MOST_OF_OTHERS):
        if kept == 0 or (found := snapshots.latest(branch, kept)) is None:
            return None
        version = found.state.version
        events = store.read(tree, branch, after=version - 1, upto=upto)
        if events and recorded_digest(events[0]) == found.last:
            return Piece(found.state, events[1:])
        kept = version - 1  # it is of another history than the log's
    return None


def unknown(branch: str, how: str = "") -> UnknownBranch:
    """Return the error that says that the store has no such branch."""
    return UnknownBranch(f"no branch {how}{described_id(branch)} in the store")


def published(store: EventStore, after: int = 0, at_once: int = 1_000) -> Iterator[RecordedEvent]:
    """Yield the events after a position, each once it is known to last: for what is told outside the store's database.

    A view in that database needs no such thing: it is committed after its events, and is lost with them.
    """
    while events := tuple(store.log(after=after, limit=at_once)):
        store.barrier()
        yield from events
        after = events[-1].position
