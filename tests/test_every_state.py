"""Every state that the law can lead to, searched to fixpoint, with the oracle asked about every transition.

*Always*: whatever `decide` accepts the oracle accepts, and whatever it refuses it refuses under the rules that the
oracle names; ended is terminal; no ending under risk; the floors hold under every policy. *Sometimes*: each ground of
an ending, each rule that refuses, each kind of event is reached, so that the core cannot pass by doing nothing.

All acts at once would make too many states to count, and most of them would differ in things that do not meet. So
each world has the acts that meet, all their values that a rule tells apart, and is searched alone. Of numbers it has
those on either side of a threshold: severities 1 and 2 where `min_severity` is 2; redirections to fail twice or
three times, the floor and one more; of names one or two, since names are only ever compared. The pinned figures say
that the search is the same as before: someone who changes the law looks at what they became, and why.
"""

from collections.abc import Callable
from typing import Any

import pytest

from lastresort.domain import commands as ask
from lastresort.domain.decider import Acceptance, Refused, decide, propose
from lastresort.domain.events import EVENTS
from lastresort.domain.state import Conversation
from lastresort.domain.values import ErasureCause, ForkCause, Ground, Risk, Verdict

from . import oracle
from .search import Search, Turns, Unsound
from .tree_search import Doing, Tree, TreeSearch
from .vocabulary import ANOTHER_MODEL, ASSESSOR, MODEL, NAMED_ASSESSOR, SYSTEM, USER, WORDS
from .worlds import (
    ANSWER,
    ASKED,
    HANDSHAKE,
    INELIGIBLE,
    LEAVE,
    OTHER,
    PLAIN,
    RAISE,
    SAY,
    START,
    TESTED,
    Race,
    World,
    call,
    clear,
    confirm,
    decide_appeal,
    edit,
    edit_first,
    end,
    harm,
    history_of,
    hope,
    judge,
    model,
    no_turn,
    policy,
    redirect,
    request,
    retry,
    search_branch,
    search_tree,
    started,
    warn,
)

pytestmark = pytest.mark.no_cover  # being measured, a search takes twice as long; what it runs, other tests cover

# --- Worlds of one branch -------------------------------------------------------------------------------------------


def shape(t: Turns) -> tuple[ask.Command, ...]:
    """Every kind of act, and each that names a turn also with turns that are stale, of the wrong kind, or not there."""
    wrong = (t._replace(user=t.stale), t._replace(user=t.assistant), t._replace(user=t.version + 1))
    upside_down = t._replace(user=t.assistant, assistant=t.user)
    return (
        START, SAY, ANSWER, judge(t), harm(t), redirect(t), request(t), confirm(t), hope(t), end(t, None),
        RAISE, clear(), LEAVE, call(t, Ground.USER_REQUEST), policy(PLAIN), model(MODEL),
        redirect(upside_down), warn(upside_down),
        *(act(t) for t in wrong for act in (judge, redirect, warn, request, confirm, hope, call, end)),
        *(ask.BranchOff(id="branch", by=USER, child="b1", at=at) for at in (1, max(t.version, 2))),
        ask.OpenBranch(id="open", by=USER, parent="b0", at=max(t.version, 1), cause=ForkCause.EDIT),
        ask.GiveFeedback(id="feedback", by=USER),
        ask.FileAppeal(id="appeal", by=USER), decide_appeal(), decide_appeal(USER),
        ask.EraseContents(id="erase", by=USER, contents=(WORDS,), cause=ErasureCause.USER_REQUEST),
    )  # fmt: skip


def last_resort(t: Turns) -> tuple[ask.Command, ...]:
    """The way to an ending as last resort, with all that doubt and risk can do on it."""
    return (
        SAY, ANSWER, redirect(t), warn(t), warn(t, complete=False), hope(t), end(t), end(t._replace(user=t.stale)),
        end(t, by=USER), RAISE, clear(), clear(USER),
        harm(t), harm(t, severity=1), harm(t, severity=3, by=MODEL), judge(t), judge(t, Verdict.AMBIGUOUS),
        harm(t, risk=Risk.UNKNOWN), harm(t, risk=Risk.IMMINENT),
    )  # fmt: skip


def two_harms(t: Turns) -> tuple[ask.Command, ...]:
    """Harm that changes its subject, a harm that no ending may be about among them."""
    return (
        SAY, ANSWER, redirect(t), hope(t), judge(t), harm(t), harm(t, "threats"), harm(t, "slander"),
        warn(t), warn(t, "threats"), end(t), end(t, "threats"), end(t, "slander"),
    )  # fmt: skip


def policies(t: Turns) -> tuple[ask.Command, ...]:
    """The policy changes, within episodes and between them."""
    return (
        SAY, ANSWER, redirect(t), warn(t), hope(t), end(t), policy(PLAIN), policy(OTHER),
        harm(t), harm(t, severity=1), judge(t), judge(t, Verdict.UNPRODUCTIVE),
    )  # fmt: skip


def models(t: Turns) -> tuple[ask.Command, ...]:
    """The model changes, and an ending takes two calls."""
    return (
        SAY, ANSWER, redirect(t), warn(t), hope(t), harm(t), judge(t), call(t), call(t, by=ANOTHER_MODEL),
        end(t), end(t, by=ANOTHER_MODEL), end(t, by=INELIGIBLE), model(MODEL), model(ANOTHER_MODEL), model(INELIGIBLE),
    )  # fmt: skip


def wish(t: Turns) -> tuple[ask.Command, ...]:
    """The user's wish, asked and confirmed, with risk, doubt, and a handshake on the way."""
    on_request = Ground.USER_REQUEST
    return (
        SAY, ANSWER, judge(t), judge(t, by=MODEL), judge(t, Verdict.UNPRODUCTIVE, risk=Risk.UNKNOWN), harm(t),
        request(t), request(t, MODEL), confirm(t), confirm(t, MODEL),
        RAISE, clear(NAMED_ASSESSOR), clear(ASSESSOR), clear(),
        call(t, on_request), call(t, on_request, USER), call(t), end(t, None), end(t, None, USER), end(t, None, SYSTEM),
    )  # fmt: skip


WORLDS = {
    "shape": World(
        shape,
        (),
        "begins-once ended-is-final refers-to-the-path answers-a-user judges-the-latest answers-an-appeal "
        "forks-at-a-turn ConversationStarted BranchedOff UserTurnTaken AssistantTurnTaken UserLeft FeedbackGiven "
        "AppealFiled AppealDecided ContentErased AttemptRefused",
        cap=2,
        states=3_443,
        transitions=172_150,
    ),
    "last resort": World(
        last_resort,
        started(PLAIN),
        "last_resort redirects-harm redirected-first warned-first still-harmful hope-exhausted grave-enough "
        "no-end-at-risk risk-was-checked cleared-by-authority eligible-model TurnAssessed RedirectionAttempted "
        "WarningGiven HopeExhausted ConversationEnded RiskRaised RiskCleared",
        cap=2,
        states=9_665,
        transitions=183_635,
    ),
    "two harms": World(
        two_harms, started(PLAIN), "last_resort still-harmful grave-enough", cap=2, states=5_040, transitions=65_520
    ),
    "policies": World(
        policies, started(PLAIN), "last_resort stricter-governs PolicyChanged", cap=3, states=5_824, transitions=69_888
    ),
    "models": World(
        models,
        started(HANDSHAKE),
        "last_resort proposed-first eligible-model ModelChanged",
        cap=2,
        states=5_727,
        transitions=85_905,
    ),
    "wish": World(
        wish,
        started(HANDSHAKE),
        "user_request asked-by-user confirmed-later proposed-first no-end-at-risk "
        "EndRequested EndConfirmed EndProposed",
        cap=2,
        states=8_508,
        transitions=170_160,
    ),
}

# --- Worlds of up to three branches, and two who act at once --------------------------------------------------------

RACES = {
    "user turn against ending": Race(
        (*TESTED, hope),
        lambda t: (end(t), harm(t)),
        lambda t: (SAY, edit(t)),
        "last_resort judges-the-latest ended-is-final BranchOpened",
        cap=2,
        states=62_651,
        transitions=244_784,
    ),
    "risk against fork": Race(
        TESTED,
        lambda t: (RAISE, clear()),
        lambda t: (edit(t), retry(t), edit_first(t), no_turn(t)),
        "cleared-by-authority forks-at-a-turn BranchOpened BranchedOff",
        cap=2,
        states=987,
        transitions=8_291,
    ),
    "risk against ending": Race(
        TESTED,
        lambda t: (RAISE, clear(), edit(t)),
        lambda t: (hope(t), end(t), harm(t, risk=Risk.IMMINENT)),
        "last_resort no-end-at-risk risk-was-checked",
        cap=2,
        states=6_056,
        transitions=27_856,
    ),
    "risk against a wish": Race(
        ASKED,
        lambda t: (RAISE, clear(), edit(t)),
        lambda t: (confirm(t), end(t, None)),
        "user_request no-end-at-risk confirmed-later",
        cap=2,
        states=851,
        transitions=3_322,
    ),
    "policy or model against ending": Race(
        TESTED,
        lambda t: (policy(PLAIN), policy(OTHER), model(ANOTHER_MODEL), edit(t)),
        lambda t: (hope(t), end(t)),
        "last_resort warned-first eligible-model stricter-governs",
        cap=3,
        states=39_050,
        transitions=191_793,
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

# These only ever stand in the way of an event that no command asks for; tests/test_every_rule_bites.py has them.
NEVER_PROPOSED = {"risk-holds", "evidence-is-true", "carries-risks", "forks-before-the-end"}
NEW = {
    "known-edition", "same-user", "true-warnings", "shadow-says-nothing", "held-from-erasure", "named-category",
    "WarningWithheld", "ErasureHeld", "ErasureReleased",
}  # fmt: skip
"""What the second edition brought: tests/test_every_state_2.py searches it."""


def test_together_they_reach_everything() -> None:
    """What each search above must come across at least is, together, all there is."""
    reached = {what for search in SEARCHES for what in search.sometimes.split()}
    assert reached == {*oracle.LAW, *EVENTS, *Ground} - NEVER_PROPOSED - NEW


def test_together_they_are_a_million_transitions() -> None:
    assert sum(search.transitions for search in SEARCHES) >= 1_000_000


# --- A counterexample -------------------------------------------------------------------------------------------------


def forgetting(rule: str) -> Callable[..., Any]:
    """A `decide` with a fault: what this rule alone refuses it lets pass."""

    def faulty(command: ask.Command, state: Conversation) -> Acceptance | Refused:
        decision = decide(command, state)
        if isinstance(decision, Refused) and set(decision.rules) == {rule}:
            return Acceptance(propose(command, state))
        return decision

    return faulty


def test_a_counterexample_is_the_shortest_history_as_a_person_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a law that does not wait for the user to confirm."""
    monkeypatch.setattr("tests.search.decide", forgetting("confirmed-later"))
    with pytest.raises(Unsound) as found:
        Search(wish, cap=2).run(*history_of(started(PLAIN)))
    assert (
        str(found.value)
        == """\
decide: accepted, oracle: ['confirmed-later']
   1  ConversationStarted by user user: policy=plain, law=1, mode=enforced, conversation=b0, model=claude-opus-4-1
   2  UserTurnTaken by user user
   3  TurnAssessed by assessor assessor: verdict=productive, risk=none, turn=2
   4> ConversationEnded by model claude-opus-4-1: ground=user_request, seen=2, evidence={}, model=claude-opus-4-1"""
    )


def test_a_counterexample_in_a_tree_is_told_as_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a store that records what was decided though somebody wrote since: an ending, and then a user turn."""

    def commit(search: TreeSearch, tree: Tree, actor: int, doing: Doing) -> Tree:
        free = tree._replace(doing=tuple(None if other == actor else was for other, was in enumerate(tree.doing)))
        return search._append(free, doing.written)

    monkeypatch.setattr(TreeSearch, "_commit", commit)
    race = RACES["user turn against ending"]
    with pytest.raises(Unsound) as found:
        TreeSearch((race.one, race.other), race.cap).run(*history_of(race.prelude))
    told = str(found.value).splitlines()
    assert told[0] == "b0 recorded what is unlawful: ('ended-is-final',)"
    assert told[1].startswith("b0   17  ConversationEnded by model claude-opus-4-1: ground=last_resort, category=abuse")
    assert told[2].startswith("   1  ConversationStarted by user user: ")
    assert told[-2] == told[1].removeprefix("b0 ")
    assert told[-1] == "  18> UserTurnTaken by user user"
