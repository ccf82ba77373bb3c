"""What is written on several branches by one command."""

from lastresort.domain import rules
from lastresort.domain.events import ConversationEnded, ConversationStarted, Evidence, UserLeft
from lastresort.domain.law import judged_on
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import Actor, ActorKind, Ground


def test_what_is_written_on_several_branches_is_asked_of_each() -> None:
    """In its own state; and each comes to a state of its own."""
    user, policy = Actor(kind=ActorKind.USER, id="user"), Policy.default()
    starts = ConversationStarted(
        by=user, conversation="c", account=None, policy=policy, policy_hash=policy.hash, model="m", arm=None, law=2
    )
    ends = ConversationEnded(
        by=Actor(kind=ActorKind.MODEL, id="m"),
        ground=Ground.USER_REQUEST,
        category=None,
        seen=1,
        evidence=Evidence(redirections=(), warning=None, tested_by=None, hope=None, request=None, confirmation=None),
        policy_hash=policy.hash,
        model="m",
    )
    nothing = Conversation()
    before = {"a": nothing, "b": nothing, "c": nothing}
    broken, after = judged_on(before, {"a": (starts,), "b": (UserLeft(by=user),), "c": (starts, ends)})
    assert {branch: state.version for branch, state in after.items()} == {"a": 1, "b": 1, "c": 2}
    assert after["a"].begun
    assert after["c"].ended is not None
    named = [one.rule for one in broken]
    assert named[0] == rules.BEGINS_ONCE.id
    assert rules.CONFIRMED_LATER.id in named
