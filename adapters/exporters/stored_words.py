"""The words that a store keeps, where some of them may be damaged, and a branch told with them."""

from collections.abc import Iterable
from typing import NamedTuple

from lastresort.application.conversations import Conversations
from lastresort.application.ports import Place, SealBroken
from lastresort.application.transcript import overtaken_on
from lastresort.domain.events import RecordedEvent, content_of
from lastresort.projections import Line, transcript

NO_WORDS = "a log holds no words"
"""What is told of words where a file is looked at."""


class ToldBranch(NamedTuple):
    """A branch as people read it: its lines, when each version was recorded, and what is wrong with damaged words."""

    lines: tuple[Line, ...]
    dates: dict[int, str]
    damages: list[str]


def told_branch(
    conversations: Conversations, branch: str, upto: int | None = None, *, of_file: bool = False
) -> ToldBranch:
    """Return a branch as people read it, up to version `upto`.

    Raises:
        UnknownBranch: the store has no such branch.
    """
    path = conversations.path(branch)
    dates = {recorded.version: recorded.recorded_at for recorded in path}
    tree = conversations.tree_log(branch)
    if of_file:
        gone = {content_of(one.event) or "": NO_WORDS for one in path}
        return ToldBranch(transcript(path, {}, upto, tree, gone), dates, [])
    words, damaged = stored_words(conversations, path[:upto])
    overtook, torn = _overtaken(conversations, branch, path)
    lines = transcript(path, words, upto, tree, damaged, overtook)
    return ToldBranch(lines, dates, [*damaged.values(), *torn])


def _overtaken(
    conversations: Conversations, branch: str, path: list[RecordedEvent]
) -> tuple[dict[int, tuple[str, ...]], list[str]]:
    """Return what the user was shown of answers that they overtook, by version; and what is wrong with it."""
    service = conversations.of(branch).service
    try:
        found = overtaken_on(service.words, service.reading.tree_of(branch), path)
    except SealBroken as error:
        return {}, [f"damaged: {error}"]
    places = ((one.version, Place(one.branch, one.version)) for one in path)
    return {version: found[place] for version, place in places if place in found}, []


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
