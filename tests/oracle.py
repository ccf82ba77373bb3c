"""The law, said again over whole histories: the product's second reading, as the tests ask it.

`lastresort.projections.second_reading` shares no code with the rules that it checks. Here a history is kept with what
is known of it, so that a counterexample can be told from its first event.

    unlawful(log)            what is wrong with a recorded log, trees and all
    History.of(events)       one path on its own; `broken(past, event)` names the rules in the way of an event
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from lastresort.domain.events import BranchOpened, Event, Evidence, RecordedEvent
from lastresort.domain.policy import Policy
from lastresort.domain.values import Ground
from lastresort.projections import second_reading
from lastresort.projections.second_log import SecondReading
from lastresort.projections.second_path import Fork, Path, Risks
from lastresort.projections.second_reading import LAW
from lastresort.projections.second_words import Unit

__all__ = ["LAW", "Forest", "Fork", "History", "Risks", "Unlawful", "broken", "unlawful"]


class History:
    """What has happened on a path: `event`, preceded by the history `before`. The empty one has neither."""

    def __init__(self, before: "History | None" = None, event: Event | None = None, known: Path | None = None) -> None:
        self.before, self.event = before, event
        self.path: tuple[Event, ...] = () if before is None or event is None else (*before.path, event)
        self.known = known or Path()
        self.memo: dict[Any, Any] = {}

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """Return the history of one branch: `events` from the first to the last."""
        past = cls()
        for event in events:
            past = past.then(event)
        return past

    def then(self, event: Event) -> Self:
        return type(self)(self, event, self.known.then(event))

    @property
    def fork(self) -> Fork | None:
        return self.known.fork

    def upto(self, version: int) -> "History":
        past: History = self
        while len(past.path) > version and past.before is not None:
            past = past.before
        return past

    def about_to_fork(self, at: int, open_in_tree: Risks) -> "History":
        """Return the history of a branch not yet opened: the path as far as `at`, nothing of its own."""
        prefix = self.upto(at)
        following = type(self.path[at]) if at < len(self.path) else None
        fork = Fork(following, open_in_tree, self.known.holds, self.known.granted)
        return History(prefix.before, prefix.event, prefix.known._replace(begun=False, fork=fork))

    def at(self, version: int) -> Any:
        """Return the event at `version`, of whichever kind the caller knows that it is."""
        return self.path[version - 1]

    def last(self, *kinds: type[Event]) -> int:
        """Return the version of the latest event of these kinds, 0 if there is none."""
        versions = range(len(self.path), 0, -1)
        return next((version for version in versions if type(self.path[version - 1]) in kinds), 0)


def broken(past: History, event: Event) -> tuple[str, ...]:
    """Return the ids of the rules that forbid `event` after `past`, in the order of the law."""
    return second_reading.broken(past.known, event)


def evidence(past: History, ground: Ground, category: str | None) -> Evidence:
    return second_reading.evidence(past.known, ground, category)


def policy(past: History) -> Policy:
    return past.known.policy


def open_risks(past: History) -> Risks:
    return past.known.risks


def current(past: History) -> Unit | None:
    return past.known.unit


def opening(past: History) -> int | None:
    """The version of the verdict that opened the episode that is open."""
    return past.known.stands.opened or None


def failed_redirections(past: History) -> tuple[int, ...]:
    return past.known.stands.failed


def standing_warnings(past: History) -> dict[str, int]:
    """By category. One given in answer to the unit of now does not stand yet."""
    return {warning.category: warning.version for warning in past.known.stands.warnings}


# --- Trees --------------------------------------------------------------------------------------------------------


class Unlawful(NamedTuple):
    """An event that should not have been recorded."""

    branch: str
    version: int
    rules: tuple[str, ...]


class Forest:
    """The histories of every branch in a log, as far as it was read."""

    def __init__(self) -> None:
        self.branches: dict[str, History] = {}
        self.reading = SecondReading()

    def before(self, branch: str, event: Event) -> History:
        """Return the history that `event` would continue: for a fork, its prefix."""
        known = self.reading.before(branch, event)
        if branch in self.branches or not isinstance(event, BranchOpened) or event.parent not in self.branches:
            return self.branches.get(branch, History())
        parent = self.branches[event.parent].upto(event.at)
        return History(parent.before, parent.event, known)

    def record(self, branch: str, event: Event) -> None:
        past = self.before(branch, event)
        self.reading.record(branch, event, past.known)
        self.branches[branch] = past.then(event)


def unlawful(log: Sequence[RecordedEvent]) -> list[Unlawful]:
    """Return every event of a log, in log order, that the law forbade when it was recorded, and under which rules.

    Raises:
        ValueError: if the versions of a branch do not follow each other: then this is not a log.
    """
    forest, found = Forest(), []
    for recorded in log:
        past = forest.before(recorded.branch, recorded.event)
        if recorded.version != len(past.path) + 1:
            raise ValueError(f"{recorded.branch} goes on with version {recorded.version} after {len(past.path)}")
        if rules := broken(past, recorded.event):
            found.append(Unlawful(recorded.branch, recorded.version, rules))
        forest.record(recorded.branch, recorded.event)
    return found


def unlawful_path(events: Iterable[Event]) -> list[tuple[int, tuple[str, ...]]]:
    """Return every unlawful event of one branch, by version, with the rules that forbid it."""
    past, found = History(), []
    for event in events:
        if rules := broken(past, event):
            found.append((len(past.path) + 1, rules))
        past = past.then(event)
    return found


def divided_on_risk(log: Sequence[RecordedEvent]) -> list[str]:
    """Return the branches that do not know every risk open in their tree. Raising is on all of them in one append."""
    reading = SecondReading()
    for recorded in log:
        reading.take(recorded)
    return [branch for branch, path in reading.branches.items() if path.risks != reading.open_in_tree(branch)]
