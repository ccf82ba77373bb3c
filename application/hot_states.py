"""States in memory: those of the branches used last, each at its latest known version and, here and there,
before.

They spare reads, and are never trusted over the log: a state is valid at its version only, so what was decided on an
outdated one conflicts in the store. States before the latest are where a branch may open; a fold from the nearest of
them takes as long for a long conversation as for a short one.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice
from operator import attrgetter
from threading import Lock

from lastresort.domain.events import RecordedEvent
from lastresort.domain.state import Conversation, fold

APART = 16
"""How many versions apart the states are that are kept of a branch before its latest."""

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
        """Return the latest state that is kept of a branch; None of what is no id, and may say that it is any."""
        if type(branch) is not str:
            return None
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

    def keep(self, branch: str, state: Conversation) -> None:
        """Keep a state of a branch before its latest, where somebody is likely to open a branch."""
        with self._lock:
            self._keep_earlier(branch, state)

    def fold(self, branch: str, history: Iterable[RecordedEvent], state: Conversation) -> Conversation:
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
