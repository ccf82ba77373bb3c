"""The law of last resort: events, states, rules, and the service that keeps them. Pure, but for the ports.

What an embedder needs is exported here; the rules themselves are in `lastresort.domain.rules`.
"""

from .chat import Chat, Conversations
from .decider import Accepted, Refused, decide, in_the_way
from .events import EVENTS, Event, Recorded
from .outcomes import BranchEnded, CommandIdReused, Committed, Contended, ListedBranch, Page, UnknownBranch
from .policy import PROFILES, Policy, PolicyError
from .rules import RULES, Broken, Missing, Rule, broken_by, broken_rules
from .state import Conversation, evolve, fold
from .values import About, Actor, ActorKind, AppealOutcome, ErasureCause, ForkCause, Ground, Rating, Risk, Verdict

__all__ = [
    "EVENTS",
    "PROFILES",
    "RULES",
    "About",
    "Accepted",
    "Actor",
    "ActorKind",
    "AppealOutcome",
    "BranchEnded",
    "Broken",
    "Chat",
    "CommandIdReused",
    "Committed",
    "Contended",
    "Conversation",
    "Conversations",
    "ErasureCause",
    "Event",
    "ForkCause",
    "Ground",
    "ListedBranch",
    "Missing",
    "Page",
    "Policy",
    "PolicyError",
    "Rating",
    "Recorded",
    "Refused",
    "Risk",
    "Rule",
    "UnknownBranch",
    "Verdict",
    "broken_by",
    "broken_rules",
    "decide",
    "evolve",
    "fold",
    "in_the_way",
]
