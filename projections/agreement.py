"""Whether the two readings of the law agree on a log, event by event.

The audit asks the rules of each event in the state that the events before it add up to; a mistake in either goes unseen
by both. So it asks the second reading too, and says where the two differ.

What an event that should not have happened adds up to, the law does not say, nor what a log that is not whole means. So
a tree in which the audit has found something is compared no further: it has findings already.
"""

from collections.abc import Collection, Container, Mapping

from lastresort.domain.events import RecordedEvent, Unreadable

from .second_log import SecondReading

BESIDE: dict[str, frozenset[str]] = {
    "judges-the-latest": frozenset({"refers-to-the-path", "redirects-harm", "proposed-first"}),
    "answers-a-user": frozenset({"refers-to-the-path"}),
    "evidence-is-true": frozenset({"refers-to-the-path"}),
    "forks-at-a-turn": frozenset({"refers-to-the-path", "risk-holds", "forks-before-the-end"}),
}
"""What one reading may name and the other not, beside a rule that both name.

Of an older turn, and of a place where no branch may open, a small state knows less than a history does.
"""


def agree(one: Collection[str], other: Collection[str]) -> bool:
    """Whether two sets of rules that an event breaks are the same, but for what may stand beside a rule of both."""
    named = set(one) & set(other)
    beside = {rule for both in named for rule in BESIDE.get(both, ())}
    return set(one) - beside == set(other) - beside


class Agreement:
    """The second reading of a log, compared with what the audit finds in it."""

    def __init__(self, forks: Container[tuple[str, int]] | None = None) -> None:
        self._second = SecondReading(forks)
        self._damaged: set[str] = set()  # roots of trees

    def take(self, entry: RecordedEvent | Unreadable, found: Collection[str], damaged: Collection[str]) -> str | None:
        """Read one more entry, and return what the readings disagree on, if they do.

        Args:
            found: the rules that the audit found this event to break.
            damaged: the branches in whose structure it has found something since the entry before.
        """
        second = () if isinstance(entry, Unreadable) else self._second.take(entry)
        self._damaged.update(map(self._second.root_of, damaged))
        detail = self._difference(entry.branch, found, second)
        if found and second:
            self._damaged.add(self._second.root_of(entry.branch))
        return detail

    def end(
        self, unheld: Collection[tuple[str, int]], damaged: Collection[str], ends: Mapping[str, int]
    ) -> list[tuple[str, int, str]]:
        """Return where the readings disagree on what is missing at the end of a log.

        Args:
            unheld: where, as the audit found, a verdict saw a risk and no hold followed.
            damaged: the branches in whose structure it has found something at the end.
            ends: the version of the last event of each branch. A branch that was not read as far is left out.
        """
        self._damaged.update(map(self._second.root_of, damaged))
        second = set(self._second.unheld())
        told = []
        for place in sorted(second.symmetric_difference(unheld)):
            if not self._second.has_read(place[0], ends.get(place[0])):
                continue
            missing: tuple[Collection[str], Collection[str]] = (("risk-holds",), ())
            detail = self._difference(place[0], *(missing if place in unheld else missing[::-1]))
            if detail is not None:
                told.append((*place, detail))
        return told

    def _difference(self, branch: str, first: Collection[str], second: Collection[str]) -> str | None:
        if agree(first, second) or self._second.root_of(branch) in self._damaged:
            return None
        return f"the rules say {_told(first)}, the second reading says {_told(second)}"


def _told(rules: Collection[str]) -> str:
    return f"that it breaks {', '.join(rules)}" if rules else "that it is lawful"
