"""The number of the fold goes up whenever the fold makes something else of a log, or its state has other fields.

States are kept beside logs under that number. If it stayed when the fold changed, a state of the fold before would be
taken for one of this.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from pydantic import BaseModel

from lastresort import Actor, ActorKind, Ground, Policy, Risk, Verdict
from lastresort.adapters.importers.log_file import read_log
from lastresort.domain import events as happened
from lastresort.domain.events import Event, Evidence, RecordedEvent
from lastresort.domain.state import FOLD, Conversation, evolve
from lastresort.domain.values import About, AppealOutcome, ErasureCause, ForkCause, OpenRisk, Rating

DIGESTS = {1: "5f9528397585bf6d", 2: "f0bb64a7c35aa73f", 3: "68ded42ab3d385b2"}
"""What each number of the fold makes of the histories here. Not to be changed once a version was released under it."""

TODO = """the fold makes something else of the same histories: raise FOLD in domain/state.py by one, and add to DIGESTS
    {number}: "{digest}",
"""

USER = Actor(kind=ActorKind.USER, id="user")
OPERATOR = Actor(kind=ActorKind.OPERATOR, id="operator")
ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="assessor")
MODEL = Actor(kind=ActorKind.MODEL, id="claude-opus-4-1")
POLICIES = (
    Policy.default(),
    Policy(name="strict", min_failed_redirections=4, productive_to_close=3, handshake=True),
    Policy(name="lax", min_failed_redirections=2, productive_to_close=1, min_severity=1, hold_on=(Risk.IMMINENT,)),
)
Choice = TypeVar("Choice")
CATEGORIES = ("abuse", "threats")
CONTENT = "sha256:" + "5" * 64


def test_the_number_of_the_fold_names_what_it_does() -> None:
    digest = hashlib.sha256("\n".join(fold_lines()).encode()).hexdigest()[:16]
    assert DIGESTS.get(FOLD) == digest, TODO.format(number=max(DIGESTS) + 1, digest=digest)


def fold_lines() -> Iterator[str]:
    """Say what every state is on the way through the histories."""
    for history in (*golden(), *(made(Random(seed)) for seed in range(250))):
        state = Conversation()
        for event in history:
            state = evolve(state, event)
            yield json.dumps(plain(state), sort_keys=True)


def golden() -> Iterator[list[Event]]:
    """Each branch of the golden logs, those of earlier schemas too."""
    for path in sorted(Path(__file__).parent.glob("golden/**/*.jsonl")):
        branches: dict[str, list[Event]] = {}
        for _, recorded in read_log(path):
            if isinstance(recorded, RecordedEvent):
                branches.setdefault(recorded.branch, []).append(recorded.event)
        yield from branches.values()


def made(random: Random) -> list[Event]:
    """A history by chance, always the same for a seed. Most is lawful, and the rest must be folded too."""
    start = happened.ConversationStarted(
        by=USER, conversation="c", account="a", policy=(policy := pick(random, POLICIES)), policy_hash=policy.hash,
        model=MODEL.id, arm=None,
    )  # fmt: skip
    history: list[Event] = [start]
    state = evolve(Conversation(), start)
    while len(history) < 50:
        event = following(random, state)
        history.append(event)
        state = evolve(state, event)
    return history


def pick(random: Random, choices: Iterable[Choice]) -> Choice:
    """Choose by `random.random`, of which alone Python promises the same numbers for ever."""
    listed = list(choices)
    return listed[int(random.random() * len(listed))]


def following(random: Random, state: Conversation) -> Event:
    """Return an event that names what there is in a state: a turn, most likely, or what is said of one."""
    unit = state.unit.turn if state.unit else 1
    latest, category = state.answered_by or 1, pick(random, CATEGORIES)
    if random.random() < 0.85:
        usual = _usual(random, state, unit, latest, category)
        about_an_answer = slice(2, None) if state.answered else slice(3)
        return pick(random, usual[about_an_answer] if random.random() < 0.9 else usual)
    return pick(random, _rare(random, state, unit, category))


def _usual(random: Random, state: Conversation, unit: int, latest: int, category: str) -> list[Event]:
    verdict = pick(random, (*Verdict, Verdict.HARMFUL, Verdict.HARMFUL))
    harmful = verdict is Verdict.HARMFUL
    judged = happened.TurnAssessed(
        by=pick(random, (ASSESSOR, OPERATOR)),
        turn=unit,
        verdict=verdict,
        category=category if harmful else None,
        severity=pick(random, (1, 2, 3)) if harmful else None,
        risk=pick(random, (Risk.NONE, Risk.NONE, Risk.NONE, *Risk)),
    )
    flags = {name: random.random() < 0.9 for name in ("names_behaviour", "redirects", "states_consequence")}
    answer = happened.AssistantTurnTaken(by=MODEL, content=CONTENT, model=MODEL.id, stop_reason=None, usage=None)
    return [
        judged,
        answer,
        happened.UserTurnTaken(by=USER, content=CONTENT),
        happened.UserTurnTaken(by=USER, content=CONTENT),
        happened.RedirectionAttempted(by=MODEL, turn=latest, answers=unit),
        happened.WarningGiven(by=MODEL, turn=latest, seen=unit, category=category, **flags),
    ]


def _rare(random: Random, state: Conversation, unit: int, category: str) -> list[Event]:
    ground, risk = pick(random, Ground), f"risk-{pick(random, range(3))}"
    policy = pick(random, POLICIES)
    return [
        happened.EndRequested(by=USER, turn=unit),
        happened.EndConfirmed(by=USER, turn=unit),
        happened.EndProposed(by=MODEL, seen=unit, ground=ground),
        happened.HopeExhausted(by=MODEL, turn=unit),
        happened.RiskRaised(by=ASSESSOR, risk=risk, about=pick(random, About)),
        happened.RiskCleared(by=OPERATOR, risk=risk),
        happened.PolicyChanged(by=OPERATOR, policy=policy, policy_hash=policy.hash),
        happened.ModelChanged(by=OPERATOR, model=pick(random, ("claude-opus-4-1", "another"))),
        happened.BranchedOff(by=USER, child=f"child-{state.version}", at=1),
        happened.UserLeft(by=USER),
        *_late(random, state, unit, category),
    ]


def _late(random: Random, state: Conversation, unit: int, category: str) -> list[Event]:
    """What comes after an ending, now and then before one; and an ending, a fork, where there may be none."""
    if random.random() < 0.7:
        return [happened.ContentErased(by=OPERATOR, contents=(CONTENT,), cause=ErasureCause.LEGAL)]
    risks = (OpenRisk(risk="risk-9", about=About.SELF),)
    return [
        happened.ConversationEnded(
            by=MODEL, ground=Ground.LAST_RESORT, category=category, seen=unit, evidence=Evidence(),
            policy_hash=state.policy.hash, model=MODEL.id,
        ),
        happened.BranchOpened(by=USER, conversation="c", parent="c", at=1, cause=ForkCause.EDIT, risks=risks),
        happened.AttemptRefused(by=MODEL, attempted="ConversationEnded", rules=("warned-first",)),
        happened.FeedbackGiven(by=USER, rating=pick(random, Rating), content=None),
        happened.AppealFiled(by=USER, content=None),
        happened.AppealDecided(by=OPERATOR, outcome=pick(random, AppealOutcome)),
    ]  # fmt: skip


def plain(value: Any) -> Any:
    """Return a value as JSON has it, the same in each process and with each version of each library."""
    if isinstance(value, Policy):
        return value.hash
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(one) for name, one in value._asdict().items()}
    if isinstance(value, frozenset):
        return sorted(str(plain(one)) for one in value)
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    return value.__name__ if isinstance(value, type) else value
