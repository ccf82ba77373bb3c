"""Given a history, when something is asked for, then the law accepts it, or says what stands in the way.

    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED).when(END).refused_by(rules.WARNED_FIRST, ...)

A refusal is compared whole: the rules that a test names are all the rules that stand in the way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import hypothesis
import pytest
from vocabulary import Step, Story, resolve

from lastresort.domain.decider import Accepted, Refused, decide
from lastresort.domain.events import Event, EventBase
from lastresort.domain.rules import Rule, broken_by
from lastresort.domain.state import Conversation, about_to_fork, evolve
from lastresort.domain.values import OpenRisk

# A slow machine is no defect of the law.
hypothesis.settings.register_profile("lastresort", deadline=None)
hypothesis.settings.load_profile("lastresort")

Decision = Accepted | Refused


@dataclass(frozen=True)
class Outcome:
    """What came of asking."""

    before: Conversation
    decision: Decision

    def accepted(self) -> "Outcome":
        """Check that nothing stands in the way."""
        assert isinstance(self.decision, Accepted), str(self.decision)
        return self

    def accepted_as(self, *events: Event) -> "Outcome":
        """Check that `events` are what would be recorded."""
        assert self.accepted().decision == Accepted(events)
        return self

    def refused_by(self, *rules: Rule, lacking: str | None = None) -> "Outcome":
        """Check that `rules`, and no others, stand in the way, and that one of them says `lacking`."""
        assert isinstance(self.decision, Refused), f"accepted: {self.decision}"
        assert set(self.decision.rules) == {rule.id for rule in rules}, str(self.decision)
        assert lacking is None or lacking in [broken.missing.text for broken in self.decision.broken], str(
            self.decision
        )
        return self

    def then(self, holds: Callable[[Conversation], object]) -> "Outcome":
        """Check what is so after that; a refusal changes nothing."""
        recorded = self.decision.events if isinstance(self.decision, Accepted) else ()
        state = reduce(evolve, recorded, self.before)
        assert holds(state), state
        return self


@dataclass(frozen=True)
class Given:
    """A history, and where it left the conversation."""

    story: Story
    state: Conversation

    def when(self, step: Step) -> Outcome:
        """Ask for a command, or for an event as it stands."""
        asked = resolve(step, self.state)
        if isinstance(asked, EventBase):
            broken = broken_by(self.state, asked)
            return Outcome(self.state, Refused(asked.kind, broken) if broken else Accepted((asked,)))
        return Outcome(self.state, decide(asked, self.state))

    def then(self, holds: Callable[[Conversation], object]) -> "Given":
        """Check what the history adds up to."""
        assert holds(self.state), self.state
        return self

    def cut_at(self, at: int, risks: tuple[OpenRisk, ...] | None = None) -> "Given":
        """Go to where a branch is about to open at `at`; the risks open in its tree are those of the history."""
        events = self.story.events
        prefix = Story(events[:at], reduce(evolve, events[:at], Conversation()))
        following = type(events[at]) if at < len(events) else None
        state = about_to_fork(prefix.state, following, self.state.risks if risks is None else risks)
        return Given(prefix._replace(state=state), state)


@pytest.fixture
def given() -> Callable[..., Given]:
    """Tell a history, step by step; each step must be lawful."""

    def tell(*steps: Step) -> Given:
        story = Story().tell(*steps)
        return Given(story, story.state)

    return tell
