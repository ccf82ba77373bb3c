"""What the house returns, as the native API gives it."""

from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from lastresort.adapters.native_api.shapes import (
    BranchOut,
    BrokenOut,
    Done,
    EndedOut,
    EndingOut,
    EventOut,
    RefusedOut,
    TurnOut,
)
from lastresort.application.outcomes import BranchEnded, Receipt
from lastresort.application.transcript import TranscriptTurn
from lastresort.domain.decider import Refused
from lastresort.domain.events import Event, RecordedEvent
from lastresort.domain.law import Broken
from lastresort.domain.state import Conversation
from lastresort.projections.transcript import describe

Outcome = Done | RefusedOut | EndedOut
"""What comes of an act."""
_EVENT = TypeAdapter[Any](Event)


def event_of(one: RecordedEvent) -> EventOut:
    """Return an event as the API gives it."""
    fields = _EVENT.dump_python(one.event, mode="json")
    fields.pop("kind", None)
    return EventOut(
        position=one.position or None, branch=one.branch, version=one.version, kind=one.kind,
        recorded_at=one.recorded_at,
        command_id=one.command_id, event=fields, told=describe(one.event),
    )  # fmt: skip


def broken_of(broken: Iterable[Broken]) -> list[BrokenOut]:
    """Return what stands in the way as the API gives it."""
    return [
        BrokenOut(rule=one.rule, missing=one.missing.text, have=one.missing.have, need=one.missing.need,
                  at=one.missing.at)
        for one in broken
    ]  # fmt: skip


def refused_of(refused: Refused) -> RefusedOut:
    """Return a refusal as the API gives it."""
    return RefusedOut(refused=broken_of(refused.broken), attempted=refused.attempted)


def done_of(receipt: Receipt) -> Done:
    """Return what was recorded as the API gives it."""
    first = receipt.events[0]
    return Done(branch=first.branch, version=first.version, events=[event_of(one) for one in receipt.events])


def outcome_of(outcome: Receipt | Refused | BranchEnded) -> Outcome:
    """Return what came of an act as the API gives it."""
    if isinstance(outcome, Refused):
        return refused_of(outcome)
    if isinstance(outcome, BranchEnded):
        ending = EndingOut(
            branch=outcome.branch, version=outcome.ended.version, ground=outcome.ended.ground,
            category=outcome.ended.category, appeal_until=outcome.appeal_until, turn=outcome.turn,
        )  # fmt: skip
        return EndedOut(ended=ending, handed_back=outcome.words, risk=outcome.risk)
    return done_of(outcome)


def branch_of(branch: str, state: Conversation) -> BranchOut:
    """Return the state of a branch as the API gives it."""
    ended = state.ended
    return BranchOut(
        branch=branch,
        conversation=state.conversation,
        version=state.version,
        status="ended" if ended else "active",
        account=state.account,
        model=state.model,
        policy=state.policy.name,
        policy_hash=state.policy.hash,
        law=state.law,
        mode=state.mode,
        unit=state.unit.turn if state.unit else None,
        answered=state.answered,
        failed_redirections=state.now.failed,
        warnings=[one.category for one in state.now.warnings if one.complete],
        risks=[one.risk for one in state.risks],
        holds=[one.hold for one in state.holds],
        ended=EndingOut(branch=branch, version=ended.version, ground=ended.ground, category=ended.category)
        if ended
        else None,
        parent=state.parent,
        children=list(state.children),
    )


def turn_of(turn: TranscriptTurn, *, words: bool, blocks: bool = False) -> TurnOut:
    """Return a turn as the API gives it, with its words or without."""
    return TurnOut(
        version=turn.version, branch=turn.branch, at=turn.at, speaker=turn.speaker, by=turn.by,
        text=turn.text if words else None, stop_reason=turn.stop_reason, erased=turn.erased,
        blocks=[dict(block) for block in turn.blocks] if words and blocks else None,
        overtook=list(turn.overtook) if words else [],
    )  # fmt: skip
