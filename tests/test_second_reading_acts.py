"""Who may do what in edition 2, as the second reading has it: risk, warnings, shadow mode, holds, appeals."""

from typing import Any

import pytest

from lastresort.domain import events as log
from lastresort.domain.events import Event
from lastresort.domain.policy import Policy
from lastresort.domain.values import (
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ForkCause,
    Ground,
    LegalHold,
    Mode,
    OpenRisk,
    Risk,
    Verdict,
)
from lastresort.projections.second_words import VOCABULARY

from . import oracle
from .oracle import History, broken
from .second_reading_kit import (
    ABUSED,
    ERASED,
    GOOD,
    HARM,
    HELD,
    LEFT,
    POLICY,
    RELEASED,
    SAID_BY_SOMEBODY,
    SOMEBODY,
    TESTED,
    WARNED,
    also,
    but,
    is_tested,
    start,
    withheld,
)
from .test_oracle import (
    ANSWER,
    CLEAR,
    PRODUCTIVE,
    RAISE,
    SAY,
    confirm,
    end,
    harm,
    hope,
    judged,
    redirect,
    request,
    tell,
    user_turn,
    warn,
    why_not,
)
from .vocabulary import MODEL, OPERATOR, USER

# --- Risk -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "holds"),
    [(About.SELF, True), (About.OTHERS, False), (None, True)],
    ids=["self", "others", "nobody knows"],
)
def test_what_holds_depends_on_whom_it_is_about(about: About | None, holds: bool) -> None:
    policy = but(hold_on_others=(Risk.IMMINENT,))
    seen = also(judged(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE), about=about)
    assert ("risk-holds" in why_not(ANSWER, start(policy), SAY, seen)) is holds


def test_without_sets_of_their_own_both_are_as_hold_on_says() -> None:
    for about in About:
        seen = also(judged(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE), about=about)
        assert "risk-holds" in why_not(ANSWER, start(), SAY, seen)


def opened(**fields: Any) -> Event:
    return log.BranchOpened(
        **{
            "by": USER, "conversation": "root", "parent": "root", "at": 0, "cause": ForkCause.EDIT, "risks": (),
            **fields,
        }
    )  # fmt: skip


def forked(past: History, at: int, **fields: Any) -> tuple[History, Event]:
    """The history of a branch that is about to open, and its opening."""
    return past.about_to_fork(at, oracle.open_risks(past)), opened(at=at, **fields)


def test_a_branch_that_carries_a_risk_starts_without_warnings() -> None:
    past = tell(*WARNED, SAY, RAISE)
    warned = len(tell(*WARNED).path)
    risk = OpenRisk(risk="r", about=About.SELF)
    before, opening = forked(past, warned, risks=(risk,))
    assert not broken(before, opening)
    at_risk = tell(CLEAR, SAY, harm(), past=before.then(opening))
    assert oracle.standing_warnings(at_risk) == {}
    before, opening = forked(tell(*WARNED, SAY), warned)
    assert oracle.standing_warnings(tell(SAY, harm(), past=before.then(opening)))


# --- Who is who -------------------------------------------------------------------------------------------------------


def test_nobody_confirms_what_somebody_else_asked() -> None:
    asked = (start(), SAY, request, ANSWER, SAY, PRODUCTIVE)
    assert not why_not(confirm, *asked)
    assert why_not(also(confirm, by=SOMEBODY), *asked) == {"same-user"}
    assert "confirmed-later" in why_not(end(None), *asked, also(confirm, by=SOMEBODY))
    assert not why_not(also(confirm, by=SOMEBODY), start(law=1), *asked[1:])


def test_only_who_was_warned_can_test_the_warning() -> None:
    assert is_tested(*WARNED, SAY, harm())
    assert not is_tested(*WARNED, SAID_BY_SOMEBODY, harm())
    assert not is_tested(*WARNED, SAID_BY_SOMEBODY, SAY, harm())  # not in a unit of theirs and somebody else's, either


@pytest.mark.parametrize(
    "by",
    [
        Actor(kind=ActorKind.MODEL, id="claude-opus-4-0"),
        Actor(kind=ActorKind.MODEL, id="gpt-4"),
        Actor(kind=ActorKind.OPERATOR, id=MODEL.id),
    ],
    ids=["another", "another maker's", "no model"],
)
def test_only_the_model_of_the_conversation_acts_as_one(by: Actor) -> None:
    last_resort = log.EndProposed(by=MODEL, seen=2, ground=Ground.LAST_RESORT)
    assert "eligible-model" in why_not(also(hope, by=by), *TESTED)
    assert "eligible-model" in why_not(also(end(), by=by), *TESTED, hope)
    assert "eligible-model" in why_not(also(last_resort, by=by), start(), SAY)
    assert "eligible-model" not in why_not(also(last_resort, by=by, ground=Ground.USER_REQUEST), start(), SAY)
    assert "true-warnings" in why_not(also(warn(), by=by), *WARNED[:-1])


def test_it_is_the_same_model_in_another_dress() -> None:
    dressed = Actor(kind=ActorKind.MODEL, id=f"us.anthropic.{MODEL.id}-20250805-v1:0")
    assert not why_not(also(hope, by=dressed), *TESTED)
    assert "eligible-model" in why_not(also(end(), by=dressed), start(law=1), *TESTED[1:], hope)


# --- True warnings, and shadow ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "last", "is_true"),
    [
        (POLICY, harm(), True),
        (POLICY, harm(severity=1), False),
        (but(categories=("threats",)), harm(), False),
        (but(eligible_models=()), harm(), False),
        (POLICY, judged(Verdict.HARMFUL, "abuse", 2, Risk.UNKNOWN), False),
        (POLICY, also(harm(), by=MODEL), False),  # nobody trusted has looked
        (but(trusted_for_risk=()), harm(), False),
    ],
)
def test_a_warning_is_of_what_could_follow(policy: Policy, last: Any, is_true: bool) -> None:
    warned = why_not(warn(), start(policy), ABUSED, ABUSED, SAY, last, ANSWER)
    assert ("true-warnings" not in warned) is is_true
    in_shadow = why_not(withheld(), start(policy, Mode.SHADOW), ABUSED, ABUSED, SAY, last, ANSWER)
    assert ("true-warnings" not in in_shadow) is is_true
    assert why_not(warn(), start(policy, law=1), ABUSED, ABUSED, SAY, last, ANSWER) == set()


SHADOW = (start(mode=Mode.SHADOW), ABUSED, ABUSED)


def test_in_shadow_mode_nobody_is_warned() -> None:
    assert why_not(warn(), *SHADOW) == {"shadow-says-nothing"}
    assert not why_not(withheld(), *SHADOW)
    assert why_not(withheld(), start(), *SHADOW[1:]) == {"shadow-says-nothing"}
    assert why_not(withheld("threats"), *SHADOW) == set()  # of its group
    assert why_not(withheld("slander"), *SHADOW) == {"still-harmful"}
    assert why_not(withheld(), *SHADOW[:2]) == {"redirected-first"}
    assert why_not(withheld(), *SHADOW, SAY, harm()) == {"answers-a-user"}
    assert "no-end-at-risk" in why_not(withheld(), *SHADOW, RAISE)


def test_once_an_episode() -> None:
    once = (*SHADOW, withheld())
    assert why_not(withheld(), *once) == {"shadow-says-nothing"}
    assert why_not(withheld(), *once, HARM) == {"shadow-says-nothing"}
    assert not why_not(withheld(), *once, GOOD, GOOD, ABUSED, ABUSED)


# --- Legal hold -------------------------------------------------------------------------------------------------------


def test_what_is_held_is_not_erased() -> None:
    assert why_not(ERASED, start(), HELD) == {"held-from-erasure"}
    assert not why_not(ERASED, start(), HELD, RELEASED)
    assert why_not(ERASED, start(), HELD, also(HELD, hold="another"), RELEASED) == {"held-from-erasure"}


def test_an_operator_holds_and_releases() -> None:
    assert not why_not(HELD, start())
    assert why_not(also(HELD, by=USER), start()) == {"held-from-erasure"}
    assert not why_not(RELEASED, start(), HELD)
    assert why_not(also(RELEASED, by=USER), start(), HELD) == {"held-from-erasure"}
    assert why_not(RELEASED, start()) == {"held-from-erasure"}  # there is nothing to release


ENDED = (start(), SAY, request, ANSWER, SAY, PRODUCTIVE, confirm, end(None))


def test_after_the_end_too() -> None:
    assert not why_not(HELD, *ENDED)
    assert not why_not(RELEASED, *ENDED, HELD)


def test_a_branch_carries_every_hold() -> None:
    past = tell(start(), SAY, HELD)
    hold = LegalHold(hold="h", reason="litigation", until="2027-01-31")
    assert not broken(*forked(past, 1, holds=(hold,)))
    assert broken(*forked(past, 1)) == ("carries-risks",)
    assert broken(*forked(past, 1, holds=(hold.model_copy(update={"until": None}),))) == ("carries-risks",)
    before, opening = forked(past, 1, holds=(hold,))
    assert broken(before.then(opening), ERASED) == ("held-from-erasure",)


# --- Wrong endings ----------------------------------------------------------------------------------------------------

ENDED_AS_LAST_RESORT = (*TESTED, hope, end())
FILED = log.AppealFiled(by=USER, content=None)


def decided(outcome: AppealOutcome) -> Event:
    return log.AppealDecided(by=OPERATOR, outcome=outcome)


def test_a_branch_is_absolved_where_the_appeal_was_granted() -> None:
    for outcome in AppealOutcome:
        past = tell(*ENDED_AS_LAST_RESORT, FILED, decided(outcome))
        at = user_turn(past) - 1
        granted = outcome is AppealOutcome.GRANTED
        assert not broken(*forked(past, at, absolved=granted))
        assert broken(*forked(past, at, absolved=not granted)) == ("carries-risks",)


def test_in_edition_1_none_is() -> None:
    first = (start(law=1), SAY, request, ANSWER, SAY, PRODUCTIVE, confirm, end(None), FILED)
    past = tell(*first, decided(AppealOutcome.GRANTED))
    assert not broken(*forked(past, 1))
    assert broken(*forked(past, 1, absolved=True)) == ("carries-risks",)


def test_a_wrong_ending_leaves_no_strikes() -> None:
    past = tell(*ENDED_AS_LAST_RESORT, FILED, decided(AppealOutcome.GRANTED))
    before, opening = forked(past, user_turn(past) - 1, absolved=True)
    absolved = tell(SAY, harm(), ANSWER, past=before.then(opening))
    assert oracle.failed_redirections(absolved) == ()
    assert oracle.standing_warnings(absolved) == {}
    assert set(broken(absolved, warn()(absolved))) == {"redirected-first"}


def test_nor_does_the_harm_that_it_is_written_in_place_of_an_answer_to() -> None:
    """A retry has the user turn that was judged harmful in its prefix. It opens no episode, whatever is said of it."""
    past = tell(*TESTED, ANSWER, hope, end(), FILED, decided(AppealOutcome.GRANTED))
    at = past.last(log.AssistantTurnTaken) - 1
    before, opening = forked(past, at, cause=ForkCause.RETRY, absolved=True)
    absolved = tell(harm(), ANSWER, redirect, past=before.then(opening))
    assert oracle.opening(absolved) is None
    assert oracle.opening(tell(SAY, past=absolved)) is None
    assert set(broken(absolved, warn()(absolved))) >= {"redirected-first"}
    nothing_said = History.of([start()])
    before, opening = forked(nothing_said, 1, absolved=True)
    assert oracle.opening(before.then(opening)) is None


# --- The rest ---------------------------------------------------------------------------------------------------------


def test_leaving_voids_warnings_where_the_policy_says_so() -> None:
    assert is_tested(*WARNED, LEFT, SAY, harm())
    voids = start(but(leaving_voids_warnings=True))
    assert not is_tested(voids, *WARNED[1:], LEFT, SAY, harm())
    assert is_tested(voids, *WARNED[1:], SAY, harm())


def test_free_text_does_not_come_in_as_a_category() -> None:
    own = but(categories=("abuse", "house-rules"))
    assert not why_not(harm("house-rules"), start(own), SAY)
    assert why_not(harm("house-rules"), start(), SAY) == {"named-category"}
    assert not why_not(harm("house-rules"), start(law=1), SAY)
    assert not any(why_not(harm(category), start(), SAY) for category in VOCABULARY)
    assert not why_not(PRODUCTIVE, start(), SAY)
    assert "named-category" in why_not(warn("house-rules"), *WARNED[:-1])
    assert "named-category" in why_not(end("house-rules"), *TESTED, hope)


def test_what_is_said_of_an_older_turn_of_the_unit_says_nothing_of_the_latest() -> None:
    """It is unlawful, and it has happened."""
    older = (start(), SAY, SAY, also(PRODUCTIVE, turn=2))
    assert why_not(older[-1], *older[:-1]) == {"judges-the-latest"}
    assert "risk-was-checked" in why_not(end(None), *older)


def test_proposed_first() -> None:
    asked = (start(but(handshake=True)), SAY, request, ANSWER, SAY, PRODUCTIVE, confirm)
    proposed = log.EndProposed(by=MODEL, seen=5, ground=Ground.USER_REQUEST)
    assert why_not(end(None), *asked) == {"proposed-first"}
    assert not why_not(end(None), *asked, proposed)
