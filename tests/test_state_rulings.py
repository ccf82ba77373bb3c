"""What events add up to since the second edition: each ruling from both sides."""

import pytest

from lastresort.domain.episode import NO_EPISODE
from lastresort.domain.events import BranchOpened
from lastresort.domain.policy import Policy
from lastresort.domain.state import about_to_fork, evolve
from lastresort.domain.values import About, Actor, ActorKind, AppealOutcome, ForkCause, Risk, Verdict

from .narrow import present
from .vocabulary import (
    ABUSED,
    AMBIGUOUS,
    ANOTHER_MODEL,
    ANSWERED,
    APPEALED,
    AT_RISK,
    DATED,
    EDITED,
    END,
    HARMFUL,
    LEFT,
    MODEL,
    OPERATOR,
    PRODUCTIVE,
    PRODUCTIVE_UNIT,
    REDIRECTED,
    RETRIED,
    SAID,
    SECOND,
    THREE_FAILED_REDIRECTIONS,
    UP_TO_THE_END,
    USER,
    WARNED,
    Step,
    Tell,
    appeal_decided,
    failed_redirections,
    harmful,
    judged,
    model_changed,
    policy,
    policy_changed,
    started,
)

MILD: Step = (SAID, harmful(severity=1))
CLOSED: Step = (PRODUCTIVE_UNIT, PRODUCTIVE_UNIT)
WARNED_ONCE: Step = (failed_redirections(3), WARNED)


@pytest.mark.parametrize(("law", "failed"), [(1, 5), (2, 1)])
def test_what_counts_toward_an_ending_is_grave(given: Tell, law: int, failed: int) -> None:
    """Four mild jibes, each redirected, and one insult are one failure."""
    jibes = (ABUSED, REDIRECTED, (MILD, REDIRECTED) * 4, ABUSED)
    state = given(started(law=law), *jibes).state
    assert (state.now.failed, state.now.attempted) == (failed, 5)


def test_mild_harm_keeps_the_episode_open_and_the_redirection_pending(given: Tell) -> None:
    """And so does harm that no ending may be about."""
    assert given(SECOND, ABUSED, REDIRECTED, MILD, ANSWERED, ABUSED).state.now.failed == 1
    spam = (SAID, harmful("spam", 3))
    assert given(SECOND, ABUSED, REDIRECTED, spam).state.now.failed == 0
    assert given(SECOND, ABUSED, REDIRECTED, MILD).state.now.productive == 0


def test_an_episode_after_a_relapse_closes_later(given: Tell) -> None:
    """By two units for each that closed while a warning stood, six at most; where none stood, as ever."""
    relapsed = (SECOND, WARNED_ONCE, ABUSED, ANSWERED, CLOSED)
    state = given(*relapsed, ABUSED, ANSWERED, CLOSED, SAID).state
    assert (state.episode.relapses, state.episode.productive) == (1, 2)
    assert given(*relapsed, ABUSED, ANSWERED, CLOSED, CLOSED, SAID).state.episode.numbers is None
    assert given(SECOND, ABUSED, REDIRECTED, CLOSED, SAID).state.episode == NO_EPISODE
    assert given(started(law=1), WARNED_ONCE, ABUSED, ANSWERED, CLOSED, SAID).state.episode == NO_EPISODE
    assert [Policy.default().numbers.to_close(relapses) for relapses in range(6)] == [2, 4, 6, 8, 8, 8]


def test_a_judgement_is_of_each_judges_latest_word(given: Tell) -> None:
    """A polite first line covers nothing that follows it; another judge's milder word still counts."""
    polite = (SECOND, SAID, PRODUCTIVE, SAID, HARMFUL)
    assert present(given(*polite).state.unit).judgement is Verdict.HARMFUL
    assert present(given(started(law=1), *polite[1:]).state.unit).judgement is Verdict.PRODUCTIVE
    another = (SECOND, SAID, judged(Verdict.AMBIGUOUS, by=MODEL), SAID, HARMFUL)
    assert present(given(*another).state.unit).judgement is Verdict.AMBIGUOUS


def test_an_unknown_risk_is_replaced_by_a_later_word(given: Tell) -> None:
    """Of the same actor, or of an operator, about the same turn; what somebody saw stays."""
    unknown = judged(Verdict.AMBIGUOUS, risk=Risk.UNKNOWN)
    doubted = (SECOND, SAID, unknown)
    assert present(given(*doubted).state.unit).at_risk
    assert not present(given(*doubted, AMBIGUOUS).state.unit).at_risk
    by_operator = present(given(*doubted, judged(Verdict.AMBIGUOUS, by=OPERATOR)).state.unit)
    assert (by_operator.at_risk, by_operator.safe_by) == (False, frozenset({ActorKind.OPERATOR}))
    assert present(given(*doubted, judged(Verdict.AMBIGUOUS, by=MODEL)).state.unit).at_risk
    assert present(given(*doubted, SAID, AMBIGUOUS).state.unit).at_risk
    seen = judged(Verdict.AMBIGUOUS, risk=Risk.POSSIBLE)
    assert present(given(SECOND, SAID, seen, AMBIGUOUS).state.unit).at_risk
    assert present(given(started(law=1), SAID, unknown, AMBIGUOUS).state.unit).at_risk


@pytest.mark.parametrize(
    ("law", "opinion", "productive"), [(1, "every_turn", 1), (2, "every_turn", 0), (2, "at_gate", 1), (2, "never", 1)]
)
def test_unjudged_where_judging_is_due(given: Tell, law: int, opinion: str, productive: int) -> None:
    """It settles as ambiguous, and not as productive."""
    due = policy(second_opinion=opinion)
    state = given(started(due, law=law), ABUSED, REDIRECTED, SAID, ANSWERED, SAID).state
    assert state.episode.productive == productive


@pytest.mark.parametrize(("about", "holds"), [(About.SELF, False), (About.OTHERS, True)])
def test_a_hold_is_set_apart_for_self_and_others(given: Tell, about: About, holds: bool) -> None:
    """Whom a risk is about the verdict says."""
    apart = policy(hold_on_self=(Risk.IMMINENT,), hold_on_others=(Risk.IMMINENT, Risk.POSSIBLE))
    assert apart.holds_on(Risk.POSSIBLE, about, 2) is holds
    assert apart.holds_on(Risk.POSSIBLE, None, 2)
    assert apart.holds_on(Risk.POSSIBLE, about, 1)
    other_way = policy(hold_on_self=(Risk.IMMINENT, Risk.POSSIBLE), hold_on_others=(Risk.IMMINENT,))
    assert other_way.holds_on(Risk.POSSIBLE, about, 2) is not holds
    assert other_way.holds_on(Risk.POSSIBLE, None, 2)
    seen = judged(Verdict.AMBIGUOUS, risk=Risk.POSSIBLE)
    assert bool(given(started(apart, law=2), SAID, seen).state.risks) is False  # of self, as the kit says it


def test_a_wrong_ending_leaves_no_strikes(given: Tell) -> None:
    """A branch that is absolved starts without an episode, and its first unit counts no more."""
    wrong = given(SECOND, *UP_TO_THE_END, END, APPEALED, appeal_decided(AppealOutcome.GRANTED))
    last = present(wrong.state.unit).turn
    for at, opens in ((last - 1, EDITED), (3, RETRIED)):
        opened = wrong.cut_at(at).when(opens).accepted()
        opened.then(lambda state: (state.now.numbers, state.now.failed, state.now.warnings) == (None, 0, ()))
    rejected = given(SECOND, *UP_TO_THE_END, END, APPEALED, appeal_decided(AppealOutcome.REJECTED))
    rejected.cut_at(last - 1).when(EDITED).accepted().then(lambda state: state.now.numbers is not None)


def test_what_one_appeal_granted_no_later_one_takes_back(given: Tell) -> None:
    """The ending was wrong, whatever else is decided about it."""
    granted, rejected = appeal_decided(AppealOutcome.GRANTED), appeal_decided(AppealOutcome.REJECTED)
    for first, second in ((granted, rejected), (rejected, granted)):
        assert given(SECOND, *UP_TO_THE_END, END, APPEALED, first, APPEALED, second).state.absolved


@pytest.mark.parametrize(("law", "so"), [(1, False), (2, True)])
def test_nobody_is_absolved_in_the_first_edition(given: Tell, law: int, so: bool) -> None:
    """Whatever became of the appeal, and whatever an event says that should not have been recorded."""
    wrong = given(started(law=law), *UP_TO_THE_END, END, APPEALED, appeal_decided(AppealOutcome.GRANTED)).state
    assert wrong.absolved is so
    assert present(about_to_fork(wrong, None, (), absolved=True).fork).absolved is so
    assert not present(about_to_fork(wrong, None, ()).fork).absolved
    prefix = given(started(law=law), ABUSED, ANSWERED).state
    opened = BranchOpened(by=USER, conversation="c", parent="c", at=4, cause=ForkCause.RETRY, risks=(), absolved=True)
    assert (evolve(prefix, opened).now.numbers is None) is so


def test_going_over_to_the_second_edition_weighs_the_latest_unit_again(given: Tell) -> None:
    """By each judge's latest word; what was weighed so before stays."""
    polite = (started(law=1), SAID, PRODUCTIVE, SAID, HARMFUL)
    over = given(*polite, policy_changed(Policy.default(), law=2))
    assert present(given(*polite).state.unit).judgement is Verdict.PRODUCTIVE
    assert present(over.state.unit).judgement is Verdict.HARMFUL
    assert present(given(*polite, policy_changed(Policy.default())).state.unit).judgement is Verdict.PRODUCTIVE
    again = given(*polite, policy_changed(Policy.default(), law=2), policy_changed(Policy.default(), law=2))
    assert again.state.unit == over.state.unit


@pytest.mark.parametrize(("law", "standing"), [(1, 1), (2, 0)])
def test_a_branch_that_opens_under_a_risk_starts_without_warnings(given: Tell, law: int, standing: int) -> None:
    """As if the risk had been raised on it."""
    under_risk = given(started(law=law), WARNED_ONCE, ABUSED, ANSWERED, SAID, AT_RISK)
    opened = under_risk.cut_at(present(under_risk.state.unit).turn - 1).when(EDITED).accepted()
    opened.then(lambda state: len(state.now.warnings) == standing)


def test_leaving_voids_warnings_where_a_policy_says_so(given: Tell) -> None:
    """And nowhere else."""
    voids = policy(leaving_voids_warnings=True)
    for terms, law, standing in ((voids, 2, 0), (voids, 1, 1), (policy(), 2, 1)):
        state = given(started(terms, law=law), WARNED_ONCE, ABUSED, LEFT).state
        assert len(state.now.warnings) == standing


def test_a_stricter_policy_closes_what_was_productive_long_enough(given: Tell) -> None:
    """Unless the unit of now is harm, which starts the count again."""
    patient, short = policy(productive_to_close=3), policy(productive_to_close=1)
    begun = (started(patient, law=2), ABUSED, ANSWERED, PRODUCTIVE_UNIT, SAID)
    assert given(*begun, policy_changed(short)).state.episode.numbers is None
    assert given(*begun, HARMFUL, policy_changed(short)).state.now.numbers is not None


def test_a_category_is_in_one_group() -> None:
    """Otherwise two harms would be the same as a third, and not as each other."""
    with pytest.raises(ValueError, match="in two groups"):
        policy(groups={"a": ("abuse",), "b": ("abuse", "hate")})
    assert policy(groups={"a": ("spam", "fraud", "spam")}).groups == {"a": ("fraud", "spam")}


@pytest.mark.parametrize(("law", "to", "stand"), [(1, DATED, 0), (2, DATED, 1), (2, ANOTHER_MODEL, 0)])
def test_a_warning_stands_while_the_model_is_the_same_by_whatever_name(
    given: Tell, law: int, to: Actor, stand: int
) -> None:
    """A dated name is no other model. In the first edition any change of the name voided warnings."""
    warned = given(started(law=law), *THREE_FAILED_REDIRECTIONS, WARNED, ABUSED)
    story = given(started(law=law), *THREE_FAILED_REDIRECTIONS, WARNED, ABUSED, model_changed(to.id))
    assert len(warned.state.now.warnings) == 1
    assert len(story.state.now.warnings) == stand
    assert story.state.model == to.id
