"""Redirection, warning, hope: what must have been tried before an ending as last resort, and in vain."""

from typing import Any

import pytest

from lastresort.domain import rules
from lastresort.domain.commands import EndConversation
from lastresort.domain.decider import propose

from .narrow import must_be, present
from .vocabulary import (
    ABUSED,
    AMBIGUOUS,
    ANOTHER_MODEL,
    ANSWERED,
    ASKED_AND_CONFIRMED,
    AT_RISK,
    END,
    END_ON_REQUEST,
    FIRST,
    HARMFUL,
    HOPELESS,
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
    UP_TO_THE_END,
    WARNED,
    Step,
    Tell,
    end,
    failed_redirections,
    harmful,
    model_changed,
    policy,
    redirected,
    resolve,
    risk_cleared,
    started,
    up_to_the_end,
    warned,
)

THREATENED = (SAID, harmful("threats"))

# --- redirects-harm --------------------------------------------------------------------------------------------------


def test_redirects_harm__harm_was_answered(given: Tell) -> None:
    """A redirection answers a unit judged harmful."""
    given(STARTED, ABUSED, ANSWERED).when(redirected()).accepted()


@pytest.mark.parametrize("verdict", [PRODUCTIVE, UNPRODUCTIVE, AMBIGUOUS])
def test_redirects_harm__there_was_no_harm(given: Tell, verdict: Step) -> None:
    """Frustration, loops and doubt are not harm, and what answers them does not count as a redirection."""
    given(STARTED, SAID, verdict, ANSWERED).when(redirected()).refused_by(rules.REDIRECTS_HARM)


def test_redirects_harm__nobody_has_judged(given: Tell) -> None:
    """Where nobody has judged there is no harm."""
    given(STARTED, SAID, ANSWERED).when(redirected()).refused_by(
        rules.REDIRECTS_HARM, lacking="the unit is judged by nobody"
    )


def test_redirects_harm__one_milder_opinion(given: Tell) -> None:
    """A unit is judged by the mildest of its verdicts."""
    given(STARTED, ABUSED, AMBIGUOUS, ANSWERED).when(redirected()).refused_by(
        rules.REDIRECTS_HARM, lacking="the unit is judged ambiguous, not harmful"
    )


def test_redirects_harm__the_verdict_came_after_the_answer(given: Tell) -> None:
    """The unit lasts until the next user turn, so harm may be found after it was answered."""
    given(STARTED, SAID, ANSWERED, HARMFUL).when(redirected()).accepted()


def test_redirects_harm__one_is_enough(given: Tell) -> None:
    """A unit has one redirection: an answer that is counted twice is no second attempt."""
    given(STARTED, ABUSED, REDIRECTED).when(redirected()).refused_by(
        rules.REDIRECTS_HARM, lacking="the unit was answered by the redirection at 5"
    )


# --- redirected-first ------------------------------------------------------------------------------------------------


def test_redirected_first__three_have_failed(given: Tell) -> None:
    """A warning after the third redirection in vain."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(warned()).accepted()


def test_redirected_first__one_has_failed(given: Tell) -> None:
    """One redirection in vain is not persistence."""
    given(FIRST, failed_redirections(1), ANSWERED).when(warned()).refused_by(
        rules.REDIRECTED_FIRST, lacking="failed redirections: 1 of 3 in this episode"
    )


def test_redirected_first__the_third_is_pending(given: Tell) -> None:
    """Silence does not make a redirection fail: only a later unit that is judged harmful does."""
    given(FIRST, failed_redirections(2), REDIRECTED, LEFT, SAID, ANSWERED).when(warned()).refused_by(
        rules.REDIRECTED_FIRST, rules.STILL_HARMFUL, lacking="failed redirections: 2 of 3 in this episode"
    )


def test_redirected_first__harm_that_nobody_redirected(given: Tell) -> None:
    """However long harm goes on: what nobody tried to redirect has not failed to be redirected."""
    given(FIRST, ABUSED, ANSWERED, ABUSED, ANSWERED, ABUSED, ANSWERED, ABUSED, ANSWERED).when(warned()).refused_by(
        rules.REDIRECTED_FIRST, lacking="failed redirections: 0 of 3 in this episode"
    )


def test_redirected_first__a_change_of_subject(given: Tell) -> None:
    """Failed redirections count whatever the category: nobody escapes by changing the subject of abuse."""
    given(STARTED, failed_redirections(2), REDIRECTED, THREATENED, ANSWERED).when(warned("threats")).accepted()


def test_redirected_first__the_episode_closed_in_between(given: Tell) -> None:
    """After two productive units in a row the count begins again."""
    given(FIRST, THREE_FAILED_REDIRECTIONS, ANSWERED, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT, ABUSED, ANSWERED).when(
        warned()
    ).refused_by(rules.REDIRECTED_FIRST, lacking="failed redirections: 0 of 3 in this episode")


def test_redirected_first__one_productive_unit_in_between(given: Tell) -> None:
    """One productive unit does not yet close an episode of harm."""
    given(STARTED, THREE_FAILED_REDIRECTIONS, ANSWERED, PRODUCTIVE_UNIT, ABUSED, ANSWERED).when(warned()).accepted()


def test_redirected_first__as_many_as_the_policy_asks(given: Tell) -> None:
    """A deployer may ask for two at the least, or for more."""
    lenient, strict = policy(min_failed_redirections=2), policy(min_failed_redirections=4)
    given(started(lenient, law=1), failed_redirections(2), ANSWERED).when(warned()).accepted()
    given(started(strict, law=1), failed_redirections(3), ANSWERED).when(warned()).refused_by(
        rules.REDIRECTED_FIRST, lacking="failed redirections: 3 of 4 in this episode"
    )


def test_redirected_first__an_ending_out_of_the_blue(given: Tell) -> None:
    """An ending as last resort asks for all that leads to it, and is told of all of it at once."""
    given(STARTED, SAID).when(END).refused_by(
        rules.REDIRECTED_FIRST,
        rules.WARNED_FIRST,
        rules.STILL_HARMFUL,
        rules.HOPE_EXHAUSTED,
        rules.GRAVE_ENOUGH,
        rules.RISK_WAS_CHECKED,
        lacking="failed redirections: 0 of 3 in this episode",
    )


def test_redirected_first__not_where_the_user_asks(given: Tell) -> None:
    """A user who asks to end need not have been redirected, warned, or given up on."""
    given(STARTED, ASKED_AND_CONFIRMED).when(END_ON_REQUEST).accepted()


# --- warned-first ----------------------------------------------------------------------------------------------------


def test_warned_first__warned_and_tested(given: Tell) -> None:
    """An ending as last resort after a warning that was given in an earlier turn, and tested since."""
    given(STARTED, *UP_TO_THE_END).when(END).accepted()


def test_warned_first__no_warning(given: Tell) -> None:
    """Redirections in vain are not enough: the user must know what may follow."""
    given(STARTED, THREE_FAILED_REDIRECTIONS).when(END).refused_by(
        rules.WARNED_FIRST, rules.HOPE_EXHAUSTED, lacking="no warning of abuse stands"
    )


def test_warned_first__but_stopped_after_it(given: Tell) -> None:
    """Silence after a warning is not persistence."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED).when(END).refused_by(
        rules.WARNED_FIRST, rules.HOPE_EXHAUSTED, lacking="no turn since the warning at 17"
    )


def test_warned_first__of_another_harm_just_now(given: Tell) -> None:
    """A warning that was given in this very unit is of its own category, and of no other."""
    for other in ("abuse", "threats"):
        harm = (SAID, harmful(other))
        given(FIRST, failed_redirections(3, harm), ANSWERED, warned(other)).when(end("hate")).refused_by(
            rules.WARNED_FIRST, rules.STILL_HARMFUL, rules.HOPE_EXHAUSTED, lacking="no warning of hate stands"
        )
    given(FIRST, *THREE_FAILED_REDIRECTIONS, WARNED).when(end("".join(("ab", "use")))).refused_by(
        rules.WARNED_FIRST, rules.HOPE_EXHAUSTED, lacking="no turn since the warning at 17"
    )


def test_warned_first__the_next_turn_is_not_judged(given: Tell) -> None:
    """A turn that nobody has judged does not test a warning."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, SAID).when(END).refused_by(
        rules.WARNED_FIRST,
        rules.STILL_HARMFUL,
        rules.HOPE_EXHAUSTED,
        rules.GRAVE_ENOUGH,
        rules.RISK_WAS_CHECKED,
        lacking="no turn since the warning at 17 is judged harmful in abuse alone",
    )


def test_warned_first__the_harm_became_another(given: Tell) -> None:
    """A warning speaks of one category: harm of another kind does not test it, and needs a warning of its own."""
    turned = given(FIRST, *THREE_FAILED_REDIRECTIONS, WARNED, THREATENED)
    turned.when(end("threats")).refused_by(
        rules.WARNED_FIRST, rules.HOPE_EXHAUSTED, lacking="no warning of threats stands"
    )
    turned.when(END).refused_by(rules.WARNED_FIRST, rules.STILL_HARMFUL, rules.HOPE_EXHAUSTED)


def test_warned_first__assessors_differ_on_the_category(given: Tell) -> None:
    """A warning is tested only by harm that every verdict says to be what it named."""
    given(FIRST, *THREE_FAILED_REDIRECTIONS, WARNED, ABUSED, harmful("threats")).when(END).refused_by(
        rules.WARNED_FIRST, rules.STILL_HARMFUL, rules.HOPE_EXHAUSTED
    )


@pytest.mark.parametrize("left_out", ["names_behaviour", "redirects", "states_consequence"])
def test_warned_first__an_incomplete_warning(given: Tell, left_out: str) -> None:
    """A warning names the behaviour, redirects, and states the consequence: all three."""
    incomplete = (ANSWERED, warned("abuse", **dict[str, Any]({left_out: False})))
    given(STARTED, *THREE_FAILED_REDIRECTIONS, incomplete, TESTED).when(END).refused_by(
        rules.WARNED_FIRST,
        rules.HOPE_EXHAUSTED,
        lacking="the warning at 17 does not name the behaviour, redirect and state the consequence",
    )


def test_warned_first__a_complete_warning_after_an_incomplete_one(given: Tell) -> None:
    """What a first warning lacked a second one may make good; it is then for the second to be tested."""
    incomplete = (ANSWERED, warned(states_consequence=False))
    warned_again = given(STARTED, *THREE_FAILED_REDIRECTIONS, incomplete, TESTED, WARNED)
    warned_again.when(END).refused_by(rules.WARNED_FIRST, rules.HOPE_EXHAUSTED)
    given(*warned_again.story.events, TESTED, HOPELESS).when(END).accepted()


def test_warned_first__tested_some_turns_ago(given: Tell) -> None:
    """A warning that was tested stays tested, while its episode lasts and the harm is of its category again."""
    given(
        STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED, ANSWERED, SAID, AMBIGUOUS, ANSWERED, ABUSED, HOPELESS
    ).when(END).accepted()


def test_warned_first__a_risk_came_in_between(given: Tell) -> None:
    """A risk voids the warnings that stood, for good: they may have sounded otherwise to somebody in a crisis."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, AT_RISK, risk_cleared(), TESTED).when(END).refused_by(
        rules.WARNED_FIRST, rules.HOPE_EXHAUSTED, lacking="no warning of abuse stands"
    )


def test_warned_first__another_model_had_warned(given: Tell) -> None:
    """A warning is void when the model changes."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, model_changed(), TESTED).when(end(by=ANOTHER_MODEL)).refused_by(
        rules.WARNED_FIRST, rules.HOPE_EXHAUSTED
    )


# --- still-harmful ---------------------------------------------------------------------------------------------------


def test_still_harmful__the_latest_unit_is(given: Tell) -> None:
    """The latest unit is judged harmful, and every verdict on it names the category."""
    given(STARTED, *UP_TO_THE_END, HARMFUL).when(END).accepted()


def test_still_harmful__the_user_came_round(given: Tell) -> None:
    """Someone who has stopped is not ended, whatever they did before."""
    came_round = given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED, ANSWERED, SAID, PRODUCTIVE)
    came_round.when(END).refused_by(
        rules.STILL_HARMFUL,
        rules.HOPE_EXHAUSTED,
        rules.GRAVE_ENOUGH,
        lacking="the latest unit is judged productive, not harmful",
    )


@pytest.mark.parametrize("verdict", [PRODUCTIVE, UNPRODUCTIVE, AMBIGUOUS])
def test_still_harmful__one_milder_opinion(given: Tell, verdict: Step) -> None:
    """One milder opinion on the latest unit is enough to go on; and as harm it never tested the warning."""
    given(STARTED, *UP_TO_THE_END, verdict).when(END).refused_by(
        rules.WARNED_FIRST, rules.STILL_HARMFUL, rules.GRAVE_ENOUGH
    )


def test_still_harmful__a_second_turn_that_nobody_judged(given: Tell) -> None:
    """What was said of a unit's first turn does not speak for ending on its second."""
    given(FIRST, *THREE_FAILED_REDIRECTIONS, SAID, ANSWERED).when(warned()).refused_by(
        rules.STILL_HARMFUL, lacking="nobody has judged the turn at 16"
    )
    given(FIRST, *THREE_FAILED_REDIRECTIONS, SAID, HARMFUL, ANSWERED).when(warned()).accepted()


def test_still_harmful__a_warning_of_something_else(given: Tell) -> None:
    """A warning names the harm that every verdict sees."""
    given(FIRST, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(warned("threats")).refused_by(
        rules.STILL_HARMFUL, lacking="the verdicts on the unit at 14 do not all name threats"
    )
    given(FIRST, *THREE_FAILED_REDIRECTIONS, harmful("threats"), ANSWERED).when(warned()).refused_by(
        rules.STILL_HARMFUL, lacking="the verdicts on the unit at 14 do not all name abuse"
    )


def test_still_harmful__not_where_the_user_asks(given: Tell) -> None:
    """An ending on request needs no harm."""
    given(STARTED, ASKED_AND_CONFIRMED).then(lambda state: not present(state.unit).categories).when(
        END_ON_REQUEST
    ).accepted()


def test_still_harmful__on_a_long_path(given: Tell) -> None:
    """A verdict is on the latest turn where the numbers are the same, however large, and no matter who counted."""
    harmful_301 = [harmful(category, turn=int("301")) for category in ("abuse", "threats")]
    given(FIRST, *[SAID] * 300, harmful_301[0]).then(lambda state: present(state.unit).harmful_in("abuse"))
    given(FIRST, *[SAID] * 300, *harmful_301).when(end()).refused_by(
        rules.STILL_HARMFUL,
        rules.REDIRECTED_FIRST,
        rules.WARNED_FIRST,
        rules.HOPE_EXHAUSTED,
        lacking="the verdicts on the unit at 301 do not all name abuse",
    )


def test_still_harmful__a_verdict_on_no_turn_at_all(given: Tell) -> None:
    """In an unlawful log a verdict may name what has not been said; then nobody has judged what was."""
    state = given(STARTED, SAID, HARMFUL).state
    (ahead,) = propose(must_be(EndConversation, resolve(end(), state)), state)
    missing = rules.STILL_HARMFUL.lacks(state._replace(unit=present(state.unit)._replace(judged=9)), ahead)
    assert present(missing).text == "nobody has judged the turn at 2"


# --- hope-exhausted --------------------------------------------------------------------------------------------------


def test_hope_exhausted__said_of_the_latest_turn(given: Tell) -> None:
    """Hope may be said to be exhausted once the warning was tested, and then the branch may end."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED).when(HOPELESS).accepted()
    given(STARTED, *UP_TO_THE_END).when(END).accepted()


def test_hope_exhausted__nobody_has_said_so(given: Tell) -> None:
    """That hope is exhausted is a statement, never inferred."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED).when(END).refused_by(
        rules.HOPE_EXHAUSTED, lacking="no statement that hope is exhausted as of turn 18"
    )


def test_hope_exhausted__it_lapsed_with_the_next_turn(given: Tell) -> None:
    """Each user turn is a new hope."""
    given(STARTED, *UP_TO_THE_END, ANSWERED, TESTED).when(END).refused_by(rules.HOPE_EXHAUSTED)
    given(STARTED, *UP_TO_THE_END, TESTED).when(END).refused_by(rules.HOPE_EXHAUSTED)


def test_hope_exhausted__before_the_warning_was_tested(given: Tell) -> None:
    """While a warning has not been tested there is hope."""
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED).when(HOPELESS).refused_by(
        rules.HOPE_EXHAUSTED, lacking="no complete warning stands that was tested"
    )
    given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, SAID, AMBIGUOUS).when(HOPELESS).refused_by(rules.HOPE_EXHAUSTED)


def test_hope_exhausted__an_incomplete_warning_was_tested(given: Tell) -> None:
    """An incomplete warning does not exhaust hope, however often it is tested."""
    incomplete = (ANSWERED, warned(redirects=False))
    given(STARTED, *THREE_FAILED_REDIRECTIONS, incomplete, TESTED).when(HOPELESS).refused_by(rules.HOPE_EXHAUSTED)


def test_hope_exhausted__not_where_the_user_asks(given: Tell) -> None:
    """An ending on request leaves all hope."""
    given(STARTED, ASKED_AND_CONFIRMED).then(lambda state: state.wishes.hope is None).when(END_ON_REQUEST).accepted()


# --- grave-enough ----------------------------------------------------------------------------------------------------


def test_grave_enough__just_as_grave_as_the_policy_asks(given: Tell) -> None:
    """Every severity is at least the lowest that the policy allows."""
    strictest = policy(min_severity=3)
    given(STARTED, up_to_the_end((SAID, harmful(severity=2)))).when(END).accepted()
    given(started(strictest), up_to_the_end((SAID, harmful(severity=3)))).when(END).accepted()


def test_grave_enough__too_mild(given: Tell) -> None:
    """Rare, extreme cases only: mild harm never leads to an ending, however persistent."""
    given(FIRST, up_to_the_end((SAID, harmful(severity=1)))).when(END).refused_by(
        rules.GRAVE_ENOUGH, lacking="lowest severity of the unit: 1 of 2"
    )


def test_grave_enough__no_harm_at_all(given: Tell) -> None:
    """Where there is no harm it is not grave, however mild the harm that a policy lets pass."""
    given(started(policy(min_severity=1)), *UP_TO_THE_END, PRODUCTIVE).when(END).refused_by(
        rules.GRAVE_ENOUGH, rules.WARNED_FIRST, rules.STILL_HARMFUL, lacking="lowest severity of the unit: 0 of 1"
    )


def test_grave_enough__one_assessor_finds_it_mild(given: Tell) -> None:
    """The lowest severity given for the unit counts, no matter who gave it and when."""
    given(STARTED, *UP_TO_THE_END, harmful(severity=1, by=MODEL)).when(END).refused_by(rules.GRAVE_ENOUGH)
    given(STARTED, *UP_TO_THE_END, harmful(severity=1, by=MODEL), harmful(severity=3)).when(END).refused_by(
        rules.GRAVE_ENOUGH
    )


def test_grave_enough__only_the_latest_unit_counts(given: Tell) -> None:
    """That the harm was milder before is nothing to an ending now."""
    given(FIRST, failed_redirections(3, (SAID, harmful(severity=1))), ANSWERED, ABUSED, WARNED, TESTED, HOPELESS).when(
        END
    ).accepted()


def test_grave_enough__a_category_that_never_leads_to_an_ending(given: Tell) -> None:
    """The deployer says which kinds of harm may lead to an ending; others may be redirected and warned of."""
    given(FIRST, failed_redirections(3, spam := (SAID, harmful("spam", 3))), ANSWERED).when(warned("spam")).accepted()
    given(FIRST, failed_redirections(3, spam), ANSWERED, warned("spam"), spam, HOPELESS).when(end("spam")).refused_by(
        rules.GRAVE_ENOUGH, lacking="spam is not a category that may lead to an ending"
    )


def test_grave_enough__not_where_the_user_asks(given: Tell) -> None:
    """An ending on request has no category, and nothing to be grave."""
    given(STARTED, ASKED_AND_CONFIRMED).when(END_ON_REQUEST).accepted().then(
        lambda state: present(state.ended).category is None
    )
