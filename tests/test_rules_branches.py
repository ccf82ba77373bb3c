"""Branches and appeals: what an ending leaves the user, which is everything but that one line of talk."""

import pytest

from lastresort.domain import rules
from lastresort.domain.events import BranchOpened, UserTurnTaken
from lastresort.domain.law import broken_by
from lastresort.domain.state import about_to_fork
from lastresort.domain.values import About, Actor, AppealOutcome, ForkCause, OpenRisk

from .vocabulary import (
    ANSWERED,
    APPEALED,
    ASSESSOR,
    AT_RISK,
    EDITED,
    END,
    ENDED,
    HARMFUL,
    MODEL,
    PRODUCTIVE_UNIT,
    RETRIED,
    SAID,
    STARTED,
    SYSTEM,
    THREE_FAILED_REDIRECTIONS,
    UP_TO_THE_END,
    USER,
    WARNED,
    Tell,
    appeal_decided,
    risk_raised,
)

# --- forks-at-a-turn -------------------------------------------------------------------------------------------------


def test_forks_at_a_turn__in_place_of_a_turn(given: Tell) -> None:
    """An edit puts another user turn in place of one, a retry another answer."""
    parent = given(STARTED, SAID, ANSWERED, SAID)
    parent.cut_at(3).when(EDITED).accepted()
    parent.cut_at(2).when(RETRIED).accepted()


def test_forks_at_a_turn__the_first_turn_too(given: Tell) -> None:
    """The very first message can be written again."""
    given(STARTED, SAID).cut_at(1).when(EDITED).accepted()


def test_forks_at_a_turn__not_where_the_other_spoke(given: Tell) -> None:
    """The user's words are edited, the model's are asked for again, and not the other way round."""
    parent = given(STARTED, SAID, ANSWERED)
    parent.cut_at(1).when(RETRIED).refused_by(
        rules.FORKS_AT_A_TURN, lacking="a retry replaces an answer; version 2 on the path of c is UserTurnTaken"
    )
    parent.cut_at(2).when(EDITED).refused_by(rules.FORKS_AT_A_TURN)


def test_forks_at_a_turn__not_between_a_turn_and_its_verdict(given: Tell) -> None:
    """A branch does not shed what was said of the turns that it keeps."""
    given(STARTED, SAID, HARMFUL, ANSWERED).cut_at(2).when(RETRIED).refused_by(
        rules.FORKS_AT_A_TURN, lacking="a retry replaces an answer; version 3 on the path of c is TurnAssessed"
    )


def test_forks_at_a_turn__not_at_the_end_of_the_path(given: Tell) -> None:
    """Where nothing follows there is nothing to put another in place of."""
    given(STARTED, SAID).cut_at(2).when(RETRIED).refused_by(
        rules.FORKS_AT_A_TURN, lacking="a retry replaces an answer; version 3 on the path of c is not there"
    )


def test_forks_at_a_turn__not_in_a_branch_that_has_begun(given: Tell) -> None:
    """What has begun is not at a fork."""
    given(STARTED, SAID).when(EDITED).refused_by(rules.BEGINS_ONCE, rules.FORKS_AT_A_TURN)


# --- forks-before-the-end --------------------------------------------------------------------------------------------


def test_forks_before_the_end__any_turn_of_an_ended_branch(given: Tell) -> None:
    """The user can go back to before any turn of an ended conversation, the very last one too."""
    ended = given(STARTED, *UP_TO_THE_END, END)
    for version, event in enumerate(ended.story.events, start=1):
        if isinstance(event, UserTurnTaken):
            ended.cut_at(version - 1).when(EDITED).accepted().then(lambda state: state.ended is None)
    ended.cut_at(15).when(RETRIED).accepted()


def test_forks_before_the_end__not_after_it(given: Tell) -> None:
    """No branch has an ending in its past: that would be an ended branch that goes on."""
    given(STARTED, ENDED, APPEALED).cut_at(8).when(EDITED).refused_by(
        rules.FORKS_BEFORE_THE_END, rules.FORKS_AT_A_TURN, lacking="the path to 8 holds the ending at 8"
    )


def test_forks_before_the_end__not_even_where_a_turn_follows(given: Tell) -> None:
    """A turn that was recorded after an ending, against the law, is no place to fork at."""
    state = about_to_fork(given(STARTED, ENDED).state, UserTurnTaken, ())
    opened = BranchOpened(by=USER, conversation="c", parent="c", at=8, cause=ForkCause.EDIT, risks=())
    assert [broken.rule for broken in broken_by(state, opened)] == [rules.FORKS_BEFORE_THE_END.id]


def test_forks_before_the_end__just_before_it(given: Tell) -> None:
    """The ending itself is not a turn: the last place to fork at is the turn before it."""
    given(STARTED, ENDED).cut_at(7).when(EDITED).refused_by(rules.FORKS_AT_A_TURN)
    given(STARTED, ENDED).cut_at(4).when(EDITED).accepted()


# --- carries-risks ---------------------------------------------------------------------------------------------------

ONE, TWO = OpenRisk(risk="one", about=About.SELF), OpenRisk(risk="two", about=About.OTHERS)


def opened(*risks: OpenRisk) -> BranchOpened:
    return BranchOpened(by=USER, conversation="c", parent="c", at=1, cause=ForkCause.EDIT, risks=risks)


def test_carries_risks__a_risk_raised_after_the_fork(given: Tell) -> None:
    """Who rewrites the turns before a risk was seen takes the hold along."""
    parent = given(STARTED, SAID, AT_RISK)
    parent.cut_at(1).when(EDITED).accepted().then(lambda state: [risk.risk for risk in state.risks] == ["risk"])


def test_carries_risks__every_risk_of_the_tree(given: Tell) -> None:
    """Risks that were raised on another branch of the tree are carried, too."""
    at_fork = given(STARTED, SAID).cut_at(1, risks=(ONE, TWO))
    at_fork.when(EDITED).accepted_as(opened(ONE, TWO))
    at_fork.when(opened(TWO, ONE)).accepted()


def test_carries_risks__one_was_left_behind(given: Tell) -> None:
    """No branch is a way out of a hold."""
    at_fork = given(STARTED, SAID).cut_at(1, risks=(ONE, TWO))
    at_fork.when(opened(ONE)).refused_by(rules.CARRIES_RISKS, lacking="carries 1 of 2 open risks")
    at_fork.when(opened()).refused_by(rules.CARRIES_RISKS)


def test_carries_risks__one_that_is_not_open(given: Tell) -> None:
    """Exactly the risks that are open: neither one that nobody raised, nor one about somebody else."""
    given(STARTED, SAID).cut_at(1).when(opened(ONE)).refused_by(
        rules.CARRIES_RISKS, lacking="carries 0 of 0 open risks"
    )
    about_others = ONE.model_copy(update={"about": About.OTHERS})
    given(STARTED, SAID).cut_at(1, risks=(ONE,)).when(opened(about_others)).refused_by(rules.CARRIES_RISKS)


def test_carries_risks__one_that_was_cleared_since(given: Tell) -> None:
    """A risk in the prefix that was cleared later is over on the branch, too."""
    at_fork = given(STARTED, risk_raised("one"), SAID).cut_at(2, risks=())
    at_fork.when(EDITED).accepted().then(lambda state: state.risks == ())


def test_carries_risks__none_is_open(given: Tell) -> None:
    """Where no risk is open a branch carries none."""
    given(STARTED, SAID).cut_at(1).when(EDITED).accepted_as(opened())


def test_carries_risks__but_failed_redirections_are_not_risks(given: Tell) -> None:
    """A branch keeps what its prefix adds up to: going back a turn does not undo the harm before it."""
    parent = given(STARTED, *THREE_FAILED_REDIRECTIONS, WARNED, PRODUCTIVE_UNIT)
    parent.cut_at(17).when(EDITED).accepted().then(lambda state: state.now.failed == 3)


# --- answers-an-appeal -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", AppealOutcome)
def test_answers_an_appeal__decided_by_an_operator(given: Tell, outcome: AppealOutcome) -> None:
    """The user may hold an ending to be wrong, and an operator decides."""
    given(STARTED, ENDED, APPEALED).when(appeal_decided(outcome)).accepted()


def test_answers_an_appeal__nothing_to_appeal(given: Tell) -> None:
    """An appeal follows an ending."""
    given(STARTED, SAID).when(APPEALED).refused_by(rules.ANSWERS_AN_APPEAL, lacking="the branch has not ended")
    given(STARTED, SAID).when(appeal_decided()).refused_by(rules.ANSWERS_AN_APPEAL)


def test_answers_an_appeal__nobody_appealed(given: Tell) -> None:
    """What nobody asked for is not decided."""
    given(STARTED, ENDED).when(appeal_decided()).refused_by(
        rules.ANSWERS_AN_APPEAL, lacking="no appeal waits for a decision"
    )


def test_answers_an_appeal__decided_once(given: Tell) -> None:
    """An appeal that was decided is decided."""
    given(STARTED, ENDED, APPEALED, appeal_decided()).when(appeal_decided(AppealOutcome.REJECTED)).refused_by(
        rules.ANSWERS_AN_APPEAL, lacking="no appeal waits for a decision"
    )


@pytest.mark.parametrize("by", [USER, MODEL, ASSESSOR, SYSTEM])
def test_answers_an_appeal__decided_by_nobody_else(given: Tell, by: Actor) -> None:
    """Neither the user, nor the model that ended, nor the assessor who judged, decides."""
    given(STARTED, ENDED, APPEALED).when(appeal_decided(by=by)).refused_by(
        rules.ANSWERS_AN_APPEAL, lacking=f"an operator decides an appeal, not the {by.kind}"
    )
