"""The model beside the real code, so that it cannot drift.

A search hands over each decision on its way. In every eighth of its states one act is compared, in turn another one,
and with EVERY_ACT=1 in the environment all are, in every state: the model has to find the same rules broken, and to
make the same state of it. And what a view keeps has to be what `canonical` keeps, in which the search tells states
apart: each the same where the other is.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lastresort.domain.events import Event
from lastresort.domain.law import broken_by
from lastresort.domain.state import Conversation, evolve

from ..both_ways import EVERY_ACT
from . import fold, pacts, rules
from .translation import Lexicon
from .view import view
from .words import State

STATES = 1 if EVERY_ACT else 8
"""Of so many states of a search, one is looked at. A state takes about as long as all that the search does in it."""


class Drifted(AssertionError):
    """The model is not what the real code is."""


def compare(lexicon: Lexicon, state: Conversation, event: Event) -> State:
    """Compare what an event comes to in a state, in the model and in truth, and return the state after it.

    Raises:
        Drifted: the rules that are broken differ, or the state after it does; or a policy or a verdict is not what the
            proof takes it for.
    """
    before, then = lexicon.state(state), lexicon.event(state, event)
    if not pacts.can_be(before, then) and before.law in (1, 2):
        raise Drifted(f"{event.kind}: the proof takes for granted what is not so\n{before}\n{then}")
    answers = {rule for rule, lets_pass in rules.allowed(before, then).items() if not lets_pass}
    broken = {one.rule for one in broken_by(state, event)}
    if answers != broken:
        raise Drifted(f"{event.kind}: the model finds broken {sorted(answers)}, the law {sorted(broken)}\n{before}")
    after, real = fold.evolve(before, then), lexicon.state(evolve(state, event))
    for part, modelled, is_so in zip(after._fields, after, real, strict=True):
        if modelled != is_so:
            raise Drifted(f"{event.kind}: {part} is {modelled} in the model, and {is_so}\n{before}\n{then}")
    return real


class Comparison:
    """What looks at each decision of a search.

    Args:
        lexicon: the names that its acts have.
        canonical: what it keeps of a state.
        cap, most_relapses, onward: of the search.
    """

    def __init__(
        self, lexicon: Lexicon, canonical: Callable[[Conversation], Any], cap: int, most_relapses: int, onward: bool
    ) -> None:
        self.lexicon, self.canonical = lexicon, canonical
        self.cap, self.most_relapses, self.onward = cap, most_relapses, onward
        self.states = self.pairs = 0
        self._state: Conversation | None = None
        self._last: Sequence[Event] | None = None  # what was not compared, in a state in which nothing was yet
        self._acts = self._acts_before = 1  # in this state, and in the one before it
        self._views: dict[Any, Any] = {}
        self._canonical: dict[Any, Any] = {}

    def look(self, state: Conversation, events: Sequence[Event]) -> None:
        """Take note of a decision: what was to be recorded in a state."""
        if state is not self._state:
            self._leave()
            self._state, self._acts_before, self._acts = state, self._acts, 0
            self.states += 1
        if self.states % STATES == 0:
            if EVERY_ACT or self._acts == self.states // STATES % self._acts_before:
                self._last = None
                self._compare(state, events)
            elif self._acts == 0:
                self._last = events
        self._acts += 1

    def _leave(self) -> None:
        """There were fewer acts in this state than in the one before, and none of them was compared."""
        if self._last is not None and self._state is not None:
            self._compare(self._state, self._last)
        self._last = None

    def _compare(self, state: Conversation, events: Sequence[Event]) -> None:
        for event in events:
            after = compare(self.lexicon, state, event)
            state = evolve(state, event)
            self.pairs += 1
        seen = view(after, self.cap, self.most_relapses, self.onward)
        kept = self.canonical(state)
        if self._views.setdefault(kept, seen) != seen or self._canonical.setdefault(seen, kept) != kept:
            raise Drifted(f"a view is not what `canonical` keeps\n{seen}\n{kept}")

    def done(self) -> None:
        """The search is over."""
        self._leave()
        assert self.states // STATES <= self.pairs, f"of {self.states} states {self.pairs} were compared"

    def __str__(self) -> str:
        return f"; the model agrees on {self.pairs:,} acts in {self.states:,} states"
