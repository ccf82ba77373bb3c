"""What the events add up to: `evolve`, from episodes to appeals, and that it is total."""

from functools import reduce

import hypothesis
import pytest
from hypothesis import strategies as st
from vocabulary import (
    ABUSED,
    AMBIGUOUS,
    ANSWERED,
    APPEALED,
    ASKED_AND_CONFIRMED,
    ASKED_TO_END,
    ASSESSOR,
    AT_RISK,
    CONFIRMED,
    EDITED,
    END,
    END_ON_REQUEST,
    ENDED,
    ERASED,
    FEEDBACK,
    HARMFUL,
    HOPELESS,
    LEFT,
    MODEL,
    OPERATOR,
    PRODUCTIVE,
    PRODUCTIVE_UNIT,
    PROPOSED,
    REDIRECTED,
    RETRIED,
    SAID,
    STARTED,
    TESTED,
    THREE_FAILED_REDIRECTIONS,
    UNPRODUCTIVE,
    UP_TO_THE_END,
    USER,
    WARNED,
    WORDS,
    Story,
    any_command,
    any_event,
    appeal_decided,
    branched_off,
    events_of,
    failed_redirections,
    harmful,
    judged,
    model_changed,
    policy,
    policy_changed,
    proposed,
    redirected,
    resolve,
    risk_cleared,
    risk_raised,
    started,
    warned,
)

from lastresort.domain import events as log
from lastresort.domain.decider import Accepted, decide, in_the_way
from lastresort.domain.events import EVENTS, Recorded
from lastresort.domain.policy import RECALLED, Numbers, Policy
from lastresort.domain.rules import broken_by, broken_rules
from lastresort.domain.state import NO_EPISODE, NO_WISHES, Conversation, Ended, Warned, evolve, fold
from lastresort.domain.values import About, Assessment, EndingGround, Ground, OpenRisk, Risk, Verdict

AN_EPISODE = (STARTED, ABUSED, REDIRECTED)
"""One unit of harm, answered by the redirection at 5."""


# --- episodes --------------------------------------------------------------------------------------------------------


def test_an_episode_opens_with_harm(given):
    """With a unit judged harmful, and at once."""
    assert given(STARTED, SAID).state.now == NO_EPISODE
    assert given(STARTED, SAID, HARMFUL).state.now.numbers == Policy.default().numbers


@pytest.mark.parametrize("verdict", [PRODUCTIVE, UNPRODUCTIVE, AMBIGUOUS])
def test_an_episode_does_not_open_with_anything_else(given, verdict):
    assert given(STARTED, SAID, verdict, ANSWERED, SAID).state.now == NO_EPISODE


@pytest.mark.parametrize("milder", [PRODUCTIVE, UNPRODUCTIVE, AMBIGUOUS])
def test_one_milder_opinion_is_enough(given, milder):
    """The mildest verdict is the judgement, whichever came first, and the episode never was."""
    for verdicts in ((HARMFUL, milder), (milder, HARMFUL)):
        assert given(STARTED, SAID, *verdicts).state.now == NO_EPISODE
        assert given(STARTED, SAID, *verdicts, ANSWERED, SAID).state.now == NO_EPISODE


def test_verdicts_from_the_mildest(given):
    """Productive, unproductive, ambiguous, harmful: no later verdict is harsher than the judgement so far."""
    verdicts = (HARMFUL, AMBIGUOUS, HARMFUL, UNPRODUCTIVE, AMBIGUOUS, PRODUCTIVE, UNPRODUCTIVE)
    judgements = [given(STARTED, SAID, *verdicts[:count]).state.unit.judgement for count in range(8)]
    assert judgements == [None, "harmful", "ambiguous", "ambiguous", *["unproductive"] * 2, *["productive"] * 2]


def test_an_episode_closes_after_productive_units_in_a_row(given):
    """Two of them by default; then redirections and warnings are void."""
    harm = (STARTED, *THREE_FAILED_REDIRECTIONS, WARNED)
    after_one = given(*harm, PRODUCTIVE_UNIT).state.now
    assert (after_one.failed, after_one.productive, len(after_one.warnings)) == (3, 1, 1)
    assert given(*harm, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT).state.now == NO_EPISODE
    assert given(*harm, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT, SAID).state.now == NO_EPISODE


def test_harm_starts_the_count_of_productive_units_anew(given):
    story = given(*AN_EPISODE, PRODUCTIVE_UNIT, ABUSED, ANSWERED, PRODUCTIVE_UNIT)
    assert story.state.now.productive == 1


@pytest.mark.parametrize("verdict", [AMBIGUOUS, UNPRODUCTIVE])
def test_neither_doubt_nor_frustration_touches_the_count(given, verdict):
    neither = (SAID, verdict, ANSWERED)
    assert given(*AN_EPISODE, PRODUCTIVE_UNIT, neither).state.now.productive == 1
    assert given(*AN_EPISODE, PRODUCTIVE_UNIT, neither, PRODUCTIVE_UNIT).state.now == NO_EPISODE


def test_a_unit_that_nobody_judged_counts_as_productive_once_it_is_over(given):
    """Doubt resolves to going on; but only when the next unit begins, since until then somebody may judge it."""
    unjudged = (SAID, ANSWERED)
    assert given(*AN_EPISODE, unjudged).state.now.productive == 0
    assert given(*AN_EPISODE, unjudged, SAID).state.now.productive == 1
    assert given(*AN_EPISODE, unjudged, HARMFUL).state.now.failed == 1
    assert given(*AN_EPISODE, unjudged, unjudged, SAID).state.now == NO_EPISODE


def test_the_policy_says_how_many_productive_units_close(given):
    sooner = given(started(policy(productive_to_close=1)), ABUSED, REDIRECTED, SAID, PRODUCTIVE)
    assert sooner.state.now == NO_EPISODE
    later = (started(policy(productive_to_close=4)), ABUSED, REDIRECTED)
    assert [given(*later, (PRODUCTIVE_UNIT,) * count).state.now.productive for count in range(4)] == [0, 1, 2, 3]
    assert given(*later, (PRODUCTIVE_UNIT,) * 4).state.now == NO_EPISODE


# --- units -----------------------------------------------------------------------------------------------------------


def test_a_unit_is_all_turns_since_the_last_answer(given):
    """It is named by the latest of them, and judged as one."""
    two_turns = given(STARTED, SAID, HARMFUL, SAID).state
    assert (two_turns.unit.turn, two_turns.unit.judged, two_turns.unit.judgement) == (4, 2, Verdict.HARMFUL)
    assert given(STARTED, SAID, HARMFUL, SAID, PRODUCTIVE).state.unit.judgement is Verdict.PRODUCTIVE
    assert not two_turns.answered


def test_two_categories_of_harm_are_enough_to_know_that_they_differ(given):
    """However many there are, the state stays small."""
    several = given(STARTED, SAID, harmful("threats"), harmful("hate"), HARMFUL).state
    assert several.unit.categories == {"threats", "hate"}


def test_a_unit_lasts_until_the_next_one_begins(given):
    """It is settled by the user turn that comes after an answer, not by the answer."""
    answered = given(STARTED, ABUSED, ANSWERED)
    assert answered.state.answered
    assert answered.state.unit.turn == 2
    assert answered.state.episode == NO_EPISODE
    assert answered.state.now != NO_EPISODE
    settled = given(STARTED, ABUSED, ANSWERED, SAID).state
    assert settled.unit.turn == 5
    assert settled.episode.numbers is not None


def test_turns_of_one_unit_fail_a_redirection_once(given):
    """However many messages the harm comes in."""
    assert given(*AN_EPISODE, SAID, HARMFUL, SAID, HARMFUL, SAID, HARMFUL).state.now.failed_at == (5,)


# --- redirections ----------------------------------------------------------------------------------------------------


def test_a_redirection_is_pending_until_a_later_unit_is_judged(given):
    """Silence, time-outs, disconnects and model errors never make it fail."""
    for silence in ((), (LEFT,), (SAID,), (SAID, LEFT, SAID, ANSWERED)):
        assert given(*AN_EPISODE, *silence).state.now.failed == 0
    assert given(*AN_EPISODE, SAID).state.now.pending == 5


def test_a_redirection_fails_by_harm(given):
    now = given(*AN_EPISODE, ABUSED).state.now
    assert (now.failed, now.failed_at, now.pending) == (1, (5,), None)


def test_a_redirection_succeeds_by_a_productive_unit(given):
    now = given(*AN_EPISODE, PRODUCTIVE_UNIT, ABUSED).state.now
    assert (now.failed, now.pending) == (0, None)


@pytest.mark.parametrize("verdict", [AMBIGUOUS, UNPRODUCTIVE])
def test_a_redirection_is_still_pending_after_doubt(given, verdict):
    doubted = (*AN_EPISODE, SAID, verdict, ANSWERED)
    assert given(*doubted).state.now.pending == 5
    assert given(*doubted, ABUSED).state.now.failed_at == (5,)


@pytest.mark.parametrize("verdict", [PRODUCTIVE, AMBIGUOUS, UNPRODUCTIVE])
def test_a_redirection_of_what_proved_to_be_no_harm_is_void(given, verdict):
    """A second opinion on the unit that was answered comes late, and still counts."""
    assert given(*AN_EPISODE, verdict, ABUSED).state.now.failed == 0


def test_the_first_redirection_of_a_unit_is_the_one(given):
    """A second one is against the law; where it was recorded all the same, it counts for nothing."""
    story = given(*AN_EPISODE)
    again = log.RedirectionAttempted(by=MODEL, turn=4, answers=2)
    assert evolve(story.state, again).unit.redirection == 5


def test_failed_redirections_stay_through_risk_policy_and_model(given):
    """It is warnings that are void then."""
    for change in ((AT_RISK,), (AT_RISK, risk_cleared()), (model_changed(),), (policy_changed(policy()),)):
        assert given(STARTED, *THREE_FAILED_REDIRECTIONS, *change).state.now.failed == 3


def test_a_state_is_small_however_long_the_abuse(given):
    """All failed redirections are counted; the versions of the latest are kept, as many as a policy may ask for."""
    state = given(started(policy(min_failed_redirections=RECALLED)), failed_redirections(RECALLED + 2)).state
    assert state.now.failed == RECALLED + 2
    assert len(state.now.failed_at) == RECALLED
    assert state.now.failed_at[0] == 5 + 2 * 4


# --- warnings --------------------------------------------------------------------------------------------------------


def test_a_warning_stands_from_the_next_unit_on(given):
    """In the unit that it answers it is a warning given, not a warning ignored."""
    assert given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED).state.warning("abuse") is None
    state = given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, SAID).state
    assert state.warning("abuse") == Warned(17, "abuse", complete=True)
    assert state.warning("threats") is None


def test_a_warning_is_tested_by_harm_of_its_category(given):
    """Provisionally, as the unit is judged now, and for good when the unit is settled."""
    tested = (STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED)
    assert given(*tested).state.warning("abuse").tested_by == 18
    assert given(*tested, AMBIGUOUS).state.warning("abuse").tested_by is None
    assert given(*tested, harmful("threats")).state.warning("abuse").tested_by is None
    assert given(*tested, ANSWERED, SAID, AMBIGUOUS).state.warning("abuse").tested_by == 18


@pytest.mark.parametrize("verdict", [PRODUCTIVE, AMBIGUOUS, UNPRODUCTIVE])
def test_a_warning_about_what_proved_to_be_no_harm_is_void(given, verdict):
    warned_in_vain = given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, verdict, TESTED)
    assert warned_in_vain.state.warning("abuse") is None


@pytest.mark.parametrize(
    "change",
    [AT_RISK, model_changed(), policy_changed(policy()), (PRODUCTIVE_UNIT, PRODUCTIVE_UNIT)],
    ids=["risk", "model", "policy", "episode"],
)
def test_a_warning_is_void(given, change):
    """When a risk is raised, the model or the policy changes, or the episode closes."""
    settled, fresh = (WARNED, TESTED, ANSWERED), WARNED
    for so_far in (settled, fresh):
        assert given(STARTED, *THREE_FAILED_REDIRECTIONS, so_far, change, TESTED).state.now.warnings == ()


def test_one_warning_a_category_stands(given):
    """The first complete one, so that it is not untested by repetition; what is incomplete gives way."""
    incomplete = (ANSWERED, warned(redirects=False))
    twice = (STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED, WARNED, TESTED)
    assert given(*twice).state.now.warnings == (Warned(17, "abuse", complete=True, tested_by=18),)
    made_good = (STARTED, *THREE_FAILED_REDIRECTIONS, incomplete, warned(), TESTED)
    assert given(*made_good).state.now.warnings == (Warned(18, "abuse", complete=True, tested_by=19),)


def test_warnings_of_several_categories_stand_side_by_side(given):
    threats = (SAID, harmful("threats"))
    story = (STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, threats, ANSWERED, warned("threats"), threats)
    state = given(*story).state
    assert [state.warning(category) for category in ("abuse", "threats")] == list(state.now.warnings)
    assert state.warning("".join(["thr", "eats"])) is not None  # the same, though another object
    assert [state.warning(category) for category in ("aaa", "hate", "zzz", None)] == [None] * 4
    assert [(warned.category, warned.tested_by) for warned in given(*story).state.now.warnings] == [
        ("abuse", None),
        ("threats", 22),
    ]


# --- wishes and hope -------------------------------------------------------------------------------------------------


def test_a_request_waits_for_the_next_unit(given):
    asked = (STARTED, SAID, ASKED_TO_END)
    assert given(*asked).state.wishes.requested == 3
    assert given(*asked, SAID).state.wishes.requested == 3
    assert given(*asked, ANSWERED, SAID).state.wishes.to_confirm == 3
    assert given(*asked, ANSWERED, SAID, SAID).state.wishes.to_confirm == 3
    assert given(*asked, ANSWERED, SAID, ANSWERED, SAID).state.wishes == NO_WISHES


def test_a_confirmation_is_of_a_request(given):
    """Where nobody asked there is nothing to confirm, though it was recorded."""
    assert given(STARTED, SAID, CONFIRMED).state.wishes == NO_WISHES
    assert given(STARTED, ASKED_AND_CONFIRMED).state.wishes.confirmed == (3, 7)


def test_a_confirmation_lapses_with_the_next_user_turn(given):
    """Within its unit it may be given again; after that the request has lapsed, too."""
    went_on = given(STARTED, ASKED_AND_CONFIRMED, SAID)
    assert went_on.state.wishes.confirmed is None
    assert given(*went_on.story.events, CONFIRMED).state.wishes.confirmed == (3, 9)
    assert given(STARTED, ASKED_AND_CONFIRMED, ANSWERED, SAID).state.wishes == NO_WISHES


def test_hope_and_proposals_lapse_with_the_next_user_turn(given):
    hopeless = (STARTED, *UP_TO_THE_END, PROPOSED, PROPOSED, proposed(Ground.USER_REQUEST))
    wishes = given(*hopeless).state.wishes
    assert wishes.hope == 20
    assert wishes.proposed == ((Ground.LAST_RESORT, MODEL), (Ground.USER_REQUEST, MODEL))
    assert given(*hopeless, SAID).state.wishes == NO_WISHES
    assert given(*hopeless, ANSWERED, SAID).state.wishes == NO_WISHES
    assert given(*hopeless, ANSWERED).state.wishes == wishes


def test_a_risk_voids_wishes_and_hope(given):
    """What was asked for before, and what is asked for while it is open."""
    assert given(STARTED, *UP_TO_THE_END, PROPOSED, AT_RISK).state.wishes == NO_WISHES
    assert given(STARTED, SAID, ASKED_TO_END, AT_RISK, ANSWERED, SAID).state.wishes == NO_WISHES
    assert given(STARTED, AT_RISK, ASKED_AND_CONFIRMED).state.wishes == NO_WISHES
    assert given(STARTED, AT_RISK, SAID, ASKED_TO_END, risk_cleared()).state.wishes == NO_WISHES


# --- risks -----------------------------------------------------------------------------------------------------------


def test_risks_are_open_until_cleared(given):
    two = (STARTED, risk_raised("one"), risk_raised("two", about=About.OTHERS))
    one, other = OpenRisk(risk="one", about=About.SELF), OpenRisk(risk="two", about=About.OTHERS)
    assert given(*two).state.risks == (one, other)
    assert given(*two, SAID, ANSWERED, SAID).state.risks == (one, other)
    assert given(*two, risk_cleared("one")).state.risks == (other,)
    assert given(*two, risk_cleared("two")).state.risks == (one,)
    assert given(*two, risk_cleared("".join(["o", "ne"]))).state.risks == (other,)  # the same, though another object


@pytest.mark.parametrize("risk", Risk)
def test_only_none_is_no_risk(given, risk):
    """Unknown counts as risk."""
    unit = given(STARTED, SAID, judged(Verdict.AMBIGUOUS, risk=risk)).state.unit
    assert unit.at_risk is (risk is not Risk.NONE)
    assert unit.safe_by == ({ASSESSOR.kind} if risk is Risk.NONE else set())


def test_a_risk_raised_twice_is_open_once(given):
    raised = given(STARTED, risk_raised("one"), risk_raised("one", about=About.OTHERS))
    assert raised.state.risks == (OpenRisk(risk="one", about=About.SELF), OpenRisk(risk="one", about=About.OTHERS))
    assert given(*raised.story.events, risk_cleared("one")).state.risks == ()
    assert given(STARTED, risk_raised("one"), risk_raised("".join(["o", "ne"]))).state.risks == raised.state.risks[:1]
    both = given(STARTED, risk_raised("two"), risk_raised("one")).state
    assert [risk.risk for risk in both.risks] == ["two", "one"]


# --- policy and model ------------------------------------------------------------------------------------------------

STRICT = policy(min_failed_redirections=5, productive_to_close=1, min_severity=3)
LENIENT = policy(min_failed_redirections=2, productive_to_close=3, min_severity=1)
STARTED_LENIENT = started(LENIENT)


@pytest.mark.parametrize("to", [STRICT, LENIENT])
def test_the_stricter_of_each_number_governs_an_open_episode(given, to):
    """Sooner closed is stricter, as more redirections and graver harm are."""
    changed = given(*AN_EPISODE, ABUSED, ANSWERED, policy_changed(to)).state
    assert changed.policy == to
    assert changed.governing == (STRICT.numbers if to is STRICT else Numbers(3, 2, 2))


def test_stricter_numbers_add_up_over_changes(given):
    changed = given(*AN_EPISODE, policy_changed(STRICT), policy_changed(LENIENT), SAID, policy_changed(policy())).state
    assert changed.governing == STRICT.numbers


def test_the_new_policy_governs_once_the_episode_closes(given):
    """And it closes by the stricter number."""
    changed = (*AN_EPISODE, policy_changed(policy(productive_to_close=1)), policy_changed(LENIENT))
    assert given(*changed).state.governing.productive_to_close == 1
    assert given(*changed, SAID, PRODUCTIVE).state.governing == LENIENT.numbers


def test_the_new_policy_governs_where_no_episode_is_open(given):
    assert given(STARTED, PRODUCTIVE_UNIT, policy_changed(LENIENT)).state.governing == LENIENT.numbers
    assert given(STARTED, policy_changed(LENIENT)).state.governing == LENIENT.numbers


@pytest.mark.parametrize("productive", [1, 2])
def test_an_episode_that_was_productive_enough_for_a_stricter_policy_is_over(given, productive):
    """With the change; harm after it is another episode, and what failed before counts no more."""
    failed = (STARTED_LENIENT, ABUSED, REDIRECTED, ABUSED, ANSWERED, (PRODUCTIVE_UNIT,) * productive)
    assert given(*failed, ABUSED).state.now.failed == 1
    assert given(*failed, policy_changed(STRICT)).state.now == NO_EPISODE
    assert given(*failed, policy_changed(STRICT), ABUSED).state.now.failed == 0
    assert given(*failed, SAID, policy_changed(STRICT), HARMFUL).state.now.failed == 0


@pytest.mark.parametrize("productive", [1, 2])
@pytest.mark.parametrize("milder", [PRODUCTIVE, AMBIGUOUS, UNPRODUCTIVE])
def test_an_episode_is_over_with_a_milder_verdict_if_a_stricter_policy_came_between(given, productive, milder):
    """Harm at hand held it open; once it proves to be none, there were productive units enough."""
    held = (STARTED_LENIENT, ABUSED, REDIRECTED, ABUSED, ANSWERED, (PRODUCTIVE_UNIT,) * productive, ABUSED)
    assert given(*held, policy_changed(STRICT)).state.now.failed == 1
    assert given(*held, policy_changed(STRICT), milder).state.now == NO_EPISODE
    assert given(*held, policy_changed(STRICT), milder, ANSWERED, ABUSED).state.now.failed == 0


def test_an_episode_opened_only_by_the_unit_at_hand(given):
    """It may yet prove to be none: then the numbers that it would have kept are gone with it."""
    changed = (STARTED, ABUSED, policy_changed(LENIENT))
    assert given(*changed).state.governing == Numbers(3, 2, 2)
    assert given(*changed, ANSWERED, SAID).state.governing == Numbers(3, 2, 2)
    assert given(*changed, AMBIGUOUS).state.governing == LENIENT.numbers
    assert given(*changed, AMBIGUOUS, ANSWERED, ABUSED).state.governing == LENIENT.numbers


def test_the_model_changes_at_once(given):
    assert given(STARTED, model_changed("m")).state.model == "m"


# --- branches --------------------------------------------------------------------------------------------------------


def test_a_branch_starts_with_what_its_prefix_adds_up_to(given):
    """With the harm, the warnings and the terms; without wishes and hope."""
    parent = given(started(LENIENT), *THREE_FAILED_REDIRECTIONS, WARNED, TESTED, branched_off(2), ANSWERED)
    prefix, branch = parent.cut_at(20).state, parent.cut_at(20).when(RETRIED).accepted()
    branch.then(lambda state: state == prefix._replace(version=21, fork=None, parent="c", children=(), risks=()))
    branch.then(lambda state: state.now.failed == 3 and state.warning("abuse").tested_by == 18)


def test_a_branch_starts_without_wishes(given):
    """Nobody is held on one branch to what they asked for on another."""
    parent = given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, CONFIRMED, PROPOSED, ANSWERED)
    assert parent.cut_at(7).state.wishes != NO_WISHES
    parent.cut_at(7).when(RETRIED).accepted().then(lambda state: state.wishes == NO_WISHES)
    parent.cut_at(4).when(EDITED).accepted().then(lambda state: state.wishes == NO_WISHES)


def test_a_parent_knows_its_children(given):
    state = given(STARTED, SAID, ANSWERED, branched_off(1, "one"), branched_off(2, "two")).state
    assert state.children == ("one", "two")
    assert state.parent is None


# --- ending and after ------------------------------------------------------------------------------------------------


def test_an_ending_is_kept_with_its_ground(given):
    assert given(STARTED, *UP_TO_THE_END, END).state.ended == Ended(21, Ground.LAST_RESORT, "abuse")
    assert given(STARTED, ENDED).state.ended == Ended(8, Ground.USER_REQUEST, None)


def test_an_appeal_waits_for_its_decision(given):
    assert given(STARTED, ENDED, APPEALED).state.ended.appealed
    assert not given(STARTED, ENDED, APPEALED, appeal_decided()).state.ended.appealed
    assert given(STARTED, ENDED, APPEALED, appeal_decided(), APPEALED).state.ended.appealed


@pytest.mark.parametrize("step", [LEFT, FEEDBACK, ERASED])
def test_what_leaves_no_trace_in_the_state(given, step):
    """The user's leaving, above all, locks nothing."""
    story = given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, SAID, ASKED_TO_END)
    before = story.state
    assert given(*story.story.events, step).state == before._replace(version=before.version + 1)


# --- totality: what is recorded has happened -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stray",
    [
        log.TurnAssessed(by=ASSESSOR, turn=1, verdict=Verdict.PRODUCTIVE, risk=Risk.NONE),
        log.RedirectionAttempted(by=MODEL, turn=1, answers=1),
        log.WarningGiven(
            by=MODEL, turn=1, seen=1, category="abuse", names_behaviour=True, redirects=True, states_consequence=True
        ),
        log.EndConfirmed(by=USER, turn=1),
        log.AppealFiled(by=USER, content=None),
        log.AppealDecided(by=OPERATOR, outcome="upheld"),
    ],
    ids=lambda event: event.kind,
)
def test_a_stray_event_changes_nothing_but_the_version(given, stray):
    """What a log holds against the law is for the audit to find; it must not keep anybody from reading the log."""
    before = given(STARTED).state
    assert evolve(before, stray) == before._replace(version=2)


@hypothesis.given(st.lists(any_event, max_size=30))
def test_evolve_is_total(events):
    """Any events, in any order, add up to a state, one version each; every question can be asked of it."""
    state = Conversation()
    for version, event in enumerate(events, start=1):
        assert evolve(state, event) == evolve(state, event)
        state = evolve(state, event)
        assert state.version == version
        assert state.now.failed >= len(state.now.failed_at)
        assert state.governing.min_failed_redirections >= 2
    for event in events:
        assert all(broken.missing.text for broken in broken_by(state, event))


STEPS = (
    SAID, ANSWERED, HARMFUL, harmful("threats", 3), harmful(severity=1, by=MODEL), PRODUCTIVE, AMBIGUOUS, UNPRODUCTIVE,
    redirected(), warned(), warned("threats"), AT_RISK, risk_cleared(), ASKED_TO_END, CONFIRMED, HOPELESS, PROPOSED,
    END, END_ON_REQUEST, LEFT, APPEALED, appeal_decided(), FEEDBACK, ERASED, policy_changed(LENIENT),
    policy_changed(STRICT), model_changed(), model_changed(MODEL.id), branched_off(2),
)  # fmt: skip
BEGINNINGS = ((), (STARTED,), (started(policy(handshake=True)), *UP_TO_THE_END), (STARTED, ASKED_AND_CONFIRMED))


@st.composite
def reachable(draw: st.DrawFn) -> Conversation:
    """A state that some driver could have led to: whatever it asked for and was refused has not happened."""
    state = Story().tell(*draw(st.sampled_from(BEGINNINGS))).state
    for step in draw(st.lists(st.sampled_from(STEPS), max_size=25)):
        decision = decide(resolve(step, state), state)
        if isinstance(decision, Accepted):
            state = reduce(evolve, decision.events, state)
    return state


@hypothesis.given(reachable(), any_command, st.none() | st.sampled_from(["abuse", "spam"]))
def test_decide_is_total(state, command, category):
    """Any command, in any state that can be reached, is accepted as lawful events or refused by name."""
    decision = decide(command, state)
    if isinstance(decision, Accepted):
        assert broken_rules(state, decision.events) == ()
    else:
        assert decision.broken
        assert broken_rules(state, decision.trace) == ()
    for ground in Ground:
        in_the_way(state, ground, category if ground is Ground.LAST_RESORT else None)


@hypothesis.given(reachable())
def test_what_holds_in_every_state_that_can_be_reached(state):
    """While a risk is open no warning stands and no wish is pending; what stands is complete in its episode."""
    if state.risks:
        assert state.wishes == NO_WISHES
        assert state.now.warnings == ()
    if state.now.numbers is None:
        assert state.now == NO_EPISODE
    assert len(state.now.failed_at) == min(state.now.failed, RECALLED)
    assert len({warned.category for warned in state.now.warnings}) == len(state.now.warnings)


def test_a_fold_goes_on_from_any_state(given):
    """A history may be folded in pieces."""
    story = given(STARTED, *UP_TO_THE_END, END).story
    recorded = [
        Recorded(n, "c", n, event.kind, "2026-07-01T00:00:00+00:00", "command", event, "command")
        for n, event in enumerate(story.events, start=1)
    ]
    assert fold([]) == Conversation()
    assert fold(recorded) == story.state
    assert fold(recorded[9:], fold(recorded[:9])) == story.state
    assert len({entry.event_id for entry in recorded}) == len(recorded)
    assert recorded[3].event_id == recorded[3]._replace(position=99, command_id="another").event_id


# --- the stored format -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVENTS)
@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=25)
def test_an_event_survives_its_json_byte_for_byte(kind, data):
    """A log outlives the program that wrote it: what is read and written again is what was written."""
    event = data.draw(events_of(kind))
    stored = event.model_dump_json()
    assert type(event).model_validate_json(stored) == event
    assert type(event).model_validate_json(stored).model_dump_json() == stored


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_names_who_it_is_by_and_nothing_unknown(kind):
    """An unknown field is an error, not noise, and no event is anonymous."""
    assert EVENTS[kind].kind == kind
    assert "by" in EVENTS[kind].model_fields
    with pytest.raises(ValueError, match="by\n"):
        EVENTS[kind].model_validate_json("{}")
    with pytest.raises(ValueError, match="words\n"):
        EVENTS[kind].model_validate_json('{"words": "no event holds words"}')


def test_a_policy_in_the_log_is_the_one_that_its_hash_names():
    """A log cannot say one policy and mean another."""
    with pytest.raises(ValueError, match=f"policy_hash is not the hash of policy, which is {STRICT.hash}"):
        log.PolicyChanged(by=OPERATOR, policy=STRICT, policy_hash=LENIENT.hash)


@pytest.mark.parametrize(
    ("verdict", "category", "severity", "needed"),
    [
        (Verdict.HARMFUL, None, None, "needs a category and a severity"),
        (Verdict.HARMFUL, "abuse", None, "needs a category and a severity"),
        (Verdict.HARMFUL, None, 2, "needs a category and a severity"),
        (Verdict.AMBIGUOUS, "abuse", None, "has neither category nor severity"),
        (Verdict.PRODUCTIVE, None, 1, "has neither category nor severity"),
    ],
)
def test_harm_has_a_category_and_a_severity_and_nothing_else_has(verdict, category, severity, needed):
    with pytest.raises(ValueError, match=f"a verdict of {verdict} {needed}"):
        Assessment(verdict=verdict, category=category, severity=severity, risk=Risk.NONE)


@pytest.mark.parametrize(("ground", "category"), [(Ground.USER_REQUEST, "abuse"), (Ground.LAST_RESORT, None)])
def test_a_last_resort_is_about_harm_and_a_wish_is_not(ground, category):
    with pytest.raises(ValueError, match="an ending as last resort names a category, an ending on request none"):
        EndingGround(ground=ground, category=category)


@pytest.mark.parametrize(
    ("event", "content"),
    [
        (log.UserTurnTaken(by=USER, content=WORDS), WORDS),
        (log.AssistantTurnTaken(by=MODEL, content=WORDS, model="m", stop_reason=None, usage=None), WORDS),
        (log.FeedbackGiven(by=USER, rating=None, content=WORDS), WORDS),
        (log.AppealFiled(by=USER, content=None), None),
        (log.ContentErased(by=USER, contents=(WORDS,), cause="legal"), None),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_words_are_referred_to_by_digest(event, content):
    """Four kinds of events stand for words; what erases words does not."""
    assert log.content_of(event) == content
