"""The oracle answers as the law reads: cases worked out by hand from its sentences, without a look at the domain.

That the domain agrees with the oracle is for tests/test_every_state.py; here it is asked whether the oracle is right.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lastresort.domain import events as log
from lastresort.domain.events import BranchOpened, Event, RecordedEvent
from lastresort.domain.law import FORMS
from lastresort.domain.policy import Policy
from lastresort.domain.values import About, ForkCause, Ground, OpenRisk, Risk, Verdict
from lastresort.projections import second_log, second_path, second_reading, second_words

from . import oracle
from .house import imports
from .narrow import must_be
from .oracle import History, Unlawful, broken, divided_on_risk, unlawful, unlawful_path
from .vocabulary import ASSESSOR, MODEL, OPERATOR, USER, WORDS

Step = Callable[[History], Event]
POLICY = Policy(name="p", min_failed_redirections=2, productive_to_close=2, eligible_models=("claude-*",))
QUICK_TO_CLOSE = Policy(name="q", min_failed_redirections=2, productive_to_close=1, eligible_models=("claude-*",))


# --- Telling a history ----------------------------------------------------------------------------------------------


def tell(*steps: Any, past: History | None = None) -> History:
    past = past or History()
    for step in _flat(steps):
        past = past.then(step(past) if callable(step) else step)
    return past


def _flat(steps: Any) -> list[Any]:
    return [one for step in steps for one in (_flat(step) if isinstance(step, tuple) else [step])]


def start(policy: Policy = POLICY) -> Event:
    return log.ConversationStarted(
        by=USER, conversation="root", account=None, policy=policy, policy_hash=policy.hash, model=MODEL.id, arm=None
    )


def user_turn(past: History) -> int:
    return past.last(log.UserTurnTaken)


SAY = log.UserTurnTaken(by=USER, content=WORDS)
ANSWER = log.AssistantTurnTaken(by=MODEL, content=WORDS, model=MODEL.id, stop_reason=None, usage=None)


def judged(verdict: Verdict, category: str | None = None, severity: int | None = None, risk: Risk = Risk.NONE) -> Step:
    return lambda past: log.TurnAssessed(
        by=ASSESSOR, turn=user_turn(past), verdict=verdict, category=category, severity=severity, risk=risk
    )


def harm(category: str = "abuse", severity: int = 2) -> Step:
    return judged(Verdict.HARMFUL, category, severity)


PRODUCTIVE, AMBIGUOUS, UNPRODUCTIVE = map(judged, (Verdict.PRODUCTIVE, Verdict.AMBIGUOUS, Verdict.UNPRODUCTIVE))


def redirect(past: History) -> Event:
    return log.RedirectionAttempted(by=MODEL, turn=past.last(log.AssistantTurnTaken), answers=user_turn(past))


def warn(category: str = "abuse", complete: bool = True) -> Step:
    return lambda past: log.WarningGiven(
        by=MODEL,
        turn=past.last(log.AssistantTurnTaken),
        seen=user_turn(past),
        category=category,
        names_behaviour=True,
        redirects=True,
        states_consequence=complete,
    )


def hope(past: History) -> Event:
    return log.HopeExhausted(by=MODEL, turn=user_turn(past))


def request(past: History) -> Event:
    return log.EndRequested(by=USER, turn=user_turn(past))


def confirm(past: History) -> Event:
    return log.EndConfirmed(by=USER, turn=user_turn(past))


def end(category: str | None = "abuse", **said: Any) -> Step:
    """An ending that says what is so, but for `said`."""

    def ending(past: History) -> Event:
        ground = Ground.LAST_RESORT if category else Ground.USER_REQUEST
        true = {
            "seen": user_turn(past),
            "evidence": oracle.evidence(past, ground, category),
            "policy_hash": oracle.policy(past).hash,
            "model": MODEL.id,
        }
        return log.ConversationEnded(by=MODEL, ground=ground, category=category, **(true | said))

    return ending


def changed(policy: Policy) -> Event:
    return log.PolicyChanged(by=OPERATOR, policy=policy, policy_hash=policy.hash)


RAISE = log.RiskRaised(by=USER, risk="r", about=About.SELF)
CLEAR = log.RiskCleared(by=OPERATOR, risk="r")
ABUSED = (SAY, harm(), ANSWER, redirect)
TESTED = (start(), ABUSED, ABUSED, SAY, harm(), ANSWER, warn(), SAY, harm())
ASKED = (start(), SAY, request, ANSWER, SAY, PRODUCTIVE)


def why_not(step: Any, *steps: Any) -> set[str]:
    """Return the rules that forbid `step` after `steps`."""
    past = tell(*steps)
    return set(broken(past, step(past) if callable(step) else step))


# --- The law as a whole ---------------------------------------------------------------------------------------------


def test_it_has_every_rule_and_no_other() -> None:
    assert set(oracle.LAW) == {form.id for form in FORMS}


@pytest.mark.parametrize("module", [second_words, second_path, second_reading, second_log])
def test_it_shares_no_code_with_what_it_checks(module: ModuleType) -> None:
    """What is stored it reads as the domain does; what that adds up to and what is allowed it works out by itself."""
    path = Path(module.__file__ or "")
    imported = {found.module for found in imports(path.read_text(encoding="utf-8"), f"projections/{path.name}")}
    assert {name for name in imported if name.startswith("lastresort")} <= {
        *(f"lastresort.domain.{name}" for name in ("events", "policy", "values")),
        *(f"lastresort.projections.second_{name}" for name in ("words", "path", "reading")),
    }


def test_both_grounds_can_be_reached() -> None:
    for path in (tell(*TESTED, hope, end()).path, tell(*ASKED, confirm, end(None)).path):
        assert unlawful_path(path) == []


# --- Redirections and episodes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "failed"),
    [
        ((SAY, harm()), [5]),
        ((SAY, harm("threats")), [5]),  # whatever the category
        ((SAY, AMBIGUOUS, ANSWER, SAY, harm()), [5]),  # doubt decides nothing: still pending, then failed
        ((SAY, PRODUCTIVE, ANSWER, SAY, harm()), []),  # it succeeded
        ((SAY, ANSWER, SAY, harm()), []),  # never judged when the next unit began: productive
        ((SAY,), []),  # silence
        ((harm(), AMBIGUOUS, SAY, harm()), []),  # what it answered settled as not harmful
        ((SAY, harm(), PRODUCTIVE), []),  # the judgement is the mildest verdict, as it stands now
    ],
)
def test_when_a_redirection_failed(then: Any, failed: list[int]) -> None:
    assert list(oracle.failed_redirections(tell(start(), ABUSED, *then))) == failed


@pytest.mark.parametrize(
    ("units", "left"),
    [
        ((SAY, PRODUCTIVE, ANSWER, SAY, harm()), 1),  # one productive unit closes nothing
        ((SAY, PRODUCTIVE, ANSWER, SAY, PRODUCTIVE, ANSWER, SAY, harm()), 0),  # two in a row do
        ((SAY, PRODUCTIVE, ANSWER, SAY, UNPRODUCTIVE, ANSWER, SAY, PRODUCTIVE), 0),  # these leave the count
        ((SAY, PRODUCTIVE, ANSWER, SAY, harm(), ANSWER, SAY, PRODUCTIVE), 1),  # harm starts the count again
    ],
)
def test_when_an_episode_closes(units: Any, left: int) -> None:
    past = tell(start(), ABUSED, SAY, harm(), ANSWER, *units)
    assert len(oracle.failed_redirections(past)) == left


def test_a_stricter_policy_closes_an_episode_that_had_enough_productive_units() -> None:
    """The stricter count governs at once: one productive unit in a row is as many as it asks for."""
    past = tell(start(), ABUSED, ABUSED, SAY, harm(), ANSWER, SAY, PRODUCTIVE, ANSWER, SAY)
    assert oracle.opening(past) == 3
    assert oracle.opening(tell(changed(QUICK_TO_CLOSE), past=past)) is None
    assert oracle.failed_redirections(tell(changed(QUICK_TO_CLOSE), harm(), past=past)) == ()


def test_an_episode_that_opened_before_the_policy_changed_has_both() -> None:
    strict = POLICY.model_copy(update={"name": "strict", "min_failed_redirections": 3})
    both = tell(start(strict), SAY, harm(), changed(POLICY), ANSWER, redirect, ABUSED, SAY, harm(), ANSWER)
    assert set(broken(both, warn()(both))) == {"stricter-governs"}
    later = tell(start(strict), SAY, changed(POLICY), harm(), ANSWER, redirect, ABUSED, SAY, harm(), ANSWER)
    assert not broken(later, warn()(later))


# --- Warnings, and units that grew ----------------------------------------------------------------------------------


def test_the_first_complete_warning_stands() -> None:
    past = tell(*TESTED, ANSWER, warn(), SAY, harm())
    first = past.path.index(next(event for event in past.path if type(event) is log.WarningGiven)) + 1
    assert oracle.standing_warnings(past) == {"abuse": first}


def test_a_complete_warning_takes_the_place_of_an_incomplete_one() -> None:
    past = tell(start(), ABUSED, ABUSED, SAY, harm(), ANSWER, warn(complete=False), warn(), SAY)
    assert oracle.standing_warnings(past) == {"abuse": past.last(log.WarningGiven)}


@pytest.mark.parametrize("voids", [(RAISE, CLEAR), changed(POLICY), log.ModelChanged(by=OPERATOR, model=MODEL.id)])
def test_what_voids_a_warning(voids: Any) -> None:
    assert why_not(end(), *TESTED, hope, voids) >= {"warned-first"}


def test_a_turn_that_nobody_judged_may_be_anything() -> None:
    assert why_not(end(), *TESTED, hope, SAY) == {
        "warned-first", "still-harmful", "hope-exhausted", "risk-was-checked",
    }  # fmt: skip


def test_a_milder_verdict_counts_for_the_whole_unit() -> None:
    assert "still-harmful" in why_not(end(), *TESTED, AMBIGUOUS, SAY, harm())
    assert "grave-enough" in why_not(end(), *TESTED, harm(severity=1), SAY, harm())
    assert "still-harmful" in why_not(end(), *TESTED, harm("threats"), SAY, harm())
    assert "risk-was-checked" in why_not(end(), *TESTED, judged(Verdict.HARMFUL, "abuse", 2, Risk.UNKNOWN), SAY, harm())


# --- The user's wish, and risk --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [
        (*ASKED,),  # not confirmed
        (start(), SAY, PRODUCTIVE, request, confirm),  # in the unit in which they asked
        (start(), SAY, request, ANSWER, SAY, ANSWER, SAY, PRODUCTIVE, confirm),  # a unit too late
        (*ASKED, confirm, SAY, PRODUCTIVE),  # a confirmation lapses with the next user turn
        (*ASKED, RAISE, CLEAR, confirm),  # raising a risk voids the request
        (start(), SAY, RAISE, request, CLEAR, ANSWER, SAY, PRODUCTIVE, confirm),  # asked under a risk: no effect, ever
        (*ASKED, RAISE, confirm, CLEAR),
    ],
)
def test_what_is_no_confirmed_wish(steps: Any) -> None:
    assert why_not(end(None), *steps) == {"confirmed-later"}


def test_a_lapsed_confirmation_can_be_given_again() -> None:
    assert not why_not(end(None), *ASKED, confirm, SAY, PRODUCTIVE, confirm)


def test_only_the_next_event_breaks_risk_holds() -> None:
    at_risk = judged(Verdict.PRODUCTIVE, risk=Risk.IMMINENT)
    assert unlawful_path(tell(start(), SAY, at_risk, RAISE, ANSWER).path) == []
    assert unlawful_path(tell(start(), SAY, at_risk, ANSWER, SAY).path) == [(4, ("risk-holds",))]
    assert unlawful_path(tell(start(), SAY, RAISE, at_risk, ANSWER).path) == []


def test_evidence_is_what_the_log_says() -> None:
    assert why_not(end(model="another"), *TESTED, hope) == {"evidence-is-true"}
    assert why_not(end(evidence=log.Evidence()), *TESTED, hope) == {"evidence-is-true"}
    assert why_not(end(evidence=log.Evidence(warning=2)), *TESTED, hope) == {"refers-to-the-path", "evidence-is-true"}


# --- Trees ----------------------------------------------------------------------------------------------------------


def recorded(*entries: tuple[str, Event]) -> list[RecordedEvent]:
    """A log; each branch goes on where it is, a fork after its prefix."""
    versions: dict[str, int] = {}
    found = []
    for position, (branch, event) in enumerate(entries, 1):
        before = event.at if type(event) is log.BranchOpened else versions.get(branch, 0)
        versions[branch] = before + 1
        found.append(RecordedEvent(position, branch, before + 1, event.kind, "", f"c{position}", event, f"c{position}"))
    return found


def on(branch: str, *steps: Any) -> list[tuple[str, Event]]:
    return [(branch, event) for event in tell(*steps).path]


def fork(parent: str, at: int, cause: ForkCause = ForkCause.EDIT, *risks: str) -> Event:
    carried = tuple(OpenRisk(risk=risk, about=About.SELF) for risk in risks)
    return log.BranchOpened(by=USER, conversation="root", parent=parent, at=at, cause=cause, risks=carried)


ROOT = on("root", start(), SAY, PRODUCTIVE, ANSWER, SAY, harm(), ANSWER, redirect, SAY, harm())


def test_a_branch_begins_with_what_its_prefix_adds_up_to() -> None:
    forest = oracle.Forest()
    for one in recorded(*ROOT, ("a", fork("root", 8)), ("a", SAY), ("b", fork("a", 9)), ("c", fork("a", 4))):
        assert not broken(forest.before(one.branch, one.event), one.event)
        forest.record(one.branch, one.event)
    assert [len(forest.branches[branch].path) for branch in "abc"] == [10, 10, 5]
    tried_again = tell(harm(), past=forest.branches["a"])
    assert oracle.failed_redirections(tried_again) == (8,)  # of the prefix
    assert not oracle.failed_redirections(forest.branches["c"])


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ([("a", fork("root", 9))], ("forks-at-a-turn",)),
        ([("a", fork("root", 8, ForkCause.RETRY))], ("forks-at-a-turn",)),
        ([("a", fork("root", 6, ForkCause.RETRY))], None),
        ([("a", fork("root", 1))], None),  # the first turn too
        ([("root", RAISE), ("a", fork("root", 8))], ("carries-risks",)),
        ([("root", RAISE), ("a", fork("root", 8, ForkCause.EDIT, "r"))], None),
        ([("root", RAISE), ("root", CLEAR), ("a", fork("root", 8, ForkCause.EDIT, "r"))], ("carries-risks",)),
        ([("a", fork("root", 8)), ("a", RAISE), ("b", fork("root", 8))], ("carries-risks",)),  # of the whole tree
        ([("other", start()), ("other", RAISE), ("a", fork("root", 8))], None),  # and of no other tree
    ],
)
def test_how_a_branch_opens(entries: list[tuple[str, Event]], found: tuple[str, ...] | None) -> None:
    branch, event = entries[-1]
    assert unlawful(recorded(*ROOT, *entries)) == (
        [Unlawful(branch, must_be(BranchOpened, event).at + 1, found)] if found else []
    )


def test_what_is_no_log() -> None:
    with pytest.raises(ValueError, match="a goes on with version 9 after 0"):
        unlawful(recorded(*ROOT, ("a", fork("nobody", 8))))


def test_an_ending_is_final_for_its_branch_alone() -> None:
    ended = on("root", *ASKED, confirm, end(None))
    forked = [("a", fork("root", 4)), ("a", SAY), ("root", SAY), ("b", fork("root", 8)), ("root", RAISE)]
    assert unlawful(recorded(*ended, *forked)) == [
        Unlawful("root", 9, ("ended-is-final",)),
        Unlawful("b", 9, ("forks-before-the-end",)),
    ]


def test_a_branch_does_not_inherit_what_was_asked() -> None:
    past = tell(*ASKED, confirm)
    child = past.about_to_fork(4, frozenset()).then(fork("root", 4))
    assert "confirmed-later" in broken(tell(SAY, PRODUCTIVE, confirm, past=child), end(None)(child))


def test_a_risk_that_not_every_branch_knows_of() -> None:
    entries = (*ROOT, ("a", fork("root", 8)), ("a", RAISE))
    assert divided_on_risk(recorded(*entries)) == ["root"]
    assert divided_on_risk(recorded(*entries, ("root", RAISE))) == []


def test_an_appeal_is_decided_once_for_each_filing() -> None:
    filed = log.AppealFiled(by=USER, content=None)
    decided = log.AppealDecided(by=OPERATOR, outcome="rejected")
    ended = tell(*ASKED, confirm, end(None))
    assert unlawful_path(tell(filed, decided, filed, decided, past=ended).path) == []
    assert why_not(decided, ended.path) == {"answers-an-appeal"}
    assert why_not(decided, ended.path, filed, decided) == {"answers-an-appeal"}
    assert why_not(decided.model_copy(update={"by": USER}), ended.path, filed) == {"answers-an-appeal"}
    assert why_not(filed, start()) == {"answers-an-appeal"}
