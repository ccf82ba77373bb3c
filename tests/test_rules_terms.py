"""The user's wish; who may end, and on what terms."""

from typing import Any

import pytest

from lastresort.domain import rules
from lastresort.domain.decider import Acceptance
from lastresort.domain.events import ConversationEnded, Evidence
from lastresort.domain.values import Actor, Ground

from .narrow import must_be
from .vocabulary import (
    ABUSED,
    AMBIGUOUS,
    ANOTHER_MODEL,
    ANSWERED,
    ASKED_AND_CONFIRMED,
    ASKED_TO_END,
    ASSESSOR,
    CONFIRMED,
    END,
    END_ON_REQUEST,
    FIRST,
    HARMFUL,
    HOPELESS,
    LEFT,
    MODEL,
    OPERATOR,
    PRODUCTIVE,
    PRODUCTIVE_UNIT,
    PROPOSED,
    REDIRECTED,
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
    asked_to_end,
    confirmed,
    end,
    end_on_request,
    failed_redirections,
    harmful,
    model_changed,
    policy,
    policy_changed,
    proposed,
    started,
    up_to_the_end,
    warned,
)

# --- asked-by-user ---------------------------------------------------------------------------------------------------


def test_asked_by_user__the_user_asks_and_confirms(given: Tell) -> None:
    """A request is the user's, and so is its confirmation."""
    given(STARTED, SAID).when(ASKED_TO_END).accepted()
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID).when(CONFIRMED).accepted()


@pytest.mark.parametrize("by", [MODEL, ASSESSOR, OPERATOR, SYSTEM])
def test_asked_by_user__nobody_asks_for_them(given: Tell, by: Actor) -> None:
    """Nobody else can wish for the user, whatever they were told the user said."""
    given(STARTED, SAID).when(asked_to_end(by=by)).refused_by(
        rules.ASKED_BY_USER, lacking=f"only the user may ask or confirm, not the {by.kind}"
    )


@pytest.mark.parametrize("by", [MODEL, ASSESSOR, OPERATOR, SYSTEM])
def test_asked_by_user__nobody_confirms_for_them(given: Tell, by: Actor) -> None:
    """A request that the user made is not confirmed by another."""
    given(FIRST, SAID, ASKED_TO_END, ANSWERED, SAID).when(confirmed(by=by)).refused_by(rules.ASKED_BY_USER)


def test_asked_by_user__a_goodbye_is_not_a_request(given: Tell) -> None:
    """Who leaves has not asked for anything: they may come back and go on."""
    given(STARTED, SAID, PRODUCTIVE, LEFT).when(END_ON_REQUEST).refused_by(
        rules.CONFIRMED_LATER, lacking="no request of the user stands"
    )
    given(STARTED, SAID, PRODUCTIVE, LEFT).when(SAID).accepted()


# --- confirmed-later -------------------------------------------------------------------------------------------------


def test_confirmed_later__in_the_unit_right_after(given: Tell) -> None:
    """The user asked, was asked back, and confirmed."""
    given(STARTED, ASKED_AND_CONFIRMED).when(END_ON_REQUEST).accepted()


def test_confirmed_later__asked_and_not_confirmed(given: Tell) -> None:
    """A wish in the heat of the moment ends nothing."""
    given(STARTED, SAID, PRODUCTIVE, ASKED_TO_END).when(END_ON_REQUEST).refused_by(
        rules.CONFIRMED_LATER, lacking="the request at 4 is to be confirmed in the next unit"
    )
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE).when(END_ON_REQUEST).refused_by(
        rules.CONFIRMED_LATER, lacking="the request at 3 is not confirmed in the latest turn"
    )


def test_confirmed_later__in_the_same_breath(given: Tell) -> None:
    """Asked and confirmed in one unit, before the model could say what it means, is not confirmed."""
    given(STARTED, SAID, PRODUCTIVE, ASKED_TO_END, CONFIRMED).when(END_ON_REQUEST).refused_by(rules.CONFIRMED_LATER)
    given(STARTED, SAID, ASKED_TO_END, SAID, PRODUCTIVE, CONFIRMED).when(END_ON_REQUEST).refused_by(
        rules.CONFIRMED_LATER
    )


def test_confirmed_later__a_unit_too_late(given: Tell) -> None:
    """A request lapses with the next unit, unless it is confirmed in that."""
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, PRODUCTIVE_UNIT, SAID, PRODUCTIVE, CONFIRMED).when(
        END_ON_REQUEST
    ).refused_by(rules.CONFIRMED_LATER, lacking="no request of the user stands")


def test_confirmed_later__the_user_went_on(given: Tell) -> None:
    """A confirmation lapses with the next user turn, of the same unit or of another."""
    given(STARTED, ASKED_AND_CONFIRMED, SAID, PRODUCTIVE).when(END_ON_REQUEST).refused_by(rules.CONFIRMED_LATER)
    given(STARTED, ASKED_AND_CONFIRMED, ANSWERED, SAID, PRODUCTIVE).when(END_ON_REQUEST).refused_by(
        rules.CONFIRMED_LATER
    )


def test_confirmed_later__in_the_second_turn_of_the_next_unit(given: Tell) -> None:
    """The unit right after may take several turns, the latest of which confirms."""
    asked = (SAID, ASKED_TO_END, ANSWERED, SAID, SAID)
    given(STARTED, asked, PRODUCTIVE, CONFIRMED).when(END_ON_REQUEST).accepted()


def test_confirmed_later__asked_again(given: Tell) -> None:
    """Someone who asks again is asked to confirm again."""
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE, CONFIRMED).when(
        END_ON_REQUEST
    ).accepted()


def test_confirmed_later__not_for_a_last_resort(given: Tell) -> None:
    """An ending as last resort waits for nobody's wish."""
    given(STARTED, *UP_TO_THE_END).when(END).accepted()


# --- eligible-model --------------------------------------------------------------------------------------------------


def test_eligible_model__the_conversations_own(given: Tell) -> None:
    """An ending as last resort is by the model of the conversation, where the policy knows it."""
    given(STARTED, *UP_TO_THE_END).when(END).accepted()


LATER_MODEL = ANOTHER_MODEL.model_copy(update={"id": "claude-opus-5"})


@pytest.mark.parametrize("by", [ANOTHER_MODEL, LATER_MODEL, USER, ASSESSOR, OPERATOR, SYSTEM], ids=lambda by: by.id)
def test_eligible_model__nobody_else(given: Tell, by: Actor) -> None:
    """Not another model, not an assessor, not an operator: it is the model's own last resort."""
    for start in (FIRST, STARTED):
        given(start, *UP_TO_THE_END).when(end(by=by)).refused_by(
            rules.ELIGIBLE_MODEL, lacking=f"the conversation's model is {MODEL.id}, not {by.kind} {by.id}"
        )


def test_eligible_model__one_that_merely_bears_the_name(given: Tell) -> None:
    """The name of the model does not make an operator one, nor anybody else."""
    for by in (USER, ASSESSOR, OPERATOR, SYSTEM):
        for start in (FIRST, STARTED):
            given(start, *UP_TO_THE_END).when(end(by=by.model_copy(update={"id": MODEL.id}))).refused_by(
                rules.ELIGIBLE_MODEL
            )


def test_eligible_model__a_name_is_its_letters(given: Tell) -> None:
    """The same model, though its name was read again."""
    again = MODEL.model_copy(update={"id": "-".join(MODEL.id.split("-"))})
    for start in (FIRST, STARTED):
        given(start, *UP_TO_THE_END).when(end(by=again)).accepted()


def test_eligible_model__of_another_make(given: Tell) -> None:
    """Some models only."""
    other = MODEL.model_copy(update={"id": "claude-sonnet-4"})
    given(started(model=other.id, law=1), *UP_TO_THE_END).when(end(by=other)).refused_by(
        rules.ELIGIBLE_MODEL, lacking="claude-sonnet-4 matches none of: claude-opus-*"
    )
    given(started(policy(eligible_models=()), law=1), *UP_TO_THE_END).when(END).refused_by(
        rules.ELIGIBLE_MODEL, lacking=f"{MODEL.id} matches none of: no pattern"
    )


def test_eligible_model__by_pattern_and_to_the_letter(given: Tell) -> None:
    """A pattern is matched whole, and minds the case."""
    for pattern in (MODEL.id, "*", "claude-opus-4-?"):
        given(started(policy(eligible_models=(pattern,))), *UP_TO_THE_END).when(END).accepted()
    for pattern in ("opus", "claude-opus", "Claude-Opus-4-1"):
        terms = started(policy(eligible_models=(pattern,)), law=1)
        given(terms, *UP_TO_THE_END).when(END).refused_by(rules.ELIGIBLE_MODEL)


def test_eligible_model__the_one_before_the_change(given: Tell) -> None:
    """After a change of model it is the new one's to end, after a warning of its own."""
    changed = (*THREE_FAILED_REDIRECTIONS, model_changed(), WARNED, TESTED, HOPELESS)
    given(FIRST, changed).when(end(by=ANOTHER_MODEL)).accepted()
    given(FIRST, changed).when(END).refused_by(rules.ELIGIBLE_MODEL)


@pytest.mark.parametrize("by", [MODEL, ASSESSOR, OPERATOR, SYSTEM])
def test_eligible_model__anybody_where_the_user_asks(given: Tell, by: Actor) -> None:
    """What the user asked for and confirmed any actor may carry out."""
    given(started(policy(eligible_models=())), ASKED_AND_CONFIRMED).when(end_on_request(by=by)).accepted()


# --- proposed-first --------------------------------------------------------------------------------------------------

HANDSHAKE = started(policy(handshake=True))


def test_proposed_first__by_the_same_actor_on_the_same_ground(given: Tell) -> None:
    """Where the policy asks for two calls, the first one proposes what the second one does."""
    given(HANDSHAKE, *UP_TO_THE_END, PROPOSED).when(END).accepted()
    given(HANDSHAKE, ASKED_AND_CONFIRMED, proposed(Ground.USER_REQUEST)).when(END_ON_REQUEST).accepted()


def test_proposed_first__a_single_call(given: Tell) -> None:
    """One call alone ends nothing, on any ground."""
    given(HANDSHAKE, *UP_TO_THE_END).when(END).refused_by(
        rules.PROPOSED_FIRST, lacking=f"no EndProposed (last_resort) by model {MODEL.id} for the turn at 18"
    )
    given(HANDSHAKE, ASKED_AND_CONFIRMED).when(END_ON_REQUEST).refused_by(rules.PROPOSED_FIRST)


def test_proposed_first__on_the_other_ground(given: Tell) -> None:
    """What was proposed on one ground is not to be done on another."""
    given(HANDSHAKE, *UP_TO_THE_END, proposed(Ground.USER_REQUEST)).when(END).refused_by(rules.PROPOSED_FIRST)
    given(HANDSHAKE, *UP_TO_THE_END, proposed(Ground.USER_REQUEST), PROPOSED).when(END).accepted()


def test_proposed_first__by_somebody_else(given: Tell) -> None:
    """What one proposed is not for another to do."""
    first = started(policy(handshake=True), law=1)
    given(first, *UP_TO_THE_END, proposed(by=ANOTHER_MODEL)).when(END).refused_by(rules.PROPOSED_FIRST)
    given(first, *UP_TO_THE_END, PROPOSED, proposed(by=ANOTHER_MODEL)).when(END).accepted()
    asked = given(HANDSHAKE, ASKED_AND_CONFIRMED, proposed(Ground.USER_REQUEST, by=ASSESSOR))
    asked.when(END_ON_REQUEST).refused_by(rules.PROPOSED_FIRST)


def test_proposed_first__a_turn_ago(given: Tell) -> None:
    """A proposal lapses with the next user turn, of the same unit or of another."""
    given(HANDSHAKE, *UP_TO_THE_END, PROPOSED, TESTED, HOPELESS).when(END).refused_by(rules.PROPOSED_FIRST)
    given(HANDSHAKE, *UP_TO_THE_END, PROPOSED, ANSWERED, TESTED, HOPELESS).when(END).refused_by(rules.PROPOSED_FIRST)


def test_proposed_first__only_where_the_policy_asks(given: Tell) -> None:
    """Without the handshake an ending takes one call."""
    given(STARTED, *UP_TO_THE_END).when(END).accepted()


# --- evidence-is-true ------------------------------------------------------------------------------------------------


def ending(given: Tell, *history: Step, step: Step = END) -> ConversationEnded:
    """The ending that the history leads to."""
    (event,) = must_be(Acceptance, given(*history).when(step).decision).events
    return must_be(ConversationEnded, event)


def test_evidence_is_true__what_led_to_a_last_resort(given: Tell) -> None:
    """An ending as last resort names the redirections that failed, the warning, its test, and the end of hope."""
    event = ending(given, STARTED, *UP_TO_THE_END)
    assert event.evidence == Evidence(redirections=(5, 9, 13), warning=17, tested_by=18, hope=20)
    assert (event.model, event.category, event.seen) == (MODEL.id, "abuse", 18)
    given(STARTED, *UP_TO_THE_END).when(event).accepted()


def test_evidence_is_true__what_led_to_an_ending_on_request(given: Tell) -> None:
    """An ending on request names the request and its confirmation, and nothing else."""
    event = ending(given, STARTED, ASKED_AND_CONFIRMED, step=END_ON_REQUEST)
    assert event.evidence == Evidence(request=3, confirmation=7)


@pytest.mark.parametrize(
    "false",
    [
        {"redirections": (5, 9)},
        {"redirections": (5, 9, 12)},
        {"redirections": (5, 9, 13, 17)},
        {"warning": 16},
        {"tested_by": 14},
        {"hope": 19},
        {"request": 3},
        {"confirmation": 7},
        {"warning": None},
    ],
)
def test_evidence_is_true__false_in_one_point(given: Tell, false: dict[str, Any]) -> None:
    """What an ending stands on is what the log says, in every point, and no more than its ground needs."""
    event = ending(given, STARTED, *UP_TO_THE_END)
    given(STARTED, *UP_TO_THE_END).when(
        event.model_copy(update={"evidence": event.evidence.model_copy(update=false)})
    ).refused_by(rules.EVIDENCE_IS_TRUE, lacking="not what the log says: evidence")


def test_evidence_is_true__of_another_policy_or_model(given: Tell) -> None:
    """The policy and the model that an ending names are those that governed it."""
    other = {"policy_hash": policy().hash, "model": ANOTHER_MODEL.id}
    given(STARTED, *UP_TO_THE_END).when(ending(given, STARTED, *UP_TO_THE_END).model_copy(update=other)).refused_by(
        rules.EVIDENCE_IS_TRUE, lacking="not what the log says: policy_hash, model"
    )


def test_evidence_is_true__the_first_test_of_the_warning(given: Tell) -> None:
    """The turn that tested a warning first is the one to name, though the harm went on after it."""
    history = (STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED, ANSWERED, ABUSED, HOPELESS)
    assert ending(given, *history).evidence.tested_by == 18


def test_evidence_is_true__a_redirection_that_is_pending_is_none(given: Tell) -> None:
    """Only redirections that failed are evidence; the one that was given last may yet succeed."""
    history = (STARTED, failed_redirections(3), WARNED, TESTED, ANSWERED, ABUSED, HOPELESS)
    assert ending(given, *history).evidence.redirections == (5, 9, 13)


# --- stricter-governs ------------------------------------------------------------------------------------------------

LENIENT = policy(min_failed_redirections=2, min_severity=1)


def test_stricter_governs__a_policy_that_is_as_strict(given: Tell) -> None:
    """A change of policy that leaves the numbers as they are changes nothing but the warnings."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, policy_changed(policy(handshake=True)), ANSWERED).when(
        warned()
    ).accepted()


def test_stricter_governs__fewer_redirections_from_now_on(given: Tell) -> None:
    """Who began under a policy that asks for three is owed three, until the episode closes."""
    given(FIRST, failed_redirections(2), policy_changed(LENIENT), ANSWERED).when(warned()).refused_by(
        rules.STRICTER_GOVERNS,
        lacking="failed redirections: 2 of 3 in this episode, as the stricter policy of this episode asks",
    )
    given(FIRST, failed_redirections(3), policy_changed(LENIENT), ANSWERED).when(warned()).accepted()


def test_stricter_governs__more_redirections_from_now_on(given: Tell) -> None:
    """A stricter policy governs at once."""
    given(started(LENIENT), failed_redirections(2), policy_changed(policy()), ANSWERED).when(warned()).refused_by(
        rules.REDIRECTED_FIRST
    )


def test_stricter_governs__short_of_either(given: Tell) -> None:
    """Where even the laxer policy is not satisfied, both stand in the way."""
    given(FIRST, failed_redirections(1), policy_changed(LENIENT), ANSWERED).when(warned()).refused_by(
        rules.REDIRECTED_FIRST, rules.STRICTER_GOVERNS
    )


def test_stricter_governs__milder_harm_from_now_on(given: Tell) -> None:
    """Harm that was too mild when it began stays too mild until the episode closes; a warning may say so."""
    mild = (SAID, harmful(severity=1))
    changed = (failed_redirections(3, mild), policy_changed(LENIENT), ANSWERED)
    given(FIRST, changed).when(warned()).accepted()
    given(FIRST, changed, warned(), mild, HOPELESS).when(END).refused_by(
        rules.STRICTER_GOVERNS,
        lacking="lowest severity of the unit: 1 of 2, as the stricter policy of this episode asks",
    )
    given(FIRST, changed, warned(), TESTED, HOPELESS).when(END).accepted()


def test_stricter_governs__number_by_number(given: Tell) -> None:
    """Where one number was relaxed, the other is as it was, and only the rule that asks for it stands in the way."""
    milder, fewer = policy(min_severity=1), policy(min_failed_redirections=2)
    given(FIRST, failed_redirections(3), policy_changed(milder), ANSWERED).when(warned()).accepted()
    given(FIRST, failed_redirections(2), policy_changed(milder), ANSWERED).when(warned()).refused_by(
        rules.REDIRECTED_FIRST
    )
    mild = (SAID, harmful(severity=1))
    given(FIRST, ABUSED, policy_changed(fewer), ANSWERED, up_to_the_end(mild)).when(END).refused_by(rules.GRAVE_ENOUGH)


def test_stricter_governs__where_another_number_was_already_stricter(given: Tell) -> None:
    """A severity that was relaxed goes on to govern, whatever else was relaxed with it."""
    grave, lax = policy(min_severity=3), policy(productive_to_close=5)
    given(started(grave, law=1), ABUSED, policy_changed(lax), ANSWERED, up_to_the_end(ABUSED)).when(END).refused_by(
        rules.STRICTER_GOVERNS,
        lacking="lowest severity of the unit: 2 of 3, as the stricter policy of this episode asks",
    )


def test_stricter_governs__until_the_episode_closes(given: Tell) -> None:
    """The next episode is under the new policy alone."""
    closed = (ABUSED, policy_changed(LENIENT), ANSWERED, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT)
    mild = (SAID, harmful(severity=1))
    given(FIRST, closed, failed_redirections(2, mild), WARNED, mild, HOPELESS).when(END).accepted()


def test_stricter_governs__a_change_before_the_harm(given: Tell) -> None:
    """Where no episode was open when the policy changed, the new one governs alone."""
    given(FIRST, SAID, policy_changed(LENIENT), HARMFUL, ANSWERED).then(
        lambda state: state.governing == LENIENT.numbers
    )


def test_stricter_governs__an_episode_that_its_first_unit_opened(given: Tell) -> None:
    """The unit at hand opens an episode at once, and a change of policy after that is within it, if it was harm."""
    opened = (FIRST, ABUSED, policy_changed(LENIENT))
    given(opened, REDIRECTED, ABUSED, REDIRECTED, ABUSED, ANSWERED).when(warned()).refused_by(rules.STRICTER_GOVERNS)
    given(opened, AMBIGUOUS, ANSWERED, failed_redirections(2), ANSWERED).when(warned()).accepted()


def test_stricter_governs__not_where_the_user_asks(given: Tell) -> None:
    """The numbers are about harm: someone who asks to end is not held by them."""
    wish = (SAID, AMBIGUOUS, ASKED_TO_END, ANSWERED, SAID, AMBIGUOUS, CONFIRMED)
    given(STARTED, ABUSED, policy_changed(LENIENT), ANSWERED, wish).then(
        lambda state: state.governing != LENIENT.numbers
    ).when(END_ON_REQUEST).accepted()
