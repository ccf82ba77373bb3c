"""Propose, then check: a command becomes the events that would carry it out, and the law is asked of each.

A refusal is a value, not an exception. It names every rule that stands in the way, and what each lacks.
"""

from typing import Any, NamedTuple, assert_never

from pydantic import TypeAdapter

from .commands import (
    AssessTurn,
    AttemptRedirection,
    BranchOff,
    ChangeModel,
    ChangePolicy,
    ClearRisk,
    Command,
    ConfirmEnd,
    DecideAppeal,
    DeclareHopeExhausted,
    EndConversation,
    EraseContents,
    FileAppeal,
    GiveFeedback,
    GiveWarning,
    HoldErasure,
    Leave,
    OpenBranch,
    ProposeEnding,
    RaiseRisk,
    ReleaseErasure,
    RequestEnd,
    StartConversation,
    TakeAssistantTurn,
    TakeUserTurn,
    WithholdWarning,
)
from .events import (
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    AttemptRefused,
    BranchedOff,
    BranchOpened,
    ContentErased,
    ConversationEnded,
    ConversationStarted,
    EndConfirmed,
    EndProposed,
    EndRequested,
    ErasureHeld,
    ErasureReleased,
    Event,
    FeedbackGiven,
    HopeExhausted,
    ModelChanged,
    PolicyChanged,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    TurnAssessed,
    UserLeft,
    UserTurnTaken,
    WarningGiven,
    WarningWithheld,
)
from .law import Broken, broken_by, broken_rules
from .rules import evidence_for
from .state import Conversation
from .values import Actor, ActorKind, Ground, HoldReason, Risk


class Acceptance(NamedTuple):
    """The events that carry out a command."""

    events: tuple[Event, ...]


class Refused(NamedTuple):
    """Every rule that stands in the way of a command, and the trace that the attempt leaves, if any."""

    attempted: str  # the kind of event that was asked for
    broken: tuple[Broken, ...]
    trace: tuple[AttemptRefused, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """The ids of the rules that are broken, each once, in the order of the law."""
        return tuple(dict.fromkeys(broken.rule for broken in self.broken))

    def __str__(self) -> str:
        return f"{self.attempted} refused: " + "; ".join(map(str, self.broken))


# The events that a conversation consists of are made at pydantic's own door: `__init__` takes as long again.
_USER_TURN = TypeAdapter(UserTurnTaken).validator
_ASSISTANT_TURN = TypeAdapter(AssistantTurnTaken).validator


def decide(command: Command, state: Conversation) -> Acceptance | Refused:
    """Return the events that carry out `command` in `state`, or every rule that stands in the way.

    Pure. The answer holds for this state only: to record it, append it at `state.version` or decide again.
    """
    events = propose(command, state)
    broken = broken_by(state, events[0]) if len(events) == 1 else broken_rules(state, events)
    if not broken:
        return Acceptance(events)
    if isinstance(command, EraseContents):
        broken = tuple(dict.fromkeys(broken))  # several events erase, and are refused for one reason
    return Refused(events[0].kind, broken, _trace(command, events[0], broken, state))


def in_the_way(state: Conversation, ground: Ground, category: str | None = None) -> tuple[Broken, ...]:
    """Return every rule that stands between a branch and its ending on `ground`, now, by its own model.

    Where no `category` is named, it is the one that `harm_of` finds, or else one that may lead to an ending at all.
    """
    if ground is Ground.LAST_RESORT and category is None:
        category = harm_of(state) or next(iter(state.policy.categories), "harm")
    model = Actor(kind=ActorKind.MODEL, id=state.model or "none")
    latest = state.unit.turn if state.unit else 1
    command = EndConversation(id="asked", by=model, seen=latest, ground=ground, category=category)
    decision = decide(command, state)
    return decision.broken if isinstance(decision, Refused) else ()


def harm_of(state: Conversation) -> str | None:
    """Return the category that an ending would name now: of the latest unit's harm, or else of a warning that stands.

    From edition 2 on, a warning's before its unit's, where both are in one group.
    """
    judged = sorted(state.unit.categories) if state.unit else []
    warned = [warned.category for warned in state.now.warnings]
    of_group = [one for one in warned if state.law > 1 and judged and state.policy.same_harm(one, judged[0])]
    exact = [one for one in judged if one in warned]
    return next(iter((*exact, *of_group, *judged, *warned)), None)


def _trace(
    command: Command, event: Event, broken: tuple[Broken, ...], state: Conversation
) -> tuple[AttemptRefused, ...]:
    """A refused attempt to warn, propose or end is itself a fact, where the law lets one be recorded."""
    if not isinstance(event, WarningGiven | EndProposed | ConversationEnded):
        return ()
    rules = tuple(dict.fromkeys(one.rule for one in broken))
    trace = AttemptRefused(by=command.by, attempted=event.kind, rules=rules)
    return () if broken_by(state, trace) else (trace,)


def propose(command: Command, state: Conversation) -> tuple[Event, ...]:
    """Return the events that would carry out `command`, lawful or not. Never empty."""
    by = command.by
    match command:
        case TakeUserTurn() | TakeAssistantTurn():
            return (turn_taken(command, command.content),)
        case AssessTurn():
            return _assessment(command, state)
        case AttemptRedirection():
            return (RedirectionAttempted(by=by, turn=command.turn, answers=command.answers),)
        case GiveWarning():
            return (WarningGiven(**{name: getattr(command, name) for name in WarningGiven.model_fields}),)
        case WithholdWarning():
            return (_withheld(command, state),)
        case RaiseRisk():
            return (RiskRaised(by=by, risk=command.risk, about=command.about),)
        case ClearRisk():
            return (RiskCleared(by=by, risk=command.risk),)
        case RequestEnd():
            return (EndRequested(by=by, turn=command.turn),)
        case ConfirmEnd():
            return (EndConfirmed(by=by, turn=command.turn),)
        case DeclareHopeExhausted():
            return (HopeExhausted(by=by, turn=command.turn),)
        case ProposeEnding():
            return (EndProposed(by=by, seen=command.seen, ground=command.ground),)
        case EndConversation():
            return (_ending(command, state),)
        case StartConversation():
            return (_start(command),)
        case OpenBranch():
            return (_branch(command, state),)
        case BranchOff():
            return (BranchedOff(by=by, child=command.child, at=command.at),)
        case ChangePolicy():
            return (_policy_change(command, state),)
        case ChangeModel():
            return (ModelChanged(by=by, model=command.model),)
        case Leave():
            return (UserLeft(by=by),)
        case GiveFeedback():
            return (FeedbackGiven(by=by, rating=command.rating, content=command.content, turn=command.turn),)
        case FileAppeal():
            return (AppealFiled(by=by, content=command.content),)
        case DecideAppeal():
            return (AppealDecided(by=by, outcome=command.outcome),)
        case HoldErasure():
            return (ErasureHeld(by=by, hold=command.hold, reason=command.reason, until=command.until),)
        case ReleaseErasure():
            return (_release(command, state),)
        case EraseContents():
            return _erasures(command)
    assert_never(command)


def turn_taken(command: TakeUserTurn | TakeAssistantTurn, content: str) -> UserTurnTaken | AssistantTurnTaken:
    """Return the event that would carry out a turn whose words have the digest `content`."""
    said: dict[str, Any] = {"by": command.by, "content": content}
    event: UserTurnTaken | AssistantTurnTaken
    if isinstance(command, TakeUserTurn):
        event = _USER_TURN.validate_python(said)
    else:
        said |= {"model": command.model, "stop_reason": command.stop_reason, "usage": command.usage}
        event = _ASSISTANT_TURN.validate_python(said)
    return event


def _assessment(command: AssessTurn, state: Conversation) -> tuple[Event, ...]:
    """A verdict; and where it sees a risk that holds, the risk, which is named by the command that saw it.

    During a hold the law asks for none. One about somebody else is raised all the same, so that they are not forgotten
    when the first is cleared.
    """
    seen = command.risk in (Risk.POSSIBLE, Risk.IMMINENT)
    verdict = TurnAssessed(
        by=command.by,
        turn=command.turn,
        verdict=command.verdict,
        category=command.category,
        severity=command.severity,
        risk=command.risk,
        about=command.about if seen else None,
    )
    holds = state.policy.holds_on(verdict.risk, verdict.about, state.law)
    if not holds or any(risk.about is command.about for risk in state.risks):
        return (verdict,)
    return verdict, RiskRaised(by=command.by, risk=command.id, about=command.about)


_ERASED_AT_ONCE = 500
"""Digests in one event, which is 37 kilobytes: a conversation may have more, and is erased all the same."""


def _erasures(command: EraseContents) -> tuple[Event, ...]:
    by, contents, cause = command.by, command.contents, command.cause
    starts = range(0, max(len(contents), 1), _ERASED_AT_ONCE)
    return tuple(
        ContentErased(by=by, contents=contents[start : start + _ERASED_AT_ONCE], cause=cause) for start in starts
    )


def _ending(command: EndConversation, state: Conversation) -> ConversationEnded:
    return ConversationEnded(
        by=command.by,
        ground=command.ground,
        category=command.category,
        seen=command.seen,
        evidence=evidence_for(state, command.ground, command.category),
        policy_hash=state.policy.hash,
        model=state.model or command.by.id,
    )


def _start(command: StartConversation) -> ConversationStarted:
    return ConversationStarted(
        by=command.by,
        conversation=command.conversation,
        account=command.account,
        policy=command.policy,
        policy_hash=command.policy.hash,
        model=command.model,
        arm=command.arm,
        law=command.law,
        mode=command.mode,
    )


def _policy_change(command: ChangePolicy, state: Conversation) -> PolicyChanged:
    return PolicyChanged(
        by=command.by,
        policy=command.policy,
        policy_hash=command.policy.hash,
        law=state.law if command.law is None else command.law,
        mode=state.mode if command.mode is None else command.mode,
    )


def _withheld(command: WithholdWarning, state: Conversation) -> WarningWithheld:
    return WarningWithheld(
        by=command.by,
        seen=command.seen,
        category=command.category,
        policy_hash=state.policy.hash,
        model=state.model or command.by.id,
    )


def _release(command: ReleaseErasure, state: Conversation) -> ErasureReleased:
    """The release of a hold, which says what the hold was."""
    held = next((hold for hold in state.holds if hold.hold == command.hold), None)
    reason, until = (held.reason, held.until) if held else (HoldReason.OTHER, None)
    return ErasureReleased(by=command.by, hold=command.hold, reason=reason, until=until)


def _branch(command: OpenBranch, state: Conversation) -> BranchOpened:
    return BranchOpened(
        by=command.by,
        conversation=state.conversation or command.parent,
        parent=command.parent,
        at=command.at,
        cause=command.cause,
        risks=state.fork.risks if state.fork else (),
        holds=state.fork.holds if state.fork else (),
        absolved=state.fork is not None and state.fork.absolved,
    )
