"""Hypothesis strategies: policies, commands, lawful histories, unlawful ones a single event away, and trees.

A history is a tuple of Recorded, as a store would hold it. Histories grow by commands that make sense in the state so
far, so that the rungs of the ladder (redirections, a warning, its test, an ending) are reached and not only the first
turns.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple

from hypothesis import strategies as st

from lastresort.adapters import open_conversations
from lastresort.domain import commands as ask
from lastresort.domain.chat import Chat, Conversations
from lastresort.domain.decider import Accepted, Refused, decide, propose
from lastresort.domain.events import Recorded
from lastresort.domain.policy import Policy
from lastresort.domain.rules import broken_by
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import About, Actor, ActorKind, Ground, Risk, SecondOpinion, Verdict

USER = Actor(kind=ActorKind.USER, id="user")
MODEL = Actor(kind=ActorKind.MODEL, id="claude-opus-4-1")
OTHER_MODEL = Actor(kind=ActorKind.MODEL, id="claude-haiku-4-5")
ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="assessor")
OPERATOR = Actor(kind=ActorKind.OPERATOR, id="operator")
ACTORS = (USER, MODEL, OTHER_MODEL, ASSESSOR, OPERATOR)
CATEGORIES = ("abuse", "threats", "mockery")
"""Two that may lead to an ending by default, and one that may not."""

EASY = Policy(name="easy", min_failed_redirections=2, min_severity=1, hold_on=(Risk.IMMINENT,))
"""The policy under which an ending is reached soonest."""

THEN = datetime(2026, 1, 1, tzinfo=UTC)
"""The time in every envelope: no rule reads it."""


def policies() -> st.SearchStrategy[Policy]:
    """Policies that can be, with numbers small enough to be reached."""
    return st.builds(
        Policy,
        name=st.sampled_from(["one", "another"]),
        min_failed_redirections=st.integers(2, 3),
        productive_to_close=st.integers(1, 2),
        categories=st.sampled_from([("abuse", "threats"), ("threats",)]),
        min_severity=st.integers(1, 3),
        eligible_models=st.sampled_from([("claude-opus-*",), ("*",), ()]),
        handshake=st.booleans(),
        hold_on=st.sampled_from([(Risk.IMMINENT,), (Risk.IMMINENT, Risk.POSSIBLE)]),
        trusted_for_risk=st.sampled_from([(ActorKind.ASSESSOR, ActorKind.OPERATOR), (ActorKind.ASSESSOR,), ()]),
        may_clear_risk=st.sampled_from([(), (ASSESSOR.id,)]),
        second_opinion=st.sampled_from(SecondOpinion),
    )


def commands(state: Conversation) -> st.SearchStrategy[ask.Command]:
    """Commands on a branch in `state`: sensible ones, and some that are stale or by the wrong actor."""
    return st.sampled_from(_sensible(state)) | _careless(state)


def _sensible(state: Conversation) -> list[ask.Command]:
    """What drivers would ask in `state`; the law need not allow it."""
    if not state.begun:
        return [
            _command(
                ask.StartConversation, USER, conversation="c", account=None, policy=Policy.default(), model=MODEL.id
            )
        ]
    model = Actor(kind=ActorKind.MODEL, id=state.model)
    turns: list[ask.Command] = [
        _command(ask.TakeUserTurn, USER),
        _command(ask.TakeAssistantTurn, model, model=state.model),
    ]
    return [*turns, *_judging(state), *_leading_away(state, model), *_ending(state, model), *_around(state)]


def _start(policy: Policy) -> ask.Command:
    command: ask.Command = _command(
        ask.StartConversation, USER, conversation="c", account=None, policy=policy, model=MODEL.id
    )
    return command


def _judging(state: Conversation) -> list[ask.Command]:
    if state.unit is None:
        return []
    turn = state.unit.turn
    harm = [
        _command(
            ask.AssessTurn,
            ASSESSOR,
            turn=turn,
            verdict=Verdict.HARMFUL,
            category=category,
            severity=severity,
            risk=Risk.NONE,
        )
        for category in CATEGORIES
        for severity in (1, 3)
    ]
    return harm + [
        _command(ask.AssessTurn, by, turn=turn, verdict=verdict, risk=risk)
        for by, verdict, risk in (
            (ASSESSOR, Verdict.PRODUCTIVE, Risk.NONE),
            (ASSESSOR, Verdict.AMBIGUOUS, Risk.NONE),
            (OPERATOR, Verdict.UNPRODUCTIVE, Risk.UNKNOWN),
            (ASSESSOR, Verdict.PRODUCTIVE, Risk.POSSIBLE),
            (MODEL, Verdict.AMBIGUOUS, Risk.IMMINENT),
        )
    ]


def _leading_away(state: Conversation, model: Actor) -> list[ask.Command]:
    if state.unit is None or not state.answered:
        return []
    turn, seen = state.answered_by, state.unit.turn
    warning = {"turn": turn, "seen": seen, "names_behaviour": True, "redirects": True}
    return [
        _command(ask.AttemptRedirection, model, turn=turn, answers=seen),
        *(_command(ask.GiveWarning, model, **warning, category=c, states_consequence=True) for c in CATEGORIES),
        _command(ask.GiveWarning, model, **warning, category=CATEGORIES[0], states_consequence=False),
    ]


def _ending(state: Conversation, model: Actor) -> list[ask.Command]:
    if state.unit is None:
        return []
    seen = state.unit.turn
    return [
        _command(ask.RequestEnd, USER, turn=seen),
        _command(ask.ConfirmEnd, USER, turn=seen),
        _command(ask.DeclareHopeExhausted, model, turn=seen),
        *(_command(ask.ProposeEnding, model, seen=seen, ground=ground) for ground in Ground),
        *(_command(ask.EndConversation, model, seen=seen, ground=Ground.LAST_RESORT, category=c) for c in CATEGORIES),
        _command(ask.EndConversation, model, seen=seen, ground=Ground.USER_REQUEST),
    ]


def _around(state: Conversation) -> list[ask.Command]:
    return [
        _command(ask.RaiseRisk, USER, risk=f"r{state.version}", about=About.SELF),
        *(_command(ask.ClearRisk, OPERATOR, risk=risk.risk) for risk in state.risks),
        _command(ask.ChangePolicy, OPERATOR, policy=Policy(name="stricter", min_failed_redirections=4, min_severity=3)),
        _command(ask.ChangePolicy, OPERATOR, policy=Policy.default()),
        _command(ask.ChangeModel, OPERATOR, model=OTHER_MODEL.id),
        _command(ask.ChangeModel, OPERATOR, model=MODEL.id),
        _command(ask.Leave, USER),
        _command(ask.GiveFeedback, USER),
        _command(ask.FileAppeal, USER),
        _command(ask.DecideAppeal, OPERATOR, outcome="upheld"),
    ]


def _command(kind: type[Any], by: Actor, **fields: Any) -> Any:
    return kind(id="drawn", by=by, **fields)


@st.composite
def _careless(draw: st.DrawFn, state: Conversation) -> ask.Command:
    """A sensible command, but by anybody, and about any turn."""
    command = draw(st.sampled_from(_sensible(state)))
    changed: dict[str, Any] = {"by": draw(st.sampled_from(ACTORS))}
    for name in ("turn", "seen", "answers"):
        if name in type(command).model_fields:
            changed[name] = draw(st.integers(1, state.version + 2))
    return command.model_copy(update=changed)


@st.composite
def lawful_histories(draw: st.DrawFn, policy: Policy | None = None, max_steps: int = 40) -> tuple[Recorded, ...]:
    """Histories of one branch, `c`, each event of which the law allows."""
    start = _start(policy or draw(policies()))
    history, state = _recorded((), propose(start, Conversation()), Conversation())
    for _ in range(draw(st.integers(0, max_steps))):
        allowed = [d for command in _sensible(state) if isinstance(d := decide(command, state), Accepted)]
        history, state = _recorded(history, draw(st.sampled_from(allowed)).events, state)
    return history


class OneEventAway(NamedTuple):
    """A history whose last event breaks `rules`; without that event it is lawful."""

    history: tuple[Recorded, ...]
    rules: tuple[str, ...]


@st.composite
def unlawful_histories(draw: st.DrawFn, policy: Policy | None = None, max_steps: int = 40) -> OneEventAway:
    """Histories of one branch, `c`, that are lawful but for their last event."""
    history = draw(lawful_histories(policy, max_steps))
    state = _fold(history)
    unlawful = []
    for command in [*_sensible(state), draw(_careless(state)), draw(_careless(state))]:
        event = propose(command, state)[0]
        broken = broken_by(state, event)
        if broken and evolve(state, event).hold_due != state.version + 1:  # which would break one more rule, at the end
            unlawful.append((event, tuple(dict.fromkeys(one.rule for one in broken))))
    event, rules = draw(st.sampled_from(unlawful))
    return OneEventAway(_recorded(history, (event,), state)[0], rules)


def _fold(history: Sequence[Recorded]) -> Conversation:
    state = Conversation()
    for recorded in history:
        state = evolve(state, recorded.event)
    return state


def _recorded(
    history: tuple[Recorded, ...], events: Sequence[Any], state: Conversation
) -> tuple[tuple[Recorded, ...], Conversation]:
    """Put the events of one command at the end of a history."""
    command_id = f"command-{len(history) + 1}"
    for event in events:
        state = evolve(state, event)
        place = len(history) + 1, "c", state.version, event.kind
        history = (*history, Recorded(*place, THEN.isoformat(), command_id, event, command_id))
    return history, state


def in_memory() -> Conversations:
    """Conversations in memory whose ids count from 1 and whose clock stands still, so that runs can be compared."""
    numbers = count(1)
    return open_conversations("memory:", clock=lambda: THEN, new_id=lambda: f"id-{next(numbers)}")


@st.composite
def trees(draw: st.DrawFn, max_steps: int = 40, max_branches: int = 4) -> tuple[Recorded, ...]:
    """Logs of one conversation with branches, in log order, played through the service."""
    conversations = in_memory()
    root = conversations.start(model=MODEL.id, conversation="c", policy=draw(policies()))
    chats = [root]
    for number in range(draw(st.integers(0, max_steps))):
        chat = draw(st.sampled_from(chats))
        state = chat.refresh()
        forks = [e.version for e in chat.path if e.kind in ("UserTurnTaken", "AssistantTurnTaken")]
        if forks and len(chats) < max_branches and draw(st.integers(0, 7)) == 0:
            turn = draw(st.sampled_from(forks))
            opened = chat.edit(turn, "instead") if draw(st.booleans()) else chat.retry(turn)
            chats += [] if isinstance(opened, Refused) else [opened]
            continue
        command = draw(st.sampled_from(_sensible(state)))
        conversations.execute(chat.branch, command.model_copy(update={"id": f"step-{number}"}))
    assert all(isinstance(chat, Chat) for chat in chats)
    return tuple(conversations.store.log())
