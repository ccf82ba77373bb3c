"""A log in which everything happens: every kind of event, both editions, branches, holds, endings and refusals.

It is drawn, from a seed, so that it is the same everywhere. Most people in it are after something, an ending on one of
the grounds, and take the next step towards it, but for what comes in between. No two of its conversations are alike, so
that what remembers answers by state and event gains no more here than in life.
"""

from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from lastresort import Chat, Conversations, Mode, Policy, Refused, Risk, open_conversations
from lastresort.adapters.testing.asking import ASSESSOR, GOALS, MODEL, OPERATOR, USER, Goal, sensible, towards
from lastresort.application.ports import Append
from lastresort.domain import commands as ask
from lastresort.domain.values import EDITIONS, ActorKind, ErasureCause, SecondOpinion, Usage

from .stories import Overheard

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_WEIGHTS: dict[type, float] = {ask.TakeUserTurn: 12, ask.TakeAssistantTurn: 12, ask.AssessTurn: 9}
_SELDOM = 0.6  # any other kind of command
_ERASED = 0.2  # how often an erasure is one of what may come next
_POLICIES = 40  # in use at once
_MOST_BRANCHES = 5
_MODES = (*[Mode.ENFORCED] * 5, Mode.SHADOW)
_TURNS = ("UserTurnTaken", "AssistantTurnTaken")


def diverse(events: int, seed: int = 1) -> list[Append]:
    """Return the appends of a log of at least so many events, all of them lawful, without words."""
    chance, numbers, clock = Random(seed), count(1), count()
    told = open_conversations(
        "memory:",
        clock=lambda: _BEGAN + timedelta(seconds=next(clock), microseconds=chance.randrange(1_000_000)),
        new_id=lambda: f"{chance.getrandbits(64):016x}-{next(numbers)}",
    )
    told.service.ports.store = overheard = Overheard(told.store)
    policies = [_policy(chance) for _ in range(_POLICIES)]
    while told.store.head() < events:
        _tell(told, chance.choice(policies), chance)
    return [append._replace(erased=()) for append in overheard.appends]


def _tell(told: Conversations, policy: Policy, chance: Random) -> None:
    """Tell one conversation, from its beginning to wherever it comes."""
    terms: dict[str, Any] = {
        "policy": policy,
        "edition": chance.choice((1, *EDITIONS[1:] * 2)),
        "mode": chance.choice(_MODES),
    }
    account = f"account-{chance.randrange(2_000)}"
    root = told.start(model=MODEL.id, account=account, arm=chance.choice((None, "a", "b")), **terms)
    chats: list[tuple[Chat, Goal | None]] = [(root, chance.choice((None, None, *GOALS)))]
    for _ in range(chance.choice((4, 8, 15, 25, 40, 80))):
        chat, goal = chance.choice(chats)
        if len(chats) < _MOST_BRANCHES and chance.random() < 0.03 and (child := _forked(chat, chance)) is not None:
            chats.append((child, chance.choice((None, *GOALS))))
            continue
        _step(told, chat, goal, chance)


def _step(told: Conversations, chat: Chat, goal: Goal | None, chance: Random) -> None:
    state = chat.refresh()
    if state.ended is not None and chance.random() < 0.7:
        goal = None
    if goal is not None and chance.random() < 0.8:
        command = towards(goal, state)
    else:
        by_kind: dict[type, list[ask.Command]] = {}
        erasures = _erasures(chat, chance) if chance.random() < _ERASED else []
        for one in (*sensible(state), *erasures):
            by_kind.setdefault(type(one), []).append(one)
        weights = _WEIGHTS if state.ended is None else {}
        (kind,) = chance.choices(list(by_kind), [weights.get(kind, _SELDOM) for kind in by_kind])
        command = chance.choice(by_kind[kind])
    told.service.execute(chat.branch, _as_said(command, chat, chance), _words(command))


def _as_said(command: ask.Command, chat: Chat, chance: Random) -> ask.Command:
    """A command with an id of its own, by the user of this conversation, and with what differs from time to time."""
    fields: dict[str, Any] = {"id": f"{chance.getrandbits(64):016x}"}
    if command.by == USER:
        fields["by"] = chat.user
    if isinstance(command, ask.TakeAssistantTurn):
        fields["stop_reason"] = chance.choice(("end_turn", "tool_use", "max_tokens"))
        if chance.random() < 0.7:
            fields["usage"] = Usage(input_tokens=chance.randrange(20_000), output_tokens=chance.randrange(2_000))
    if isinstance(command, ask.AssessTurn) and command.by == ASSESSOR:
        fields["by"] = ASSESSOR.model_copy(update={"id": f"assessor-{chance.randrange(4)}"})
    return command.model_copy(update=fields)


def _words(command: ask.Command) -> str | None:
    return "something" if isinstance(command, ask.TakeUserTurn | ask.TakeAssistantTurn) else None


def _erasures(chat: Chat, chance: Random) -> list[ask.Command]:
    """Erase what was said in a turn, now and then."""
    said = [event.event.content for event in chat.path if event.kind in _TURNS]  # type: ignore[union-attr]
    cause = chance.choice(list(ErasureCause))
    return [ask.EraseContents(id="erase", by=OPERATOR, contents=(chance.choice(said),), cause=cause)] if said else []


def _forked(chat: Chat, chance: Random) -> Chat | None:
    turns = [event.version for event in chat.path if event.kind in _TURNS]
    if not turns:
        return None
    turn = chance.choice(turns)
    child = chat.edit(turn, "instead") if chance.random() < 0.5 else chat.retry(turn)
    return None if isinstance(child, Refused) else child


def _policy(chance: Random) -> Policy:
    """A policy with numbers that are reached."""
    choose = chance.choice
    return Policy(
        name=choose(("one", "another", "third")),
        min_failed_redirections=choose((2, 3)),
        productive_to_close=choose((1, 2)),
        categories=choose((("abuse", "threats"), ("abuse", "harassment", "hate", "threats"))),
        min_severity=choose((1, 2)),
        eligible_models=choose((("claude-opus-*",), ("*",))),
        handshake=choose((False, False, True)),
        hold_on=choose(((Risk.IMMINENT,), (Risk.IMMINENT, Risk.POSSIBLE))),
        trusted_for_risk=(ActorKind.ASSESSOR, ActorKind.OPERATOR),
        may_clear_risk=choose(((), (ASSESSOR.id,))),
        second_opinion=choose(tuple(SecondOpinion)),
        groups=choose(({}, {"malice": ("abuse", "threats")})),
        leaving_voids_warnings=choose((False, True)),
    )
