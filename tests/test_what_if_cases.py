"""What another policy makes of a log, case by case: what is decided, and where nothing can be told any more."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastresort import Conversations
from lastresort.adapters.testing.asking import ASSESSOR, MODEL, OPERATOR, USER
from lastresort.adapters.testing.strategies import trees
from lastresort.domain.events import AttemptRefused, ConversationStarted, PolicyChanged, RecordedEvent
from lastresort.domain.policy import Policy
from lastresort.domain.values import Ground, Mode, Risk, Verdict
from lastresort.projections.replay import fork_points
from lastresort.projections.supposed import Because, BranchOutcome, Outcome
from lastresort.projections.what_if import what_if

from .drawing import drawn
from .narrow import must_be
from .scripts import ANOTHER, ANSWERS, REDIRECTS, SAYS, WISH, Step, checked, harm, last_resort, play, terms
from .stores import chats, done, ended, started, store_of, thanked

__all__ = ["chats"]

ABUSE: list[Step] = [SAYS, harm(), ANSWERS, REDIRECTS]
WARNED: list[Step] = [SAYS, harm(), ANSWERS, ("warns", "abuse")]
HARM: list[Step] = [SAYS, harm()]
LADDER = [*ABUSE * 3, *WARNED, *HARM]
"""Three redirections that fail, a warning, and harm that tests it: an ending may follow."""
GOES_ON: list[Step] = [ANSWERS, SAYS]


def policy(**fields: Any) -> Policy:
    return Policy(name="p", **fields)


LAX, STRICT = policy(min_redirections_to_warn=2), policy(min_failed_redirections=5, min_redirections_to_warn=2)


def test_the_same() -> None:
    """The ending stands where it stood."""
    row = checked([*LADDER, *last_resort()], LAX, policy())
    assert (row.outcome, row.ends_at, row.ends_turn) == (Outcome.SAME, row.ended_at, row.ended_turn)
    assert row.ended_turn is not None


def test_would_end() -> None:
    """An ending that was refused would be allowed; what follows it would not be there."""
    row = checked([*LADDER, *last_resort(), *GOES_ON], STRICT, LAX)
    assert (row.outcome, row.ended_at, row.undecidable_from) == (Outcome.WOULD_END, None, None)
    assert row.ends_turn == 18


def test_an_attempt_before_anybody_has_spoken() -> None:
    """No law allows it, and none of what it is refused for is the policy's."""
    attempt: Step = ("ends", Ground.LAST_RESORT, "abuse")
    assert checked([attempt, *LADDER], STRICT, LAX).outcome is Outcome.SAME


def test_an_attempt_after_the_one_that_would_be_the_ending() -> None:
    """It comes too late, and changes nothing."""
    script = [*LADDER, *last_resort(), ("ends", Ground.LAST_RESORT, "abuse")]
    row = checked(script, STRICT, LAX)
    assert (row.outcome, row.ends_at) == (Outcome.WOULD_END, checked(script[:-1], STRICT, LAX).ends_at)


def test_ends_earlier() -> None:
    """The first attempt would be the ending, and the second was."""
    script = [*LADDER, *last_resort(), ANSWERS, REDIRECTS, *HARM, *last_resort()]
    row = checked(script, policy(min_failed_redirections=4, min_redirections_to_warn=2), LAX)
    assert (row.outcome, row.ends_turn, row.ended_turn) == (Outcome.ENDS_EARLIER, 18, 24)


def test_an_ending_for_the_same_turn_is_the_same() -> None:
    """With a handshake the second call ended it, and without one the first would have."""
    script = [*LADDER, *last_resort(), ("proposes", Ground.LAST_RESORT), ("ends", Ground.LAST_RESORT, "abuse")]
    row = checked(script, policy(handshake=True), policy())
    assert row.outcome is Outcome.SAME
    assert row.ends_at is not None
    assert row.ended_at is not None
    assert row.ends_at < row.ended_at


def test_undecidable_from_an_ending_that_would_not_be() -> None:
    """Nobody knows what would have been said after it, so nobody can say that it ends later."""
    row = checked([*LADDER, *last_resort()], LAX, STRICT)
    assert (row.outcome, row.undecidable_from, row.because) == (Outcome.UNDECIDABLE, row.ended_at, Because.ENDING)


@pytest.mark.parametrize("off", [{"eligible_models": ()}, {"categories": ()}])
def test_would_not_end_as_a_last_resort(off: dict[str, Any]) -> None:
    """A policy under which no model ends anything does not let this one end it, whatever would have been said."""
    assert checked([*LADDER, *last_resort()], LAX, policy(**off)).outcome is Outcome.NOT_AS_LAST_RESORT


@pytest.mark.parametrize("off", [{"eligible_models": ()}, {"categories": ()}])
def test_it_may_end_on_a_wish_instead(off: dict[str, Any]) -> None:
    """What was said after the model had ended it asks to end it: under the other policy it ends then."""
    script = [*LADDER, *last_resort(), ANSWERS, *WISH]
    assert checked(script, LAX, policy(**off)).outcome is Outcome.NOT_AS_LAST_RESORT
    really = play(script, policy(**off))
    assert (really.ended, really.ground) == (len(script) - 1, Ground.USER_REQUEST)


def test_would_not_end() -> None:
    """Where nobody is trusted for risk nothing ends, on any ground."""
    nobody = policy(trusted_for_risk=())
    assert checked([*LADDER, *last_resort(), ANSWERS, *WISH], LAX, nobody).outcome is Outcome.WOULD_NOT_END
    assert checked(WISH, LAX, nobody).outcome is Outcome.WOULD_NOT_END


def test_a_wish_may_end_it_still() -> None:
    """Where no model may end as last resort the user may ask to, and nothing is different."""
    assert checked(WISH, LAX, policy(eligible_models=())).outcome is Outcome.SAME


def test_a_warning_that_was_refused() -> None:
    """It would have been given: undecidable once the user answers it, and not before."""
    late = policy(min_redirections_to_warn=4)
    row = checked([*ABUSE * 3, *WARNED], late, policy())
    assert (row.outcome, row.undecidable_from, len(row.warnings_added)) == (Outcome.WARNED_ELSEWHERE, None, 1)
    row = checked([*ABUSE * 3, *WARNED, SAYS, ANSWERS], late, policy())
    assert (row.outcome, row.because, row.undecidable_from) == (Outcome.UNDECIDABLE, Because.WARNING, 18)


def test_an_attempt_for_a_turn_that_is_not_the_latest() -> None:
    """Whatever the policy, it is refused, on a branch that went apart too."""
    log = play([*ABUSE * 3, *WARNED], policy(min_redirections_to_warn=4)).log
    refused = AttemptRefused(by=MODEL, attempted="ConversationEnded", rules=("judges-the-latest",))
    late = log[-1]._replace(
        position=log[-1].position + 1, version=log[-1].version + 1, command_id="late", event=refused
    )
    (before,) = what_if(log, policy()).branches
    (after,) = what_if([*log, late], policy()).branches
    assert before.outcome is Outcome.WARNED_ELSEWHERE
    assert after == before


def test_a_warning_that_would_be_refused() -> None:
    """The user answered it, and would have answered something else."""
    row = checked([*LADDER, *last_resort()], policy(), policy(min_redirections_to_warn=4))
    assert (row.outcome, row.because, row.undecidable_from) == (Outcome.UNDECIDABLE, Because.WARNING, 18)
    assert len(row.warnings_dropped) == 1


def test_shadow_tells_the_user_nothing() -> None:
    """A warning that was withheld and would not be makes no difference to what is said."""
    script = [*ABUSE * 2, SAYS, harm(), ANSWERS, ("withholds", "abuse"), SAYS, harm(), ANSWERS]
    played = play(script, policy(min_redirections_to_warn=2), mode=Mode.SHADOW)
    (row,) = what_if(played.log, policy()).branches
    assert (row.outcome, row.undecidable_from) == (Outcome.WARNED_ELSEWHERE, None)
    assert len(row.warnings_dropped) == 1


def test_where_nobody_tried() -> None:
    """The other policy would have let the model warn. Whether it would have is for nobody to say."""
    found = what_if(play([*ABUSE * 4, SAYS], policy(min_redirections_to_warn=4)).log, LAX)
    assert found.untried == 1
    assert found.branches[0].untried == 6
    assert what_if(play([*ABUSE * 4, SAYS], policy(), mode=Mode.SHADOW).log, LAX).untried == 1
    assert what_if(play([*ABUSE * 4, SAYS], policy()).log, policy()).untried == 0


@pytest.mark.parametrize(
    "step",
    [
        ("changes model", "claude-sonnet-5"),
        ("changes mode", Mode.SHADOW),
        ("raises",),
        ("judges", ASSESSOR, Verdict.PRODUCTIVE, None, None, Risk.NONE),
    ],
    ids=["model", "policy", "hold", "verdict"],
)
@pytest.mark.parametrize("severity", [3, 1], ids=["in step", "apart"])
def test_what_could_be_tried_until_the_chance_was_gone(step: Step, severity: int) -> None:
    """A model that had answered could have warned until then, whatever the user says next."""
    until = [*ABUSE, SAYS, harm(severity=severity), ANSWERS, REDIRECTS]
    was, other = policy(min_severity=2), policy(min_redirections_to_warn=2, min_severity=1)
    (row,) = what_if(play([*until, step, SAYS], was).log, other).branches
    assert row.untried == 6
    assert what_if(play([*until, step, SAYS], was).log, was).untried == 0
    assert what_if(play([*until[:-1], step, SAYS], was).log, other).untried == 0
    assert what_if(play([*until, ("leaves",)], was).log, other).untried == 0  # it may try yet


def test_what_could_be_tried_before_a_redirection_that_lets_both_warn() -> None:
    """No warning at the second redirection, in doubt of a risk; with the third, both policies allow it."""
    doubted = [SAYS, harm("abuse", 3, Risk.UNKNOWN), ANSWERS, REDIRECTS]
    log = play([*ABUSE, *doubted, *ABUSE, SAYS], policy()).log
    assert [row.untried for row in what_if(log, LAX).branches] == [10]


POSSIBLE, IMMINENT = policy(), policy(hold_on=(Risk.IMMINENT,))
AT_RISK: list[Step] = [SAYS, harm("abuse", 3, Risk.POSSIBLE), ANSWERS, SAYS, ANSWERS]


@pytest.mark.parametrize(("was", "other"), [(POSSIBLE, IMMINENT), (IMMINENT, POSSIBLE)])
def test_a_hold_in_one_of_them(was: Policy, other: Policy) -> None:
    """The model is told of it, and answers otherwise: undecidable from the user's next turn."""
    row = checked(AT_RISK, was, other)
    assert (row.outcome, row.because) == (Outcome.UNDECIDABLE, Because.HOLD)
    assert checked(AT_RISK[:3], was, other).outcome is Outcome.SAME
    assert checked(AT_RISK, was, was).outcome is Outcome.SAME


def test_who_may_clear_a_risk() -> None:
    """One who may not was refused, and that leaves no trace; one who may no longer would be refused."""
    script: list[Step] = [SAYS, ("raises",), ("clears", ASSESSOR), ANSWERS, SAYS]
    may = policy(may_clear_risk=(ASSESSOR.id,))
    assert checked(script, policy(), may).because is Because.HOLD
    assert checked(script, may, policy()).because is Because.HOLD
    assert checked([SAYS, ("raises",), ("clears", OPERATOR), ANSWERS, SAYS], policy(), may).outcome is Outcome.SAME


def test_an_act_that_may_have_been_either() -> None:
    """At risk a proposal is refused on either ground, and nothing says on which it was."""
    script = [SAYS, harm("abuse", 3, Risk.POSSIBLE), ("proposes", Ground.LAST_RESORT)]
    row = checked(script, POSSIBLE, IMMINENT)
    assert (row.outcome, row.because, row.undecidable_from) == (Outcome.UNDECIDABLE, Because.ATTEMPT, 5)


def test_an_act_that_no_law_refuses_so() -> None:
    """A refusal under rules that refuse nothing of the kind: the program that wrote it knew another law."""
    log = play([*LADDER, *last_resort()], STRICT).log
    strange = [
        e._replace(event=e.event.model_copy(update={"rules": ("no-such-rule",)})) if e.kind == "AttemptRefused" else e
        for e in log
    ]
    (row,) = what_if(strange, LAX).branches
    assert row.because is Because.ATTEMPT


def test_a_stale_act_is_refused_by_any_law() -> None:
    """It named a turn that was not the latest."""
    log = play([*LADDER, *last_resort()], STRICT).log
    stale = [
        e._replace(event=e.event.model_copy(update={"rules": ("judges-the-latest",)})) if e.version == 21 else e
        for e in log
    ]
    assert what_if(stale, LAX).branches[0].outcome is Outcome.SAME


def test_a_hope_that_was_refused() -> None:
    """It leaves no trace, so that it may have been all that is missing now."""
    script = [*LADDER, ("ends", Ground.LAST_RESORT, "abuse")]
    assert checked(script, STRICT, LAX).because is Because.ATTEMPT


def test_a_proposal_that_may_have_been_the_ending() -> None:
    """Without a handshake the same call ends the conversation; the model may have thought better of it, or not."""
    script: list[Step] = [*LADDER, ("loses hope",), ("proposes", Ground.LAST_RESORT)]
    for goes_on in ([], GOES_ON):
        row = checked([*script, *goes_on], policy(handshake=True), policy())
        assert (row.outcome, row.because, row.undecidable_from) == (Outcome.UNDECIDABLE, Because.PROPOSAL, 21)
    assert checked([*script, ("ends", Ground.LAST_RESORT, "abuse")], policy(handshake=True), policy()).because is None


def test_a_redirection_that_only_another_edition_allows() -> None:
    """In edition 1 a polite word covers the abuse after it, and a redirection is refused without a trace."""
    calm = ("judges", ASSESSOR, Verdict.PRODUCTIVE, None, None, Risk.NONE)
    script: list[Step] = [SAYS, calm, harm(), ANSWERS, SAYS]
    assert checked(script, policy(), policy(), law=1, edition=2).because is Because.REDIRECTION
    late: list[Step] = [SAYS, calm, ANSWERS, harm(), SAYS]
    assert checked(late, policy(), policy(), law=1, edition=2).because is Because.REDIRECTION
    assert checked(script, policy(), policy(), law=1).outcome is Outcome.SAME


def test_a_confirmation_by_somebody_else() -> None:
    """Edition 2 refused it without a trace, and edition 1 would not have."""
    calm = ("judges", ASSESSOR, Verdict.PRODUCTIVE, None, None, Risk.NONE)
    ends = ("ends", Ground.USER_REQUEST, None)
    script: list[Step] = [SAYS, ("asks", USER), ANSWERS, SAYS, ("confirms", ANOTHER), calm, ends]
    assert checked(script, policy(), policy(), edition=1).because is Because.ATTEMPT


def test_a_verdict_in_a_category_without_a_name() -> None:
    """The other policy does not know it, and its assessor would have said something else."""
    was = policy(categories=("abuse", "mockery"))
    assert checked([SAYS, harm("mockery"), ANSWERS], was, policy()).because is Because.VERDICT
    assert checked([SAYS, harm("mockery"), ANSWERS], was, policy(categories=("mockery",))).outcome is Outcome.SAME


def test_a_change_of_policy() -> None:
    """The other policy governs before it and after it."""
    script = [*LADDER, ("changes mode", Mode.ENFORCED), *last_resort()]
    assert checked(script, LAX, policy()).outcome is Outcome.SAME


def test_an_unknown_edition() -> None:
    """There are two."""
    with pytest.raises(ValueError, match=r"edition: one of 1, 2 is needed"):
        what_if([], policy(), edition=3)


# --- Trees ------------------------------------------------------------------------------------------------------------


def log_of(chats: Conversations) -> list[RecordedEvent]:
    return list(store_of(chats).log())


def outcomes(log: list[RecordedEvent], other: Policy) -> dict[str, BranchOutcome]:
    rows = what_if(log, other).branches
    assert rows == what_if(iter(log), other).branches  # every state is kept, where nobody knows which are needed
    return {row.branch: row for row in rows}


def test_what_comes_after_a_tree_has_parted(chats: Conversations) -> None:
    """The ending would not be, so nobody knows whether the user would have opened a branch, and what for."""
    chat = ended(started(chats, policy=policy()))
    child = done(chat.edit(14, "Shall we begin again?", child="d"))
    done(child.assistant_turn("Of course."))
    rows = outcomes(log_of(chats), policy(min_failed_redirections=4))
    assert (rows["c"].outcome, rows["c"].because) == (Outcome.UNDECIDABLE, Because.ENDING)
    assert (rows["d"].outcome, rows["d"].because) == (Outcome.UNDECIDABLE, Because.BRANCH)
    rows = outcomes(log_of(chats), policy())
    assert {row.outcome for row in rows.values()} == {Outcome.SAME}


def test_an_ending_on_another_branch_after_that(chats: Conversations) -> None:
    """It is in the log, and undecidable."""
    chat = started(chats, policy=policy())
    thanked(chat)
    done(chat.assistant_turn("Flour, water, salt."))
    other = done(chat.edit(2, "Hello?", child="d"))
    ended(chat)
    done(other.assistant_turn("Hello."))
    child = done(chat.edit(2, "And again?", child="e"))
    done(child.assistant_turn("Hello again."))
    ended(child)
    rows = outcomes(log_of(chats), policy(min_failed_redirections=6))
    assert {name: row.outcome for name, row in rows.items()} == dict.fromkeys("cde", Outcome.UNDECIDABLE)
    assert rows["e"].ended_at is not None


def test_a_risk_is_held_on_every_branch(chats: Conversations) -> None:
    """A verdict on one branch holds on all of them, and where the other policy does not hold, on none."""
    chat = started(chats, policy=POSSIBLE)
    thanked(chat)
    child = done(chat.edit(2, "Hello?", child="d"))
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE, by=ASSESSOR))
    done(child.assistant_turn("Hello."))
    done(child.user_turn("Well?"))
    rows = outcomes(log_of(chats), IMMINENT)
    assert (rows["d"].because, rows["c"].outcome) == (Because.HOLD, Outcome.SAME)


def test_a_hold_that_only_the_other_policy_has_is_on_every_branch(chats: Conversations) -> None:
    """Those that opened before it, and those that open after it."""
    chat = started(chats, policy=IMMINENT)
    thanked(chat)
    child = done(chat.edit(2, "Hello?", child="d"))
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE, by=ASSESSOR))
    done(child.assistant_turn("Hello."))
    later = done(chat.edit(2, "Hello again?", child="e"))
    done(later.assistant_turn("Hello."))
    done(later.user_turn("Well?"))
    rows = outcomes(log_of(chats), POSSIBLE)
    assert (rows["e"].because, rows["d"].outcome) == (Because.HOLD, Outcome.SAME)


def test_a_branch_from_where_the_parent_was_warned_otherwise(chats: Conversations) -> None:
    """The user had seen a warning that would not be, and may have opened it for that."""
    chat = started(chats, policy=LAX, edition=2)
    for step in range(3):
        done(chat.user_turn("You bucket."))
        done(chat.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=Risk.NONE, by=ASSESSOR))
        done(chat.assistant_turn("Stop it, or I end this."))
        done(chat.redirect() if step < 2 else chat.warn("abuse"))
    done(chat.edit(2, "I am sorry.", child="d"))
    rows = outcomes(log_of(chats), policy(min_redirections_to_warn=5))
    assert (rows["c"].outcome, rows["d"].because) == (Outcome.WARNED_ELSEWHERE, Because.BRANCH)


def test_a_risk_on_a_branch_that_opens_later(chats: Conversations) -> None:
    """A branch opens with the risks that the other policy has, and none of those that it has not."""
    chat = started(chats, policy=POSSIBLE)
    thanked(chat)
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE, by=ASSESSOR))
    child = done(chat.edit(2, "Hello?", child="d"))
    rows = outcomes(log_of(chats), IMMINENT)
    assert {row.outcome for row in rows.values()} == {Outcome.SAME}
    done(child.assistant_turn("Hello."))
    done(child.user_turn("Well?"))
    rows = outcomes(log_of(chats), IMMINENT)
    assert (rows["d"].because, rows["c"].outcome) == (Because.HOLD, Outcome.SAME)


def test_a_branch_from_nowhere() -> None:
    """An audit says so; here it is a branch like any other."""
    log = play([SAYS, ANSWERS], policy()).log
    assert what_if([entry._replace(branch="x") for entry in log[1:]], policy()).branches[0].conversation == "x"


@settings(**drawn(60))
@given(trees(max_steps=30), terms(), st.sampled_from([None, 1, 2]))
def test_trees(log: tuple[RecordedEvent, ...], other: Policy, edition: int | None) -> None:
    """Total, the same with fork points or without, and the same as it was under the policy that it had."""
    found = what_if(iter(log), other, edition=edition)
    assert found == what_if(iter(log), other, edition=edition, forks=fork_points(log))
    assert len(found.branches) == sum(found.sum.values()) == len({entry.branch for entry in log})
    if not any(isinstance(entry.event, PolicyChanged) for entry in log):
        as_it_was = what_if(log, must_be(ConversationStarted, log[0].event).policy)
        assert {row.outcome for row in as_it_was.branches} == {Outcome.SAME}
