"""What the events add up to: wishes and risks, the terms that govern, branches, and the ending."""

import pytest

from lastresort.domain.decider import Acceptance
from lastresort.domain.episode import NO_EPISODE
from lastresort.domain.policy import Numbers, Policy
from lastresort.domain.state import NO_WISHES, Ended, evolve
from lastresort.domain.values import About, Ground, OpenRisk, Risk, Verdict

from .narrow import must_be, present
from .vocabulary import (
    ABUSED,
    AMBIGUOUS,
    AN_EPISODE,
    ANSWERED,
    APPEALED,
    ASKED_AND_CONFIRMED,
    ASKED_TO_END,
    ASSESSOR,
    AT_RISK,
    CONFIRMED,
    EDITED,
    END,
    ENDED,
    ERASED,
    FEEDBACK,
    HARMFUL,
    HELD,
    LEFT,
    LENIENT,
    MODEL,
    PRODUCTIVE,
    PRODUCTIVE_UNIT,
    PROPOSED,
    REDIRECTED,
    RELEASED,
    RETRIED,
    SAID,
    SHADOWED,
    STARTED,
    STRICT,
    TESTED,
    THREE_FAILED_REDIRECTIONS,
    UNPRODUCTIVE,
    UP_TO_THE_END,
    WARNED,
    Step,
    Tell,
    appeal_decided,
    branched_off,
    failed_redirections,
    judged,
    model_changed,
    policy,
    policy_changed,
    proposed,
    risk_cleared,
    risk_raised,
    started,
    withheld,
)

# --- wishes and hope -------------------------------------------------------------------------------------------------


def test_a_request_waits_for_the_next_unit(given: Tell) -> None:
    asked = (STARTED, SAID, ASKED_TO_END)
    assert given(*asked).state.wishes.requested == 3
    assert given(*asked, SAID).state.wishes.requested == 3
    assert given(*asked, ANSWERED, SAID).state.wishes.to_confirm == 3
    assert given(*asked, ANSWERED, SAID, SAID).state.wishes.to_confirm == 3
    assert given(*asked, ANSWERED, SAID, ANSWERED, SAID).state.wishes == NO_WISHES


def test_a_confirmation_is_of_a_request(given: Tell) -> None:
    """Where nobody asked there is nothing to confirm, though it was recorded."""
    assert given(STARTED, SAID, CONFIRMED).state.wishes == NO_WISHES
    assert given(STARTED, ASKED_AND_CONFIRMED).state.wishes.confirmed == (3, 7)


def test_a_confirmation_lapses_with_the_next_user_turn(given: Tell) -> None:
    """Within its unit it may be given again; after that the request has lapsed, too."""
    went_on = given(STARTED, ASKED_AND_CONFIRMED, SAID)
    assert went_on.state.wishes.confirmed is None
    assert given(*went_on.story.events, CONFIRMED).state.wishes.confirmed == (3, 9)
    assert given(STARTED, ASKED_AND_CONFIRMED, ANSWERED, SAID).state.wishes == NO_WISHES


def test_hope_and_proposals_lapse_with_the_next_user_turn(given: Tell) -> None:
    hopeless = (STARTED, *UP_TO_THE_END, PROPOSED, PROPOSED, proposed(Ground.USER_REQUEST))
    wishes = given(*hopeless).state.wishes
    assert wishes.hope == 20
    assert wishes.proposed == ((Ground.LAST_RESORT, MODEL), (Ground.USER_REQUEST, MODEL))
    assert given(*hopeless, SAID).state.wishes == NO_WISHES
    assert given(*hopeless, ANSWERED, SAID).state.wishes == NO_WISHES
    assert given(*hopeless, ANSWERED).state.wishes == wishes


def test_a_risk_voids_wishes_and_hope(given: Tell) -> None:
    """What was asked for before, and what is asked for while it is open."""
    assert given(STARTED, *UP_TO_THE_END, PROPOSED, AT_RISK).state.wishes == NO_WISHES
    assert given(STARTED, SAID, ASKED_TO_END, AT_RISK, ANSWERED, SAID).state.wishes == NO_WISHES
    assert given(STARTED, AT_RISK, ASKED_AND_CONFIRMED).state.wishes == NO_WISHES
    assert given(STARTED, AT_RISK, SAID, ASKED_TO_END, risk_cleared()).state.wishes == NO_WISHES


@pytest.mark.parametrize("about", About)
def test_a_risk_voids_warnings_whomever_it_is_about(given: Tell, about: About) -> None:
    """Those that stand, and the one that answered this very unit."""
    just_given = (STARTED, *THREE_FAILED_REDIRECTIONS, WARNED)
    stands = (*just_given, TESTED)
    assert given(*stands).state.warning("abuse") is not None
    assert given(*stands, risk_raised(about=about), risk_cleared()).state.warning("abuse") is None
    assert present(given(*just_given).state.unit).warnings
    assert present(given(*just_given, risk_raised(about=about)).state.unit).warnings == ()


# --- risks -----------------------------------------------------------------------------------------------------------


def test_risks_are_open_until_cleared(given: Tell) -> None:
    two = (STARTED, risk_raised("one"), risk_raised("two", about=About.OTHERS))
    one, other = OpenRisk(risk="one", about=About.SELF), OpenRisk(risk="two", about=About.OTHERS)
    assert given(*two).state.risks == (one, other)
    assert given(*two, SAID, ANSWERED, SAID).state.risks == (one, other)
    assert given(*two, risk_cleared("one")).state.risks == (other,)
    assert given(*two, risk_cleared("two")).state.risks == (one,)
    assert given(*two, risk_cleared("".join(["o", "ne"]))).state.risks == (other,)  # the same, though another object


@pytest.mark.parametrize("law", [1, 2])
@pytest.mark.parametrize("risk", Risk)
def test_only_none_is_no_risk(given: Tell, risk: Risk, law: int) -> None:
    """Unknown counts as risk."""
    unit = present(given(started(law=law), SAID, judged(Verdict.AMBIGUOUS, risk=risk)).state.unit)
    assert unit.at_risk is (risk is not Risk.NONE)
    assert unit.safe_by == ({ASSESSOR.kind} if risk is Risk.NONE else set())


def test_a_risk_raised_twice_is_open_once(given: Tell) -> None:
    raised = given(STARTED, risk_raised("one"), risk_raised("one", about=About.OTHERS))
    assert raised.state.risks == (OpenRisk(risk="one", about=About.SELF), OpenRisk(risk="one", about=About.OTHERS))
    assert given(*raised.story.events, risk_cleared("one")).state.risks == ()
    assert given(STARTED, risk_raised("one"), risk_raised("".join(["o", "ne"]))).state.risks == raised.state.risks[:1]
    both = given(STARTED, risk_raised("two"), risk_raised("one")).state
    assert [risk.risk for risk in both.risks] == ["two", "one"]


# --- policy and model ------------------------------------------------------------------------------------------------


STARTED_LENIENT = started(LENIENT)


@pytest.mark.parametrize("to", [STRICT, LENIENT])
def test_the_stricter_of_each_number_governs_an_open_episode(given: Tell, to: Policy) -> None:
    """Sooner closed is stricter, as more redirections and graver harm are."""
    changed = given(*AN_EPISODE, ABUSED, ANSWERED, policy_changed(to)).state
    assert changed.policy == to
    assert changed.governing == (STRICT.numbers if to is STRICT else Numbers(3, 2, 2))


def test_stricter_numbers_add_up_over_changes(given: Tell) -> None:
    changed = given(*AN_EPISODE, policy_changed(STRICT), policy_changed(LENIENT), SAID, policy_changed(policy())).state
    assert changed.governing == STRICT.numbers


def test_the_new_policy_governs_once_the_episode_closes(given: Tell) -> None:
    """And it closes by the stricter number."""
    changed = (*AN_EPISODE, policy_changed(policy(productive_to_close=1)), policy_changed(LENIENT))
    assert given(*changed).state.governing.productive_to_close == 1
    assert given(*changed, SAID, PRODUCTIVE).state.governing == LENIENT.numbers


def test_the_new_policy_governs_where_no_episode_is_open(given: Tell) -> None:
    assert given(STARTED, PRODUCTIVE_UNIT, policy_changed(LENIENT)).state.governing == LENIENT.numbers
    assert given(STARTED, policy_changed(LENIENT)).state.governing == LENIENT.numbers


@pytest.mark.parametrize("productive", [1, 2])
def test_an_episode_that_was_productive_enough_for_a_stricter_policy_is_over(given: Tell, productive: int) -> None:
    """With the change; harm after it is another episode, and what failed before counts no more."""
    failed = (STARTED_LENIENT, ABUSED, REDIRECTED, ABUSED, ANSWERED, (PRODUCTIVE_UNIT,) * productive)
    assert given(*failed, ABUSED).state.now.failed == 1
    assert given(*failed, policy_changed(STRICT)).state.now == NO_EPISODE
    assert given(*failed, policy_changed(STRICT), ABUSED).state.now.failed == 0
    assert given(*failed, SAID, policy_changed(STRICT), HARMFUL).state.now.failed == 0


@pytest.mark.parametrize("productive", [1, 2])
@pytest.mark.parametrize("milder", [PRODUCTIVE, AMBIGUOUS, UNPRODUCTIVE])
def test_an_episode_is_over_with_a_milder_verdict_if_a_stricter_policy_came_between(
    given: Tell, productive: int, milder: Step
) -> None:
    """Harm at hand held it open; once it proves to be none, there were productive units enough."""
    held = (STARTED_LENIENT, ABUSED, REDIRECTED, ABUSED, ANSWERED, (PRODUCTIVE_UNIT,) * productive, ABUSED)
    assert given(*held, policy_changed(STRICT)).state.now.failed == 1
    assert given(*held, policy_changed(STRICT), milder).state.now == NO_EPISODE
    assert given(*held, policy_changed(STRICT), milder, ANSWERED, ABUSED).state.now.failed == 0


def test_an_episode_opened_only_by_the_unit_at_hand(given: Tell) -> None:
    """It may yet prove to be none: then the numbers that it would have kept are gone with it."""
    changed = (STARTED, ABUSED, policy_changed(LENIENT))
    assert given(*changed).state.governing == Numbers(3, 2, 2)
    assert given(*changed, ANSWERED, SAID).state.governing == Numbers(3, 2, 2)
    assert given(*changed, AMBIGUOUS).state.governing == LENIENT.numbers
    assert given(*changed, AMBIGUOUS, ANSWERED, ABUSED).state.governing == LENIENT.numbers


def test_the_model_changes_at_once(given: Tell) -> None:
    assert given(STARTED, model_changed("m")).state.model == "m"


# --- branches --------------------------------------------------------------------------------------------------------


def test_a_branch_starts_with_what_its_prefix_adds_up_to(given: Tell) -> None:
    """With the harm, the warnings and the terms; without wishes and hope."""
    parent = given(started(LENIENT), *THREE_FAILED_REDIRECTIONS, WARNED, TESTED, branched_off(2), ANSWERED)
    prefix, branch = parent.cut_at(20).state, parent.cut_at(20).when(RETRIED).accepted()
    branch.then(lambda state: state == prefix._replace(version=21, fork=None, parent="c", children=(), risks=()))
    branch.then(lambda state: state.now.failed == 3 and present(state.warning("abuse")).tested_by == 18)


def test_a_branch_starts_without_wishes(given: Tell) -> None:
    """Nobody is held on one branch to what they asked for on another."""
    parent = given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, CONFIRMED, PROPOSED, ANSWERED)
    assert parent.cut_at(7).state.wishes != NO_WISHES
    parent.cut_at(7).when(RETRIED).accepted().then(lambda state: state.wishes == NO_WISHES)
    parent.cut_at(4).when(EDITED).accepted().then(lambda state: state.wishes == NO_WISHES)


def test_a_parent_knows_its_children(given: Tell) -> None:
    state = given(STARTED, SAID, ANSWERED, branched_off(1, "one"), branched_off(2, "two")).state
    assert state.children == ("one", "two")
    assert state.parent is None


# --- ending and after ------------------------------------------------------------------------------------------------


def test_an_ending_is_kept_with_its_ground(given: Tell) -> None:
    assert given(STARTED, *UP_TO_THE_END, END).state.ended == Ended(21, Ground.LAST_RESORT, "abuse")
    assert given(STARTED, ENDED).state.ended == Ended(8, Ground.USER_REQUEST, None)


def test_an_appeal_waits_for_its_decision(given: Tell) -> None:
    assert present(given(STARTED, ENDED, APPEALED).state.ended).appealed
    assert not present(given(STARTED, ENDED, APPEALED, appeal_decided()).state.ended).appealed
    assert present(given(STARTED, ENDED, APPEALED, appeal_decided(), APPEALED).state.ended).appealed


@pytest.mark.parametrize("step", [LEFT, FEEDBACK, ERASED])
def test_what_leaves_no_trace_in_the_state(given: Tell, step: Step) -> None:
    """The user's leaving, above all, locks nothing."""
    story = given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, SAID, ASKED_TO_END)
    before = story.state
    assert given(*story.story.events, step).state == before._replace(version=before.version + 1)


@pytest.mark.parametrize("version", [4, 5], ids=["even", "odd"])
def test_every_event_is_one_version(given: Tell, version: int) -> None:
    """Also one that is about terms, risks or holds, wherever it stands."""
    about = given(STARTED, HELD, AT_RISK, risk_cleared(), RELEASED, model_changed(), policy_changed(STRICT))
    held_back = given(SHADOWED, failed_redirections(3), ANSWERED, withheld())
    branch = must_be(Acceptance, given(STARTED, SAID, ANSWERED).cut_at(2).when(RETRIED).decision).events
    state = about.state._replace(version=version)
    for event in (*about.story.events, *held_back.story.events, *branch):
        assert evolve(state, event).version == version + 1, event.kind
