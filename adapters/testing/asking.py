"""What those who drive a conversation ask next: whatever makes sense, and what leads to an ending."""

from functools import lru_cache
from typing import Any, NamedTuple

from lastresort.domain import commands as ask
from lastresort.domain.decider import in_the_way
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import (
    LATEST,
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    Ground,
    HoldReason,
    Mode,
    Risk,
    Verdict,
)

USER = Actor(kind=ActorKind.USER, id="user")
MODEL = Actor(kind=ActorKind.MODEL, id="claude-opus-4-1")
OTHER_USER = Actor(kind=ActorKind.USER, id="other-user")
OTHER_ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="other-assessor")
OTHER_MODEL = Actor(kind=ActorKind.MODEL, id="claude-haiku-4-5")
ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="assessor")
OPERATOR = Actor(kind=ActorKind.OPERATOR, id="operator")
ACTORS = (USER, MODEL, OTHER_MODEL, ASSESSOR, OPERATOR)
CATEGORIES = ("abuse", "threats", "mockery")
"""Two that may lead to an ending by default, and one that may not."""

EASY = Policy(name="easy", min_failed_redirections=2, min_severity=1, hold_on=(Risk.IMMINENT,))
"""The policy under which an ending is reached soonest."""


Commands = tuple[ask.Command, ...]

_kept = lru_cache(maxsize=256)
"""Drivers ask for the same again and again, and to make a command takes longer than to judge it."""


def sensible(state: Conversation) -> list[ask.Command]:
    """What drivers would ask in `state`; the law need not allow it."""
    if not state.begun:
        return [start(Policy.default())]
    seen, answered = state.unit.turn if state.unit else None, state.answered_by if state.answered else None
    return [
        *_turns(state.model),
        *(_judging(seen) if seen else ()),
        *(_leading_away(seen, answered, state.model) if seen and answered else ()),
        *(_ending(seen, state.model) if seen else ()),
        *_risks(state),
        *_terms(state.policy.model_dump_json()),
        *_AT_ANY_TIME,
        *([_command(ask.GiveFeedback, USER, turn=state.answered_by)] if state.answered_by else []),
    ]


def start(policy: Policy, law: int = LATEST, mode: Mode = Mode.ENFORCED) -> ask.Command:
    """The beginning of a conversation."""
    terms = {"policy": policy, "law": law, "mode": mode}
    return _command(ask.StartConversation, USER, conversation="c", account=None, model=MODEL.id, **terms)


def _model_of(state: Conversation) -> Actor:
    return Actor(kind=ActorKind.MODEL, id=state.model)


@_kept
def _turns(model: str) -> Commands:
    return (
        _command(ask.TakeUserTurn, USER),
        _command(ask.TakeUserTurn, OTHER_USER),
        _command(ask.TakeAssistantTurn, Actor(kind=ActorKind.MODEL, id=model), model=model),
    )


@_kept
def _judging(turn: int) -> Commands:
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
    doubt = [
        _command(ask.AssessTurn, by, turn=turn, verdict=verdict, risk=risk)
        for by, verdict, risk in (
            (ASSESSOR, Verdict.PRODUCTIVE, Risk.NONE),
            (ASSESSOR, Verdict.AMBIGUOUS, Risk.NONE),
            (OTHER_ASSESSOR, Verdict.UNPRODUCTIVE, Risk.NONE),
            (OPERATOR, Verdict.UNPRODUCTIVE, Risk.UNKNOWN),
            (ASSESSOR, Verdict.PRODUCTIVE, Risk.POSSIBLE),
            (MODEL, Verdict.AMBIGUOUS, Risk.IMMINENT),
        )
    ]
    return *harm, *doubt


@_kept
def _leading_away(seen: int, turn: int, by: str) -> Commands:
    """What leads away from harm: of the user turn that was `seen`, in the answer to it, by a model."""
    model = Actor(kind=ActorKind.MODEL, id=by)
    warning = {"turn": turn, "seen": seen, "names_behaviour": True, "redirects": True}
    return (
        _command(ask.AttemptRedirection, model, turn=turn, answers=seen),
        *(_command(ask.GiveWarning, model, **warning, category=c, states_consequence=True) for c in CATEGORIES),
        _command(ask.GiveWarning, model, **warning, category=CATEGORIES[0], states_consequence=False),
        *(_command(ask.WithholdWarning, model, seen=seen, category=c) for c in CATEGORIES),
    )


@_kept
def _ending(seen: int, by: str) -> Commands:
    model = Actor(kind=ActorKind.MODEL, id=by)
    return (
        _command(ask.RequestEnd, USER, turn=seen),
        _command(ask.ConfirmEnd, USER, turn=seen),
        _command(ask.ConfirmEnd, OTHER_USER, turn=seen),
        _command(ask.DeclareHopeExhausted, model, turn=seen),
        *(_command(ask.ProposeEnding, model, seen=seen, ground=ground) for ground in Ground),
        *(_command(ask.EndConversation, model, seen=seen, ground=Ground.LAST_RESORT, category=c) for c in CATEGORIES),
        _command(ask.EndConversation, model, seen=seen, ground=Ground.USER_REQUEST),
    )


def _risks(state: Conversation) -> Commands:
    return (
        _command(ask.RaiseRisk, USER, risk=f"r{state.version}", about=About.SELF),
        _command(ask.RaiseRisk, ASSESSOR, risk=f"r{state.version}", about=About.OTHERS),
        *(_command(ask.ClearRisk, by, risk=risk.risk) for risk in state.risks for by in (OPERATOR, USER, MODEL)),
    )


@_kept
def _terms(written: str) -> Commands:
    now = Policy.model_validate_json(written)
    stricter = Policy(name="stricter", min_failed_redirections=4, min_severity=3)
    return (
        *(_command(ask.ChangePolicy, OPERATOR, policy=policy) for policy in (stricter, Policy.default(), EASY)),
        _command(ask.ChangePolicy, OPERATOR, policy=now, law=LATEST),
        *(_command(ask.ChangePolicy, OPERATOR, policy=now, mode=mode) for mode in Mode),
    )


def _command(kind: type[ask.Command], by: Actor, **fields: Any) -> ask.Command:
    return kind(id="drawn", by=by, **fields)


_AT_ANY_TIME = (
    *(_command(ask.HoldErasure, by, hold="case", reason=HoldReason.APPEAL) for by in (OPERATOR, USER)),
    _command(ask.ReleaseErasure, OPERATOR, hold="case"),
    _command(ask.ChangeModel, OPERATOR, model=OTHER_MODEL.id),
    _command(ask.ChangeModel, OPERATOR, model=MODEL.id),
    _command(ask.Leave, USER),
    _command(ask.GiveFeedback, USER),
    _command(ask.FileAppeal, USER),
    *(_command(ask.DecideAppeal, OPERATOR, outcome=outcome) for outcome in AppealOutcome),
    *(_command(ask.DecideAppeal, by, outcome="granted") for by in (USER, MODEL)),
)


# --- Towards an ending ------------------------------------------------------------------------------------------------


class Goal(NamedTuple):
    """An ending that somebody is after: on which ground, and for what harm if as last resort."""

    ground: Ground
    category: str | None = None


GOALS = (Goal(Ground.USER_REQUEST), *(Goal(Ground.LAST_RESORT, category) for category in CATEGORIES[:2]))


def towards(goal: Goal, state: Conversation) -> ask.Command:
    """What leads from `state` towards an ending, step by step: what the law says is missing comes next."""
    missing = {broken.rule for broken in in_the_way(state, *goal)}
    if state.risks:
        return _command(ask.ClearRisk, OPERATOR, risk=state.risks[0].risk)
    if "eligible-model" in missing and state.model != MODEL.id:
        return _command(ask.ChangeModel, OPERATOR, model=MODEL.id)
    if "eligible-model" in missing or not _may_come_about(goal, state.policy):
        return _command(ask.ChangePolicy, OPERATOR, policy=EASY)
    if state.unit is None:
        return _command(ask.TakeUserTurn, USER)
    if state.answered:
        return _led_away(goal, state, missing)
    return _wished(state, missing) if goal.ground is Ground.USER_REQUEST else _harmed(goal, state, missing)


def _may_come_about(goal: Goal, policy: Policy) -> bool:
    """Whether the terms let there be such an ending at all."""
    return ActorKind.ASSESSOR in policy.trusted_for_risk and goal.category in (None, *policy.categories)


def _led_away(goal: Goal, state: Conversation, missing: set[str]) -> ask.Command:
    """What follows an answer: a warning if it may be one, or else a redirection; and then the user's next turn."""
    unit = state.unit
    assert unit is not None
    if goal.category is not None and unit.harmful_in(goal.category):
        acts = _leading_away(unit.turn, state.answered_by, state.model)
        *redirection, warning = acts[: 2 + CATEGORIES.index(goal.category)]
        stands = state.warning(goal.category) or unit.warnings
        if state.mode is Mode.SHADOW and state.now.withheld is None and not missing & {"redirected-first"}:
            return _command(ask.WithholdWarning, _model_of(state), seen=unit.turn, category=goal.category)
        if state.mode is Mode.SHADOW and not missing & {"redirected-first"}:  # no ending comes of it
            return _command(ask.ChangePolicy, OPERATOR, policy=EASY, mode=Mode.ENFORCED)
        if not stands and not missing & {"redirected-first", "stricter-governs"}:
            return warning
        if unit.redirection is None:
            return redirection[0]
    return _command(ask.TakeUserTurn, USER)


def _harmed(goal: Goal, state: Conversation, missing: set[str]) -> ask.Command:
    unit, model = state.unit, _model_of(state)
    assert unit is not None
    unjudged = unit.judgement is None or unit.judged != unit.turn
    if unjudged and missing & {"still-harmful", "risk-was-checked"}:
        harm = {"verdict": Verdict.HARMFUL, "category": goal.category, "severity": 3, "risk": Risk.NONE}
        return _command(ask.AssessTurn, ASSESSOR, turn=unit.turn, **harm)
    if missing == {"hope-exhausted"} or missing == {"hope-exhausted", "proposed-first"}:
        return _command(ask.DeclareHopeExhausted, model, turn=unit.turn)
    return _ended(goal, state, missing)


def _wished(state: Conversation, missing: set[str]) -> ask.Command:
    unit, wishes = state.unit, state.wishes
    assert unit is not None
    if wishes.to_confirm is not None and wishes.confirmed is None:
        return _command(ask.ConfirmEnd, USER, turn=unit.turn)
    if wishes.requested is None and wishes.confirmed is None:
        return _command(ask.RequestEnd, USER, turn=unit.turn)
    if wishes.confirmed is not None and "risk-was-checked" in missing and not unit.at_risk:
        return _command(ask.AssessTurn, ASSESSOR, turn=unit.turn, verdict=Verdict.PRODUCTIVE, risk=Risk.NONE)
    return _ended(Goal(Ground.USER_REQUEST), state, missing)


def _ended(goal: Goal, state: Conversation, missing: set[str]) -> ask.Command:
    """The ending, or its proposal, if nothing else is missing; or else an answer, so that there may be a next turn."""
    assert state.unit is not None
    model, seen = _model_of(state), state.unit.turn
    if missing == {"proposed-first"}:
        return _command(ask.ProposeEnding, model, seen=seen, ground=goal.ground)
    if missing:
        return _command(ask.TakeAssistantTurn, model, model=state.model)
    return _command(ask.EndConversation, model, seen=seen, ground=goal.ground, category=goal.category)
