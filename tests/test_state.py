"""What the events add up to: episodes, units, redirections and warnings."""

import pytest

from lastresort.domain import events as log
from lastresort.domain.episode import NO_EPISODE, Unit, Warned
from lastresort.domain.policy import RECALLED, Policy
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import Verdict

from .narrow import present
from .vocabulary import (
    ABUSED,
    AMBIGUOUS,
    AN_EPISODE,
    ANSWERED,
    AT_RISK,
    FIRST,
    HARMFUL,
    LEFT,
    MODEL,
    PRODUCTIVE,
    PRODUCTIVE_UNIT,
    REDIRECTED,
    SAID,
    STARTED,
    TESTED,
    THREE_FAILED_REDIRECTIONS,
    UNPRODUCTIVE,
    USER,
    WARNED,
    Step,
    Tell,
    failed_redirections,
    harmful,
    model_changed,
    policy,
    policy_changed,
    risk_cleared,
    started,
    warned,
)


def unit_of(state: Conversation) -> Unit:
    return present(state.unit)


# --- episodes --------------------------------------------------------------------------------------------------------


def test_an_episode_opens_with_harm(given: Tell) -> None:
    """With a unit judged harmful, and at once."""
    assert given(STARTED, SAID).state.now == NO_EPISODE
    assert given(STARTED, SAID, HARMFUL).state.now.numbers == Policy.default().numbers


@pytest.mark.parametrize("verdict", [PRODUCTIVE, UNPRODUCTIVE, AMBIGUOUS])
def test_an_episode_does_not_open_with_anything_else(given: Tell, verdict: Step) -> None:
    assert given(STARTED, SAID, verdict, ANSWERED, SAID).state.now == NO_EPISODE


@pytest.mark.parametrize("milder", [PRODUCTIVE, UNPRODUCTIVE, AMBIGUOUS])
def test_one_milder_opinion_is_enough(given: Tell, milder: Step) -> None:
    """The mildest verdict is the judgement, whichever came first, and the episode never was."""
    for verdicts in ((HARMFUL, milder), (milder, HARMFUL)):
        assert given(FIRST, SAID, *verdicts).state.now == NO_EPISODE
        assert given(FIRST, SAID, *verdicts, ANSWERED, SAID).state.now == NO_EPISODE


def test_verdicts_from_the_mildest(given: Tell) -> None:
    """Productive, unproductive, ambiguous, harmful: no later verdict is harsher than the judgement so far."""
    verdicts = (HARMFUL, AMBIGUOUS, HARMFUL, UNPRODUCTIVE, AMBIGUOUS, PRODUCTIVE, UNPRODUCTIVE)
    judgements = [unit_of(given(FIRST, SAID, *verdicts[:count]).state).judgement for count in range(8)]
    assert judgements == [None, "harmful", "ambiguous", "ambiguous", *["unproductive"] * 2, *["productive"] * 2]


def test_an_episode_closes_after_productive_units_in_a_row(given: Tell) -> None:
    """Two of them by default; then redirections and warnings are void."""
    harm = (FIRST, *THREE_FAILED_REDIRECTIONS, WARNED)
    after_one = given(*harm, PRODUCTIVE_UNIT).state.now
    assert (after_one.failed, after_one.productive, len(after_one.warnings)) == (3, 1, 1)
    assert given(*harm, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT).state.now == NO_EPISODE
    assert given(*harm, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT, SAID).state.now == NO_EPISODE


def test_harm_starts_the_count_of_productive_units_again(given: Tell) -> None:
    story = given(*AN_EPISODE, PRODUCTIVE_UNIT, ABUSED, ANSWERED, PRODUCTIVE_UNIT)
    assert story.state.now.productive == 1


@pytest.mark.parametrize("verdict", [AMBIGUOUS, UNPRODUCTIVE])
def test_neither_doubt_nor_frustration_touches_the_count(given: Tell, verdict: Step) -> None:
    neither = (SAID, verdict, ANSWERED)
    assert given(*AN_EPISODE, PRODUCTIVE_UNIT, neither).state.now.productive == 1
    assert given(*AN_EPISODE, PRODUCTIVE_UNIT, neither, PRODUCTIVE_UNIT).state.now == NO_EPISODE


def test_a_unit_that_nobody_judged_counts_as_productive_once_it_is_over(given: Tell) -> None:
    """Doubt resolves to going on; but only when the next unit begins, since until then somebody may judge it."""
    unjudged = (SAID, ANSWERED)
    assert given(*AN_EPISODE, unjudged).state.now.productive == 0
    assert given(*AN_EPISODE, unjudged, SAID).state.now.productive == 1
    assert given(*AN_EPISODE, unjudged, HARMFUL).state.now.failed == 1
    assert given(*AN_EPISODE, unjudged, unjudged, SAID).state.now == NO_EPISODE


def test_the_policy_says_how_many_productive_units_close(given: Tell) -> None:
    sooner = given(started(policy(productive_to_close=1)), ABUSED, REDIRECTED, SAID, PRODUCTIVE)
    assert sooner.state.now == NO_EPISODE
    later = (started(policy(productive_to_close=4)), ABUSED, REDIRECTED)
    assert [given(*later, (PRODUCTIVE_UNIT,) * count).state.now.productive for count in range(4)] == [0, 1, 2, 3]
    assert given(*later, (PRODUCTIVE_UNIT,) * 4).state.now == NO_EPISODE


# --- units -----------------------------------------------------------------------------------------------------------


def test_a_unit_is_all_turns_since_the_last_answer(given: Tell) -> None:
    """It is named by the latest of them, and judged as one."""
    two_turns = given(STARTED, SAID, HARMFUL, SAID).state
    unit = unit_of(two_turns)
    assert (unit.turn, unit.judged, unit.judgement) == (4, 2, Verdict.HARMFUL)
    assert unit_of(given(STARTED, SAID, HARMFUL, SAID, PRODUCTIVE).state).judgement is Verdict.PRODUCTIVE
    assert not two_turns.answered


def test_two_categories_of_harm_are_enough_to_know_that_they_differ(given: Tell) -> None:
    """However many there are, the state stays small."""
    several = given(FIRST, SAID, harmful("threats"), harmful("hate"), HARMFUL).state
    assert unit_of(several).categories == {"threats", "hate"}


def test_a_unit_lasts_until_the_next_one_begins(given: Tell) -> None:
    """It is settled by the user turn that comes after an answer, not by the answer."""
    answered = given(STARTED, ABUSED, ANSWERED)
    assert answered.state.answered
    assert unit_of(answered.state).turn == 2
    assert answered.state.episode == NO_EPISODE
    assert answered.state.now != NO_EPISODE
    settled = given(STARTED, ABUSED, ANSWERED, SAID).state
    assert unit_of(settled).turn == 5
    assert settled.episode.numbers is not None


def test_turns_of_one_unit_fail_a_redirection_once(given: Tell) -> None:
    """However many messages the harm comes in."""
    assert given(*AN_EPISODE, SAID, HARMFUL, SAID, HARMFUL, SAID, HARMFUL).state.now.failed_at == (5,)


# --- redirections ----------------------------------------------------------------------------------------------------


def test_a_redirection_is_pending_until_a_later_unit_is_judged(given: Tell) -> None:
    """Silence, time-outs, disconnects and model errors never make it fail."""
    for silence in ((), (LEFT,), (SAID,), (SAID, LEFT, SAID, ANSWERED)):
        assert given(*AN_EPISODE, *silence).state.now.failed == 0
    assert given(*AN_EPISODE, SAID).state.now.pending == 5


def test_a_redirection_fails_by_harm(given: Tell) -> None:
    now = given(*AN_EPISODE, ABUSED).state.now
    assert (now.failed, now.failed_at, now.pending) == (1, (5,), None)


def test_a_redirection_succeeds_by_a_productive_unit(given: Tell) -> None:
    now = given(*AN_EPISODE, PRODUCTIVE_UNIT, ABUSED).state.now
    assert (now.failed, now.pending) == (0, None)


@pytest.mark.parametrize("verdict", [AMBIGUOUS, UNPRODUCTIVE])
def test_a_redirection_is_still_pending_after_doubt(given: Tell, verdict: Step) -> None:
    doubted = (*AN_EPISODE, SAID, verdict, ANSWERED)
    assert given(*doubted).state.now.pending == 5
    assert given(*doubted, ABUSED).state.now.failed_at == (5,)


@pytest.mark.parametrize("verdict", [PRODUCTIVE, AMBIGUOUS, UNPRODUCTIVE])
def test_a_redirection_of_what_proved_to_be_no_harm_is_void(given: Tell, verdict: Step) -> None:
    """A second opinion on the unit that was answered comes late, and still counts."""
    assert given(*AN_EPISODE, verdict, ABUSED).state.now.failed == 0


def test_the_first_redirection_of_a_unit_is_the_one(given: Tell) -> None:
    """A second one is against the law; where it was recorded all the same, it counts for nothing."""
    story = given(*AN_EPISODE)
    again = log.RedirectionAttempted(by=MODEL, turn=4, answers=2)
    assert unit_of(evolve(story.state, again)).redirection == 5


def test_failed_redirections_stay_through_risk_policy_and_model(given: Tell) -> None:
    """It is warnings that are void then."""
    for change in ((AT_RISK,), (AT_RISK, risk_cleared()), (model_changed(),), (policy_changed(policy()),)):
        assert given(STARTED, *THREE_FAILED_REDIRECTIONS, *change).state.now.failed == 3


def test_a_state_is_small_however_long_the_abuse(given: Tell) -> None:
    """All failed redirections are counted; the versions of the latest are kept, as many as a policy may ask for."""
    state = given(started(policy(min_failed_redirections=RECALLED)), failed_redirections(RECALLED + 2)).state
    assert state.now.failed == RECALLED + 2
    assert len(state.now.failed_at) == RECALLED
    assert state.now.failed_at[0] == 5 + 2 * 4


# --- warnings --------------------------------------------------------------------------------------------------------


def test_a_warning_stands_from_the_next_unit_on(given: Tell) -> None:
    """In the unit that it answers it is a warning given, not a warning ignored."""
    assert given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED).state.warning("abuse") is None
    state = given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, SAID).state
    assert state.warning("abuse") == Warned(17, "abuse", complete=True, user=(USER.kind, USER.id))
    assert state.warning("threats") is None


def test_a_warning_is_tested_by_harm_of_its_category(given: Tell) -> None:
    """Provisionally, as the unit is judged now, and for good when the unit is settled."""
    tested = (FIRST, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED)
    assert present(given(*tested).state.warning("abuse")).tested_by == 18
    assert present(given(*tested, AMBIGUOUS).state.warning("abuse")).tested_by is None
    assert present(given(*tested, harmful("threats")).state.warning("abuse")).tested_by is None
    assert present(given(*tested, ANSWERED, SAID, AMBIGUOUS).state.warning("abuse")).tested_by == 18


@pytest.mark.parametrize("verdict", [PRODUCTIVE, AMBIGUOUS, UNPRODUCTIVE])
def test_a_warning_about_what_proved_to_be_no_harm_is_void(given: Tell, verdict: Step) -> None:
    warned_in_vain = given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, verdict, TESTED)
    assert warned_in_vain.state.warning("abuse") is None


@pytest.mark.parametrize(
    "change",
    [AT_RISK, model_changed(), policy_changed(policy()), (PRODUCTIVE_UNIT, PRODUCTIVE_UNIT)],
    ids=["risk", "model", "policy", "episode"],
)
def test_a_warning_is_void(given: Tell, change: Step) -> None:
    """When a risk is raised, the model or the policy changes, or the episode closes."""
    settled, fresh = (WARNED, TESTED, ANSWERED), WARNED
    for so_far in (settled, fresh):
        assert given(STARTED, *THREE_FAILED_REDIRECTIONS, so_far, change, TESTED).state.now.warnings == ()


def test_one_warning_a_category_stands(given: Tell) -> None:
    """The first complete one, so that it is not untested by repetition; what is incomplete gives way."""
    incomplete = (ANSWERED, warned(redirects=False))
    twice = (STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED, WARNED, TESTED)
    assert given(*twice).state.now.warnings == (
        Warned(17, "abuse", complete=True, tested_by=18, user=(USER.kind, USER.id)),
    )
    made_good = (STARTED, *THREE_FAILED_REDIRECTIONS, incomplete, warned(), TESTED)
    assert given(*made_good).state.now.warnings == (
        Warned(18, "abuse", complete=True, tested_by=19, user=(USER.kind, USER.id)),
    )


def test_warnings_of_several_categories_stand_side_by_side(given: Tell) -> None:
    threats = (SAID, harmful("threats"))
    story = (FIRST, *THREE_FAILED_REDIRECTIONS, WARNED, threats, ANSWERED, warned("threats"), threats)
    state = given(*story).state
    assert [state.warning(category) for category in ("abuse", "threats")] == list(state.now.warnings)
    assert state.warning("".join(["thr", "eats"])) is not None  # the same, though another object
    assert [state.warning(category) for category in ("aaa", "hate", "zzz", None)] == [None] * 4
    assert [(warned.category, warned.tested_by) for warned in given(*story).state.now.warnings] == [
        ("abuse", None),
        ("threats", 22),
    ]
