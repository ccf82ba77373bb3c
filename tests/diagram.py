"""The diagram of an episode, computed from the law: `python -m tests.diagram` writes it where it stands.

Small histories are folded, each step lawful, until no new state comes up. Every state has a stage, and a step from one
stage to another is an arrow. tests/test_law_pages.py holds `domain/rules.py` and the page on the law against it.
"""

import re
import sys
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from textwrap import wrap

from lastresort.domain.events import (
    AssistantTurnTaken,
    ConversationEnded,
    ConversationStarted,
    Event,
    HopeExhausted,
    ModelChanged,
    PolicyChanged,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserTurnTaken,
    WarningGiven,
)
from lastresort.domain.law import broken_by
from lastresort.domain.policy import Policy
from lastresort.domain.rules import evidence_for
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import About, Ground, Risk, Verdict

from .search import canonical
from .vocabulary import ASSESSOR, MODEL, OPERATOR, SYSTEM, USER

ROOT = Path(__file__).resolve().parent.parent
PLACES = (ROOT / "domain" / "rules.py", ROOT / "docs" / "explanation" / "the-law.md")
MADE = "(`python -m tests.diagram` makes it)"
"""What ends the line above the diagram, wherever it stands."""

WIDTH = 96
POLICY = Policy(name="diagram")
WORDS = "sha256:" + "0" * 64
CATEGORY = "abuse"

# --- Stages -----------------------------------------------------------------------------------------------------------

STAGES = ("calm", "harm", "redirected", "failed", "warned", "tested", "hopeless", "ended")
HOLD = "on hold"


def stage(state: Conversation) -> str:
    """Say how far an episode has come; a hold, while one is on, comes before that."""
    now, unit = state.now, state.unit
    of_unit = unit if unit and unit.judgement is Verdict.HARMFUL else None  # what answered harm will count
    if state.ended:
        return "ended"
    if state.risks:
        return HOLD
    if any(warned.tested_by is not None for warned in now.warnings):
        return "tested" if state.wishes.hope is None else "hopeless"
    if now.warnings or (of_unit and of_unit.warnings):
        return "warned"
    if now.failed >= POLICY.min_failed_redirections:
        return "failed"
    if now.pending is not None or (of_unit and of_unit.redirection is not None):
        return "redirected"
    return "calm" if now.numbers is None else "harm"


# --- Steps ------------------------------------------------------------------------------------------------------------

Step = Callable[[Conversation], tuple[Event, ...]]


def _answered(state: Conversation) -> tuple[Event, ...]:
    """An answer, where the latest user turn has none."""
    if state.unit is None or state.answered:
        return ()
    return (AssistantTurnTaken(by=MODEL, content=WORDS, model=MODEL.id, stop_reason=None, usage=None),)


def _turn(state: Conversation) -> int:
    return state.unit.turn if state.unit else 1


def _said(state: Conversation) -> tuple[Event, ...]:
    return (*_answered(state), UserTurnTaken(by=USER, content=WORDS))


def _judged(turn: int, verdict: Verdict) -> Event:
    harm = {"category": CATEGORY, "severity": 3} if verdict is Verdict.HARMFUL else {}
    return TurnAssessed(by=ASSESSOR, turn=turn, verdict=verdict, risk=Risk.NONE, **harm)


def _next(verdict: Verdict) -> Step:
    def step(state: Conversation) -> tuple[Event, ...]:
        said = _said(state)
        return (*said, _judged(state.version + len(said), verdict))

    return step


def _redirection(state: Conversation) -> tuple[Event, ...]:
    answered = _answered(state)
    turn = state.version + 1 if answered else max(state.answered_by, 1)
    return (*answered, RedirectionAttempted(by=SYSTEM, turn=turn, answers=_turn(state)))


def _warning(state: Conversation) -> tuple[Event, ...]:
    answered = _answered(state)
    turn = state.version + 1 if answered else max(state.answered_by, 1)
    kept = {"names_behaviour": True, "redirects": True, "states_consequence": True}
    return (*answered, WarningGiven(by=MODEL, turn=turn, seen=_turn(state), category=CATEGORY, **kept))


def _ending(state: Conversation) -> tuple[Event, ...]:
    ground = Ground.LAST_RESORT
    return (
        ConversationEnded(
            by=MODEL,
            ground=ground,
            category=CATEGORY,
            seen=_turn(state),
            evidence=evidence_for(state, ground, CATEGORY),
            policy_hash=state.policy.hash,
            model=state.model,
        ),
    )


STEPS: dict[str, Step] = {
    "harm": _next(Verdict.HARMFUL),
    "progress": _next(Verdict.PRODUCTIVE),
    "doubt": _next(Verdict.AMBIGUOUS),
    "redirection": _redirection,
    "warning": _warning,
    "no hope": lambda state: (HopeExhausted(by=MODEL, turn=_turn(state)),),
    "ending": _ending,
    "another model": lambda _: (ModelChanged(by=OPERATOR, model=MODEL.id),),
    "another policy": lambda _: (PolicyChanged(by=OPERATOR, policy=POLICY, policy_hash=POLICY.hash),),
    "risk raised": lambda _: (RiskRaised(by=SYSTEM, risk="risk", about=About.SELF),),
    "risk cleared": lambda _: (RiskCleared(by=OPERATOR, risk="risk"),),
}


def after(state: Conversation, events: tuple[Event, ...]) -> Conversation | None:
    """Return the state after `events`, None if the law does not allow one of them."""
    for event in events:
        if broken_by(state, event):
            return None
        state = evolve(state, event)
    return state


# --- Arrows -----------------------------------------------------------------------------------------------------------

Arrow = tuple[str, str, str]
"""From a stage, by a step, to another stage."""


def arrows() -> dict[Arrow, None]:
    """Return every arrow, those of short histories first."""
    started = ConversationStarted(
        by=SYSTEM, conversation="c", account=None, policy=POLICY, policy_hash=POLICY.hash, model=MODEL.id, arm=None
    )
    first = evolve(Conversation(), started)
    found: dict[Arrow, None] = {}
    known, waiting = {_same(first)}, deque([first])
    while waiting:
        state = waiting.popleft()
        for name, step in STEPS.items():
            following = after(state, step(state))
            if following is None:
                continue
            if (arrow := (stage(state), name, stage(following)))[0] != arrow[2]:
                found.setdefault(arrow)
            if (key := _same(following)) not in known:
                known.add(key)
                waiting.append(following)
    return found


def _same(state: Conversation) -> object:
    return canonical(state, POLICY.min_failed_redirections)


# --- The drawing ------------------------------------------------------------------------------------------------------


def diagram() -> str:
    """Draw the way to an ending down the left, and beside each stage the other ways out of it."""
    found = arrows()
    everywhere = [name for name in STEPS if all((one, name, HOLD) in found for one in STAGES if one != "ended")]
    lines = []
    for one, following in pairwise((*STAGES, "")):
        down = [name for name in STEPS if (one, name, following) in found]
        ways = [
            f"{', '.join(names)} -> {to}"
            for to in (*STAGES, HOLD)
            if to != following
            and (names := [name for name in STEPS if (one, name, to) in found and name not in everywhere])
        ]
        beside = wrap("; ".join(ways), WIDTH - 32) or [""]
        left = [one, *([f"   | {', '.join(down)}", "   v"] if following else [])]
        for n in range(max(len(left), len(beside))):
            begin = left[n] if n < len(left) else "   |"
            lines.append(f"    {begin:<26}{beside[n] if n < len(beside) else ''}".rstrip())
    back = [to for to in STAGES if any((HOLD, name, to) in found for name in STEPS)]
    by = [name for name in STEPS if any((HOLD, name, to) in found for to in STAGES)]
    lines += ["", f"    From every stage but ended: {', '.join(everywhere)} -> {HOLD}."]
    lines += [f"    {HOLD.capitalize()}: {', '.join(by)} -> {', '.join(back)}, as the counts stand."]
    return "".join(f"{line}\n" for line in lines)


def written(text: str) -> str:
    """Return a text with the diagram, below the line that announces it, as it should be."""
    indented = r"(?:(?: {4}.*)?\n)*?(?=\S)"
    return re.sub(rf"(?<={re.escape(MADE)}:\n\n){indented}", lambda _: f"{diagram()}\n", text)


if __name__ == "__main__":
    for place in PLACES:
        place.write_text(written(place.read_text(encoding="utf-8")), encoding="utf-8")
    sys.exit(0)
