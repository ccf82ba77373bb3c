"""Given a history, when something is asked for, then the law accepts it, or says what stands in the way.

    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED).when(END).refused_by(rules.WARNED_FIRST, ...)

A refusal is compared whole: the rules that a test names are all the rules that stand in the way. What is not as the
test says raises Failed, whose `history` the pytest plugin prints.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from lastresort.domain.decider import Acceptance, Refused, decide
from lastresort.domain.events import Event, EventBase
from lastresort.domain.law import Rule, broken_by
from lastresort.domain.state import Conversation, about_to_fork, evolve
from lastresort.domain.values import OpenRisk

from .vocabulary import Failed, Step, Story, resolve

Decision = Acceptance | Refused


@dataclass(frozen=True)
class Outcome:
    """What came of asking."""

    story: Story
    decision: Decision

    def accepted(self) -> "Outcome":
        """Check that nothing stands in the way."""
        __tracebackhide__ = True
        return self._check(isinstance(self.decision, Acceptance), str(self.decision))

    def accepted_as(self, *events: Event) -> "Outcome":
        """Check that `events` are what would be recorded."""
        __tracebackhide__ = True
        self.accepted()
        return self._check(self.decision == Acceptance(events), f"not {events}, but {self.decision}")

    def refused_by(self, *rules: Rule, lacking: str | None = None) -> "Outcome":
        """Check that `rules`, and no others, stand in the way, and that one of them says `lacking`."""
        __tracebackhide__ = True
        if not isinstance(self.decision, Refused):
            raise Failed(f"accepted: {self.decision}", self.story)
        self._check(set(self.decision.rules) == {rule.id for rule in rules}, str(self.decision))
        missing = [broken.missing.text for broken in self.decision.broken]
        return self._check(lacking is None or lacking in missing, f"not {lacking!r}: {self.decision}")

    def then(self, holds: Callable[[Conversation], object]) -> "Outcome":
        """Check what is so after that; a refusal changes nothing."""
        __tracebackhide__ = True
        recorded = self.decision.events if isinstance(self.decision, Acceptance) else ()
        state = reduce(evolve, recorded, self.story.state)
        return self._check(holds(state), str(state))

    def _check(self, holds: object, otherwise: str) -> "Outcome":
        __tracebackhide__ = True
        if not holds:
            raise Failed(otherwise, self.story)
        return self


@dataclass(frozen=True)
class Given:
    """A history, and where it left the conversation."""

    story: Story

    @property
    def state(self) -> Conversation:
        """What the history adds up to."""
        return self.story.state

    def when(self, step: Step) -> Outcome:
        """Ask for a command, or for an event as it stands."""
        asked = resolve(step, self.state)
        if isinstance(asked, EventBase):
            broken = broken_by(self.state, asked)
            return Outcome(self.story, Refused(asked.kind, broken) if broken else Acceptance((asked,)))
        return Outcome(self.story, decide(asked, self.state))

    def then(self, holds: Callable[[Conversation], object]) -> "Given":
        """Check what the history adds up to."""
        __tracebackhide__ = True
        if not holds(self.state):
            raise Failed(str(self.state), self.story)
        return self

    def cut_at(self, at: int, risks: tuple[OpenRisk, ...] | None = None) -> "Given":
        """Go to where a branch is about to open at `at`; the risks open in its tree are those of the history."""
        events = self.story.events
        prefix = reduce(evolve, events[:at], Conversation())
        following = type(events[at]) if at < len(events) else None
        state = self.state
        open_risks = state.risks if risks is None else risks
        state = about_to_fork(prefix, following, open_risks, state.holds, state.absolved)
        return Given(Story(events[:at], state))


def given(*steps: Step) -> Given:
    """Tell a history, step by step; each step must be lawful.

    Raises:
        Failed: a step is not; the message says what stands in its way.
    """
    __tracebackhide__ = True
    return Given(Story().tell(*steps))
