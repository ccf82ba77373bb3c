"""The branches of a log: those that are active, those that ended and on what evidence, and how they hang together.

Active and ended are disjoint and cover all branches; branched is every branch of a conversation that has more than one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lastresort.domain.events import (
    AssistantTurnTaken,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    Evidence,
    RecordedEvent,
    TurnAssessed,
    UserTurnTaken,
)
from lastresort.domain.state import Conversation
from lastresort.domain.values import Actor, ForkCause, Frozen, Ground, Mode, Verdict

from .replay import Replay


class Branch(Frozen):
    """A branch as it stands: a row of every view."""

    branch: str
    conversation: str
    version: int
    account: str | None
    model: str
    policy: str  # hash
    policy_name: str
    law: int  # the edition
    mode: Mode
    parent: str | None
    at: int | None  # where it opened, on its parent's path
    cause: ForkCause | None
    children: tuple[str, ...]
    open_risks: tuple[str, ...]
    failed_redirections: int
    harmful_verdicts: int  # on the branch itself, not on what it inherited
    warned_of: tuple[str, ...]
    first_event_at: str  # when the first event of the branch itself was recorded, in UTC
    last_event_at: str
    ground: Ground | None = None
    category: str | None = None
    evidence: Evidence | None = None
    ended_at: int | None = None
    ended_by: Actor | None = None

    @property
    def status(self) -> str:
        """`active` or `ended`."""
        return "active" if self.ground is None else "ended"


_OPENED = ("parent", "at", "cause", "first_event_at")
_ENDED = ("policy", "ground", "category", "evidence", "ended_at", "ended_by")


class Views(NamedTuple):
    """All branches, and the three lists of them, each in the order in which they opened."""

    all: tuple[Branch, ...]
    active: tuple[Branch, ...]
    ended: tuple[Branch, ...]
    branched: tuple[Branch, ...]


def views(log: Iterable[RecordedEvent]) -> Views:
    """Fold a log, or the streams of a tree with parents before children, into its views."""
    replay = Replay()
    opened: dict[str, BranchOpened] = {}
    endings: dict[str, ConversationEnded] = {}
    harm: dict[str, int] = {}
    times: dict[str, tuple[str, str]] = {}
    for recorded in log:
        event = recorded.event
        replay.take(recorded, replay.before(recorded))
        first, _ = times.get(recorded.branch, (recorded.recorded_at, ""))
        times[recorded.branch] = first, recorded.recorded_at
        if isinstance(event, BranchOpened):
            opened[recorded.branch] = event
        elif isinstance(event, ConversationEnded):
            endings[recorded.branch] = event
        elif isinstance(event, TurnAssessed) and event.verdict is Verdict.HARMFUL:
            harm[recorded.branch] = harm.get(recorded.branch, 0) + 1
    rows = [
        _row(branch, state, opened.get(branch), endings.get(branch), harm.get(branch, 0), times[branch])
        for branch, state in replay.states.items()
    ]
    return listed(rows)


def listed(rows: Sequence[Branch]) -> Views:
    """Return the lists of branches, given the row of each."""
    trees = Counter(row.conversation for row in rows)
    return Views(
        all=tuple(rows),
        active=tuple(row for row in rows if row.ground is None),
        ended=tuple(row for row in rows if row.ground is not None),
        branched=tuple(row for row in rows if trees[row.conversation] > 1),
    )


def row_after(before: Branch | None, branch: str, state: Conversation, recorded: Sequence[RecordedEvent]) -> Branch:
    """Return the row of a branch after events of its own stream, those that follow what `before` shows.

    Args:
        before: the row so far, None if the branch begins with these events.
        branch: its id.
        state: what it adds up to after them, or later.
        recorded: in order, at least one.
    """
    events = [one.event for one in recorded]
    opened = next((event for event in events if isinstance(event, BranchOpened)), None)
    ending = next((event for event in events if isinstance(event, ConversationEnded)), None)
    harm = sum(isinstance(event, TurnAssessed) and event.verdict is Verdict.HARMFUL for event in events)
    times = recorded[0].recorded_at, recorded[-1].recorded_at
    if before is None:
        return _row(branch, state, opened, ending, harm, times)
    row = _row(branch, state, opened, ending, before.harmful_verdicts + harm, times)
    kept = _OPENED if before.ground is None else _OPENED + _ENDED
    return row.model_copy(update={name: getattr(before, name) for name in kept})


def _row(
    branch: str,
    state: Conversation,
    opened: BranchOpened | None,
    ending: ConversationEnded | None,
    harm: int,
    times: tuple[str, str],
) -> Branch:
    row = Branch(
        branch=branch,
        conversation=state.conversation,
        version=state.version,
        account=state.account,
        model=state.model,
        policy=state.policy.hash,
        policy_name=state.policy.name,
        law=state.law,
        mode=state.mode,
        parent=opened and opened.parent,
        at=opened and opened.at,
        cause=opened and opened.cause,
        children=state.children,
        open_risks=tuple(dict.fromkeys(risk.risk for risk in state.risks)),
        failed_redirections=state.now.failed,
        harmful_verdicts=harm,
        warned_of=tuple(warned.category for warned in state.now.warnings),
        first_event_at=times[0],
        last_event_at=times[1],
    )
    if ending is None or state.ended is None:
        return row
    return row.model_copy(
        update={
            "policy": ending.policy_hash,
            "ground": ending.ground,
            "category": ending.category,
            "evidence": ending.evidence,
            "ended_at": state.ended.version,
            "ended_by": ending.by,
        }
    )


# --- where a conversation went several ways ---------------------------------------------------------------------------
#
# A branch opens where a user's turn is said otherwise, or an answer is given again. To say it otherwise once more on
# the new branch is a third way at the same place, and no place of its own: so a fork right where its parent opened, or
# in what its parent inherited, is counted at the place on the branch that has it from nobody.

_TURNS = (UserTurnTaken, AssistantTurnTaken)


class Way(NamedTuple):
    """One of the ways on from a place.

    Attributes:
        branch: whose it is.
        turn: the version of the first turn on it; None while there is none.
        cause: why it was opened; None, if it was there first.
        ended: whether the branch has ended.
    """

    branch: str
    turn: int | None
    cause: ForkCause | None
    ended: bool


class Crossing(NamedTuple):
    """A place on a path with several ways on.

    Attributes:
        at: the last version before it on the branch that was there first.
        ways: in the order in which they were opened.
        taken: which of them the path takes, from 0; None if it stops short of them all.
    """

    at: int
    ways: tuple[Way, ...]
    taken: int | None


class _Fork(NamedTuple):
    parent: str | None
    at: int  # where it opened, 0 for a root
    cause: ForkCause | None
    turns: list[int]


def siblings(log: Iterable[RecordedEvent], branch: str) -> tuple[Crossing, ...]:
    """Return where the path of a branch had several ways on, from the first to the last.

    Args:
        log: the events of every branch of its tree, parents before children.
        branch: one of them.
    """
    branches: dict[str, _Fork] = {}
    ended: set[str] = set()
    opened: dict[tuple[str, int], list[str]] = {}
    for one in log:
        event = one.event
        if isinstance(event, ConversationStarted):
            branches[one.branch] = _Fork(None, 0, None, [])
        elif isinstance(event, BranchOpened):
            branches[one.branch] = _Fork(event.parent, event.at, event.cause, [])
            opened.setdefault(_place(branches, event.parent, event.at), []).append(one.branch)
        elif isinstance(event, _TURNS):
            branches[one.branch].turns.append(one.version)
        elif isinstance(event, ConversationEnded):
            ended.add(one.branch)
    upto = _path(branches, branch)
    crossings = []
    for (first, at), children in opened.items():
        if upto.get(first, -1) < at:
            continue
        ways = [Way(first, at + 1, None, first in ended)]  # the turn that the others replace
        for child in children:
            own = branches[child]
            ways.append(Way(child, next(iter(own.turns), None), own.cause, child in ended))
        taken = next((n for n, way in enumerate(ways) if _is_on(way, upto, branch)), None)
        crossings.append(Crossing(at, tuple(ways), taken))
    return tuple(sorted(crossings, key=lambda one: one.at))


def _place(branches: dict[str, _Fork], parent: str, at: int) -> tuple[str, int]:
    """Return the place of a fork, on the branch that has it from nobody."""
    while (on := branches.get(parent)) is not None and on.parent is not None and at <= on.at + 1:
        parent, at = on.parent, min(at, on.at)
    return parent, at


def _path(branches: dict[str, _Fork], branch: str) -> dict[str, int]:
    """Return up to which version each branch is part of a path."""
    upto = {branch: 2**63}
    while (on := branches.get(branch)) is not None and on.parent is not None:
        upto[on.parent] = min(on.at, upto[branch])
        branch = on.parent
    return upto


def _is_on(way: Way, upto: dict[str, int], branch: str) -> bool:
    """Whether the path of a branch takes a way."""
    if way.turn is None:
        return way.branch == branch
    return way.turn <= upto.get(way.branch, 0)
