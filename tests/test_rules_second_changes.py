"""The rules that the second edition changed, from both sides."""

import pytest

from lastresort.adapters.testing.given import Given
from lastresort.domain import rules
from lastresort.domain.decider import Acceptance
from lastresort.domain.events import BranchOpened, ConversationEnded, HopeExhausted
from lastresort.domain.values import Actor, ActorKind, AppealOutcome, ForkCause, Ground, HoldReason, LegalHold

from .narrow import must_be, present
from .vocabulary import (
    ABUSED,
    ANOTHER_MODEL,
    ANSWERED,
    APPEALED,
    ASSESSOR,
    DRESSED,
    EDITED,
    END,
    ENDED,
    HARMFUL,
    HELD,
    HOPELESS,
    INELIGIBLE,
    MODEL,
    PRODUCTIVE_UNIT,
    PROPOSED,
    REDIRECTED,
    SAID,
    SECOND,
    TESTED,
    THREE_FAILED_REDIRECTIONS,
    UP_TO_THE_END,
    USER,
    WARNED,
    Step,
    Tell,
    appeal_decided,
    end,
    harmful,
    held,
    model_changed,
    policy,
    policy_changed,
    proposed,
    started,
    up_to_the_end,
    warned,
)

NAMESAKES = [Actor(kind=kind, id=MODEL.id) for kind in ActorKind if kind is not ActorKind.MODEL]
"""Others of the model's name."""


def resolved(given: Given, step: Step) -> object:
    """The event that a step would record."""
    return must_be(Acceptance, given.when(step).decision).events[0]


def test_redirected_first__warned_after_attempts_ended_after_failures(given: Tell) -> None:
    """Someone who is abusive in every other turn is warned at least."""
    by_turns = (ABUSED, REDIRECTED, PRODUCTIVE_UNIT) * 3
    given(SECOND, by_turns, ABUSED, ANSWERED).when(warned()).accepted()
    given(started(law=1), by_turns, ABUSED, ANSWERED).when(warned()).refused_by(rules.REDIRECTED_FIRST)
    warned_so = (SECOND, by_turns, ABUSED, WARNED, TESTED, HOPELESS)
    given(*warned_so).when(END).refused_by(
        rules.REDIRECTED_FIRST, lacking="failed redirections: 0 of 3 in this episode"
    )


def test_redirected_first__the_redirection_of_the_latest_turn_counts(given: Tell) -> None:
    """It was attempted, and in the same answer the model may warn."""
    given(SECOND, (ABUSED, REDIRECTED) * 3).when(warned()).accepted()
    given(SECOND, (ABUSED, REDIRECTED) * 2, ABUSED, ANSWERED).when(warned()).refused_by(
        rules.REDIRECTED_FIRST, lacking="redirections: 2 of 3 in this episode"
    )
    patient = policy(min_redirections_to_warn=4)
    given(started(patient, law=2), (ABUSED, REDIRECTED) * 3).when(warned()).refused_by(rules.REDIRECTED_FIRST)


def test_warned_first__names_the_first_warning_of_the_group(given: Tell) -> None:
    """The one that was given first; and none of another group."""
    threatened = (SAID, harmful("threats"), ANSWERED, warned("threats"))
    twice = (SECOND, *THREE_FAILED_REDIRECTIONS, WARNED, threatened, SAID, harmful("hate"), HOPELESS)
    given(*twice).when(end("hate")).refused_by(
        rules.WARNED_FIRST, lacking="no warning of hate stands, but one of abuse, which the ending is to name"
    )
    given(SECOND, *UP_TO_THE_END).when(end("mass-violence")).refused_by(
        rules.WARNED_FIRST, rules.STILL_HARMFUL, lacking="no warning of mass-violence stands"
    )


def test_still_harmful__in_a_category_of_the_group(given: Tell) -> None:
    """Someone who goes on with threats where abuse was warned of goes on; an ending names the warning's category."""
    threatened = (SAID, harmful("threats"))
    changed = (SECOND, *THREE_FAILED_REDIRECTIONS, WARNED, threatened, HOPELESS)
    given(*changed).when(end("abuse")).accepted()
    given(*changed).when(end("threats")).refused_by(
        rules.WARNED_FIRST, lacking="no warning of threats stands, but one of abuse, which the ending is to name"
    )
    alone = policy(groups={})
    given(started(alone, law=2), *THREE_FAILED_REDIRECTIONS, WARNED, threatened).when(HOPELESS).refused_by(
        rules.HOPE_EXHAUSTED
    )
    given(started(law=1), *THREE_FAILED_REDIRECTIONS, WARNED, threatened).when(HOPELESS).refused_by(
        rules.HOPE_EXHAUSTED
    )
    given(SECOND, *THREE_FAILED_REDIRECTIONS, WARNED, SAID, harmful("mass-violence")).when(HOPELESS).refused_by(
        rules.HOPE_EXHAUSTED
    )


@pytest.mark.parametrize("by", [ANOTHER_MODEL, ASSESSOR, USER, *NAMESAKES])
def test_eligible_model__no_hope_and_no_proposal_by_another(given: Tell, by: Actor) -> None:
    """What leads to an ending as last resort is by the conversation's model, and so is the ending."""
    tested = given(SECOND, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED)
    statement = HopeExhausted(by=by, turn=present(tested.state.unit).turn)
    tested.when(statement).refused_by(
        rules.ELIGIBLE_MODEL, lacking=f"the conversation's model is {MODEL.id}, not {by.kind} {by.id}"
    )
    tested.when(proposed(by=by)).refused_by(rules.ELIGIBLE_MODEL)
    tested.when(proposed(Ground.USER_REQUEST, by=by)).accepted()
    given(SECOND, *UP_TO_THE_END).when(end(by=by)).refused_by(rules.ELIGIBLE_MODEL)
    first = given(started(law=1), *THREE_FAILED_REDIRECTIONS, WARNED, TESTED)
    first.when(statement).accepted()
    first.when(proposed(by=by)).accepted()


@pytest.mark.parametrize(
    ("patterns", "none_of"),
    [((), "no pattern"), (("claude-haiku-*", "claude-opus-3"), "claude-haiku-*, claude-opus-3")],
)
def test_eligible_model__says_which_may(given: Tell, patterns: tuple[str, ...], none_of: str) -> None:
    """Or that none may."""
    given(started(policy(eligible_models=patterns), law=2), SAID).when(PROPOSED).refused_by(
        rules.ELIGIBLE_MODEL, lacking=f"{MODEL.id} matches none of: {none_of}"
    )


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("policy_hash", f"sha256:{'0' * 64}"), ("policy_hash", f"sha256:{'f' * 64}"), ("model", "a"), ("model", "z")],
)
def test_evidence_is_true__neither_more_nor_less(given: Tell, field: str, wrong: str) -> None:
    """A hash or a name that sorts before the true one is as wrong as one that sorts after it."""
    ending = must_be(ConversationEnded, resolved(given(SECOND, *UP_TO_THE_END), END))
    given(SECOND, *UP_TO_THE_END).when(ending.model_copy(update={field: wrong})).refused_by(
        rules.EVIDENCE_IS_TRUE, lacking=f"not what the log says: {field}"
    )


def test_evidence_is_true__as_it_reads(given: Tell) -> None:
    """A log that is read again has the same name in another place of the memory."""
    ending = must_be(ConversationEnded, resolved(given(SECOND, *UP_TO_THE_END), END))
    given(SECOND, *UP_TO_THE_END).when(ending.model_copy(update={"model": "".join(list(ending.model))})).accepted()


def test_eligible_model__by_any_of_its_names(given: Tell) -> None:
    """The model that answered is the conversation's where only a snapshot or a platform's dress differs."""
    dated = HopeExhausted(by=DRESSED, turn=18)
    given(SECOND, *THREE_FAILED_REDIRECTIONS, WARNED, TESTED, dated).when(end(by=DRESSED)).accepted()
    ended_by = (started(model=DRESSED.id, law=1), *UP_TO_THE_END)
    given(*ended_by).when(END).refused_by(rules.ELIGIBLE_MODEL)
    given(SECOND, model_changed(INELIGIBLE.id), *THREE_FAILED_REDIRECTIONS).when(PROPOSED).refused_by(
        rules.ELIGIBLE_MODEL
    )


def test_eligible_model__patterns_meet_the_plain_name_too(given: Tell) -> None:
    """A pattern need not know how a platform dresses a name."""
    plain = policy(eligible_models=("claude-opus-4-1",))
    given(started(plain, model=DRESSED.id, law=2), *up_to_the_end()).when(END).accepted()
    other = policy(eligible_models=("claude-opus-4-0",))
    given(started(other, model=DRESSED.id, law=2), SAID).when(PROPOSED).refused_by(rules.ELIGIBLE_MODEL)


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


def test_stricter_governs__where_one_number_is_stricter_the_others_are_the_policys_own_to_ask(given: Tell) -> None:
    """What the policy in force refuses by itself, no stricter one is named for."""
    severe, weak = policy(min_severity=3), policy(min_severity=2)
    grave = (SAID, harmful(severity=3))
    begun = (started(severe, law=2), grave, REDIRECTED, policy_changed(weak))
    given(*begun, grave, ANSWERED).when(warned()).refused_by(rules.REDIRECTED_FIRST)
    many, few = policy(min_redirections_to_warn=4, min_failed_redirections=4), policy(min_redirections_to_warn=2)
    mild = (SAID, harmful(severity=1))
    mild_at_last = (
        started(many, law=2),
        ABUSED,
        REDIRECTED,
        policy_changed(few),
        (ABUSED, REDIRECTED) * 3,
        mild,
        ANSWERED,
    )
    given(*mild_at_last).when(warned()).refused_by(rules.TRUE_WARNINGS)


def test_stricter_governs__an_ending_too_soon_for_the_policy_in_force(given: Tell) -> None:
    """Is too soon for that one, and not for a stricter one that asks for as many."""
    severe, weak = policy(min_severity=3), policy(min_severity=2)
    grave = (SAID, harmful(severity=3))
    by_turns = ((grave, REDIRECTED, PRODUCTIVE_UNIT) * 3, grave, WARNED, grave, HOPELESS)
    given(started(severe, law=2), SAID, policy_changed(weak), harmful(severity=3), REDIRECTED, *by_turns).when(
        END
    ).refused_by(rules.REDIRECTED_FIRST)


def test_carries_risks__some_of_several_holds(given: Tell) -> None:
    """What it carries that does not stand does not count."""
    opened = {"by": USER, "conversation": "c", "parent": "c", "at": 1, "cause": ForkCause.EDIT, "risks": ()}
    holds = tuple(LegalHold(hold=name, reason=HoldReason.LITIGATION) for name in ("case-7", "case-9", "case-10"))
    at_fork = given(SECOND, SAID, HELD, held("case-8")).cut_at(1)
    at_fork.when(BranchOpened(**opened, holds=holds)).refused_by(
        rules.CARRIES_RISKS, lacking="carries 1 of 2 legal holds"
    )


def test_carries_risks__and_holds(given: Tell) -> None:
    """A branch of a tree that is held is held."""
    hold = LegalHold(hold="case-7", reason=HoldReason.LITIGATION)
    held_at_2 = given(SECOND, SAID, HELD).cut_at(1)
    held_at_2.when(EDITED).accepted().then(lambda state: state.holds == (hold,))
    opened = {"by": USER, "conversation": "c", "parent": "c", "at": 1, "cause": ForkCause.EDIT, "risks": ()}
    held_at_2.when(BranchOpened(**opened, holds=(hold,))).accepted()
    held_at_2.when(BranchOpened(**opened)).refused_by(rules.CARRIES_RISKS, lacking="carries 0 of 1 legal holds")
    given(SECOND, SAID).cut_at(1).when(BranchOpened(**opened, holds=(hold,))).refused_by(rules.CARRIES_RISKS)


def test_carries_risks__absolved_as_the_appeal_was_decided(given: Tell) -> None:
    """Where an ending was wrong, and nowhere else."""
    opened = {"by": USER, "conversation": "c", "parent": "c", "at": 1, "cause": ForkCause.EDIT, "risks": ()}
    for decided, absolved in (
        ((), False),
        ((APPEALED, appeal_decided(AppealOutcome.REJECTED)), False),
        ((APPEALED, appeal_decided(AppealOutcome.GRANTED)), True),
    ):
        at_fork = given(SECOND, ENDED, *decided).cut_at(1)
        at_fork.when(BranchOpened(**opened, absolved=absolved)).accepted()
        at_fork.when(BranchOpened(**opened, absolved=not absolved)).refused_by(
            rules.CARRIES_RISKS, lacking=f"absolved: {not absolved}, which is not how the appeal was decided"
        )
        at_fork.when(EDITED).accepted()
