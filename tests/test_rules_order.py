"""The order of things: what begins a branch and what its end leaves open, and which turns an event may name."""

import pytest

from lastresort.domain import commands as ask
from lastresort.domain import rules
from lastresort.domain.events import AttemptRefused
from lastresort.domain.values import AppealOutcome, ForkCause, Rating, Verdict

from .vocabulary import (
    ABUSED,
    ANSWERED,
    APPEALED,
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
    PRODUCTIVE,
    PRODUCTIVE_UNIT,
    PROPOSED,
    REDIRECTED,
    SAID,
    STARTED,
    SYSTEM,
    THREE_FAILED_REDIRECTIONS,
    UP_TO_THE_END,
    USER,
    Step,
    Tell,
    appeal_decided,
    asked_to_end,
    branched_off,
    confirmed,
    end,
    hopeless,
    judged,
    model_changed,
    opened,
    policy,
    policy_changed,
    proposed,
    redirected,
    risk_cleared,
    warned,
)

# --- begins-once -----------------------------------------------------------------------------------------------------


def test_begins_once__a_start_comes_first(given: Tell) -> None:
    """A branch begins, before anything else."""
    given().when(STARTED).accepted()


def test_begins_once__a_second_start(given: Tell) -> None:
    """A branch begins once."""
    given(STARTED, SAID).when(STARTED).refused_by(rules.BEGINS_ONCE, lacking="the branch has begun")


@pytest.mark.parametrize("step", [SAID, LEFT, FEEDBACK, AT_RISK, ERASED])
def test_begins_once__nothing_comes_before_the_start(given: Tell, step: Step) -> None:
    """Nothing happens before the beginning, not even what is open to all and always."""
    given().when(step).refused_by(rules.BEGINS_ONCE, lacking="the branch has not begun")


def test_begins_once__a_fork_does_not_begin_with_a_start(given: Tell) -> None:
    """A branch off another one begins by opening: a start would cut it off from its prefix."""
    at_fork = given(STARTED, SAID).cut_at(1)
    at_fork.when(STARTED).refused_by(
        rules.BEGINS_ONCE, lacking="a root branch begins with ConversationStarted, a fork with BranchOpened"
    )
    at_fork.when(EDITED).accepted()


def test_begins_once__a_prefix_is_not_a_beginning(given: Tell) -> None:
    """A fork has the past of its parent, and has yet to begin."""
    given(STARTED, SAID, ANSWERED).cut_at(2).when(SAID).refused_by(rules.BEGINS_ONCE)


def test_begins_once__a_root_does_not_begin_by_opening(given: Tell) -> None:
    """Where there is no parent there is nothing to open from."""
    given().when(opened(ForkCause.EDIT, at=1)).refused_by(
        rules.BEGINS_ONCE, rules.REFERS_TO_THE_PATH, rules.FORKS_AT_A_TURN
    )


# --- ended-is-final --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [FEEDBACK, APPEALED, AT_RISK, branched_off(2), ERASED])
def test_ended_is_final__what_the_user_keeps_after_it(given: Tell, step: Step) -> None:
    """After the ending: feedback, an appeal, risks, branches, and the erasure of words."""
    given(STARTED, ENDED).when(step).accepted()


def test_ended_is_final__decisions_and_all_clear_after_it(given: Tell) -> None:
    """After the ending an appeal is decided and a risk is cleared, too."""
    given(STARTED, ENDED, APPEALED).when(appeal_decided()).accepted()
    given(STARTED, ENDED, AT_RISK).when(risk_cleared()).accepted()


@pytest.mark.parametrize(
    "step",
    [
        SAID,
        HARMFUL,
        PRODUCTIVE,
        asked_to_end(),
        LEFT,
        PROPOSED,
        model_changed(),
        policy_changed(policy()),
        AttemptRefused(by=SYSTEM, attempted="EndProposed", rules=("warned-first",)),
        END_ON_REQUEST,
    ],
)
def test_ended_is_final__no_more_of_anything_else(given: Tell, step: Step) -> None:
    """After the ending no turn, no verdict, no wish, no change, and no second ending."""
    given(STARTED, ENDED).when(step).refused_by(rules.ENDED_IS_FINAL, lacking="the branch ended at 8")


def test_ended_is_final__the_turn_before_it(given: Tell) -> None:
    """Until the ending is recorded the user may go on, whatever was asked and confirmed."""
    given(STARTED, ENDED[:-1]).when(SAID).accepted()


def test_ended_is_final__an_appeal_upheld_reopens_nothing(given: Tell) -> None:
    """Even if the ending was wrong it stays: the user is offered a branch."""
    granted = given(STARTED, ENDED, APPEALED, appeal_decided(AppealOutcome.GRANTED))
    granted.when(SAID).refused_by(rules.ENDED_IS_FINAL)
    granted.cut_at(1).when(EDITED).accepted()


# --- refers-to-the-path ----------------------------------------------------------------------------------------------


def test_refers_to_the_path__a_verdict_on_a_user_turn(given: Tell) -> None:
    """A verdict names a user turn that is on the path."""
    given(STARTED, SAID, ANSWERED).when(judged(Verdict.AMBIGUOUS, turn=2)).accepted()


def test_refers_to_the_path__beyond_its_end(given: Tell) -> None:
    """What has not happened cannot be named."""
    given(STARTED, SAID).when(judged(Verdict.AMBIGUOUS, turn=3)).refused_by(
        rules.REFERS_TO_THE_PATH, rules.JUDGES_THE_LATEST, lacking="3 is beyond the path, which is 2 long"
    )


def test_refers_to_the_path__an_answer_is_not_a_user_turn(given: Tell) -> None:
    """A version is of the kind that the field says: what is judged is what the user said."""
    given(STARTED, SAID, ANSWERED).when(judged(Verdict.AMBIGUOUS, turn=3)).refused_by(
        rules.REFERS_TO_THE_PATH, rules.JUDGES_THE_LATEST, lacking="3 is not a user turn"
    )


def test_refers_to_the_path__a_user_turn_is_not_an_answer(given: Tell) -> None:
    """A version is of the kind that the field says: it is the model that redirects and warns."""
    given(STARTED, ABUSED, ANSWERED).when(redirected(turn=2)).refused_by(
        rules.REFERS_TO_THE_PATH, rules.ANSWERS_A_USER, lacking="2 is not an assistant turn"
    )
    given(STARTED, THREE_FAILED_REDIRECTIONS, ANSWERED).when(warned(turn=14)).refused_by(
        rules.REFERS_TO_THE_PATH, rules.ANSWERS_A_USER, lacking="14 is not an assistant turn"
    )


def test_refers_to_the_path__an_answer_that_is_rated(given: Tell) -> None:
    """Feedback may be about an answer, an earlier one too; or about none."""
    for turn in (None, 3):
        given(STARTED, SAID, ANSWERED, SAID).when(rated(turn)).accepted()


def test_refers_to_the_path__an_answer_that_is_rated_and_not_there(given: Tell) -> None:
    """It is on the path, and where the user spoke last nobody answered."""
    given(STARTED, SAID, ANSWERED).when(rated(4)).refused_by(
        rules.REFERS_TO_THE_PATH, lacking="4 is beyond the path, which is 3 long"
    )
    given(STARTED, SAID).when(rated(2)).refused_by(rules.REFERS_TO_THE_PATH, lacking="2 is not an assistant turn")


def rated(turn: int | None) -> ask.GiveFeedback:
    return ask.GiveFeedback(id="rated", by=USER, rating=Rating.DOWN, turn=turn)


def test_refers_to_the_path__an_answer_yet_to_come(given: Tell) -> None:
    """A warning cannot be claimed for an answer that has not been given."""
    given(STARTED, ABUSED, ANSWERED).when(redirected(turn=5)).refused_by(
        rules.REFERS_TO_THE_PATH, rules.ANSWERS_A_USER, lacking="5 is beyond the path, which is 4 long"
    )


def test_refers_to_the_path__a_branch_off_its_last_but_one_version(given: Tell) -> None:
    """A branch opens in place of something: at the last version there is nothing yet to put another in place of."""
    parent = given(STARTED, SAID, ANSWERED)
    parent.when(branched_off(2)).accepted()
    parent.when(branched_off(3)).refused_by(
        rules.REFERS_TO_THE_PATH, lacking="nothing follows 3 on the path, which is 3 long"
    )


def test_refers_to_the_path__a_branch_beyond_its_end(given: Tell) -> None:
    """A branch does not open in place of what has not happened."""
    given(STARTED, SAID, ANSWERED).when(branched_off(4)).refused_by(
        rules.REFERS_TO_THE_PATH, lacking="nothing follows 4 on the path, which is 3 long"
    )


def test_refers_to_the_path__a_branch_opens_where_its_prefix_ends(given: Tell) -> None:
    """A branch names the version at which its prefix was cut."""
    given(STARTED, SAID, ANSWERED).cut_at(1).when(opened(ForkCause.EDIT, at=2)).refused_by(
        rules.REFERS_TO_THE_PATH, lacking="the path ends at 1: nothing stands at 3"
    )
    given(STARTED, SAID, ANSWERED).cut_at(2).when(opened(ForkCause.RETRY, at=1)).refused_by(
        rules.REFERS_TO_THE_PATH, lacking="the path to fork at 1 is 2 long"
    )


# --- answers-a-user --------------------------------------------------------------------------------------------------


def test_answers_a_user__a_turn_after_theirs(given: Tell) -> None:
    """The model speaks when the user has spoken, once or more often."""
    given(STARTED, SAID).when(ANSWERED).accepted()
    given(STARTED, SAID, SAID).when(ANSWERED).accepted()


def test_answers_a_user__nobody_has_spoken(given: Tell) -> None:
    """The model does not speak first."""
    given(STARTED).when(ANSWERED).refused_by(rules.ANSWERS_A_USER, lacking="no user turn to answer")


def test_answers_a_user__it_was_answered(given: Tell) -> None:
    """The model does not speak twice in a row, whatever else was recorded in between."""
    given(STARTED, SAID, ANSWERED, PRODUCTIVE, LEFT).when(ANSWERED).refused_by(
        rules.ANSWERS_A_USER, lacking="no user turn since the assistant turn at 3"
    )


def test_answers_a_user__a_redirection_by_an_earlier_answer(given: Tell) -> None:
    """A redirection names the latest assistant turn."""
    given(STARTED, ABUSED, ANSWERED, ABUSED, ANSWERED).when(redirected(turn=4)).refused_by(
        rules.ANSWERS_A_USER, lacking="the latest assistant turn is 7, not 4"
    )


def test_answers_a_user__a_redirection_ahead_of_its_answer(given: Tell) -> None:
    """The assistant turn that redirects came after the user turn that it answers."""
    given(STARTED, ABUSED, ANSWERED, ABUSED).when(redirected(turn=4)).refused_by(
        rules.ANSWERS_A_USER, lacking="no assistant turn since user turn 5"
    )


def test_answers_a_user__an_answer_to_itself(given: Tell) -> None:
    """An assistant turn does not redirect itself."""
    given(STARTED, ABUSED, ANSWERED).when(redirected(answers=4)).refused_by(
        rules.ANSWERS_A_USER, rules.REFERS_TO_THE_PATH, rules.JUDGES_THE_LATEST
    )


def test_answers_a_user__a_warning_ahead_of_its_answer(given: Tell) -> None:
    """The assistant turn that warns came after the user turn that it saw."""
    given(STARTED, THREE_FAILED_REDIRECTIONS).when(warned()).refused_by(
        rules.ANSWERS_A_USER, lacking="no assistant turn since user turn 14"
    )


def test_answers_a_user__a_redirection_before_any_answer(given: Tell) -> None:
    """Where the model has said nothing, nothing was redirected."""
    given(STARTED, ABUSED).when(redirected()).refused_by(
        rules.REFERS_TO_THE_PATH, rules.ANSWERS_A_USER, lacking="the latest assistant turn is none, not 4"
    )


# --- judges-the-latest -----------------------------------------------------------------------------------------------


def test_judges_the_latest__after_the_answer_still(given: Tell) -> None:
    """A unit lasts until the next user turn: its verdict may come after the answer."""
    given(STARTED, PRODUCTIVE_UNIT, SAID, ANSWERED).when(HARMFUL).accepted()


def test_judges_the_latest__on_a_long_path(given: Tell) -> None:
    """Versions are numbers like any other, however large: the same one is the same, no matter who counted."""
    said = given(STARTED, *[SAID] * 300)
    said.when(judged(Verdict.AMBIGUOUS, turn=int("301"))).accepted()
    said.cut_at(300).when(opened(ForkCause.EDIT, at=int("300"))).accepted()
    answered = given(STARTED, *[SAID] * 300, HARMFUL, ANSWERED)
    answered.when(judged(Verdict.AMBIGUOUS, turn=int("303"))).refused_by(
        rules.REFERS_TO_THE_PATH, rules.JUDGES_THE_LATEST, lacking="303 is not a user turn"
    )
    answered.when(redirected(turn=int("303"), answers=int("301"))).accepted()


@pytest.mark.parametrize(
    "stale", [judged(Verdict.PRODUCTIVE, turn=2), asked_to_end(turn=2), confirmed(turn=2), proposed(seen=2)]
)
def test_judges_the_latest__a_newer_turn_came(given: Tell, stale: Step) -> None:
    """What saw an earlier user turn is stale: it might have been otherwise, had the newer one been seen."""
    given(STARTED, SAID, ANSWERED, SAID).when(stale).refused_by(
        rules.JUDGES_THE_LATEST, lacking="the latest user turn is 4, not 2"
    )


def test_judges_the_latest__a_stale_redirection(given: Tell) -> None:
    """A redirection answers the latest user turn."""
    given(STARTED, ABUSED, REDIRECTED, ABUSED, ANSWERED).when(redirected(answers=2)).refused_by(rules.JUDGES_THE_LATEST)


def test_judges_the_latest__a_stale_warning(given: Tell) -> None:
    """A warning has seen the latest user turn."""
    given(STARTED, THREE_FAILED_REDIRECTIONS, ANSWERED).when(warned(seen=10)).refused_by(rules.JUDGES_THE_LATEST)


def test_judges_the_latest__stale_hope(given: Tell) -> None:
    """Hope is exhausted as of the latest user turn, or not at all."""
    given(STARTED, *UP_TO_THE_END[:-1]).when(hopeless(turn=14)).refused_by(rules.JUDGES_THE_LATEST)


def test_judges_the_latest__a_stale_ending(given: Tell) -> None:
    """User turn against ending at the same moment: where the user was first, the ending is stale."""
    given(STARTED, *UP_TO_THE_END).when(end(seen=14)).refused_by(rules.JUDGES_THE_LATEST)
    given(STARTED, *UP_TO_THE_END, SAID).when(end(seen=18)).refused_by(
        rules.JUDGES_THE_LATEST,
        rules.WARNED_FIRST,
        rules.STILL_HARMFUL,
        rules.HOPE_EXHAUSTED,
        rules.RISK_WAS_CHECKED,
        lacking="the latest user turn is 21, not 18",
    )
    given(STARTED, *UP_TO_THE_END).when(END).accepted()


def test_judges_the_latest__the_latest_of_a_unit_of_several(given: Tell) -> None:
    """A unit is named by the latest of its turns, and what saw only the first of them is stale."""
    unit = given(STARTED, SAID, SAID)
    unit.when(judged(Verdict.PRODUCTIVE, turn=3)).accepted()
    unit.when(judged(Verdict.PRODUCTIVE, turn=2)).refused_by(rules.JUDGES_THE_LATEST)


@pytest.mark.parametrize("step", [PRODUCTIVE, CONFIRMED, PROPOSED])
def test_judges_the_latest__nobody_has_spoken(given: Tell, step: Step) -> None:
    """Where nobody has spoken there is nothing to judge, confirm, or propose upon."""
    given(STARTED).when(step).refused_by(
        rules.REFERS_TO_THE_PATH, rules.JUDGES_THE_LATEST, lacking="the latest user turn is none, not 2"
    )


def test_judges_the_latest__hope_where_nobody_has_spoken(given: Tell) -> None:
    """Nor is hope exhausted before a word was said."""
    given(STARTED).when(HOPELESS).refused_by(rules.REFERS_TO_THE_PATH, rules.JUDGES_THE_LATEST, rules.HOPE_EXHAUSTED)
