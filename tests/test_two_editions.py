"""A conversation that goes over to the second edition within a unit: what both readings of the law make of it.

The search of tests/test_every_state_2.py found each of these, where the two did not agree.
"""

import pytest

from lastresort.adapters.testing.given import Given
from lastresort.domain import rules
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import Verdict

from .vocabulary import ABUSED, ANSWERED, HARMFUL, PRODUCTIVE, REDIRECTED, SAID, Tell, policy_changed, started, warned

pytestmark = pytest.mark.no_cover  # being measured, a search takes twice as long; what it runs, other tests cover

SOON = Policy(name="soon", min_failed_redirections=2, min_redirections_to_warn=2, productive_to_close=1)
LATER = SOON.model_copy(update={"name": "later", "productive_to_close": 2})


def _taken_back(given: Tell, *between: object) -> Given:
    """Two redirections, a productive unit, and one that was judged productive and is judged harmful again."""
    return given(
        started(LATER, law=1), (ABUSED, REDIRECTED) * 2, SAID, ANSWERED, ABUSED, ANSWERED, PRODUCTIVE, HARMFUL, *between
    )  # fmt: skip


def test_a_verdict_that_was_taken_back_closes_no_episode_under_the_new_edition(given: Tell) -> None:
    """In the first edition one milder verdict is enough for ever; in the second each judge's latest word counts, and
    the new edition weighs what was said before."""
    story = _taken_back(given, policy_changed(SOON, law=2))
    story.then(lambda state: state.unit is not None and state.unit.judgement is Verdict.HARMFUL)
    story.then(lambda state: state.now.attempted == 2)
    story.when(warned()).accepted()


def test_a_closing_that_a_policy_brought_about_stays(given: Tell) -> None:
    """The stricter policy came while the unit was judged productive: what closes by it stays closed."""
    story = _taken_back(given, policy_changed(SOON), policy_changed(SOON, law=2))
    story.then(lambda state: state.now.attempted == 0)
    story.when(warned()).refused_by(rules.REDIRECTED_FIRST)


def test_a_closing_by_the_latest_unit_is_undone_with_its_verdict(given: Tell) -> None:
    """No policy brought it about: the unit's own verdict did, and that was taken back."""
    story = _taken_back(given, policy_changed(LATER), policy_changed(LATER, law=2))
    story.then(lambda state: _attempted(state) == 2)
    story.when(warned()).accepted()


def _attempted(state: Conversation) -> int:
    return state.now.attempted
