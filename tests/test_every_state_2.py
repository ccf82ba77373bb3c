"""Every state that the second edition of the law can lead to, searched as test_every_state.py searches the first's.

*Always*, beside what holds there: in shadow mode nobody is warned, and a warning is withheld once an episode at most;
what is held is not erased, on any branch; no model ends a conversation of another's as a last resort. *Sometimes*: each
kind of event and each rule, so that together they reach all of the law.

The policies ask for little, so that what comes of a relapse is near: one productive unit closes an episode, two once
one was closed under a warning.
"""

from collections.abc import Callable

import pytest

from lastresort.domain import commands as ask
from lastresort.domain.events import EVENTS
from lastresort.domain.policy import Policy
from lastresort.domain.values import About, AppealOutcome, ForkCause, Ground, Mode, Risk, SecondOpinion, Verdict

from . import oracle
from .search import Turns
from .test_every_state import NEVER_PROPOSED
from .test_every_state import SEARCHES as OF_EDITION_1
from .vocabulary import ANOTHER_MODEL, ASSESSOR, DATED, MODEL, NAMED_ASSESSOR, OPERATOR, OTHER_USER, SYSTEM, USER, WORDS
from .worlds import (
    ABUSED,
    ANSWER,
    APPEAL,
    ERASE,
    INELIGIBLE,
    LEAVE,
    RAISE,
    SAY,
    START,
    Race,
    Step,
    World,
    call,
    clear,
    confirm,
    decide_appeal,
    edit,
    edit_first,
    end,
    harm,
    hold,
    hope,
    judge,
    model,
    no_turn,
    policy,
    redirect,
    release,
    request,
    retry,
    search_branch,
    search_tree,
    started,
    warn,
    withhold,
)

pytestmark = pytest.mark.no_cover  # being measured, a search takes twice as long; what it runs, other tests cover

# --- Policies -------------------------------------------------------------------------------------------------------

SHORT = Policy(
    name="short",
    min_failed_redirections=2,
    min_redirections_to_warn=2,
    productive_to_close=1,
    relapse_step=1,
    relapse_cap=1,
    categories=("abuse", "threats"),
    eligible_models=("claude-opus-4-*",),
    may_clear_risk=(NAMED_ASSESSOR.id,),
)
CALLS = SHORT.model_copy(update={"name": "calls", "handshake": True})
# Closes later, but for relapses; and mild harm is enough.
TWO = SHORT.model_copy(update={"name": "two", "productive_to_close": 2, "relapse_step": 0, "min_severity": 1})
# More is asked before a warning than before an ending.
DUE = SHORT.model_copy(
    update={
        "name": "due",
        "min_redirections_to_warn": 3,
        "second_opinion": SecondOpinion.EVERY_TURN,
        "leaving_voids_warnings": True,
    }
)
APART = SHORT.model_copy(
    update={"name": "apart", "hold_on_self": (Risk.IMMINENT, Risk.POSSIBLE), "hold_on_others": (Risk.IMMINENT,)}
)

# --- Worlds of one branch -------------------------------------------------------------------------------------------

OTHER_SAYS = ask.TakeUserTurn(id="say", by=OTHER_USER, content=WORDS)


def shape(t: Turns) -> tuple[ask.Command, ...]:
    """Kinds of acts, with turns that are stale, of the wrong kind, or not there."""
    wrong = (t._replace(user=t.stale), t._replace(user=t.assistant), t._replace(user=t.version + 1))
    return (
        START.model_copy(update={"law": 2}), START.model_copy(update={"law": 3}), SAY, ANSWER, judge(t), harm(t),
        request(t), confirm(t), end(t, None), LEAVE, ERASE, policy(SHORT, law=3),
        *(act(t) for t in wrong for act in (judge, redirect, warn, withhold, request, confirm, hope, call, end)),
        *(ask.BranchOff(id="branch", by=USER, child="b1", at=at) for at in (1, max(t.version, 2))),
        ask.OpenBranch(id="open", by=USER, parent="b0", at=max(t.version, 1), cause=ForkCause.EDIT),
        ask.GiveFeedback(id="feedback", by=USER), APPEAL, decide_appeal(), decide_appeal(USER),
    )  # fmt: skip


def ladder(t: Turns) -> tuple[ask.Command, ...]:
    """The way to an ending: harm that is grave or mild, of one group or of none, doubt, and what closes an episode."""
    return (
        SAY, ANSWER, redirect(t), warn(t), warn(t, "threats"), hope(t), end(t),
        end(t, "threats"), harm(t), harm(t, "threats"), harm(t, severity=1), harm(t, "trolling"),
        judge(t), RAISE, clear(), clear(USER),
    )  # fmt: skip


def judges(t: Turns) -> tuple[ask.Command, ...]:
    """Each judge's latest word, on harm and on risk; an operator looks at what others could not tell."""
    return (
        SAY, ANSWER, redirect(t), warn(t), harm(t), harm(t, risk=Risk.UNKNOWN), judge(t),
        judge(t, Verdict.AMBIGUOUS, by=OPERATOR), harm(t, by=OPERATOR), harm(t, risk=Risk.IMMINENT),
    )  # fmt: skip


def wish(t: Turns) -> tuple[ask.Command, ...]:
    """A shared account, in which one asks and another confirms; with risk, doubt, and a handshake on the way."""
    on_request = Ground.USER_REQUEST
    return (
        SAY, OTHER_SAYS, ANSWER, judge(t), judge(t, Verdict.UNPRODUCTIVE, risk=Risk.UNKNOWN),
        request(t), request(t, OTHER_USER), request(t, MODEL), confirm(t), confirm(t, OTHER_USER), confirm(t, MODEL),
        RAISE, clear(NAMED_ASSESSOR), clear(ASSESSOR), clear(USER),
        call(t, on_request), call(t, on_request, USER), end(t, None), end(t, None, USER), end(t, None, SYSTEM),
    )  # fmt: skip


def shared(t: Turns) -> tuple[ask.Command, ...]:
    """A shared account, in which one is warned and another goes on."""
    return SAY, OTHER_SAYS, ANSWER, redirect(t), warn(t), hope(t), harm(t), judge(t), end(t)


def shadow(t: Turns) -> tuple[ask.Command, ...]:
    """In shadow mode nothing is said; later it may be enforced."""
    return (
        SAY, ANSWER, redirect(t), warn(t), withhold(t), withhold(t, "spam"), withhold(t, by=ANOTHER_MODEL), hope(t),
        end(t), harm(t), harm(t, severity=1), judge(t), RAISE, clear(),
        policy(SHORT, mode=Mode.ENFORCED), policy(SHORT, mode=Mode.SHADOW),
    )  # fmt: skip


def editions(t: Turns) -> tuple[ask.Command, ...]:
    """From the first edition to the second, and nowhere else; the stricter governs from the first turn on."""
    return (
        SAY, ANSWER, redirect(t), warn(t), harm(t), judge(t),
        policy(SHORT, law=2), policy(TWO), policy(SHORT, law=1), policy(SHORT, law=3),
    )  # fmt: skip


def terms(t: Turns) -> tuple[ask.Command, ...]:
    """The policy changes, within episodes and between them, on the whole way to an ending."""
    return (
        SAY, ANSWER, redirect(t), warn(t), hope(t), end(t), harm(t), harm(t, severity=1), judge(t),
        policy(SHORT), policy(DUE),
    )  # fmt: skip


def due(t: Turns) -> tuple[ask.Command, ...]:
    """Every turn ought to be judged, and to leave voids what was warned of."""
    return (
        SAY, ANSWER, redirect(t), warn(t), hope(t), end(t), harm(t), judge(t), judge(t, Verdict.AMBIGUOUS), LEAVE,
    )  # fmt: skip


def models(t: Turns) -> tuple[ask.Command, ...]:
    """Another model answers, or the same by another name: the conversation's alone warns, gives up hope and ends."""
    by_others = [act(t).model_copy(update={"by": by}) for act in (warn, hope) for by in (ANOTHER_MODEL, DATED)]
    return (
        SAY, ANSWER, redirect(t), warn(t), hope(t), *by_others, harm(t), judge(t), call(t), call(t, by=ANOTHER_MODEL),
        end(t), end(t, by=DATED), end(t, by=INELIGIBLE), model(INELIGIBLE), model(DATED), model(MODEL),
    )  # fmt: skip


def risks(t: Turns) -> tuple[ask.Command, ...]:
    """A risk to oneself holds where the same risk to others does not."""
    seen = [
        judge(t, Verdict.HARMFUL, "abuse", 2, risk=risk, about=about)
        for risk in (Risk.POSSIBLE, Risk.IMMINENT)
        for about in About
    ]
    return SAY, ANSWER, redirect(t), warn(t), harm(t), judge(t), *seen, RAISE, clear(), clear(NAMED_ASSESSOR)


def held(t: Turns) -> tuple[ask.Command, ...]:
    """Words are held before the ending and after it; an appeal is decided either way."""
    return (
        SAY, ANSWER, judge(t), request(t), confirm(t), end(t, None), hold(), hold(USER), release(), release(USER),
        hold().model_copy(update={"hold": "other"}), release().model_copy(update={"hold": "other"}), ERASE,
        APPEAL, decide_appeal(), decide_appeal(outcome=AppealOutcome.REJECTED), RAISE, clear(),
    )  # fmt: skip


WORLDS = {
    "shape": World(
        shape,
        (),
        "begins-once ended-is-final refers-to-the-path answers-a-user judges-the-latest answers-an-appeal "
        "forks-at-a-turn known-edition ConversationStarted BranchedOff UserTurnTaken AssistantTurnTaken UserLeft "
        "FeedbackGiven AppealFiled AppealDecided ContentErased AttemptRefused",
        cap=2,
        states=288,
        transitions=13_248,
    ),
    "ladder": World(
        ladder,
        started(SHORT, 2),
        "last_resort redirects-harm redirected-first warned-first still-harmful hope-exhausted grave-enough "
        "no-end-at-risk risk-was-checked cleared-by-authority true-warnings named-category TurnAssessed "
        "RedirectionAttempted WarningGiven HopeExhausted ConversationEnded RiskRaised RiskCleared",
        cap=2,
        states=13_770,
        transitions=220_320,
    ),
    "judges": World(
        judges, started(SHORT, 2), "true-warnings no-end-at-risk RiskRaised", cap=2, states=16_034, transitions=160_340
    ),
    "wish": World(
        wish,
        started(CALLS, 2),
        "user_request asked-by-user confirmed-later same-user proposed-first no-end-at-risk "
        "EndRequested EndConfirmed EndProposed",
        cap=2,
        states=4_482,
        transitions=89_640,
    ),
    "shared": World(shared, started(SHORT, 2), "last_resort hope-exhausted", cap=2, states=6_611, transitions=59_499),
    "shadow": World(
        shadow,
        started(SHORT, 2, Mode.SHADOW),
        "last_resort shadow-says-nothing true-warnings WarningWithheld WarningGiven",
        cap=2,
        states=12_017,
        transitions=192_272,
    ),
    "editions": World(
        editions,
        started(SHORT),
        "known-edition true-warnings redirected-first PolicyChanged",
        cap=3,
        states=16_986,
        transitions=169_860,
        onward=True,
    ),
    "terms": World(terms, started(SHORT, 2), "last_resort stricter-governs", cap=3, states=15_982, transitions=175_802),
    "due": World(due, started(DUE, 2), "last_resort redirected-first", cap=3, states=2_473, transitions=24_730),
    "models": World(
        models,
        started(CALLS, 2),
        "last_resort eligible-model true-warnings proposed-first ModelChanged",
        cap=2,
        states=6_061,
        transitions=115_159,
    ),
    "risks": World(
        risks,
        started(APART, 2),
        "no-end-at-risk true-warnings RiskRaised RiskCleared",
        cap=2,
        states=4_575,
        transitions=59_475,
    ),
    "held": World(
        held,
        started(SHORT, 2),
        "user_request held-from-erasure ErasureHeld ErasureReleased ContentErased",
        cap=2,
        states=340,
        transitions=6_120,
    ),
}

# --- Worlds of up to three branches, and two who act at once --------------------------------------------------------

WARNED: tuple[Step, ...] = (*started(SHORT, 2), *ABUSED, redirect, *ABUSED, redirect, warn)
TESTED: tuple[Step, ...] = (*WARNED, SAY, harm)

RACES = {
    "user turn against ending": Race(
        (*TESTED, hope),
        lambda t: (end(t), end(t, by=ANOTHER_MODEL)),
        lambda t: (SAY, edit(t)),
        "last_resort judges-the-latest ended-is-final eligible-model BranchOpened",
        cap=2,
        states=1_607,
        transitions=8_862,
    ),
    "hold against erasure": Race(
        TESTED,
        lambda t: (hold(), release()),
        lambda t: (ERASE, edit(t), edit_first(t)),
        "held-from-erasure ErasureHeld ErasureReleased ContentErased BranchOpened",
        cap=2,
        states=664,
        transitions=2_787,
    ),
    "appeal against fork": Race(
        (*TESTED, hope, end, APPEAL),
        lambda t: (decide_appeal(), decide_appeal(outcome=AppealOutcome.REJECTED), RAISE, clear()),
        lambda t: (edit(t), edit_first(t), retry(t)),
        "answers-an-appeal BranchOpened AppealDecided",
        cap=2,
        states=3_779,
        transitions=27_807,
    ),
    "risk against fork": Race(
        TESTED,
        lambda t: (RAISE, clear()),
        lambda t: (edit(t), retry(t), edit_first(t), no_turn(t)),
        "cleared-by-authority forks-at-a-turn BranchOpened BranchedOff",
        cap=2,
        states=847,
        transitions=6_935,
    ),
    "risk against ending": Race(
        TESTED,
        lambda t: (RAISE, clear(), edit(t)),
        lambda t: (hope(t), end(t), harm(t, risk=Risk.IMMINENT)),
        "last_resort no-end-at-risk risk-was-checked",
        cap=2,
        states=3_336,
        transitions=15_030,
    ),
    "mode against warning": Race(
        (*started(SHORT, 2), *ABUSED, redirect, *ABUSED, redirect),
        lambda t: (policy(SHORT, mode=Mode.SHADOW), policy(SHORT, mode=Mode.ENFORCED)),
        lambda t: (warn(t), withhold(t), edit(t), retry(t)),
        "shadow-says-nothing WarningGiven WarningWithheld",
        cap=2,
        states=14_412,
        transitions=91_724,
    ),
    "policy or model against ending": Race(
        TESTED,
        lambda t: (policy(TWO), model(ANOTHER_MODEL), model(DATED), edit(t)),
        lambda t: (hope(t), end(t)),
        "last_resort warned-first",
        cap=2,
        states=43_885,
        transitions=211_894,
    ),
}

# --- The tests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_every_state_of_a_branch(name: str, say: Callable[[str], None]) -> None:
    search_branch(name, WORLDS[name], say)


@pytest.mark.parametrize("name", RACES)
def test_every_order_in_a_tree(name: str, say: Callable[[str], None]) -> None:
    search_tree(name, RACES[name], say)


SEARCHES: tuple[World | Race, ...] = (*WORLDS.values(), *RACES.values())


def test_together_they_reach_everything() -> None:
    """What each search above must come across at least is, together, all there is in the second edition."""
    reached = {what for search in SEARCHES for what in search.sometimes.split()}
    assert reached == {*oracle.LAW, *EVENTS, *Ground} - NEVER_PROPOSED


def test_of_both_editions_they_are_two_million_transitions() -> None:
    assert sum(search.transitions for search in (*OF_EDITION_1, *SEARCHES)) >= 2_000_000
