"""The rules that are new in the second edition, from both sides."""

from itertools import permutations

import pytest

from lastresort.adapters.testing.given import Given
from lastresort.domain import rules
from lastresort.domain.commands import GiveWarning
from lastresort.domain.decider import Refused
from lastresort.domain.events import EndConfirmed, ErasureReleased, PolicyChanged, WarningWithheld
from lastresort.domain.law import GOVERNING, UNKNOWN, governing
from lastresort.domain.policy import Policy
from lastresort.domain.state import evolve
from lastresort.domain.values import Actor, ActorKind, HoldReason, LegalHold, Mode, Risk

from .narrow import must_be, present
from .vocabulary import (
    ABUSED,
    ANOTHER_MODEL,
    ANSWERED,
    ASKED_TO_END,
    ASSESSOR,
    CONFIRMED,
    DRESSED,
    END_ON_REQUEST,
    ENDED,
    ERASED,
    FEEDBACK,
    HARMFUL,
    HELD,
    HOPELESS,
    INELIGIBLE,
    MODEL,
    OPERATOR,
    OTHER_USER,
    PRODUCTIVE,
    PRODUCTIVE_UNIT,
    REDIRECTED,
    RELEASED,
    SAID,
    SECOND,
    SHADOWED,
    SYSTEM,
    TESTED,
    THREE_FAILED_REDIRECTIONS,
    UP_TO_THE_END,
    USER,
    WARNED,
    WITHHELD,
    Step,
    Story,
    Tell,
    asked_to_end,
    confirmed,
    end,
    harmful,
    held,
    policy,
    policy_changed,
    released,
    resolve,
    started,
    warned,
    withheld,
)

# --- true-warnings ---------------------------------------------------------------------------------------------------


def test_true_warnings__where_an_ending_could_follow(given: Tell) -> None:
    """Nothing is threatened that could not happen."""
    given(SECOND, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(warned()).accepted()
    given(started(law=1), *THREE_FAILED_REDIRECTIONS, ANSWERED).when(warned()).accepted()


def test_true_warnings__by_a_model_that_may_not_end(given: Tell) -> None:
    """It would threaten what it cannot do; in the first edition nobody asked."""
    small = (*THREE_FAILED_REDIRECTIONS, ANSWERED)
    given(started(model=INELIGIBLE.id, law=2), *small).when(warned()).refused_by(rules.TRUE_WARNINGS)
    given(started(model=INELIGIBLE.id, law=1), *small).when(warned()).accepted()
    by_another = given(SECOND, *THREE_FAILED_REDIRECTIONS, ANSWERED)
    command = must_be(GiveWarning, resolve(warned(), by_another.state)).model_copy(update={"by": ANOTHER_MODEL})
    by_another.when(command).refused_by(
        rules.TRUE_WARNINGS, lacking=f"the conversation's model is {MODEL.id}, not model {ANOTHER_MODEL.id}"
    )
    by_another.when(command.model_copy(update={"by": DRESSED})).accepted()


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
    history = given(SECOND, (ABUSED, REDIRECTED) * 2, abused, REDIRECTED)
    category = next(iter(present(history.state.unit).categories))
    history.when(warned(category)).refused_by(rules.TRUE_WARNINGS, lacking=lacking)


# --- same-user -------------------------------------------------------------------------------------------------------


def test_same_user__who_asked_confirms(given: Tell) -> None:
    """On a shared account, too."""
    given(SECOND, SAID, ASKED_TO_END, ANSWERED, SAID).when(CONFIRMED).accepted()
    other = given(SECOND, SAID, asked_to_end(by=OTHER_USER), ANSWERED, SAID, PRODUCTIVE)
    other.when(confirmed(by=OTHER_USER)).accepted()


def test_same_user__somebody_else_confirms(given: Tell) -> None:
    """Then nothing was confirmed, and no ending stands on it, even if it was recorded."""
    asked = given(SECOND, SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE)
    asked.when(confirmed(by=OTHER_USER)).refused_by(rules.SAME_USER, lacking="the request at 3 is not by user other")
    recorded = evolve(asked.state, EndConfirmed(by=OTHER_USER, turn=5))
    assert recorded.wishes.confirmed is None
    given(started(law=1), SAID, ASKED_TO_END, ANSWERED, SAID, confirmed(by=OTHER_USER)).then(
        lambda state: state.wishes.confirmed == (3, 6)
    )


@pytest.mark.parametrize("id", ["a", "z"])
def test_same_user__whatever_their_ids_are(given: Tell, id: str) -> None:
    """Neither the earlier nor the later in the alphabet is the same."""
    other = confirmed(by=Actor(kind=ActorKind.USER, id=id))
    asked = (SECOND, SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE)
    given(*asked).when(other).refused_by(rules.SAME_USER)
    confirmation = EndConfirmed(by=Actor(kind=ActorKind.USER, id=id), turn=5)
    assert evolve(given(*asked).state, confirmation).wishes.confirmed is None


def test_same_user__nobody_asked(given: Tell) -> None:
    """A confirmation of nothing is recorded, and has no effect."""
    given(SECOND, SAID).when(CONFIRMED).accepted().then(lambda state: state.wishes.confirmed is None)


def test_same_user__a_warning_is_tested_by_whom_it_answered(given: Tell) -> None:
    """What another user of the account says is not the warned one going on."""
    from_other = SAID.model_copy(update={"by": OTHER_USER})
    warned_user = (SECOND, *THREE_FAILED_REDIRECTIONS, WARNED)
    given(*warned_user, TESTED).when(HOPELESS).accepted()
    given(*warned_user, from_other, HARMFUL).when(HOPELESS).refused_by(rules.HOPE_EXHAUSTED)
    given(started(law=1), *THREE_FAILED_REDIRECTIONS, WARNED, from_other, HARMFUL).when(HOPELESS).accepted()
    given(*warned_user, from_other, HARMFUL, REDIRECTED, TESTED).when(HOPELESS).accepted()


# --- shadow-says-nothing ---------------------------------------------------------------------------------------------


def test_shadow_says_nothing__a_warning_is_withheld(given: Tell) -> None:
    """Where one would have been lawful, and the conversation goes on."""
    shadow = given(SHADOWED, *THREE_FAILED_REDIRECTIONS, ANSWERED)
    shadow.when(withheld()).accepted().then(lambda state: state.episode.withheld == state.version)
    shadow.when(warned()).refused_by(rules.SHADOW_SAYS_NOTHING, lacking="in shadow mode nothing is said")
    given(SECOND, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(withheld()).refused_by(
        rules.SHADOW_SAYS_NOTHING, lacking="in mode enforced nothing is withheld"
    )


def test_shadow_says_nothing__once_an_episode(given: Tell) -> None:
    """What would have come after the first is not known, since nobody was warned."""
    once = (SHADOWED, *THREE_FAILED_REDIRECTIONS, WITHHELD)
    given(*once, TESTED, ANSWERED).when(withheld()).refused_by(
        rules.SHADOW_SAYS_NOTHING, lacking="a warning was withheld at 17 in this episode"
    )
    given(*once, TESTED).when(HOPELESS).refused_by(rules.HOPE_EXHAUSTED)
    later = given(*once, PRODUCTIVE_UNIT, PRODUCTIVE_UNIT, *THREE_FAILED_REDIRECTIONS, ANSWERED)
    later.when(withheld()).accepted()


def test_shadow_says_nothing__once_a_unit_too(given: Tell) -> None:
    """Not even if the judge takes back what was said of it, so that the episode is over for now."""
    hasty = started(policy(productive_to_close=1), law=2, mode=Mode.SHADOW)
    taken_back = given(hasty, *THREE_FAILED_REDIRECTIONS, WITHHELD, PRODUCTIVE)
    assert taken_back.state.now.withheld is None
    taken_back.when(withheld()).refused_by(
        *(rules.STILL_HARMFUL, rules.REDIRECTED_FIRST, rules.TRUE_WARNINGS, rules.SHADOW_SAYS_NOTHING),
        lacking="a warning was withheld at 17 in this episode",
    )


def test_shadow_says_nothing__of_an_episode_that_is_over(given: Tell) -> None:
    """What was withheld in it stands in the way of nothing, though the unit that closes it may be judged again."""
    closed = given(SHADOWED, *THREE_FAILED_REDIRECTIONS, WITHHELD, PRODUCTIVE_UNIT, SAID, PRODUCTIVE, ANSWERED)
    assert (closed.state.episode.withheld, closed.state.now.withheld) == (17, None)
    closed.when(withheld()).refused_by(rules.STILL_HARMFUL, rules.REDIRECTED_FIRST, rules.TRUE_WARNINGS)


def test_answers_a_user__what_is_withheld_is_not_of_an_answer(given: Tell) -> None:
    """A warning that is withheld saw a turn of the user, and not what was said to it."""
    given(SHADOWED, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(withheld(seen=16)).refused_by(
        rules.ANSWERS_A_USER, rules.REFERS_TO_THE_PATH, rules.JUDGES_THE_LATEST
    )


def test_shadow_says_nothing__where_no_warning_would_have_been_lawful(given: Tell) -> None:
    """Each rule that a warning is asked, so is one that is withheld, but for what only words have."""
    given(SHADOWED, ABUSED, REDIRECTED).when(withheld()).refused_by(rules.REDIRECTED_FIRST)
    given(SHADOWED, *THREE_FAILED_REDIRECTIONS).when(withheld()).refused_by(
        rules.ANSWERS_A_USER, lacking="no assistant turn since user turn 14"
    )
    given(SHADOWED, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(withheld(seen=11)).refused_by(rules.JUDGES_THE_LATEST)
    given(SHADOWED, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(withheld(seen=40)).refused_by(
        rules.REFERS_TO_THE_PATH, rules.ANSWERS_A_USER, rules.JUDGES_THE_LATEST
    )
    given(SHADOWED, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(withheld("hate")).accepted()  # of its group
    given(SHADOWED, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(withheld("spam")).refused_by(
        rules.STILL_HARMFUL, rules.TRUE_WARNINGS
    )
    given(SHADOWED, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(withheld(by=ANOTHER_MODEL)).refused_by(
        rules.TRUE_WARNINGS
    )


def test_shadow_says_nothing__in_any_edition(given: Tell) -> None:
    """What the first edition did not know it could not allow."""
    shadow = given(started(law=1, mode=Mode.SHADOW), *THREE_FAILED_REDIRECTIONS, ANSWERED)
    shadow.when(warned()).refused_by(rules.SHADOW_SAYS_NOTHING)
    shadow.when(withheld()).accepted()
    given(started(law=1), *THREE_FAILED_REDIRECTIONS, ANSWERED).when(withheld()).refused_by(rules.SHADOW_SAYS_NOTHING)


def test_shadow_says_nothing__and_the_users_wish_goes_on(given: Tell) -> None:
    """An ending on request is no part of the experiment."""
    given(SHADOWED, SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE, CONFIRMED).when(END_ON_REQUEST).accepted()


def test_shadow_says_nothing__until_it_is_enforced(given: Tell) -> None:
    """By a change of policy, which may change the mode alone."""
    enforced = (
        SHADOWED,
        *THREE_FAILED_REDIRECTIONS,
        WITHHELD,
        policy_changed(Policy.default(), mode=Mode.ENFORCED),
        ABUSED,
    )
    given(*enforced, ANSWERED).when(warned()).accepted()
    back = policy_changed(Policy.default(), mode=Mode.SHADOW)
    given(*enforced, back, ANSWERED).when(withheld()).refused_by(rules.SHADOW_SAYS_NOTHING)


def test_shadow_says_nothing__what_is_withheld_is_told_truly(given: Tell) -> None:
    """Under the policy and by the model that the log names."""
    shadow = given(SHADOWED, *THREE_FAILED_REDIRECTIONS, ANSWERED)
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
        given(SECOND, SAID).when(held(by=by)).refused_by(rules.HELD_FROM_ERASURE)
        given(SECOND, SAID, HELD).when(released(by=by)).refused_by(rules.HELD_FROM_ERASURE)
    given(SECOND, SAID).when(RELEASED).refused_by(rules.HELD_FROM_ERASURE, lacking="legal hold case-7 does not stand")


@pytest.mark.parametrize("name", ["case-1", "case-8", "case-99"])
def test_held_from_erasure__of_several_holds_only_one_that_stands_is_released(given: Tell, name: str) -> None:
    """By all of its name, whatever others stand before and behind it."""
    until = "2027-01-31" if name == "case-8" else None
    holds = (held("case-1"), held("case-8", until="2027-01-31"), held("case-99"))
    for standing in (holds, holds[::-1]):
        given(SECOND, *standing).when(released("".join(name))).accepted_as(
            ErasureReleased(by=OPERATOR, hold=name, reason=HoldReason.LITIGATION, until=until)
        )
    given(SECOND, held("case-10"), held("case-7"), held("case-9")).when(released(name)).refused_by(
        rules.HELD_FROM_ERASURE, lacking=f"legal hold {name} does not stand"
    )


def test_held_from_erasure__says_how_many_have_to_go(given: Tell) -> None:
    """All of them."""
    refused = given(SECOND, SAID, HELD, held("case-8")).when(ERASED).decision
    missing = must_be(Refused, refused).broken[0].missing
    assert (missing.have, missing.need) == (2, 0)


def test_held_from_erasure__what_is_released_says_what_it_was(given: Tell) -> None:
    """And one that is set again says what it is now."""
    twice = given(
        SECOND, held(until="2026-12-31"), held("".join("case-7"), reason=HoldReason.REGULATOR, until="2027-12-31")
    )
    assert twice.state.holds == (LegalHold(hold="case-7", reason=HoldReason.REGULATOR, until="2027-12-31"),)
    twice.when(RELEASED).accepted_as(
        ErasureReleased(by=OPERATOR, hold="case-7", reason=HoldReason.REGULATOR, until="2027-12-31")
    )


def test_held_from_erasure__after_the_ending(given: Tell) -> None:
    """There most of all."""
    given(SECOND, ENDED).when(HELD).accepted()
    given(SECOND, ENDED, HELD).when(ERASED).refused_by(rules.HELD_FROM_ERASURE)
    given(SECOND, ENDED, HELD).when(RELEASED).accepted()
    given(SECOND, ENDED, HELD).when(FEEDBACK).accepted()


# --- named-category --------------------------------------------------------------------------------------------------


def test_named_category__of_the_policy_or_the_edition(given: Tell) -> None:
    """Whatever a policy names, and what everybody knows."""
    given(SECOND, SAID).when(harmful("mass-violence")).accepted()  # the default policy's own
    given(SECOND, SAID).when(harmful("other")).accepted()
    given(started(policy(categories=("trolling",)), law=2), SAID).when(harmful("trolling")).accepted()


def test_named_category__on_request_there_is_none(given: Tell) -> None:
    """An ending that the user wished for is about no harm."""
    given(SECOND, SAID, ASKED_TO_END, ANSWERED, SAID, PRODUCTIVE, CONFIRMED).when(END_ON_REQUEST).accepted()


def test_named_category__of_nobody(given: Tell) -> None:
    """Free text does not enter the log by that door."""
    given(SECOND, SAID).when(harmful("trolling")).refused_by(
        rules.NAMED_CATEGORY, lacking="trolling is a category neither of the policy nor of edition 2"
    )
    given(started(law=1), SAID).when(harmful("trolling")).accepted()
    given(SECOND, *THREE_FAILED_REDIRECTIONS, ANSWERED).when(warned("trolling")).refused_by(
        rules.NAMED_CATEGORY, rules.STILL_HARMFUL, rules.TRUE_WARNINGS
    )
    given(SECOND, *UP_TO_THE_END).when(end("trolling")).refused_by(
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
    given(SECOND).when(policy_changed(Policy.default(), law=3)).refused_by(rules.KNOWN_EDITION)
    unknown = Given(Story((), given(SECOND, SAID).state._replace(law=3)))
    for step in (SAID, HARMFUL, ANSWERED, policy_changed(Policy.default(), law=2), ERASED):
        unknown.when(step).refused_by(rules.KNOWN_EDITION)
    assert set(GOVERNING[UNKNOWN].values()) == {(rules.KNOWN_EDITION,)}
    known = PolicyChanged(
        by=OPERATOR, policy=Policy.default(), policy_hash=Policy.default().hash, law=2, mode=Mode.ENFORCED
    )
    unknown.when(known).refused_by(rules.KNOWN_EDITION, lacking="edition 3 is not one of 1, 2")


def test_known_edition__is_the_only_rule_of_an_unknown_one_in_whatever_order_they_are_enacted() -> None:
    """The earlier and the later in the alphabet too."""
    forms = [rules.ENDED_IS_FINAL, rules.KNOWN_EDITION, rules.NAMED_CATEGORY]
    for order in permutations(forms):
        assert set(governing(order)[UNKNOWN].values()) == {(rules.KNOWN_EDITION,)}


def test_known_edition__an_earlier_one(given: Tell) -> None:
    """There is no way back."""
    given(SECOND).when(policy_changed(Policy.default(), law=1)).refused_by(
        rules.KNOWN_EDITION, lacking="edition 1 is earlier than 2, which is in force: name that, or none"
    )
    of_version_1 = PolicyChanged(by=OPERATOR, policy=Policy.default(), policy_hash=Policy.default().hash)
    given(SECOND).when(of_version_1).refused_by(rules.KNOWN_EDITION)
