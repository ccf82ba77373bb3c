"""The words that a store keeps, where some of them may be damaged."""

from collections.abc import Iterable

from lastresort.application.conversations import Conversations
from lastresort.application.ports import SealBroken
from lastresort.domain.events import RecordedEvent, content_of


def stored_words(conversations: Conversations, path: Iterable[RecordedEvent]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the words that stand on a path by digest, and by digest what is wrong with those that are damaged."""
    events = list(path)
    try:
        return conversations.words(events), {}
    except SealBroken:
        pass  # one of them is; which, is seen one by one
    words: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for recorded in events:
        try:
            words |= conversations.words([recorded])
        except SealBroken as error:
            damaged[content_of(recorded.event) or ""] = f"damaged: {error}"
    return words, damaged
