"""The places at which a conversation went more than one way: what arrows show as 2 of 3.

A branch opens where a user's turn is said otherwise, or an answer is given again. To say it otherwise once more on the
new branch is a third way at the same place, and no place of its own: so a fork right where its parent opened, or in
what its parent inherited, is counted at the place on the branch that has it from nobody.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lastresort.domain.events import (
    AssistantTurnTaken,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    RecordedEvent,
    UserTurnTaken,
)
from lastresort.domain.values import ForkCause

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


class _Branch(NamedTuple):
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
    branches: dict[str, _Branch] = {}
    ended: set[str] = set()
    opened: dict[tuple[str, int], list[str]] = {}
    for one in log:
        event = one.event
        if isinstance(event, ConversationStarted):
            branches[one.branch] = _Branch(None, 0, None, [])
        elif isinstance(event, BranchOpened):
            branches[one.branch] = _Branch(event.parent, event.at, event.cause, [])
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


def _place(branches: dict[str, _Branch], parent: str, at: int) -> tuple[str, int]:
    """Return the place of a fork, on the branch that has it from nobody."""
    while (on := branches.get(parent)) is not None and on.parent is not None and at <= on.at + 1:
        parent, at = on.parent, min(at, on.at)
    return parent, at


def _path(branches: dict[str, _Branch], branch: str) -> dict[str, int]:
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
