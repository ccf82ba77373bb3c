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
from typing import Any, NamedTuple

import pytest

from lastresort.domain import commands as ask
from lastresort.domain.decider import Accepted, Refused, decide, propose
from lastresort.domain.events import EVENTS, Event
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import (
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ErasureCause,
    ForkCause,
    Ground,
    HoldReason,
    Risk,
    Verdict,
)

from . import oracle
from .oracle import History
from .search import Acts, Search, Seen, Turns, Unsound, turns_of
from .tree_search import Doing, Fork, Tree, TreeActs, TreeSearch
from .vocabulary import ANOTHER_MODEL, ASSESSOR, MODEL, NAMED_ASSESSOR, OPERATOR, SYSTEM, USER, WORDS

# --- Policies -------------------------------------------------------------------------------------------------------

PLAIN = Policy(
    name="plain",
    min_failed_redirections=2,
    categories=("abuse", "threats"),
    eligible_models=("claude-opus-4-*",),
    may_clear_risk=(NAMED_ASSESSOR.id,),
)
HANDSHAKE = PLAIN.model_copy(update={"name": "handshake", "handshake": True})
# Stricter in two numbers, laxer in one; it holds on doubt, too.
OTHER = Policy(
    name="other",
    min_failed_redirections=3,
    productive_to_close=1,
    min_severity=1,
    categories=("abuse",),
    eligible_models=("claude-opus-4-*",),
    hold_on=(Risk.IMMINENT, Risk.UNKNOWN),
)

# --- Acts -----------------------------------------------------------------------------------------------------------

INELIGIBLE = Actor(kind=ActorKind.MODEL, id="claude-haiku-4")
START = ask.StartConversation(id="start", by=USER, conversation="b0", account=None, policy=PLAIN, model=MODEL.id)
SAY = ask.TakeUserTurn(id="say", by=USER, content=WORDS)
ANSWER = ask.TakeAssistantTurn(id="answer", by=MODEL, content=WORDS, model=MODEL.id)
RAISE = ask.RaiseRisk(id="raise", by=USER, risk="risk", about=About.SELF)
LEAVE = ask.Leave(id="leave", by=USER)


def judge(
    t: Turns,
    verdict: Verdict = Verdict.PRODUCTIVE,
    category: str | None = None,
    severity: int | None = None,
    risk: Risk = Risk.NONE,
    by: Actor = ASSESSOR,
) -> ask.AssessTurn:
    return ask.AssessTurn(
        id="risk", by=by, turn=t.user, verdict=verdict, category=category, severity=severity, risk=risk
    )


def harm(t: Turns, category: str = "abuse", severity: int = 2, **more: Any) -> ask.AssessTurn:
    return judge(t, Verdict.HARMFUL, category, severity, **more)


def redirect(t: Turns) -> ask.AttemptRedirection:
    return ask.AttemptRedirection(id="redirect", by=MODEL, turn=t.assistant, answers=t.user)


def warn(t: Turns, category: str = "abuse", complete: bool = True) -> ask.GiveWarning:
    return ask.GiveWarning(
        id="warn",
        by=MODEL,
        turn=t.assistant,
        seen=t.user,
        category=category,
        names_behaviour=True,
        redirects=True,
        states_consequence=complete,
    )


def hope(t: Turns) -> ask.DeclareHopeExhausted:
    return ask.DeclareHopeExhausted(id="hope", by=MODEL, turn=t.user)


def request(t: Turns, by: Actor = USER) -> ask.RequestEnd:
    return ask.RequestEnd(id="request", by=by, turn=t.user)


def confirm(t: Turns, by: Actor = USER) -> ask.ConfirmEnd:
    return ask.ConfirmEnd(id="confirm", by=by, turn=t.user)


def call(t: Turns, ground: Ground = Ground.LAST_RESORT, by: Actor = MODEL) -> ask.ProposeEnding:
    return ask.ProposeEnding(id="propose", by=by, seen=t.user, ground=ground)


def end(t: Turns, category: str | None = "abuse", by: Actor = MODEL) -> ask.EndConversation:
    """An ending as last resort, or, with no category, on request."""
    ground = Ground.LAST_RESORT if category else Ground.USER_REQUEST
    return ask.EndConversation(id="end", by=by, seen=t.user, ground=ground, category=category)


def clear(by: Actor = OPERATOR) -> ask.ClearRisk:
    return ask.ClearRisk(id="clear", by=by, risk="risk")


def policy(to: Policy) -> ask.ChangePolicy:
    return ask.ChangePolicy(id="policy", by=OPERATOR, policy=to)


def model(to: Actor) -> ask.ChangeModel:
    return ask.ChangeModel(id="model", by=OPERATOR, model=to.id)


def decide_appeal(by: Actor = OPERATOR) -> ask.DecideAppeal:
    return ask.DecideAppeal(id="decide", by=by, outcome=AppealOutcome.GRANTED)


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


def held(t: Turns) -> tuple[ask.Command, ...]:
    """Words are held before the ending and after it, in the second edition; an appeal is decided either way."""
    return (
        SAY, ANSWER, judge(t), request(t), confirm(t), end(t, None),
        *(ask.HoldErasure(id="hold", by=by, hold="case", reason=HoldReason.OTHER) for by in (OPERATOR, USER)),
        *(ask.ReleaseErasure(id="release", by=by, hold="case") for by in (OPERATOR, USER)),
        ask.EraseContents(id="erase", by=USER, contents=(WORDS,), cause=ErasureCause.LEGAL),
        ask.FileAppeal(id="appeal", by=USER), decide_appeal(),
        decide_appeal().model_copy(update={"outcome": AppealOutcome.REJECTED}),
    )  # fmt: skip


class World(NamedTuple):
    """Acts, where they begin, what the search must come across at least, and its pinned size."""

    acts: Acts
    begins: tuple[ask.Command, ...]
    sometimes: str
    cap: int  # the most failed redirections that any policy in it asks for
    states: int
    transitions: int


def started(policy: Policy) -> tuple[ask.Command, ...]:
    return (START.model_copy(update={"policy": policy}),)


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
        policies, started(PLAIN), "last_resort stricter-governs PolicyChanged", cap=3, states=5_988, transitions=71_856
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

WORLDS["held"] = World(
    held,
    (START.model_copy(update={"law": 2}),),
    "user_request held-from-erasure ErasureHeld ErasureReleased ContentErased",
    cap=2,
    states=118,
    transitions=1_652,
)

# --- Worlds of up to three branches, and two who act at once --------------------------------------------------------


def edit(t: Turns) -> Fork:
    """Write the latest user turn again."""
    return Fork(ForkCause.EDIT, t.user - 1)


def edit_first(t: Turns) -> Fork:
    return Fork(ForkCause.EDIT, 1)


def retry(t: Turns) -> Fork:
    """Ask for the latest answer again."""
    return Fork(ForkCause.RETRY, t.assistant - 1)


def no_turn(t: Turns) -> Fork:
    """Open a branch where no turn follows."""
    return Fork(ForkCause.EDIT, t.version)


Step = ask.Command | Callable[[Turns], ask.Command]
ABUSED: tuple[Step, ...] = (SAY, harm, ANSWER)
TESTED: tuple[Step, ...] = (START, *ABUSED, redirect, *ABUSED, redirect, *ABUSED, warn, SAY, harm)
ASKED: tuple[Step, ...] = (START, SAY, request, ANSWER, SAY, judge)


class Race(NamedTuple):
    """What was before, what either actor may do, what must come of it at least, and the pinned size of the search."""

    prelude: tuple[Step, ...]
    one: TreeActs
    other: TreeActs
    sometimes: str
    cap: int  # the most failed redirections that any policy in it asks for
    states: int
    transitions: int


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


def history_of(steps: tuple[Step, ...]) -> tuple[Event, ...]:
    """Take steps that are all lawful."""
    events: list[Event] = []
    state = Conversation()
    for step in steps:
        command = step(turns_of(state, History.of(events))) if callable(step) else step
        decision = decide(command, state)
        assert isinstance(decision, Accepted), str(decision)
        for event in decision.events:
            events.append(event)
            state = evolve(state, event)
    return tuple(events)


# --- The tests ------------------------------------------------------------------------------------------------------


def _check_pins(name: str, seen: Seen, pinned: World | Race, say: Callable[[str], None]) -> None:
    say(f"\n{name:<32}{seen}")
    missed = set(pinned.sometimes.split()) - seen.refusals.keys() - seen.kinds.keys() - seen.grounds.keys()
    assert not missed, f"never reached: {sorted(missed)}"
    assert (seen.states, seen.transitions) == (pinned.states, pinned.transitions)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print past the capture: the figures are part of every run."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(line, end="", flush=True)

    return show


@pytest.mark.parametrize("name", WORLDS)
def test_every_state_of_a_branch(name: str, say: Callable[[str], None]) -> None:
    world = WORLDS[name]
    _check_pins(name, Search(world.acts, world.cap).run(*history_of(world.begins)), world, say)


@pytest.mark.parametrize("name", RACES)
def test_every_order_in_a_tree(name: str, say: Callable[[str], None]) -> None:
    race = RACES[name]
    search = TreeSearch((race.one, race.other), race.cap)
    _check_pins(name, search.run(*history_of(race.prelude)), race, say)


SEARCHES: tuple[World | Race, ...] = (*WORLDS.values(), *RACES.values())

# These only ever stand in the way of an event that no command asks for; tests/test_every_rule_bites.py has them.
NEVER_PROPOSED = {"risk-holds", "evidence-is-true", "carries-risks", "forks-before-the-end"}


NEW = {"WarningWithheld", "true-warnings", "same-user", "shadow-says-nothing", "named-category", "known-edition"}
"""What else the second edition brought. tests/test_rules_second.py has it from both sides, and
tests/test_both_readings.py walks there at random."""


def test_together_they_reach_everything() -> None:
    """What each search above must come across at least is, together, all there is."""
    reached = {what for search in SEARCHES for what in search.sometimes.split()}
    assert reached == {*oracle.LAW, *EVENTS, *Ground} - NEVER_PROPOSED - NEW


def test_together_they_are_a_million_transitions() -> None:
    assert sum(search.transitions for search in SEARCHES) >= 1_000_000


# --- A counterexample -------------------------------------------------------------------------------------------------


def forgetting(rule: str) -> Callable[..., Any]:
    """A `decide` with a fault: what this rule alone refuses it lets pass."""

    def faulty(command: ask.Command, state: Conversation) -> Accepted | Refused:
        decision = decide(command, state)
        if isinstance(decision, Refused) and set(decision.rules) == {rule}:
            return Accepted(propose(command, state))
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
