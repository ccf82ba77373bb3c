"""Whether every branch lies in the store to which its conversation's id leads, and in no other."""

from collections.abc import Iterator
from typing import NamedTuple

from lastresort.application.conversations import Conversations
from lastresort.domain.events import BranchOpened, ConversationStarted

from .conversations import ShardedConversations


class Misplaced(NamedTuple):
    """A branch that is not where it should be, and what is wrong."""

    branch: str
    detail: str


def misplaced(conversations: Conversations) -> Iterator[Misplaced]:
    """Yield the branches of several stores that lie in the wrong one, or in two. Their ids are kept in memory."""
    assert isinstance(conversations, ShardedConversations)
    seen = set[str]()
    for part in conversations.parts:
        for one in part.store.log():
            if not isinstance(one.event, ConversationStarted | BranchOpened):
                continue
            if conversations.holding(one.event.conversation) is not part:
                yield Misplaced(one.branch, "lies in a store to which its conversation's id does not lead")
            if one.branch in seen:
                yield Misplaced(one.branch, "lies in two stores")
            seen.add(one.branch)
