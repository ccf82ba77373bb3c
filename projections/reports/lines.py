"""What a report knows of a log while it counts: groups, trees, branches, endings; and how what became of harm
counts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from heapq import nsmallest
from types import MappingProxyType
from typing import NamedTuple

from lastresort.domain.episode import Episode, Opinion, Unit
from lastresort.domain.events import (
    ContentErased,
    ConversationEnded,
    ErasureHeld,
    ErasureReleased,
    EventBase,
    Evidence,
    ModelChanged,
    PolicyChanged,
    RecordedEvent,
    RiskRaised,
    UserLeft,
)
from lastresort.domain.policy import RECALLED
from lastresort.domain.state import Conversation
from lastresort.domain.values import Actor, ActorKind, Frozen, Ground, Rating, Verdict, milder
from lastresort.projections.experiment import Answers

KEYS = ("model", "policy", "mode", "arm", "month")
"""What a report can be grouped by."""
Key = tuple[str | None, ...]
VOIDED_BY: dict[type[EventBase], str] = {
    RiskRaised: "risk", PolicyChanged: "terms", ModelChanged: "terms", UserLeft: "leaving",
}  # fmt: skip
"""What makes warnings void, by what it is called in a report."""
ABOUT_WORDS: tuple[type[EventBase], ...] = (ContentErased, ErasureHeld, ErasureReleased)
"""What is about erasing words alone. It counts in nothing and opens no group: a report is the same after an erasure."""
_HARMFUL = Verdict.HARMFUL
_SOON = timedelta(days=1)


class EndingRow(Frozen):
    """An ending, what it stands on, and when that was recorded, by version, as far as it is known."""

    branch: str
    version: int
    recorded_at: str
    ground: Ground
    category: str | None
    by: Actor
    model: str
    policy: str  # its name
    seen: int
    evidence: Evidence
    dates: Mapping[int, str]


class Now:
    """The place in the log of what is counted now. What is counted after the last event has a place behind it."""

    __slots__ = ("place",)

    def __init__(self) -> None:
        self.place = 0


class GroupCounts(NamedTuple):
    """What was counted under a key, once all is.

    Attributes:
        counts: by name.
        behind: of each number the first branches behind it, each with its place, in order.
        spreads: how often a number was how large, by name.
    """

    key: Key
    counts: Mapping[str, int]
    behind: Mapping[str, tuple[tuple[int, str], ...]]
    spreads: Mapping[str, Mapping[int, int]]


class PlacedEnding(NamedTuple):
    """An ending, where in the log it stands, and the key under which it counts."""

    place: int
    key: Key
    row: EndingRow


class Counted(NamedTuple):
    """What was counted in a log, or in a part of one: by group, the first endings, and names of policies by hash.

    `of_words`: how many of its events are `ABOUT_WORDS`.
    """

    groups: tuple[GroupCounts, ...]
    endings: tuple[PlacedEnding, ...]
    policies: Mapping[str, str]
    of_words: int


class Tally:
    """How often several numbers went up by one together, and the first branches behind that, each with its place."""

    __slots__ = ("behind", "times")

    def __init__(self) -> None:
        self.times = 0
        self.behind: dict[str, int] = {}


class Group:
    """What was counted under one key; of each number the first branches behind it, and how numbers are spread.

    Several numbers go up together, as units and units judged do: each such set has one tally, and `summed_up` makes the
    numbers of them in the end.
    """

    __slots__ = ("_most", "_now", "_tallies", "key", "of_units", "spreads")

    def __init__(self, key: Key, most: int, now: Now) -> None:
        self.key, self._most, self._now = key, most, now
        self._tallies: dict[tuple[str, ...], Tally] = {}
        self.of_units: dict[tuple[Verdict, int, ActorKind, str | None], Tally] = {}  # that one actor judged
        self.spreads: dict[str, Counter[int]] = defaultdict(Counter)

    def add(self, branch: str, *names: str) -> None:
        """Count one more of each name, behind which is `branch`."""
        tally = self._tallies.get(names)
        if tally is None:
            tally = self.tally(names)
        tally.times += 1  # as `add_to` does: a call for each number would take as long as counting it
        if len(tally.behind) < self._most and branch not in tally.behind:
            tally.behind[branch] = self._now.place

    def tally(self, names: tuple[str, ...]) -> Tally:
        """Return the tally of numbers that go up together."""
        tally = self._tallies.get(names)
        if tally is None:
            tally = self._tallies[names] = Tally()
        return tally

    def add_to(self, tally: Tally, branch: str) -> None:
        """Count one more in a tally, behind which is `branch`."""
        tally.times += 1
        behind = tally.behind
        if len(behind) < self._most and branch not in behind:
            behind[branch] = self._now.place

    def summed_up(self) -> GroupCounts:
        """Make the numbers."""
        counts = Counter[str]()
        first: dict[str, dict[str, int]] = defaultdict(dict)  # by name and branch, its earliest place
        for names, tally in self._tallies.items():
            for name in names:
                counts[name] += tally.times
                known = first[name]
                for branch, place in tally.behind.items():
                    known[branch] = min(place, known.get(branch, place))
        behind = {
            name: first_behind(((at, one) for one, at in found.items()), self._most) for name, found in first.items()
        }
        return GroupCounts(self.key, counts, behind, self.spreads)


def first_behind(found: Iterable[tuple[int, str]], most: int) -> tuple[tuple[int, str], ...]:
    """Return the first of the branches behind a number. No two have one place."""
    return tuple(nsmallest(most, found))


class Past(NamedTuple):
    """What a branch inherits that opens before a turn: user turns, the first of harm, and dates."""

    turns: int
    first_harm: int
    dates: Mapping[int, str]


class Tree:
    """What is known of a conversation: its root, its arm, its open holds, and what happened in it, group by group."""

    __slots__ = ("account", "arm", "latest_raise", "marks", "risks", "root")

    def __init__(self, root: str, arm: str | None, account: str | None) -> None:
        self.root, self.arm, self.account = root, arm, account
        self.risks: dict[str, tuple[str, Group | None]] = {}  # the open ones: since when, and where they count
        self.latest_raise = "", ""  # command and risk: it stands on every branch, and counts once
        self.marks: dict[Group, set[str]] = {}


class Ending:
    """An ending, and what came of it."""

    __slots__ = ("appealed", "branched", "decided", "group", "overturned", "rating", "returned")

    def __init__(self, group: Group | None) -> None:
        self.group = group
        self.rating: Rating | None = None
        self.appealed = self.branched = self.decided = self.overturned = self.returned = False


_NONE: frozenset[int] = frozenset()
_UNDATED: Mapping[int, str] = MappingProxyType({})
_MOST_DATES = 2 * RECALLED
"""Dates that a branch keeps before those are left out on which no ending can stand any more."""


class Line:
    """What is known of a branch beside its state."""

    __slots__ = (
        "answers", "at", "dates", "ending", "episode", "first_harm", "group", "name", "open", "redirections", "tested",
        "time", "tree", "turns", "unit_group", "warnings",
    )  # fmt: skip

    def __init__(self, name: str, tree: Tree, at: int = 0) -> None:
        self.name, self.tree, self.at = name, tree, at
        self.time = "-"  # for which `group` is right
        self.group: Group | None = None
        self.unit_group: Group | None = None
        self.turns, self.first_harm = 0, 0  # of the user, on the path: how many, and which was the first of harm
        self.open = False  # whether an episode was counted that is not over
        self.episode: Group | None = None  # where it counts
        self.redirections: dict[int, Group | None] = {}  # of this branch, of which it is not known what came of them
        self.warnings: dict[int, Group | None] = {}
        self.tested: frozenset[int] = _NONE
        self.answers: Answers[tuple[str, Group | None, int]] = Answers()
        self.dates: Mapping[int, str] = _UNDATED  # of what an ending may stand on; never changed, but replaced
        self.ending: Ending | None = None

    def forget(self) -> None:
        """Keep nothing of what harm there was, and what was done about it: it led to an ending."""
        self.redirections, self.warnings, self.tested, self.answers = {}, {}, _NONE, Answers()
        self.dates = _UNDATED


# --- How things count -------------------------------------------------------------------------------------------------


def marked(line: Line, name: str, mark: str) -> None:
    """Count one more in the group of a branch, and that it happened in its conversation."""
    group = line.group
    if group is not None:
        group.add(line.name, name)
        line.tree.marks[group].add(mark)


def count_unit(line: Line, group: Group, unit: Unit) -> None:
    """Count a unit that is over, who judged it, and whether model and assessor agreed."""
    if unit.judgement is None:
        group.add(line.name, "units", "units.unjudged")
        return
    if unit.judgement is _HARMFUL:
        line.tree.marks[group].add("harmful")
    if len(unit.opinions) != 1:
        group.add(line.name, *_of_judged(unit))
        return
    (opinion,) = unit.opinions
    key = unit.judgement, unit.severity, opinion.by[0], opinion.category
    tally = group.of_units.get(key)
    if tally is None:
        tally = group.of_units[key] = group.tally(_of_judged(unit))
    group.add_to(tally, line.name)


def _of_judged(unit: Unit) -> tuple[str, ...]:
    """Return the names of what a unit counts as that was judged."""
    judgement, opinions = unit.judgement, unit.opinions
    assert judgement is not None
    names = ["units", "units.judged", f"units.verdict.{judgement.value}"]
    if judgement is _HARMFUL:
        names += sorted(f"units.category.{one}" for one in {opinion.category for opinion in opinions} - {None})
        names.append(f"units.severity.{unit.severity}")
    names += sorted(f"units.judged_by.{kind.value}" for kind in {opinion.by[0] for opinion in opinions})
    model, assessor = (_mildest(opinions, kind) for kind in (ActorKind.MODEL, ActorKind.ASSESSOR))
    if model is not None and assessor is not None:
        agree = (model is _HARMFUL) is (assessor is _HARMFUL)
        harsher = "model" if model is _HARMFUL else "assessor"
        names += ["units.both", "units.both.agree" if agree else f"units.both.{harsher}_harsher"]
    return tuple(names)


def _mildest(opinions: Sequence[Opinion], kind: ActorKind) -> Verdict | None:
    """Return the mildest of the latest words of actors of a kind; None if there is none."""
    found: Verdict | None = None
    for opinion in opinions:
        if opinion.by[0] is kind:
            found = opinion.verdict if found is None else milder(found, opinion.verdict)
    return found


def count_redirections(line: Line, before: Conversation, episode: Episode, harmful: bool) -> None:
    """Count what a unit that is over made of the redirections before it, and of the one that answered it."""
    was = before.episode
    for version in [one for one in line.redirections if one != episode.pending]:
        became = "void"
        if version == was.pending and episode.failed > was.failed:
            became = "failed"
        elif version == was.pending and not harmful:
            became = "succeeded"
        if (group := line.redirections.pop(version)) is not None:
            group.add(line.name, f"redirections.{became}")


def count_warnings(line: Line, before: Conversation, episode: Episode, harmful: bool) -> None:
    """Count what a unit that is over made of the warnings that stood, and of those that answered it."""
    standing = {warned.version: warned.tested_by for warned in episode.warnings}
    stood = {warned.version for warned in before.episode.warnings}
    for version in list(line.warnings):
        group = line.warnings[version]
        if version not in standing:
            became = "void.superseded" if harmful else "relented" if version in stood else "void.withdrawn"
            del line.warnings[version]
            line.tested -= {version}
        elif standing[version] is not None and version not in line.tested:
            line.tested |= {version}
            became = "tested"
        else:
            continue
        if group is not None:
            group.add(line.name, f"warnings.{became}")


def noted(line: Line, recorded: RecordedEvent, after: Conversation) -> None:
    """Keep the date of what an ending may stand on."""
    dates = {**line.dates, recorded.version: recorded.recorded_at}
    if len(dates) > _MOST_DATES:
        kept = {*_stood_on(after), recorded.version}
        dates = {version: at for version, at in dates.items() if version in kept}
    line.dates = dates


def _stood_on(state: Conversation) -> Iterator[int | None]:
    """Yield the versions on which an ending may yet stand."""
    unit, episode, wishes = state.unit or Unit(0), state.episode, state.wishes
    yield from episode.failed_at
    yield from (warned.version for warned in episode.warnings)
    yield from (episode.pending, wishes.requested, wishes.to_confirm, wishes.hope, *(wishes.confirmed or ()))
    yield unit.redirection
    yield from (warned.version for warned in unit.warnings)


def rest(left: dict[int, Group | None], name: str, branch: str) -> None:
    """Count what is left as it is."""
    for group in left.values():
        if group is not None:
            group.add(branch, name)
    left.clear()


def opened(line: Line, group: Group | None, how: str) -> None:
    """Count an episode: one that a unit opened, or that was open where the branch begins."""
    line.open, line.episode = True, group
    if group is not None:
        group.add(line.name, "episodes", f"episodes.{how}")


def closed(line: Line, how: str) -> None:
    """Count what became of an episode."""
    line.open = False
    if line.episode is not None:
        line.episode.add(line.name, f"episodes.{how}")


def count_ending(line: Line, ending: Ending) -> None:
    """Count what came of an ending."""
    group = ending.group
    if group is None:
        return
    for name in ("appealed", "branched", "decided", "overturned", "returned"):
        if getattr(ending, name):
            group.add(line.name, f"endings.{name}")
    if ending.rating is not None:
        group.add(line.name, "endings.rated", f"endings.rated.{ending.rating.value}")


def dates_of(line: Line, event: ConversationEnded) -> Iterator[tuple[int, str]]:
    """Yield the versions that an ending stands on and when each was recorded, the inherited ones too."""
    found = event.evidence
    named = {*found.redirections, found.warning, found.hope, found.request, found.confirmation} - {None}
    for version in sorted(one for one in named if one is not None):
        if version in line.dates:
            yield version, line.dates[version]


def ending_row(recorded: RecordedEvent, policy: str, dates: Iterable[tuple[int, str]]) -> EndingRow:
    """Return what is told of an ending under a policy of a name, with the dates of what it stands on."""
    event = recorded.event
    assert isinstance(event, ConversationEnded)
    return EndingRow(
        branch=recorded.branch,
        version=recorded.version,
        recorded_at=recorded.recorded_at,
        ground=event.ground,
        category=event.category,
        by=event.by,
        model=event.model,
        policy=policy,
        seen=event.seen,
        evidence=event.evidence,
        dates=dict(dates),
    )


def day_of(at: str) -> str:
    """Return the day of a time in UTC, in whichever form of ISO 8601 that is."""
    return at[:10] if at[4:5] == at[7:8] == "-" else moment_of(at).date().isoformat()


def is_soon(began: str, ended: str) -> bool:
    """Whether a conversation that began at a time counts as a return after an ending."""
    return moment_of(began) - moment_of(ended) <= _SOON


def moment_of(at: str) -> datetime:
    """Return a time in UTC."""
    return datetime.fromisoformat(at).astimezone(UTC)
