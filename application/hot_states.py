"""States at hand: in memory those of the branches used last, each at its latest known version and, here and there,
before; and those that are kept beside the log, from which a path is read on.

They spare reads, and are never trusted over the log: a state is valid at its version only, so what was decided on an
outdated one conflicts in the store. States before the latest are where a branch may open; a fold from the nearest of
them takes as long for a long conversation as for a short one.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import attrgetter
from threading import Lock
from typing import NamedTuple

from lastresort.domain.events import BranchOpened, EventBase, Recorded
from lastresort.domain.state import Conversation, about_to_fork, fold

from .outcomes import UnknownBranch
from .ports import EventStore, Snapshots

APART = 16
"""How many versions apart the states are that are kept of a branch before its latest."""

FEW = 100
"""How many events a fold reads at a time: so few that the garbage collector hardly ever has to look at them."""

_EARLIER = 20_000  # how many of them are kept in all
_version = attrgetter("version")


class HotStates:
    """The states of the branches used last, at most `size` of them. Threads may share it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._states: OrderedDict[str, Conversation] = OrderedDict()
        self._earlier: OrderedDict[str, list[Conversation]] = OrderedDict()  # ascending, the branch's own alone
        self._count = 0
        self._lock = Lock()

    def get(self, branch: str) -> Conversation | None:
        """Return the latest state that is kept of a branch."""
        with self._lock:
            state = self._states.get(branch)
            if state is not None:
                self._states.move_to_end(branch)
            return state

    def at(self, branch: str, version: int) -> Conversation | None:
        """Return the latest state of a branch's own, no later than `version`."""
        with self._lock:
            earlier = self._earlier.get(branch, ())
            after = bisect_right(earlier, version, key=_version)
            return earlier[after - 1] if after else None

    def put(self, branch: str, state: Conversation) -> None:
        """Keep `state`, unless a later one is kept."""
        with self._lock:
            kept = self._states.get(branch)
            if kept is None or kept.version < state.version:
                self._states[branch] = state
                if state.version // APART != (kept.version if kept else state.version) // APART:
                    self._keep_earlier(branch, state)
            self._states.move_to_end(branch)
            if len(self._states) > self._size:
                self._states.popitem(last=False)

    def fold(self, branch: str, history: Iterable[Recorded], state: Conversation) -> Conversation:
        """Return the state after `history`, a branch's own from `state` on, and keep it and some on the way."""
        rest = iter(history)
        while some := tuple(islice(rest, APART)):
            state = fold(some, state)
            with self._lock:
                self._keep_earlier(branch, state)
        self.put(branch, state)
        return state

    def _keep_earlier(self, branch: str, state: Conversation) -> None:
        if not self._size:
            return
        earlier = self._earlier.setdefault(branch, [])
        after = bisect_right(earlier, state.version, key=_version)
        if not after or earlier[after - 1].version != state.version:
            earlier.insert(after, state)
            self._count += 1
        self._earlier.move_to_end(branch)
        while self._count > _EARLIER:
            _, dropped = self._earlier.popitem(last=False)
            self._count -= len(dropped)


class Piece(NamedTuple):
    """A stretch of a path in one stream; of the first, the state before it too."""

    state: Conversation
    events: Iterable[Recorded]  # to be gone through once


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
    while (piece := _since_kept(store, snapshots, tree, branch, upto, kept)) is None:
        own = store.read(tree, branch, upto=upto, limit=at_once)
        first = own[:1] or store.read(tree, branch, limit=1)
        if not first:
            raise UnknownBranch(f"no branch {branch} in the store")
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
    events: Sequence[Recorded], store: EventStore, tree: str, branch: str, upto: int | None, at_once: int | None
) -> Iterable[Recorded]:
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
    while snapshots and kept != 0 and (found := snapshots.latest(branch, kept)) is not None:
        version = found.state.version
        events = store.read(tree, branch, after=version - 1, upto=upto)
        if events and (events[0].version, events[0].command_id) == (version, found.command_id):
            return Piece(found.state, events[1:])
        kept = version - 1  # it is of another history than the log's
    return None


def state_at_fork(
    store: EventStore, snapshots: Snapshots | None, hot: HotStates, branch: str, at: int, parent: Conversation
) -> Conversation:
    """Return the state at version `at` of a path, and what comes next on it, from the nearest state at hand."""
    following: type[EventBase] | None = None
    tree = parent.conversation
    while (near := hot.at(branch, at)) is None:
        first = store.read(tree, branch, limit=1)[0].event
        if not isinstance(first, BranchOpened) or first.at < at:
            break
        following = following or (BranchOpened if first.at == at else None)
        branch = first.parent
    if near is None:
        pieces = pieces_of(store, snapshots, tree, branch, at + 1, kept=at)
        near, path = pieces[0].state, [recorded for piece in pieces for recorded in piece.events]
    else:
        path = list(store.read(tree, branch, after=near.version, upto=at + 1))
    after = path[-1] if path and path[-1].version == at + 1 else None
    prefix = fold(path[:-1] if after else path, near)
    return about_to_fork(prefix, following or (type(after.event) if after else None), parent.risks)
