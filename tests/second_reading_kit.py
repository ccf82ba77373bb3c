"""What the tests of the second reading under edition 2 share: a policy of it, and steps of its histories."""

from typing import Any

from lastresort.domain import events as log
from lastresort.domain.events import Event
from lastresort.domain.policy import Policy
from lastresort.domain.values import Actor, ActorKind, ErasureCause, Mode

from . import oracle
from .test_oracle import ANSWER, PRODUCTIVE, SAY, harm, hope, redirect, tell, user_turn, warn, why_not
from .vocabulary import MODEL, OPERATOR, USER, WORDS

POLICY = Policy(
    name="p",
    min_failed_redirections=2,
    min_redirections_to_warn=2,
    categories=("abuse", "threats", "slander"),
    eligible_models=("claude-*",),
)
SOMEBODY = Actor(kind=ActorKind.USER, id="somebody-else")
ANOTHER = Actor(kind=ActorKind.ASSESSOR, id="another")


def but(**fields: Any) -> Policy:
    return POLICY.model_copy(update=fields)


def start(policy: Policy = POLICY, mode: Mode = Mode.ENFORCED, law: int = 2) -> Event:
    return log.ConversationStarted(
        by=USER, conversation="root", account=None, policy=policy, policy_hash=policy.hash, model=MODEL.id, arm=None,
        law=law, mode=mode,
    )  # fmt: skip


def changed(policy: Policy = POLICY, law: int = 2, mode: Mode = Mode.ENFORCED) -> Event:
    return log.PolicyChanged(by=OPERATOR, policy=policy, policy_hash=policy.hash, law=law, mode=mode)


def also(step: Any, **fields: Any) -> Any:
    """The event that `step` is, with other fields."""
    return lambda past: (step(past) if callable(step) else step).model_copy(update=fields)


def withheld(category: str = "abuse") -> Any:
    return lambda past: log.WarningWithheld(
        by=MODEL, seen=user_turn(past), category=category, policy_hash=oracle.policy(past).hash, model=MODEL.id
    )


SAID_BY_SOMEBODY = also(SAY, by=SOMEBODY)
LEFT = log.UserLeft(by=USER)
HELD = log.ErasureHeld(by=OPERATOR, hold="h", reason="litigation", until="2027-01-31")
RELEASED = log.ErasureReleased(by=OPERATOR, hold="h", reason="litigation", until=None)
ERASED = log.ContentErased(by=USER, contents=(WORDS,), cause=ErasureCause.USER_REQUEST)
ABUSED = (SAY, harm(), ANSWER, redirect)
HARM = (SAY, harm(), ANSWER)
GOOD = (SAY, PRODUCTIVE, ANSWER)
WARNED = (start(), ABUSED, SAY, harm(), ANSWER, redirect, warn())
TESTED = (*WARNED, SAY, harm())


def failed(*steps: Any) -> int:
    return len(oracle.failed_redirections(tell(*steps)))


def is_tested(*steps: Any) -> bool:
    return "hope-exhausted" not in why_not(hope, *steps)


def is_open(*steps: Any) -> bool:
    return oracle.opening(tell(*steps)) is not None
