"""What a report knows of a log while it counts: groups, trees, branches, endings; and how what became of harm
counts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from lastresort.domain.episode import Episode, Opinion, Unit
from lastresort.domain.events import (
    ConversationEnded,
    EventBase,
    ModelChanged,
    PolicyChanged,
    RecordedEvent,
    RiskRaised,
    UserLeft,
)
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import ActorKind, Rating, Verdict, milder
from lastresort.projections.experiment import Answers

KEYS = ("model", "policy", "arm", "month")
"""What a report can be grouped by."""
Key = tuple[str | None, ...]
VOIDED_BY: dict[type[EventBase], str] = {
    RiskRaised: "risk", PolicyChanged: "terms", ModelChanged: "terms", UserLeft: "leaving",
}  # fmt: skip
"""What makes warnings void, by what it is called in a report."""
_HARMFUL = Verdict.HARMFUL


class NotWhole(ValueError):
    """A log from which something is missing: what is counted in it would be wrong."""


class EndingRecord(NamedTuple):
    """An ending, and when what it stands on was recorded: dates by version, as far as they are known."""

    ending: RecordedEvent
    policy: str
    dates: tuple[tuple[int, str], ...]
    key: Key


class Group:
    """What was counted under one key; of each number the first branches behind it, and how numbers are spread."""

    __slots__ = ("_most", "behind", "counts", "key", "spreads")

    def __init__(self, key: Key, most: int) -> None:
        self.key, self._most = key, most
        self.counts: Counter[str] = Counter()
        self.behind: dict[str, dict[str, None]] = defaultdict(dict)
        self.spreads: dict[str, Counter[int]] = defaultdict(Counter)

    def add(self, name: str, branch: str) -> None:
        """Count one more, behind which is `branch`."""
        self.counts[name] += 1
        behind = self.behind[name]
        if len(behind) < self._most:
            behind[branch] = None


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


class Line:
    """What is known of a branch beside its state."""

    __slots__ = (
        "answers", "at", "dates", "ending", "episode", "first_harm", "group", "model", "name", "open", "parent",
        "policy", "redirections", "tested", "time", "tree", "turns", "unit_group", "warnings",
    )  # fmt: skip

    def __init__(self, name: str, tree: Tree, parent: "Line | None" = None, at: int = 0) -> None:
        self.name, self.tree, self.parent, self.at = name, tree, parent, at
        self.time, self.model = "-", ""  # for which `group` is right
        self.policy: Policy | None = None
        self.group: Group | None = None
        self.unit_group: Group | None = None
        self.turns, self.first_harm = 0, 0  # of the user, on the path: how many, and which was the first of harm
        self.open = False  # whether an episode was counted that is not over
        self.episode: Group | None = None  # where it counts
        self.redirections: dict[int, Group | None] = {}  # of this branch, of which it is not known what came of them
        self.warnings: dict[int, Group | None] = {}
        self.tested: set[int] = set()
        self.answers: Answers[tuple[str, Group | None, int]] = Answers()
        self.dates: dict[int, str] = {}  # of what an ending may stand on
        self.ending: Ending | None = None


# --- How things count -------------------------------------------------------------------------------------------------


def marked(line: Line, name: str, mark: str) -> None:
    """Count one more in the group of a branch, and that it happened in its conversation."""
    group = line.group
    if group is not None:
        group.add(name, line.name)
        line.tree.marks[group].add(mark)


def count_unit(line: Line, group: Group, unit: Unit) -> None:
    """Count a unit that is over, who judged it, and whether model and assessor agreed."""
    add, name, judgement = group.add, line.name, unit.judgement
    add("units", name)
    if judgement is None:
        add("units.unjudged", name)
        return
    add("units.judged", name)
    add(f"units.verdict.{judgement.value}", name)
    if judgement is _HARMFUL:
        line.tree.marks[group].add("harmful")
        for category in {opinion.category for opinion in unit.opinions} - {None}:
            add(f"units.category.{category}", name)
        add(f"units.severity.{unit.severity}", name)
    for kind in {opinion.by[0] for opinion in unit.opinions}:
        add(f"units.judged_by.{kind.value}", name)
    if len(unit.opinions) > 1:
        model, assessor = (_mildest(unit.opinions, kind) for kind in (ActorKind.MODEL, ActorKind.ASSESSOR))
        if model is not None and assessor is not None:
            add("units.both", name)
            if (model is _HARMFUL) is (assessor is _HARMFUL):
                add("units.both.agree", name)
            else:
                add(f"units.both.{'model' if model is _HARMFUL else 'assessor'}_harsher", name)


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
            group.add(f"redirections.{became}", line.name)


def count_warnings(line: Line, before: Conversation, episode: Episode, harmful: bool) -> None:
    """Count what a unit that is over made of the warnings that stood, and of those that answered it."""
    standing = {warned.version: warned.tested_by for warned in episode.warnings}
    stood = {warned.version for warned in before.episode.warnings}
    for version in list(line.warnings):
        group = line.warnings[version]
        if version not in standing:
            became = "void.superseded" if harmful else "relented" if version in stood else "void.withdrawn"
            del line.warnings[version]
        elif standing[version] is not None and version not in line.tested:
            line.tested.add(version)
            became = "tested"
        else:
            continue
        if group is not None:
            group.add(f"warnings.{became}", line.name)


def rest(left: dict[int, Group | None], name: str, branch: str) -> None:
    """Count what is left as it is."""
    for group in left.values():
        if group is not None:
            group.add(name, branch)
    left.clear()


def opened(line: Line, group: Group | None, how: str) -> None:
    """Count an episode: one that a unit opened, or that was open where the branch begins."""
    line.open, line.episode = True, group
    if group is not None:
        group.add("episodes", line.name)
        group.add(f"episodes.{how}", line.name)


def closed(line: Line, how: str) -> None:
    """Count what became of an episode."""
    line.open = False
    if line.episode is not None:
        line.episode.add(f"episodes.{how}", line.name)


def count_ending(line: Line, ending: Ending) -> None:
    """Count what came of an ending."""
    group = ending.group
    if group is None:
        return
    for name in ("appealed", "branched", "decided", "overturned", "returned"):
        if getattr(ending, name):
            group.add(f"endings.{name}", line.name)
    if ending.rating is not None:
        group.add("endings.rated", line.name)
        group.add(f"endings.rated.{ending.rating.value}", line.name)


def dates_of(line: Line, event: ConversationEnded) -> Iterator[tuple[int, str]]:
    """Yield the versions that an ending stands on and when each was recorded, the inherited ones too."""
    found = event.evidence
    named = {*found.redirections, found.warning, found.hope, found.request, found.confirmation} - {None}
    for version in sorted(one for one in named if one is not None):
        owner: Line | None = line
        while owner is not None and version <= owner.at:
            owner = owner.parent
        if owner is not None and version in owner.dates:
            yield version, owner.dates[version]


def day_of(at: str) -> str:
    """Return the day of a time in UTC, in whichever form of ISO 8601 that is."""
    return at[:10] if at[4:5] == at[7:8] == "-" else moment_of(at).date().isoformat()


def moment_of(at: str) -> datetime:
    """Return a time in UTC."""
    return datetime.fromisoformat(at).astimezone(UTC)
