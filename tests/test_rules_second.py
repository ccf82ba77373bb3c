"""The rules of the second edition, and those that it changed, from both sides."""

import pytest

from lastresort.adapters.testing.given import Given
from lastresort.domain import rules
from lastresort.domain.commands import GiveWarning
from lastresort.domain.events import (
    BranchOpened,
    EndConfirmed,
    ErasureReleased,
    HopeExhausted,
    PolicyChanged,
    WarningWithheld,
)
from lastresort.domain.law import GOVERNING, UNKNOWN
from lastresort.domain.policy import Policy
from lastresort.domain.state import evolve
from lastresort.domain.values import (
    Actor,
    ActorKind,
    AppealOutcome,
    ForkCause,
    Ground,
    HoldReason,
    LegalHold,
    Mode,
    Risk,
)

from .narrow import must_be, present
from .vocabulary import (
    ABUSED,
    ANOTHER_MODEL,
    ANSWERED,
    APPEALED,
    ASKED_TO_END,
    ASSESSOR,
    CONFIRMED,
    EDITED,
    END,
    END_ON_REQUEST,
    ENDED,
    ERASED,
    FEEDBACK,
    HARMFUL,
    HELD,
    HOPELESS,
    MODEL,
    OPERATOR,
    PRODUCTIVE,
    PRODUCTIVE_UNIT,
    PROPOSED,
    REDIRECTED,
    RELEASED,
    SAID,
    SYSTEM,
    TESTED,
    UP_TO_THE_END,
    USER,
    WARNED,
    WITHHELD,
    Step,
    Story,
    Tell,
    appeal_decided,
    asked_to_end,
    confirmed,
    end,
    failed_redirections,
    harmful,
    held,
    model_changed,
    policy,
    policy_changed,
    proposed,
    released,
    resolve,
    started,
    up_to_the_end,
    warned,
    withheld,
)

STARTED = started(law=2)
SHADOWED = started(law=2, mode=Mode.SHADOW)
DATED = Actor(kind=ActorKind.MODEL, id="us.anthropic.claude-opus-4-1-20250805-v1:0")
INELIGIBLE = Actor(kind=ActorKind.MODEL, id="claude-haiku-4-5")
SOMEBODY_ELSE = Actor(kind=ActorKind.USER, id="somebody-else")
THREE_REDIRECTIONS = (failed_redirections(3),)

# --- true-warnings ---------------------------------------------------------------------------------------------------


def test_true_warnings__where_an_ending_could_follow(given: Tell) -> None:
    """Nothing is threatened that could not happen."""
    given(STARTED, *THREE_REDIRECTIONS, ANSWERED).when(warned()).accepted()
    given(started(law=1), *THREE_REDIRECTIONS, ANSWERED).when(warned()).accepted()


def test_true_warnings__by_a_model_that_may_not_end(given: Tell) -> None:
    """It would threaten what it cannot do; in the first edition nobody asked."""
    small = (*THREE_REDIRECTIONS, ANSWERED)
    given(started(model=INELIGIBLE.id, law=2), *small).when(warned()).refused_by(rules.TRUE_WARNINGS)
    given(started(model=INELIGIBLE.id, law=1), *small).when(warned()).accepted()
    by_another = given(STARTED, *THREE_REDIRECTIONS, ANSWERED)
    command = must_be(GiveWarning, resolve(warned(), by_another.state)).model_copy(update={"by": ANOTHER_MODEL})
    by_another.when(command).refused_by(
        rules.TRUE_WARNINGS, lacking=f"the conversation's model is {MODEL.id}, not model {ANOTHER_MODEL.id}"
    )
    by_another.when(command.model_copy(update={"by": DATED})).accepted()


@pytest.mark.parametrize(
    ("abused", "lacking"),
    [
        ((SAID, harmful("spam")), "spam is not a category that may lead to an ending"),
        ((SAID, harmful(severity=1)), "lowest severity of the unit: 1 of 2"),
        ((SAID, harmful(risk=Risk.UNKNOWN)), "a verdict on the unit at 10 sees a risk, or cannot tell"),
        ((SAID, harmful(by=MODEL)), "the turn at 10 was not judged free of risk by assessor or operator"),
    ],
)
def test_true_warnings__of_what_no_ending_could_follow(given: Tell, abused: Step, lacking: str) -> None:
    """Another category, too mild, or in doubt of a risk."""
    history = given(STARTED, (ABUSED, REDIRECTED) * 2, abused, REDIRECTED)
    category = next(iter(present(history.state.unit).categories))
    history.when(warned(category)).refused_by(rules.TRUE_WARNINGS, lacking=lacking)


# --- same-user -------------------------------------------------------------------------------------------------------


def test_same_user__who_asked_confirms(given: Tell) -> None:
    """On a shared account, too."""
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID).when(CONFIRMED).accepted()
    other = given(STARTED, SAID, asked_to_end(by=SOMEBODY_ELSE), ANSWERED, SAID, PRODUCTIVE)
    other.when(confirmed(by=SOMEBODY_ELSE)).accepted()


def test_same_user__somebody_else_confirms(given: Tell) -> None:
    """Then nothing was confirmed, and no ending stands on it, even if it was recorded."""
    asked = given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE)
    asked.when(confirmed(by=SOMEBODY_ELSE)).refused_by(
        rules.SAME_USER, lacking="the request at 3 is not by user somebody-else"
    )
    recorded = evolve(asked.state, EndConfirmed(by=SOMEBODY_ELSE, turn=5))
    assert recorded.wishes.confirmed is None
    given(started(law=1), SAID, ASKED_TO_END, ANSWERED, SAID, confirmed(by=SOMEBODY_ELSE)).then(
        lambda state: state.wishes.confirmed == (3, 6)
    )


def test_same_user__nobody_asked(given: Tell) -> None:
    """A confirmation of nothing is recorded, and has no effect."""
    given(STARTED, SAID).when(CONFIRMED).accepted().then(lambda state: state.wishes.confirmed is None)


def test_same_user__a_warning_is_tested_by_whom_it_answered(given: Tell) -> None:
    """What another user of the account says is not the warned one going on."""
    from_other = SAID.model_copy(update={"by": SOMEBODY_ELSE})
    warned_user = (STARTED, *THREE_REDIRECTIONS, WARNED)
    given(*warned_user, TESTED).when(HOPELESS).accepted()
    given(*warned_user, from_other, HARMFUL).when(HOPELESS).refused_by(rules.HOPE_EXHAUSTED)
    given(started(law=1), *THREE_REDIRECTIONS, WARNED, from_other, HARMFUL).when(HOPELESS).accepted()
    given(*warned_user, from_other, HARMFUL, REDIRECTED, TESTED).when(HOPELESS).accepted()


# --- shadow-says-nothing ---------------------------------------------------------------------------------------------


def test_shadow_says_nothing__a_warning_is_withheld(given: Tell) -> None:
    """Where one would have been lawful, and the conversation goes on."""
    shadow = given(SHADOWED, *THREE_REDIRECTIONS, ANSWERED)
    shadow.when(withheld()).accepted().then(lambda state: state.episode.withheld == state.version)
    shadow.when(warned()).refused_by(rules.SHADOW_SAYS_NOTHING, lacking="in shadow mode nothing is said")
    given(STARTED, *THREE_REDIRECTIONS, ANSWERED).when(withheld()).refused_by(
        rules.SHADOW_SAYS_NOTHING, lacking="in mode enforced nothing is withheld"
    )


def test_shadow_says_nothing__once_an_episode(given: Tell) -> None:
    """What would have come after the first is not known, since nobody was warned."""
    once = (SHADOWED, *THREE_REDIRECTIONS, WITHHELD)
    given(*once, TESTED, ANSWERED).when(withheld()).refused_by(
        rules.SHADOW_SAYS_NOTHING, lacking="a warning was withheld at 17 in this episode"
    )
    given(*once, TESTED).when(HOPELESS).refused_by(rules.HOPE_EXHAUSTED)
    later = given(*once, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT, *THREE_REDIRECTIONS, ANSWERED)
    later.when(withheld()).accepted()


def test_shadow_says_nothing__once_a_unit_too(given: Tell) -> None:
    """Not even if the judge takes back what was said of it, so that the episode is over for now."""
    hasty = started(policy(productive_to_close=1), law=2, mode=Mode.SHADOW)
    taken_back = given(hasty, *THREE_REDIRECTIONS, WITHHELD, PRODUCTIVE)
    assert taken_back.state.now.withheld is None
    taken_back.when(withheld()).refused_by(
        *(rules.STILL_HARMFUL, rules.REDIRECTED_FIRST, rules.TRUE_WARNINGS, rules.SHADOW_SAYS_NOTHING),
        lacking="a warning was withheld at 17 in this episode",
    )


def test_shadow_says_nothing__where_no_warning_would_have_been_lawful(given: Tell) -> None:
    """Each rule that a warning is asked, so is one that is withheld, but for what only words have."""
    given(SHADOWED, ABUSED, REDIRECTED).when(withheld()).refused_by(rules.REDIRECTED_FIRST)
    given(SHADOWED, *THREE_REDIRECTIONS).when(withheld()).refused_by(
        rules.ANSWERS_A_USER, lacking="no assistant turn since user turn 14"
    )
    given(SHADOWED, *THREE_REDIRECTIONS, ANSWERED).when(withheld(seen=11)).refused_by(rules.JUDGES_THE_LATEST)
    given(SHADOWED, *THREE_REDIRECTIONS, ANSWERED).when(withheld(seen=40)).refused_by(
        rules.REFERS_TO_THE_PATH, rules.ANSWERS_A_USER, rules.JUDGES_THE_LATEST
    )
    given(SHADOWED, *THREE_REDIRECTIONS, ANSWERED).when(withheld("hate")).accepted()  # of its group
    given(SHADOWED, *THREE_REDIRECTIONS, ANSWERED).when(withheld("spam")).refused_by(
        rules.STILL_HARMFUL, rules.TRUE_WARNINGS
    )
    given(SHADOWED, *THREE_REDIRECTIONS, ANSWERED).when(withheld(by=ANOTHER_MODEL)).refused_by(rules.TRUE_WARNINGS)


def test_shadow_says_nothing__in_any_edition(given: Tell) -> None:
    """What the first edition did not know it could not allow."""
    shadow = given(started(law=1, mode=Mode.SHADOW), *THREE_REDIRECTIONS, ANSWERED)
    shadow.when(warned()).refused_by(rules.SHADOW_SAYS_NOTHING)
    shadow.when(withheld()).accepted()
    given(started(law=1), *THREE_REDIRECTIONS, ANSWERED).when(withheld()).refused_by(rules.SHADOW_SAYS_NOTHING)


def test_shadow_says_nothing__and_the_users_wish_goes_on(given: Tell) -> None:
    """An ending on request is no part of the experiment."""
    given(SHADOWED, SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE, CONFIRMED).when(END_ON_REQUEST).accepted()


def test_shadow_says_nothing__until_it_is_enforced(given: Tell) -> None:
    """By a change of policy, which may change the mode alone."""
    enforced = (SHADOWED, *THREE_REDIRECTIONS, WITHHELD, policy_changed(Policy.default(), mode=Mode.ENFORCED), ABUSED)
    given(*enforced, ANSWERED).when(warned()).accepted()
    back = policy_changed(Policy.default(), mode=Mode.SHADOW)
    given(*enforced, back, ANSWERED).when(withheld()).refused_by(rules.SHADOW_SAYS_NOTHING)


def test_shadow_says_nothing__what_is_withheld_is_told_truly(given: Tell) -> None:
    """Under the policy and by the model that the log names."""
    shadow = given(SHADOWED, *THREE_REDIRECTIONS, ANSWERED)
    said = {"by": MODEL, "seen": 14, "category": "abuse", "policy_hash": Policy.default().hash, "model": MODEL.id}
    shadow.when(WarningWithheld(**said)).accepted()
    shadow.when(WarningWithheld(**said | {"policy_hash": policy(min_severity=3).hash})).refused_by(
        rules.EVIDENCE_IS_TRUE, lacking="not what the log says: policy_hash"
    )
    shadow.when(WarningWithheld(**said | {"model": ANOTHER_MODEL.id})).refused_by(rules.EVIDENCE_IS_TRUE)


# --- held-from-erasure -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [1, 2])
def test_held_from_erasure__while_a_hold_stands(given: Tell, law: int) -> None:
    """Of any number; each is released by itself. In the first edition too, which could record none."""
    given(started(law=law), SAID).when(ERASED).accepted()
    both = given(started(law=law), SAID, HELD, held("case-8"))
    both.when(ERASED).refused_by(rules.HELD_FROM_ERASURE, lacking="legal holds: case-7, case-8")
    given(started(law=law), SAID, HELD, held("case-8"), RELEASED).when(ERASED).refused_by(rules.HELD_FROM_ERASURE)
    given(started(law=law), SAID, HELD, held("case-8"), RELEASED, released("case-8")).when(ERASED).accepted()


def test_held_from_erasure__by_an_operator(given: Tell) -> None:
    """Nobody else sets one, and nobody else releases one."""
    for by in (USER, MODEL, ASSESSOR, SYSTEM):
        given(STARTED, SAID).when(held(by=by)).refused_by(rules.HELD_FROM_ERASURE)
        given(STARTED, SAID, HELD).when(released(by=by)).refused_by(rules.HELD_FROM_ERASURE)
    given(STARTED, SAID).when(RELEASED).refused_by(rules.HELD_FROM_ERASURE, lacking="legal hold case-7 does not stand")


def test_held_from_erasure__what_is_released_says_what_it_was(given: Tell) -> None:
    """And one that is set again says what it is now."""
    twice = given(STARTED, held(until="2026-12-31"), held(reason=HoldReason.REGULATOR, until="2027-12-31"))
    assert twice.state.holds == (LegalHold(hold="case-7", reason=HoldReason.REGULATOR, until="2027-12-31"),)
    twice.when(RELEASED).accepted_as(
        ErasureReleased(by=OPERATOR, hold="case-7", reason=HoldReason.REGULATOR, until="2027-12-31")
    )


def test_held_from_erasure__after_the_ending(given: Tell) -> None:
    """There most of all."""
    given(STARTED, ENDED).when(HELD).accepted()
    given(STARTED, ENDED, HELD).when(ERASED).refused_by(rules.HELD_FROM_ERASURE)
    given(STARTED, ENDED, HELD).when(RELEASED).accepted()
    given(STARTED, ENDED, HELD).when(FEEDBACK).accepted()


# --- named-category --------------------------------------------------------------------------------------------------


def test_named_category__of_the_policy_or_the_edition(given: Tell) -> None:
    """Whatever a policy names, and what everybody knows."""
    given(STARTED, SAID).when(harmful("mass-violence")).accepted()  # the default policy's own
    given(STARTED, SAID).when(harmful("other")).accepted()
    given(started(policy(categories=("trolling",)), law=2), SAID).when(harmful("trolling")).accepted()


def test_named_category__on_request_there_is_none(given: Tell) -> None:
    """An ending that the user wished for is about no harm."""
    given(STARTED, SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE, CONFIRMED).when(END_ON_REQUEST).accepted()


def test_named_category__of_nobody(given: Tell) -> None:
    """Free text does not enter the log by that door."""
    given(STARTED, SAID).when(harmful("trolling")).refused_by(
        rules.NAMED_CATEGORY, lacking="trolling is a category neither of the policy nor of edition 2"
    )
    given(started(law=1), SAID).when(harmful("trolling")).accepted()
    given(STARTED, *THREE_REDIRECTIONS, ANSWERED).when(warned("trolling")).refused_by(
        rules.NAMED_CATEGORY, rules.STILL_HARMFUL, rules.TRUE_WARNINGS
    )
    given(STARTED, *UP_TO_THE_END).when(end("trolling")).refused_by(
        rules.NAMED_CATEGORY, rules.WARNED_FIRST, rules.STILL_HARMFUL, rules.GRAVE_ENOUGH
    )


# --- known-edition ---------------------------------------------------------------------------------------------------


def test_known_edition__one_that_this_program_knows(given: Tell) -> None:
    """A conversation starts in one and may go over to a later one."""
    given().when(started(law=1)).accepted()
    given(started(law=1), SAID).when(policy_changed(Policy.default(), law=2)).accepted().then(
        lambda state: state.law == 2
    )
    given(started(law=1), SAID, policy_changed(Policy.default())).then(lambda state: state.law == 1)


def test_known_edition__another(given: Tell) -> None:
    """It is not judged by the nearest one: nothing is recorded, and nothing that was is found lawful."""
    given().when(started(law=3)).refused_by(rules.KNOWN_EDITION, lacking="edition 3 is not one of 1, 2")
    given(STARTED).when(policy_changed(Policy.default(), law=3)).refused_by(rules.KNOWN_EDITION)
    unknown = Given(Story((), given(STARTED, SAID).state._replace(law=3)))
    for step in (SAID, HARMFUL, ANSWERED, policy_changed(Policy.default(), law=2), ERASED):
        unknown.when(step).refused_by(rules.KNOWN_EDITION)
    assert set(GOVERNING[UNKNOWN].values()) == {(rules.KNOWN_EDITION,)}


def test_known_edition__an_earlier_one(given: Tell) -> None:
    """There is no way back."""
    given(STARTED).when(policy_changed(Policy.default(), law=1)).refused_by(
        rules.KNOWN_EDITION, lacking="edition 1 is earlier than 2, which is in force"
    )
    of_version_1 = PolicyChanged(by=OPERATOR, policy=Policy.default(), policy_hash=Policy.default().hash)
    given(STARTED).when(of_version_1).refused_by(rules.KNOWN_EDITION)


# --- What it changed -------------------------------------------------------------------------------------------------


def test_redirected_first__warned_after_attempts_ended_after_failures(given: Tell) -> None:
    """Someone who is abusive in every other turn is warned at least."""
    by_turns = (ABUSED, REDIRECTED, PRODUCTIVE_UNIT) * 3
    given(STARTED, by_turns, ABUSED, ANSWERED).when(warned()).accepted()
    given(started(law=1), by_turns, ABUSED, ANSWERED).when(warned()).refused_by(rules.REDIRECTED_FIRST)
    warned_so = (STARTED, by_turns, ABUSED, WARNED, TESTED, HOPELESS)
    given(*warned_so).when(END).refused_by(
        rules.REDIRECTED_FIRST, lacking="failed redirections: 0 of 3 in this episode"
    )


def test_redirected_first__the_redirection_of_the_latest_turn_counts(given: Tell) -> None:
    """It was attempted, and in the same answer the model may warn."""
    given(STARTED, (ABUSED, REDIRECTED) * 3).when(warned()).accepted()
    given(STARTED, (ABUSED, REDIRECTED) * 2, ABUSED, ANSWERED).when(warned()).refused_by(
        rules.REDIRECTED_FIRST, lacking="redirections: 2 of 3 in this episode"
    )
    patient = policy(min_redirections_to_warn=4)
    given(started(patient, law=2), (ABUSED, REDIRECTED) * 3).when(warned()).refused_by(rules.REDIRECTED_FIRST)


def test_still_harmful__in_a_category_of_the_group(given: Tell) -> None:
    """Someone who goes on with threats where abuse was warned of goes on; an ending names the warning's category."""
    threatened = (SAID, harmful("threats"))
    changed = (STARTED, *THREE_REDIRECTIONS, WARNED, threatened, HOPELESS)
    given(*changed).when(end("abuse")).accepted()
    given(*changed).when(end("threats")).refused_by(
        rules.WARNED_FIRST, lacking="no warning of threats stands, but one of abuse, which the ending is to name"
    )
    alone = policy(groups={})
    given(started(alone, law=2), *THREE_REDIRECTIONS, WARNED, threatened).when(HOPELESS).refused_by(
        rules.HOPE_EXHAUSTED
    )
    given(started(law=1), *THREE_REDIRECTIONS, WARNED, threatened).when(HOPELESS).refused_by(rules.HOPE_EXHAUSTED)
    given(STARTED, *THREE_REDIRECTIONS, WARNED, SAID, harmful("mass-violence")).when(HOPELESS).refused_by(
        rules.HOPE_EXHAUSTED
    )


@pytest.mark.parametrize("by", [ANOTHER_MODEL, ASSESSOR, USER])
def test_eligible_model__no_hope_and_no_proposal_by_another(given: Tell, by: Actor) -> None:
    """What leads to an ending as last resort is by the conversation's model, and so is the ending."""
    tested = given(STARTED, *THREE_REDIRECTIONS, WARNED, TESTED)
    statement = HopeExhausted(by=by, turn=present(tested.state.unit).turn)
    tested.when(statement).refused_by(
        rules.ELIGIBLE_MODEL, lacking=f"the conversation's model is {MODEL.id}, not {by.kind} {by.id}"
    )
    tested.when(proposed(by=by)).refused_by(rules.ELIGIBLE_MODEL)
    tested.when(proposed(Ground.USER_REQUEST, by=by)).accepted()
    given(STARTED, *UP_TO_THE_END).when(end(by=by)).refused_by(rules.ELIGIBLE_MODEL)
    first = given(started(law=1), *THREE_REDIRECTIONS, WARNED, TESTED)
    first.when(statement).accepted()
    first.when(proposed(by=by)).accepted()


def test_eligible_model__by_any_of_its_names(given: Tell) -> None:
    """The model that answered is the conversation's where only a snapshot or a platform's dress differs."""
    dated = HopeExhausted(by=DATED, turn=18)
    given(STARTED, *THREE_REDIRECTIONS, WARNED, TESTED, dated).when(end(by=DATED)).accepted()
    ended_by = (started(model=DATED.id, law=1), *UP_TO_THE_END)
    given(*ended_by).when(END).refused_by(rules.ELIGIBLE_MODEL)
    given(STARTED, model_changed(INELIGIBLE.id), *THREE_REDIRECTIONS).when(PROPOSED).refused_by(rules.ELIGIBLE_MODEL)


def test_eligible_model__patterns_meet_the_plain_name_too(given: Tell) -> None:
    """A pattern need not know how a platform dresses a name."""
    plain = policy(eligible_models=("claude-opus-4-1",))
    given(started(plain, model=DATED.id, law=2), *up_to_the_end()).when(END).accepted()
    other = policy(eligible_models=("claude-opus-4-0",))
    given(started(other, model=DATED.id, law=2), SAID).when(PROPOSED).refused_by(rules.ELIGIBLE_MODEL)


def test_stricter_governs__from_the_first_turn_on(given: Tell) -> None:
    """A weaker policy that is set between a turn and its verdict does not govern what the turn began."""
    strict, weak = policy(min_redirections_to_warn=5, min_failed_redirections=5), policy(min_redirections_to_warn=2)
    begun = (started(strict, law=2), SAID, policy_changed(weak), HARMFUL, REDIRECTED)
    given(*begun, (ABUSED, REDIRECTED) * 2).when(warned()).refused_by(
        rules.STRICTER_GOVERNS,
        lacking="redirections: 3 of 5 in this episode, as the stricter policy of this episode asks",
    )
    later = (started(strict, law=2), SAID, ANSWERED, policy_changed(weak), ABUSED, REDIRECTED)
    given(*later, (ABUSED, REDIRECTED) * 2).when(warned()).accepted()
    first = (started(policy(min_failed_redirections=5), law=1), SAID, policy_changed(weak), HARMFUL, REDIRECTED)
    given(*first, (ABUSED, REDIRECTED) * 2, ABUSED, ANSWERED).when(warned()).accepted()


def test_stricter_governs__of_a_warning_too(given: Tell) -> None:
    """The severity that the stricter policy asks for is asked of a warning, and the failures of an ending."""
    strict, weak = policy(min_severity=3, min_failed_redirections=4), policy(min_severity=1)
    grave = (SAID, harmful(severity=3))
    begun = (started(strict, law=2), grave, REDIRECTED, policy_changed(weak), (grave, REDIRECTED) * 2)
    given(*begun).when(warned()).accepted()
    given(*begun, ABUSED, REDIRECTED).when(warned()).refused_by(
        rules.STRICTER_GOVERNS,
        lacking="lowest severity of the unit: 2 of 3, as the stricter policy of this episode asks",
    )
    up_to = (*begun, grave, WARNED, grave)
    given(*up_to, HOPELESS).when(END).refused_by(
        rules.STRICTER_GOVERNS,
        lacking="failed redirections: 3 of 4 in this episode, as the stricter policy of this episode asks",
    )


def test_carries_risks__and_holds(given: Tell) -> None:
    """A branch of a tree that is held is held."""
    hold = LegalHold(hold="case-7", reason=HoldReason.LITIGATION)
    held_at_2 = given(STARTED, SAID, HELD).cut_at(1)
    held_at_2.when(EDITED).accepted().then(lambda state: state.holds == (hold,))
    opened = {"by": USER, "conversation": "c", "parent": "c", "at": 1, "cause": ForkCause.EDIT, "risks": ()}
    held_at_2.when(BranchOpened(**opened, holds=(hold,))).accepted()
    held_at_2.when(BranchOpened(**opened)).refused_by(rules.CARRIES_RISKS, lacking="carries 0 of 1 legal holds")
    given(STARTED, SAID).cut_at(1).when(BranchOpened(**opened, holds=(hold,))).refused_by(rules.CARRIES_RISKS)


def test_carries_risks__absolved_as_the_appeal_was_decided(given: Tell) -> None:
    """Where an ending was wrong, and nowhere else."""
    opened = {"by": USER, "conversation": "c", "parent": "c", "at": 1, "cause": ForkCause.EDIT, "risks": ()}
    for decided, absolved in (
        ((), False),
        ((APPEALED, appeal_decided(AppealOutcome.REJECTED)), False),
        ((APPEALED, appeal_decided(AppealOutcome.GRANTED)), True),
    ):
        at_fork = given(STARTED, ENDED, *decided).cut_at(1)
        at_fork.when(BranchOpened(**opened, absolved=absolved)).accepted()
        at_fork.when(BranchOpened(**opened, absolved=not absolved)).refused_by(
            rules.CARRIES_RISKS, lacking=f"absolved: {not absolved}, which is not how the appeal was decided"
        )
        at_fork.when(EDITED).accepted()
