"""What another policy makes of a log that is in parts, each of whole conversations, which tell nothing of each other.

sorted(suppose_part(part, [policy]) for part in parts), by place, is what `what_if` says of the branches of the log
"""

from collections.abc import Container, Iterable, Iterator, Sequence

from lastresort.domain.events import BranchOpened, ConversationStarted, RecordedEvent
from lastresort.domain.policy import Policy

from .replay import NotWhole, Turn
from .supposed import WhatIf
from .what_if import Play


def suppose_part(
    trees: Iterable[Iterable[tuple[int, RecordedEvent]]],
    policies: Sequence[Policy],
    edition: int | None = None,
    forks: Container[Turn] | None = None,
) -> Iterator[tuple[tuple[int, ...], tuple[WhatIf, ...]]]:
    """Yield what other policies make of the conversations of a part, item by item of `trees`.

    Args:
        trees: of the part, one or several at a time, each event with its place in the whole log, and those of an item
            in the order of the log. What is kept in memory is that of one item.
        policies: the others, each by itself.
        edition, forks: as for `what_if`.

    Yields:
        The places at which the branches begin, and under each policy what comes of these branches.

    Raises:
        NotWhole: something is missing.
    """
    for some in trees:
        plays = [Play(policy, edition, forks) for policy in policies]
        begun: list[int] = []
        for recorded in whole(some, begun):
            for play in plays:
                play.take(recorded)
        yield tuple(begun), tuple(play.finish() for play in plays)


def whole(log: Iterable[tuple[int, RecordedEvent]], begun: list[int]) -> Iterator[RecordedEvent]:
    """Yield the events of whole conversations; note the places at which branches begin.

    Raises:
        NotWhole: something is missing.
    """
    versions: dict[str, int] = {}
    for place, recorded in log:
        event, branch = recorded.event, recorded.branch
        before = versions.get(branch)
        if before is None:
            begun.append(place)
            if isinstance(event, BranchOpened) and event.parent in versions:
                before = event.at
            elif isinstance(event, ConversationStarted):
                before = 0
            else:
                raise NotWhole(f"branch {branch}: what began it, or its parent, is missing")
        if recorded.version != before + 1:
            raise NotWhole(f"branch {branch}: version {recorded.version} follows {before}")
        versions[branch] = recorded.version
        yield recorded
