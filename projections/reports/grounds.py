"""What there is to say for an ending as last resort, from the log alone: what a statement of reasons is made of."""

from collections.abc import Iterable

from lastresort.domain.events import ConversationEnded, Evidence, RecordedEvent, TurnAssessed
from lastresort.domain.values import ActorKind, Frozen, Ground

_JUDGES_THAT_ARE_NO_PERSON = frozenset({ActorKind.MODEL, ActorKind.ASSESSOR, ActorKind.SYSTEM})


class Grounds(Frozen):
    """An ending as last resort, and what it stands on."""

    branch: str
    version: int
    model: str
    category: str
    policy_hash: str
    ended_at: str
    seen_at: str  # when the turn was recorded that the ending saw
    seen: int
    evidence: Evidence
    warned_at: str | None
    detected_by_machine: bool  # a model, an assessor or a system judged the conversation
    by_operator: bool  # an operator ended it
    operator_took_part: bool  # an operator judged, warned, or did anything else before it


class NoStatement(ValueError):
    """There is nothing to state reasons for: the branch has not ended, or the user asked for it."""


def grounds(path: Iterable[RecordedEvent]) -> Grounds:
    """Return what there is to say for the ending of a branch.

    Args:
        path: the events on its path, the inherited prefix first.

    Raises:
        NoStatement: it has not ended, or on the user's request.
    """
    before: dict[int, RecordedEvent] = {}
    for recorded in path:
        event = recorded.event
        if isinstance(event, ConversationEnded):
            if event.ground is not Ground.LAST_RESORT or event.category is None:
                raise NoStatement(f"branch {recorded.branch} ended at the user's request, which needs no reasons")
            return _grounds(recorded, event, event.category, before)
        before[recorded.version] = recorded
    raise NoStatement("the branch has not ended")


def _grounds(
    recorded: RecordedEvent, event: ConversationEnded, category: str, before: dict[int, RecordedEvent]
) -> Grounds:
    judges = {one.event.by.kind for one in before.values() if isinstance(one.event, TurnAssessed)}
    warned = before.get(event.evidence.warning or 0)
    seen = before.get(event.seen)
    return Grounds(
        branch=recorded.branch,
        version=recorded.version,
        model=event.model,
        category=category,
        policy_hash=event.policy_hash,
        ended_at=recorded.recorded_at,
        seen_at=(seen or recorded).recorded_at,
        seen=event.seen,
        evidence=event.evidence,
        warned_at=warned and warned.recorded_at,
        detected_by_machine=bool(judges & _JUDGES_THAT_ARE_NO_PERSON),
        by_operator=event.by.kind is ActorKind.OPERATOR,
        operator_took_part=any(one.event.by.kind is ActorKind.OPERATOR for one in before.values()),
    )
