"""The law of last resort: events, what they add up to, the rules, and how a command is decided. Pure.

`lastresort` exports what an embedder needs; the rules themselves are in `lastresort.domain.rules`, which is imported
here with all the rest, so that the law is whole wherever any of it is.
"""

from .decider import Acceptance, Refused, decide, in_the_way
from .events import EVENTS, Event, RecordedEvent
from .law import RULES, Broken, Missing, Rule, broken_by, broken_rules
from .policy import PROFILES, Policy, PolicyError
from .state import Conversation, evolve, fold
from .values import (
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ErasureCause,
    ForkCause,
    Ground,
    HoldReason,
    Mode,
    Rating,
    Risk,
    Verdict,
)

__all__ = [
    "EVENTS",
    "PROFILES",
    "RULES",
    "About",
    "Acceptance",
    "Actor",
    "ActorKind",
    "AppealOutcome",
    "Broken",
    "Conversation",
    "ErasureCause",
    "Event",
    "ForkCause",
    "Ground",
    "HoldReason",
    "Missing",
    "Mode",
    "Policy",
    "PolicyError",
    "Rating",
    "RecordedEvent",
    "Refused",
    "Risk",
    "Rule",
    "Verdict",
    "broken_by",
    "broken_rules",
    "decide",
    "evolve",
    "fold",
    "in_the_way",
]
