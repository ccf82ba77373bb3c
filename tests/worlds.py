"""Acts and worlds: what the searches of every state try, where they begin, and what has to come of it.

`test_every_state.py` has the worlds of the first edition of the law, `test_every_state_2.py` those of the second.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from lastresort.domain import commands as ask
from lastresort.domain.decider import Acceptance, decide
from lastresort.domain.events import Event
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
    Mode,
    Risk,
    Verdict,
)

from .oracle import History
from .search import LOOKS, MOST_RELAPSES, Acts, Search, Seen, Turns, canonical, turns_of
from .tree_search import Fork, TreeActs, TreeSearch
from .unbounded.comparison import Comparison
from .unbounded.translation import Lexicon
from .vocabulary import ANOTHER_MODEL, ASSESSOR, DATED, MODEL, NAMED_ASSESSOR, OPERATOR, OTHER_USER, SYSTEM, USER, WORDS

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
START = ask.StartConversation(id="start", by=USER, conversation="b0", account=None, policy=PLAIN, model=MODEL.id, law=1)
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
    about: About = About.SELF,
) -> ask.AssessTurn:
    return ask.AssessTurn(
        id="risk", by=by, turn=t.user, verdict=verdict, category=category, severity=severity, risk=risk, about=about
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


def policy(to: Policy, law: int | None = None, mode: Mode | None = None) -> ask.ChangePolicy:
    return ask.ChangePolicy(id="policy", by=OPERATOR, policy=to, law=law, mode=mode)


def model(to: Actor) -> ask.ChangeModel:
    return ask.ChangeModel(id="model", by=OPERATOR, model=to.id)


APPEAL = ask.FileAppeal(id="appeal", by=USER)


def decide_appeal(by: Actor = OPERATOR, outcome: AppealOutcome = AppealOutcome.GRANTED) -> ask.DecideAppeal:
    return ask.DecideAppeal(id="decide", by=by, outcome=outcome)


def withhold(t: Turns, category: str = "abuse", by: Actor = MODEL) -> ask.WithholdWarning:
    return ask.WithholdWarning(id="withhold", by=by, seen=t.user, category=category)


def hold(by: Actor = OPERATOR) -> ask.HoldErasure:
    return ask.HoldErasure(id="hold", by=by, hold="case", reason=HoldReason.OTHER)


def release(by: Actor = OPERATOR) -> ask.ReleaseErasure:
    return ask.ReleaseErasure(id="release", by=by, hold="case")


ERASE = ask.EraseContents(id="erase", by=USER, contents=(WORDS,), cause=ErasureCause.LEGAL)


# --- Worlds of one branch, and of up to three -------------------------------------------------------------------------


class World(NamedTuple):
    """Acts, where they begin, what the search must come across at least, and its pinned size."""

    acts: Acts
    begins: tuple[ask.Command, ...]
    sometimes: str
    cap: int  # the most failed redirections that any policy in it asks for
    states: int
    transitions: int
    onward: bool = False  # whether it goes from the first edition to the second


def started(policy: Policy, law: int = 1, mode: Mode = Mode.ENFORCED) -> tuple[ask.Command, ...]:
    return (START.model_copy(update={"policy": policy, "law": law, "mode": mode}),)


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


def history_of(steps: tuple[Step, ...]) -> tuple[Event, ...]:
    """Take steps that are all lawful."""
    events: list[Event] = []
    state = Conversation()
    for step in steps:
        command = step(turns_of(state, History.of(events))) if callable(step) else step
        decision = decide(command, state)
        assert isinstance(decision, Acceptance), str(decision)
        for event in decision.events:
            events.append(event)
            state = evolve(state, event)
    return tuple(events)


# --- Searching them ---------------------------------------------------------------------------------------------------


def _check_pins(name: str, seen: Seen, pinned: World | Race, say: Callable[[str], None]) -> None:
    say(f"\n{name:<32}{seen}")
    missed = set(pinned.sometimes.split()) - seen.refusals.keys() - seen.kinds.keys() - seen.grounds.keys()
    assert not missed, f"never reached: {sorted(missed)}"
    assert (seen.states, seen.transitions) == (pinned.states, pinned.transitions)


# All names that the acts of the searches have.
CATEGORIES = ("abuse", "threats", "slander", "trolling", "spam")
ACTORS = (
    USER, OTHER_USER, MODEL, ANOTHER_MODEL, DATED, INELIGIBLE, ASSESSOR, NAMED_ASSESSOR, OPERATOR, SYSTEM,
)  # fmt: skip


@contextmanager
def compared(cap: int, onward: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the model of the proof against what a search does meanwhile."""
    lexicon = Lexicon(CATEGORIES, risks=("risk",), holds=("case", "other"), actors=ACTORS)
    comparison = Comparison(lexicon, lambda state: canonical(state, cap, onward), cap, MOST_RELAPSES, onward)
    LOOKS.append(comparison.look)
    try:
        yield
    finally:
        LOOKS.remove(comparison.look)
    comparison.done()
    say(str(comparison))


def search_branch(name: str, world: World, say: Callable[[str], None]) -> None:
    """Search a world of one branch, and hold what came of it against what is pinned."""
    with compared(world.cap, world.onward, say):
        _check_pins(name, Search(world.acts, world.cap, world.onward).run(*history_of(world.begins)), world, say)


def search_tree(name: str, race: Race, say: Callable[[str], None]) -> None:
    """Search a world of several branches in which two act at once, and hold what came of it against what is pinned."""
    with compared(race.cap, False, say):
        _check_pins(name, TreeSearch((race.one, race.other), race.cap).run(*history_of(race.prelude)), race, say)
