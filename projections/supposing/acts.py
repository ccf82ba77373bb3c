"""The acts that may have been: those that a policy is asked of, though nobody recorded them."""

from lastresort.domain.events import ConversationEnded, EndProposed, Evidence, WarningGiven, WarningWithheld
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import Actor, ActorKind, Ground, with_fields

_SOMEBODY = Actor(kind=ActorKind.MODEL, id="somebody")
_A_WARNING = WarningGiven(
    by=_SOMEBODY, turn=1, seen=1, category="other", names_behaviour=True, redirects=True, states_consequence=True
)
_WITHHELD = WarningWithheld(by=_SOMEBODY, seen=1, category="other", policy_hash=Policy.default().hash, model="somebody")
_A_PROPOSAL = EndProposed(by=_SOMEBODY, seen=1, ground=Ground.LAST_RESORT)
_AN_ENDING = ConversationEnded(
    by=_SOMEBODY,
    ground=Ground.LAST_RESORT,
    category="other",
    seen=1,
    evidence=Evidence(),
    policy_hash=Policy.default().hash,
    model="somebody",
)


def warning_by(by: Actor, turn: int, seen: int, category: str) -> WarningGiven:
    made: WarningGiven = with_fields(_A_WARNING, {"by": by, "turn": turn, "seen": seen, "category": category})
    return made


def withheld_by(by: Actor, seen: int, category: str) -> WarningWithheld:
    made: WarningWithheld = with_fields(_WITHHELD, {"by": by, "seen": seen, "category": category})
    return made


def proposal_by(by: Actor, seen: int, ground: Ground) -> EndProposed:
    made: EndProposed = with_fields(_A_PROPOSAL, {"by": by, "seen": seen, "ground": ground})
    return made


def ending_by(by: Actor, state: Conversation, ground: Ground, category: str | None) -> ConversationEnded:
    """Return an ending that somebody may record now, lawful or not, without its evidence."""
    seen = state.unit.turn if state.unit else 1
    named = {"by": by, "ground": ground, "category": category, "seen": seen}
    terms = {"policy_hash": state.policy.hash, "model": state.model or by.id}
    made: ConversationEnded = with_fields(_AN_ENDING, named | terms)
    return made
