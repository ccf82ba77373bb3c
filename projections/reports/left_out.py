"""What a report leaves out so that no number that is too small can be worked out from the others.

Numbers are related: the parts of a sum add up, and one thing may be counted under two names. A reader who knows that
can bound each number that is left out. One is told exactly where its lower and its upper bound are both the number
itself; and a bound is the number itself only where all that it follows from is exact too. So no bound has to be
calculated: it is enough to know which are exact, and to leave out one number more until nothing is told.

A reader is taken to know that what is left out is not zero, and where its base is published that it is at most that.
They may also take `<5*` at its word, which is wrong of those that are left out for the sake of others.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

_LAST_RESORT, _ON_REQUEST = "endings.ground.last_resort", "endings.ground.user_request"
Relation = tuple[tuple[str, ...], tuple[str, ...]]

RELATIONS: tuple[Relation, ...] = (
    # By what they count.
    (("units",), ("units.judged", "units.unjudged")),
    (("units.judged",), ("units.verdict.",)),
    (("units.verdict.harmful",), ("units.severity.",)),
    (("units.both",), ("units.both.agree", "units.both.model_harsher", "units.both.assessor_harsher")),
    (("episodes",), ("episodes.opened", "episodes.carried")),
    (("episodes",), ("episodes.relented", "episodes.ended.last_resort", "episodes.ended.user_request",
                     "episodes.left_open", "episodes.withdrawn")),
    (("redirections",), ("redirections.succeeded", "redirections.failed", "redirections.pending", "redirections.void")),
    (("warnings",), ("warnings.relented", "warnings.ended", "warnings.standing", "warnings.void.risk",
                     "warnings.void.terms", "warnings.void.leaving", "warnings.void.superseded",
                     "warnings.void.withdrawn")),
    (("attempts",), ("attempts.of.",)),
    (("attempts",), ("attempts.by.",)),
    (("attempts.to_end",), ("attempts.of.ConversationEnded", "attempts.of.EndProposed")),
    (("attempts",), ("attempts.to_end", "attempts.of.WarningGiven")),
    (("holds",), ("holds.by.",)),
    (("hold_hours",), ("holds.cleared_by.",)),
    (("endings",), ("endings.ground.",)),
    (("endings",), ("endings.by.",)),
    ((_LAST_RESORT,), ("endings.category.",)),
    ((_LAST_RESORT,), ("turns_to_ending",)),
    (("turns_to_ending",), ("turns_to_ending.",)),
    (("hold_hours",), ("hold_hours.",)),
    (("endings.rated",), ("endings.rated.up", "endings.rated.down")),
    (("conversations.ended.last_resort",), ("conversations.both", "conversations.bail_alone")),
    (("conversations.model_refused",), ("conversations.both", "conversations.refusal_alone")),
    # As a rule: where each has one judge, one category, one branch, one rule; one thing under two names.
    (("units.verdict.harmful",), ("units.category.",)),
    (("units.judged", "units.both"), ("units.judged_by.",)),
    (("units.judged_by.model",), ("units.both",)),
    (("units.judged_by.assessor",), ("units.both",)),
    (("holds",), ("holds.cleared_by.", "holds.open")),
    (("holds",), ("hold_hours", "holds.open")),
    (("holds",), ("conversations.held",)),
    (("redirections",), ("conversations.redirected",)),
    (("warnings",), ("conversations.warned",)),
    (("withheld",), ("conversations.warning_withheld",)),
    (("answers.refused",), ("conversations.model_refused",)),
    (("attempts",), ("conversations.attempt_refused",)),
    (("attempts",), ("attempts.rule.",)),
    (("conversations.attempt_refused",), ("conversations.refused_under.",)),
    (("attempts.rule.no-end-at-risk",), ("attempts.held",)),
    (("attempts.held",), ("attempts.held_alone",)),
    (("endings",), ("conversations.ended",)),
    (("conversations.ended",), ("conversations.ended.last_resort", "conversations.ended.user_request")),
    ((_LAST_RESORT,), ("conversations.ended.last_resort",)),
    ((_ON_REQUEST,), ("conversations.ended.user_request",)),
    ((_LAST_RESORT,), ("episodes.ended.last_resort",)),
    ((_ON_REQUEST,), ("episodes.ended.user_request",)),
    ((_LAST_RESORT,), ("warnings.ended",)),
    (("branches.opened",), ("episodes.carried",)),
)  # fmt: skip
"""Numbers of a group that add up to the same on both sides, by their names, or how several begin.

One that holds as a rule counts as known where it holds.
"""

_OVER_GROUPS: tuple[tuple[str, str], ...] = (
    (_LAST_RESORT, "episodes.ended.last_resort"),
    (_ON_REQUEST, "episodes.ended.user_request"),
    (_LAST_RESORT, "warnings.ended"),
)
"""What is the same in all groups together, though not in each: an episode counts where it began."""


class Numbers(NamedTuple):
    """The numbers of a group.

    Attributes:
        counts: by name, each base before what it is the base of.
        bases: of those that have one.
        shares: those of which what is left of their base is a number too.
        families: how several names begin, and which do.
        also: relations that are its own, and hold.
    """

    counts: Mapping[str, int]
    bases: Mapping[str, str]
    shares: Set[str]
    families: Mapping[str, Sequence[str]]
    also: Sequence[Relation]


def left_out(groups: Sequence[Numbers], smallest: int) -> list[set[str]]:
    """Return the names of what each group leaves out: what is below the smallest, and what would tell that."""
    closings = [_Closing(one, smallest) for one in groups]
    for one in closings:
        one.close()
    if len(closings) > 1:
        for pair in _OVER_GROUPS:
            _close_over(closings, pair)
    return [one.hidden for one in closings]


class _Bounds:
    """Which numbers have a lower bound, and an upper one, that is not exact."""

    def __init__(self, below: set[str], above: set[str]) -> None:
        self.below, self.above = below, above

    def squeeze(self, relation: Relation) -> bool:
        """Make exact what a relation tells; return whether there was anything."""
        found = False
        for here, there in (relation, relation[::-1]):
            below, above = [one for one in here if one in self.below], [one for one in here if one in self.above]
            if above and self.above.isdisjoint(there) and len(below) <= 1:
                told = [one for one in above if not below or below == [one]]
                self.above.difference_update(told)
                found = found or bool(told)
            if below and self.below.isdisjoint(there) and len(above) <= 1:
                told = [one for one in below if not above or above == [one]]
                self.below.difference_update(told)
                found = found or bool(told)
        return found

    def exact(self, relation: Relation) -> bool:
        """Whether every number of a relation is told."""
        return all(self.below.isdisjoint(side) and self.above.isdisjoint(side) for side in relation)


class _Closing:
    """What a group leaves out, and what follows from what it does not."""

    def __init__(self, numbers: Numbers, smallest: int) -> None:
        self.counts, self.bases, self._smallest = numbers.counts, numbers.bases, smallest
        self.hidden = {name for name in numbers.counts if self._is_small(name, numbers.shares)}
        self._relations = list(self._holding(numbers))

    def _is_small(self, name: str, shares: Set[str]) -> bool:
        """Whether a number is too small, or its base is, or what it leaves of that."""
        count, of = self.counts[name], self.counts.get(self.bases.get(name, ""), 0)
        told = (count, of, of - count if name in shares else 0)
        return any(0 < one < self._smallest for one in told)

    def _holding(self, numbers: Numbers) -> Iterator[Relation]:
        """Yield the relations that hold, between the numbers that are not zero."""
        families = numbers.families
        yield from ((left, self._names(right, families)) for left, right in numbers.also)
        rules = [name.removeprefix("attempts.rule.") for name in families.get("attempts.rule.", ())]
        by_rule = [((f"attempts.rule.{rule}",), (f"conversations.refused_under.{rule}",)) for rule in rules]
        for one, other in (*RELATIONS, *by_rule):
            left, right = (self._names(side, families) for side in (one, other))
            if left and self._sum(left) == self._sum(right):
                yield left, right

    def _names(self, side: Sequence[str], families: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        found = (name for one in side for name in families.get(one, (one,)))
        return tuple(name for name in found if self.counts.get(name))

    def _sum(self, side: Sequence[str]) -> int:
        return sum(self.counts[name] for name in side)

    def close(self) -> None:
        """Leave out what would tell what is left out."""
        while True:
            for name, base in self.bases.items():
                if base in self.hidden:
                    self.hidden.add(name)
            more = self._telling(self.bounds())
            if more is None:
                return
            self.hidden.add(more)

    def _telling(self, bounds: _Bounds) -> str | None:
        """Return a number that is published and tells what is not: of the relation that needs the fewest others."""
        missing = [(len(self.hidden.intersection(one[0] + one[1])), one) for one in self._relations]
        telling = [(number, one) for number, one in missing if 0 < number < len(one[0] + one[1]) and bounds.exact(one)]
        if telling:
            return self._smallest_of(min(telling, key=lambda one: one[0])[1])
        for name, base in self.bases.items():  # there is no more than there is of its base
            exact = name in self.hidden and name not in bounds.below and name not in bounds.above
            if exact and base not in self.hidden and self.counts[name] == self.counts[base]:
                return base
        return None

    def bounds(self) -> _Bounds:
        """Return what follows."""
        counts, bases, hidden = self.counts, self.bases, self.hidden
        found = _Bounds(set(), set())
        for name in hidden:
            base = bases.get(name)
            known = counts[base] if base is not None and base not in hidden else None
            if counts[name] != (base not in hidden):
                found.below.add(name)
            if counts[name] != known and (self._smallest == 2 or counts[name] != self._smallest - 1):
                found.above.add(name)
        while True:
            told = [one for one in self._relations if found.squeeze(one)]
            if not told:
                return found

    def _smallest_of(self, relation: Relation) -> str:
        """Return the smallest number of a relation that is published: a part of a sum, or else the sum."""
        sides = ([name for name in side if name not in self.hidden] for side in relation[::-1])
        return min(next(filter(None, sides)), key=lambda name: (self.counts[name], name))


def _close_over(closings: Sequence[_Closing], pair: tuple[str, str]) -> None:
    """Leave out what would tell what is left out by what all groups have together."""
    if len({sum(one.counts.get(name, 0) for one in closings) for name in pair}) > 1:
        return
    left, right = (tuple(f"{name} {number}" for number in range(len(closings))) for name in pair)
    while True:
        bounds = _Bounds(set(), set())
        for number, one in enumerate(closings):
            if not one.hidden.isdisjoint(pair):
                in_group = one.bounds()
                bounds.below |= {f"{name} {number}" for name in pair if name in in_group.below}
                bounds.above |= {f"{name} {number}" for name in pair if name in in_group.above}
        while bounds.squeeze((left, right)):
            pass
        counted = [(one, name) for one in closings for name in pair if one.counts.get(name)]
        shown = [(one, name) for one, name in counted if name not in one.hidden]
        if len(shown) in (0, len(counted)) or not bounds.exact((left, right)):
            return
        group, more = min(shown, key=lambda place: place[0].counts[place[1]])
        group.hidden.add(more)
        group.close()
