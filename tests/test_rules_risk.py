"""Risk: while someone may be about to harm themselves or others, nothing ends, and nothing is said of an ending."""

import pytest

from lastresort.domain import rules
from lastresort.domain.commands import AssessTurn
from lastresort.domain.events import RiskRaised, TurnAssessed, UserLeft
from lastresort.domain.law import Missing
from lastresort.domain.rules_of_conversations import unchecked
from lastresort.domain.values import About, Actor, ActorKind, Ground, Risk, Verdict

from .narrow import must_be
from .vocabulary import (
    ANSWERED,
    ASKED_AND_CONFIRMED,
    ASKED_TO_END,
    ASSESSOR,
    AT_RISK,
    CONFIRMED,
    END,
    END_ON_REQUEST,
    ENDED,
    HARMFUL,
    HOPELESS,
    LEFT,
    MODEL,
    NAMED_ASSESSOR,
    OPERATOR,
    PRODUCTIVE,
    PROPOSED,
    SAID,
    STARTED,
    SYSTEM,
    TESTED,
    THREE_FAILED_REDIRECTIONS,
    UP_TO_THE_END,
    USER,
    WARNED,
    Step,
    Tell,
    harmful,
    judged,
    policy,
    policy_changed,
    proposed,
    risk_cleared,
    risk_raised,
    started,
    warned,
)


def verdict(risk: Risk) -> TurnAssessed:
    """A verdict on the turn at 2, alone: the command that gives one raises the risk with it."""
    return TurnAssessed(by=ASSESSOR, turn=2, verdict=Verdict.AMBIGUOUS, risk=risk, about=About.SELF)


# --- risk-holds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("risk", [Risk.POSSIBLE, Risk.IMMINENT])
def test_risk_holds__the_risk_is_raised_with_the_verdict(given: Tell, risk: Risk) -> None:
    """A verdict that sees a risk is followed by a hold, at once."""
    given(STARTED, SAID).when(judged(Verdict.AMBIGUOUS, risk=risk)).accepted_as(
        verdict(risk), RiskRaised(by=ASSESSOR, risk="seen-by-assessor", about=About.SELF)
    )


@pytest.mark.parametrize("step", [SAID, ANSWERED, PRODUCTIVE, LEFT])
def test_risk_holds__anything_else_came_first(given: Tell, step: Step) -> None:
    """Nothing comes between a risk that was seen and its hold, not even the turn that was on its way."""
    given(STARTED, SAID, verdict(Risk.IMMINENT)).when(step).refused_by(
        rules.RISK_HOLDS, lacking="the verdict at 3 saw a risk, and no RiskRaised followed"
    )


def test_risk_holds__any_hold_will_do(given: Tell) -> None:
    """No matter who raises it, and about whom: a hold holds."""
    seen = given(STARTED, SAID, verdict(Risk.POSSIBLE))
    seen.when(risk_raised(by=MODEL, about=About.OTHERS)).accepted()
    given(*seen.story.events, AT_RISK).when(ANSWERED).accepted()


def test_risk_holds__on_a_long_path_from_a_snapshot(given: Tell) -> None:
    """A hold is due where the numbers are the same, however large, and though they were read and not counted."""
    seen = TurnAssessed(by=ASSESSOR, turn=301, verdict=Verdict.AMBIGUOUS, risk=Risk.IMMINENT)
    state = given(STARTED, *[SAID] * 300, seen).state
    read = state._replace(hold_due=int(str(state.hold_due)))
    assert rules.RISK_HOLDS.lacks(read, UserLeft(by=USER)) is not None


def test_risk_holds__a_hold_was_on(given: Tell) -> None:
    """Where a hold is on, a verdict that sees a risk raises no second one."""
    on_hold = given(STARTED, SAID, AT_RISK)
    on_hold.when(judged(Verdict.AMBIGUOUS, risk=Risk.IMMINENT)).accepted_as(verdict(Risk.IMMINENT))
    given(*on_hold.story.events, verdict(Risk.IMMINENT)).when(ANSWERED).accepted()


def test_risk_holds__a_risk_that_the_policy_does_not_hold_on(given: Tell) -> None:
    """What may be no risk at all raises a hold only where the deployer says so."""
    given(STARTED, SAID, verdict(Risk.UNKNOWN)).when(ANSWERED).accepted()
    on_imminent, on_doubt = policy(hold_on=("imminent",)), policy(hold_on=("imminent", "unknown"))
    given(started(on_imminent), SAID, verdict(Risk.POSSIBLE)).when(ANSWERED).accepted()
    given(started(on_doubt), SAID, verdict(Risk.UNKNOWN)).when(ANSWERED).refused_by(rules.RISK_HOLDS)


# --- no-end-at-risk --------------------------------------------------------------------------------------------------


def test_no_end_at_risk__the_risk_is_over(given: Tell) -> None:
    """Once every risk is cleared, all is possible that was before."""
    given(STARTED, AT_RISK, risk_cleared(), *UP_TO_THE_END).when(END).accepted()


def test_no_end_at_risk__no_warning(given: Tell) -> None:
    """While a risk is open there is no mention of an ending."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, ANSWERED, AT_RISK).when(warned()).refused_by(
        rules.NO_END_AT_RISK, lacking="open risks: risk"
    )


def test_no_end_at_risk__no_proposal_and_no_end_of_hope(given: Tell) -> None:
    """While a risk is open nobody proposes an ending, on any ground, nor is anybody given up on."""
    for ground in Ground:
        given(STARTED, SAID, AT_RISK).when(proposed(ground)).refused_by(rules.NO_END_AT_RISK)
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED, AT_RISK).when(HOPELESS).refused_by(
        rules.NO_END_AT_RISK, rules.HOPE_EXHAUSTED
    )


def test_no_end_at_risk__no_last_resort(given: Tell) -> None:
    """A risk voids all that led up to an ending, and stands in its way besides."""
    given(STARTED, *UP_TO_THE_END, AT_RISK).when(END).refused_by(
        rules.NO_END_AT_RISK, rules.WARNED_FIRST, rules.HOPE_EXHAUSTED
    )


def test_no_end_at_risk__the_users_wish_included(given: Tell) -> None:
    """What the user asks for while a risk is open is recorded, and has no effect."""
    given(STARTED, AT_RISK, ASKED_AND_CONFIRMED).when(END_ON_REQUEST).refused_by(
        rules.NO_END_AT_RISK, rules.CONFIRMED_LATER
    )
    given(STARTED, ASKED_AND_CONFIRMED, AT_RISK, risk_cleared()).when(END_ON_REQUEST).refused_by(rules.CONFIRMED_LATER)


def test_no_end_at_risk__one_of_two_risks_is_over(given: Tell) -> None:
    """While any risk is open."""
    given(STARTED, SAID, risk_raised("one"), risk_raised("two"), risk_cleared("one")).when(PROPOSED).refused_by(
        rules.NO_END_AT_RISK, lacking="open risks: two"
    )


@pytest.mark.parametrize("about", About)
def test_no_end_at_risk__whomever_it_is_about(given: Tell, about: About) -> None:
    """Somebody else who may come to harm holds as the user does."""
    given(STARTED, SAID, risk_raised(about=about)).when(PROPOSED).refused_by(rules.NO_END_AT_RISK)


@pytest.mark.parametrize("step", [LEFT, SAID, ANSWERED, HARMFUL, ASKED_TO_END])
def test_no_end_at_risk__the_user_may_leave_and_talk_goes_on(given: Tell, step: Step) -> None:
    """The user can always leave; and everything else goes on."""
    given(STARTED, SAID, AT_RISK).when(step).accepted()


# --- risk-was-checked ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [ASSESSOR, OPERATOR])
def test_risk_was_checked__by_one_who_is_trusted(given: Tell, by: Actor) -> None:
    """An ending only where somebody trusted for it has looked at the latest unit and saw no risk."""
    checked = judged(Verdict.PRODUCTIVE, by=by)
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, checked, CONFIRMED).when(END_ON_REQUEST).accepted()


def test_risk_was_checked__by_nobody(given: Tell) -> None:
    """On any ground: the user's wish included."""
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, CONFIRMED).when(END_ON_REQUEST).refused_by(
        rules.RISK_WAS_CHECKED, lacking="the turn at 5 was not judged free of risk by assessor or operator"
    )


@pytest.mark.parametrize("by", [USER, MODEL, SYSTEM])
def test_risk_was_checked__by_one_who_is_not_trusted(given: Tell, by: Actor) -> None:
    """Neither the user's nor the model's own word on risk opens the way to an ending."""
    checked = judged(Verdict.PRODUCTIVE, by=by)
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, checked, CONFIRMED).when(END_ON_REQUEST).refused_by(
        rules.RISK_WAS_CHECKED
    )


def test_risk_was_checked__as_the_policy_trusts(given: Tell) -> None:
    """A deployer may trust fewer kinds of actors, or none, in which case nothing ends."""
    given(started(policy(trusted_for_risk=("operator",))), ASKED_AND_CONFIRMED).when(END_ON_REQUEST).refused_by(
        rules.RISK_WAS_CHECKED, lacking="the turn at 5 was not judged free of risk by operator"
    )
    given(started(policy(trusted_for_risk=())), ASKED_AND_CONFIRMED).when(END_ON_REQUEST).refused_by(
        rules.RISK_WAS_CHECKED, lacking="the turn at 5 was not judged free of risk by anyone whose word would count"
    )


def test_risk_was_checked__unknown_counts_as_risk(given: Tell) -> None:
    """An assessor who cannot tell stands in the way, whatever others see, and in whatever order they look."""
    doubt = judged(Verdict.PRODUCTIVE, risk=Risk.UNKNOWN, by=MODEL)
    doubted = "a verdict on the unit at 5 sees a risk, or cannot tell"
    given(STARTED, ASKED_AND_CONFIRMED, doubt).when(END_ON_REQUEST).refused_by(rules.RISK_WAS_CHECKED, lacking=doubted)
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, doubt, PRODUCTIVE, CONFIRMED).when(END_ON_REQUEST).refused_by(
        rules.RISK_WAS_CHECKED, lacking=doubted
    )


@pytest.mark.parametrize(
    ("law", "risk", "so"),
    [(1, Risk.UNKNOWN, False), (2, Risk.UNKNOWN, True), (2, Risk.POSSIBLE, False), (2, Risk.IMMINENT, False)],
)
def test_risk_was_checked__whether_an_opinion_is_all_that_it_lacks(given: Tell, law: int, risk: Risk, so: bool) -> None:
    """Since edition 2 a doubt may be resolved by a later word. A risk that was seen is not."""
    state = given(started(policy(hold_on=("imminent",)), law=law), SAID, judged(Verdict.PRODUCTIVE, risk=risk)).state
    assert must_be(Missing, unchecked(state)).by_opinion is so


def test_risk_was_checked__no_opinion_helps_where_there_is_nothing_to_judge_or_nobody_to_trust(given: Tell) -> None:
    """A first turn, and somebody whom the policy trusts, have to be there."""
    nobody = policy(trusted_for_risk=())
    for history, so in (
        ((STARTED, SAID), True),
        ((STARTED,), False),
        ((started(nobody), SAID), False),
        ((started(nobody),), False),
    ):
        assert must_be(Missing, unchecked(given(*history).state)).by_opinion is so


def test_risk_was_checked__for_the_latest_turn_of_the_unit(given: Tell) -> None:
    """That a unit's first turn was free of risk says nothing of its second; that it was not, does."""
    two_turns = (SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE, SAID)
    given(STARTED, two_turns, CONFIRMED).when(END_ON_REQUEST).refused_by(rules.RISK_WAS_CHECKED)
    given(STARTED, two_turns, PRODUCTIVE, CONFIRMED).when(END_ON_REQUEST).accepted()
    unsure = (SAID, ASKED_TO_END, ANSWERED, SAID, judged(Verdict.PRODUCTIVE, risk=Risk.UNKNOWN), SAID)
    given(STARTED, unsure, PRODUCTIVE, CONFIRMED).when(END_ON_REQUEST).refused_by(rules.RISK_WAS_CHECKED)


def test_risk_was_checked__before_a_last_resort_too(given: Tell) -> None:
    """However grave the harm: an ending asks whether its author is in danger."""
    unsure = (SAID, harmful(risk=Risk.UNKNOWN))
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, unsure, HOPELESS).when(END).refused_by(rules.RISK_WAS_CHECKED)


# --- cleared-by-authority --------------------------------------------------------------------------------------------


def test_cleared_by_authority__an_operator(given: Tell) -> None:
    """An operator may always clear a risk."""
    given(STARTED, AT_RISK).when(risk_cleared()).accepted().then(lambda state: state.risks == ())


@pytest.mark.parametrize("by", [USER, MODEL, SYSTEM, ASSESSOR])
def test_cleared_by_authority__nobody_else(given: Tell, by: Actor) -> None:
    """Neither the user, nor the model, nor the system and its timers, nor just any assessor."""
    given(STARTED, AT_RISK).when(risk_cleared(by=by)).refused_by(
        rules.CLEARED_BY_AUTHORITY,
        lacking=f"{by.kind} {by.id} may not clear a risk; an operator or a named assessor may",
    )


def test_cleared_by_authority__of_another_name(given: Tell) -> None:
    """What is cleared is the risk that is named, not one whose name comes before or after it."""
    for other in ("a-risk", "zero-risk"):
        given(STARTED, AT_RISK).when(risk_cleared(other)).refused_by(
            rules.CLEARED_BY_AUTHORITY, lacking=f"risk {other} is not open"
        )


def test_cleared_by_authority__a_name_is_its_letters(given: Tell) -> None:
    """The same risk, though its name was read again."""
    given(STARTED, AT_RISK).when(risk_cleared("".join(("ri", "sk")))).accepted()


def test_cleared_by_authority__an_assessor_by_name(given: Tell) -> None:
    """An assessor whom the policy names; a user or model of that name is not one."""
    named = policy(may_clear_risk=(NAMED_ASSESSOR.id,))
    at_risk = given(started(named), AT_RISK)
    at_risk.when(risk_cleared(by=NAMED_ASSESSOR)).accepted()
    at_risk.when(risk_cleared(by=ASSESSOR)).refused_by(rules.CLEARED_BY_AUTHORITY)
    for kind in (ActorKind.USER, ActorKind.MODEL, ActorKind.SYSTEM):
        namesake = NAMED_ASSESSOR.model_copy(update={"kind": kind})
        at_risk.when(risk_cleared(by=namesake)).refused_by(rules.CLEARED_BY_AUTHORITY)


def test_cleared_by_authority__by_the_policy_of_the_hour(given: Tell) -> None:
    """Who is named is a matter of the policy that governs now."""
    given(started(policy(may_clear_risk=(NAMED_ASSESSOR.id,))), AT_RISK, policy_changed(policy())).when(
        risk_cleared(by=NAMED_ASSESSOR)
    ).refused_by(rules.CLEARED_BY_AUTHORITY)


def test_cleared_by_authority__a_risk_that_is_not_open(given: Tell) -> None:
    """What was never raised, or is over, cannot be cleared."""
    given(STARTED).when(risk_cleared()).refused_by(rules.CLEARED_BY_AUTHORITY, lacking="risk risk is not open")
    given(STARTED, AT_RISK).when(risk_cleared("another")).refused_by(rules.CLEARED_BY_AUTHORITY)
    given(STARTED, AT_RISK, risk_cleared()).when(risk_cleared()).refused_by(rules.CLEARED_BY_AUTHORITY)


@pytest.mark.parametrize("by", [USER, MODEL, ASSESSOR, OPERATOR, SYSTEM])
def test_cleared_by_authority__raising_is_open_to_all(given: Tell, by: Actor) -> None:
    """Anybody may raise a risk, at any time, after the ending too, and again while it is open."""
    for history in ((), (SAID, ANSWERED), (AT_RISK,), ENDED):
        given(STARTED, history).when(risk_raised(by=by)).accepted().then(lambda state: len(state.risks) == 1)


def test_risk_holds__after_a_verdict_that_was_refused(given: Tell) -> None:
    """What it saw of a risk holds all the same, by whoever saw it; where it saw none, nothing does."""
    state = given(STARTED, SAID).state
    late = AssessTurn(id="late", by=MODEL, turn=2, verdict=Verdict.AMBIGUOUS, risk=Risk.IMMINENT, about=About.OTHERS)
    assert rules.hold_after_refusal(state, late) == rules.Hold(MODEL, About.OTHERS)
    assert rules.hold_after_refusal(state, late.model_copy(update={"risk": Risk.NONE})) is None


def test_risk_holds__of_what_is_written_after_the_ending(given: Tell) -> None:
    """What the user writes then is no event; where the screen sees a risk, it is the system that raises it."""
    state = given(STARTED, SAID).state
    assert rules.holds_after_ending(state, Risk.IMMINENT) == (rules.Hold(rules.SYSTEM, About.SELF),)
    assert rules.holds_after_ending(state, Risk.UNKNOWN) == ()
    both = {About.OTHERS: Risk.POSSIBLE, About.SELF: Risk.IMMINENT}
    assert [hold.about for hold in rules.holds_after_ending(state, both)] == [About.SELF, About.OTHERS]
