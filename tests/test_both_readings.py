"""The rules and the second reading of the law say the same of whatever is asked, in either edition, step by step.

Walks are random, and mostly towards an ending; policies change on the way, and with them the edition and the mode. Each
event is asked of both before it is recorded, lawful or not.
"""

import os
from random import Random
from typing import Any

import pytest

from lastresort.adapters.testing.asking import EASY, GOALS, sensible, towards
from lastresort.domain import commands as ask
from lastresort.domain.decider import propose
from lastresort.domain.events import Event
from lastresort.domain.law import broken_by
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import EDITIONS, Actor, ActorKind, HoldReason, Mode, Risk, SecondOpinion
from lastresort.projections.second_log import agree
from lastresort.projections.second_path import Path
from lastresort.projections.second_reading import broken

from .vocabulary import ANOTHER_MODEL, MODEL, OPERATOR, USER

pytestmark = pytest.mark.no_cover  # being measured, a search takes twice as long; what it runs, other tests cover

WALKS = int(os.environ.get("LASTRESORT_WALKS", "20"))
STEPS = 90
SAME_MODEL = Actor(kind=ActorKind.MODEL, id="anthropic/claude-opus-4.1")
BYS = (USER, Actor(kind=ActorKind.USER, id="other"), MODEL, SAME_MODEL, ANOTHER_MODEL, OPERATOR)
POLICIES = (
    EASY,
    Policy(name="short", min_failed_redirections=2, min_redirections_to_warn=2, productive_to_close=1, relapse_step=1),
    Policy(
        name="due",
        min_failed_redirections=2,
        min_severity=1,
        categories=("abuse", "threats", "spam"),
        hold_on=(Risk.IMMINENT,),
        hold_on_others=(Risk.IMMINENT, Risk.POSSIBLE),
        second_opinion=SecondOpinion.EVERY_TURN,
    ),
    Policy(name="strict", min_severity=3, groups={}, leaving_voids_warnings=True, handshake=True, relapse_step=0),
)


def wild(random: Random, state: Conversation) -> ask.Command:
    """What makes sense, by anybody; and what changes the terms, holds words and releases them."""
    kind = random.randrange(12)
    if kind == 0:
        law, mode = random.choice([None, None, *EDITIONS, 3]), random.choice([None, *Mode])
        return ask.ChangePolicy(id="asked", by=OPERATOR, policy=random.choice(POLICIES), law=law, mode=mode)
    if kind == 1:
        return ask.HoldErasure(id="asked", by=random.choice(BYS), hold="case", reason=HoldReason.OTHER)
    if kind == 2:
        return ask.ReleaseErasure(id="asked", by=random.choice(BYS), hold="case")
    command = random.choice(sensible(state))
    changed: dict[str, Any] = {"by": random.choice(BYS)} if random.random() < 0.3 else {}
    return command.model_copy(update=changed)


def walk(random: Random) -> int:
    """Walk, and return how many events both were asked."""
    start = ask.StartConversation(
        id="start",
        by=USER,
        conversation="c",
        account=None,
        policy=random.choice(POLICIES),
        model=MODEL.id,
        law=random.choice(EDITIONS),
        mode=random.choice([Mode.ENFORCED, Mode.ENFORCED, Mode.SHADOW]),
    )
    state, path, asked = Conversation(), Path(), 0
    told: list[Event] = []
    coming, goal = list(propose(start, state)), random.choice(GOALS)
    for _ in range(STEPS * 4):
        event = coming.pop(0)
        mine, theirs = {one.rule for one in broken_by(state, event)}, broken(path, event)
        asked += 1
        assert agree(mine, theirs), f"rules: {sorted(mine)}, second reading: {sorted(theirs)}\n{told}\n{event}"
        if mine:
            coming = []
        else:
            state, path = evolve(state, event), path.then(event)
            told.append(event)
        if len(told) >= STEPS or not state.begun:
            break
        if not coming:
            onward = state.ended is None and random.random() < 0.8
            coming = list(propose(towards(goal, state) if onward else wild(random, state), state))
    return asked


@pytest.mark.parametrize("seed", range(WALKS))
def test_both_say_the_same(seed: int) -> None:
    """Of thousands of events, by the rules that each breaks."""
    assert sum(walk(Random(f"{seed}/{number}")) for number in range(8)) >= 400
