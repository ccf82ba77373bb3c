"""How often the law came into play: the figures that an operator and a welfare report look at."""

from collections import Counter
from collections.abc import Iterable, Mapping

from lastresort.domain.events import (
    AssistantTurnTaken,
    AttemptRefused,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    EndConfirmed,
    EndRequested,
    RecordedEvent,
    RedirectionAttempted,
    RiskRaised,
    TurnAssessed,
    UserTurnTaken,
    WarningGiven,
)
from lastresort.domain.values import Frozen


class Figures(Frozen):
    """Counts of what happened; by name where there are kinds of it, in the order of the names."""

    conversations: int
    branches: int
    user_turns: int
    assistant_turns: int
    verdicts: Mapping[str, int]
    redirections: int
    warnings: int
    requests: int
    confirmations: int
    endings: Mapping[str, int]  # by ground
    refusals: Mapping[str, int]  # by rule: an attempt refused under two rules counts under both
    holds: int  # risks raised, each counted once, on however many branches


def figures(log: Iterable[RecordedEvent]) -> Figures:
    """Count the events of a log."""
    kinds: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    refusals: Counter[str] = Counter()
    holds: set[tuple[str, str]] = set()
    for recorded in log:
        event = recorded.event
        kinds[recorded.kind] += 1
        match event:
            case TurnAssessed():
                verdicts[event.verdict] += 1
            case ConversationEnded():
                endings[event.ground] += 1
            case AttemptRefused():
                refusals.update(event.rules)
            case RiskRaised():
                holds.add((recorded.command_id, event.risk))
            case _:
                pass
    return Figures(
        conversations=kinds[ConversationStarted.kind],
        branches=kinds[ConversationStarted.kind] + kinds[BranchOpened.kind],
        user_turns=kinds[UserTurnTaken.kind],
        assistant_turns=kinds[AssistantTurnTaken.kind],
        verdicts=dict(sorted(verdicts.items())),
        redirections=kinds[RedirectionAttempted.kind],
        warnings=kinds[WarningGiven.kind],
        requests=kinds[EndRequested.kind],
        confirmations=kinds[EndConfirmed.kind],
        endings=dict(sorted(endings.items())),
        refusals=dict(sorted(refusals.items())),
        holds=len(holds),
    )
