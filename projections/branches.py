"""The branches of a log: those that are active, those that ended and on what evidence, and how they hang together.

Active and ended are disjoint and cover all branches; branched is every branch of a conversation that has more than one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lastresort.domain.events import BranchOpened, ConversationEnded, Evidence, RecordedEvent, TurnAssessed
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
