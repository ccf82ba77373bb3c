"""The report of a log that is in parts, each of whole conversations: what is counted of one, and of all together.

Numbers add up. What does not is of the whole log: which branches come first behind a number, and who came back
after an ending. So what is first is known by its place in the whole log, and who came back is found before.

    merge_counts([count_part(part, events, returned) for part in parts]) is what is counted of the log
"""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from heapq import nsmallest

from lastresort.domain.events import RecordedEvent
from lastresort.projections.replay import Turn

from .counts import Counts
from .lines import Counted, GroupCounts, Key, PlacedEnding, first_behind


def count_part(
    trees: Iterable[Iterable[tuple[int, RecordedEvent]]],
    events: int,
    returned: Container[int],
    *,
    by: Sequence[str] = (),
    since: str | None = None,
    until: str | None = None,
    most: int = 100,
    forks: Container[Turn] | None = None,
) -> Counted:
    """Count a part of a log.

    Args:
        trees: of the part, one or several at a time, each event with its place in the whole log, and those of an item
            in the order of the log. What is kept in memory is that of one item.
        events: of the whole log, how many.
        returned: of the whole log, the places of the endings after which the account began a conversation within a day,
            before another ending of it.
        by, since, until, most, forks: as for `Counts`.

    Raises:
        NotWhole: something is missing.
    """
    merged = _Merged(most)
    for some in trees:
        counts = Counts(by, since, until, most, forks, returned)
        counts.take_placed(some)
        merged.add(counts.finish(events))
    return merged.counted()


def merge_counts(parts: Iterable[Counted], most: int) -> Counted:
    """Put together what was counted of all parts of a log, in any order."""
    merged = _Merged(most)
    for part in parts:
        merged.add(part)
    return merged.counted()


class _Merged:
    """What was counted of several parts. It takes as much memory as what was counted of one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._groups: dict[Key, _MergedGroup] = {}
        self._endings: tuple[PlacedEnding, ...] = ()
        self._policies: dict[str, str] = {}
        self._of_words = 0

    def add(self, part: Counted) -> None:
        for group in part.groups:
            self._groups.setdefault(group.key, _MergedGroup(group.key, self._most)).add(group)
        self._endings = tuple(nsmallest(self._most, (*self._endings, *part.endings), key=lambda one: one.place))
        self._policies.update(part.policies)
        self._of_words += part.of_words

    def counted(self) -> Counted:
        groups = tuple(group.counted() for group in self._groups.values())
        return Counted(groups, self._endings, self._policies, self._of_words)


class _MergedGroup:
    """What was counted of several parts under one key."""

    def __init__(self, key: Key, most: int) -> None:
        self._key, self._most = key, most
        self._counts = Counter[str]()
        self._behind: dict[str, tuple[tuple[int, str], ...]] = {}
        self._spreads: dict[str, Counter[int]] = {}

    def add(self, group: GroupCounts) -> None:
        self._counts.update(group.counts)
        for name, found in group.behind.items():
            self._behind[name] = first_behind((*self._behind.get(name, ()), *found), self._most)
        for name, spread in group.spreads.items():
            self._spreads.setdefault(name, Counter()).update(spread)

    def counted(self) -> GroupCounts:
        return GroupCounts(self._key, self._counts, self._behind, self._spreads)
