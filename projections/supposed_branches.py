"""What is known of each branch, and of its tree, so far, and what comes of it."""

from typing import NamedTuple

from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import Ground, with_fields

from .supposed import Because, BranchOutcome, Outcome


class Ending(NamedTuple):
    """An ending that happened, or would."""

    at: int
    turn: int
    ground: Ground


class Tree:
    """The branches of a conversation share their risks and their user, so they part together.

    Attributes:
        parted: whether the two histories did.
        saw: the last verdict that saw a risk: its command, and whether the other policy holds on it.
    """

    __slots__ = ("parted", "saw")

    def __init__(self) -> None:
        self.parted = False
        self.saw = "", True


_AN_OUTCOME = BranchOutcome(
    branch="a",
    conversation="a",
    outcome=Outcome.SAME,
    ended_at=None,
    ended_turn=None,
    ends_at=None,
    ends_turn=None,
    undecidable_from=None,
    because=None,
    warnings_added=(),
    warnings_dropped=(),
    untried=None,
)
"""Copied for each branch: to have its fields looked at takes longer than most of what is asked of an event."""


class Row:
    """A branch.

    Attributes:
        apart: its other state, while that is not what follows from the recorded one.
        ended, ends: the ending that happened, and the one that would.
        doubt: why the user's next turn answers something else.
        proposed: a proposal that may have been the ending.
        undecidable, because, added, dropped, untried: as `BranchOutcome` has them.
    """

    __slots__ = (
        "added", "apart", "because", "conversation", "doubt", "dropped", "ended", "ends", "proposed", "tree",
        "undecidable", "untried",
    )  # fmt: skip

    def __init__(self, tree: Tree, conversation: str) -> None:
        self.tree, self.conversation = tree, conversation
        self.apart: Conversation | None = None
        self.ended: Ending | None = None
        self.ends: Ending | None = None
        self.doubt: Because | None = None
        self.proposed: int | None = None
        self.undecidable: int | None = None
        self.because: Because | None = None
        self.added: tuple[int, ...] = ()
        self.dropped: tuple[int, ...] = ()
        self.untried: int | None = None

    def part(self, version: int, because: Because) -> None:
        """Note that nobody can tell from a version on."""
        if self.undecidable is None:
            self.undecidable, self.because = version, because
        self.tree.parted = True

    @property
    def goes_otherwise(self) -> bool:
        """Whether its user has seen something else by now, or would have."""
        return bool(self.doubt or self.proposed or (self.ends and not self.ended))

    def outcome(self, branch: str, policy: Policy) -> BranchOutcome:
        """Return what is to be said of a branch where the log ends."""
        if self.proposed is not None and self.ended is None:
            self.part(self.proposed, Because.PROPOSAL)
        found: BranchOutcome = with_fields(
            _AN_OUTCOME,
            {
                "branch": branch,
                "conversation": self.conversation,
                "outcome": self._came_of(policy),
                "ended_at": self.ended and self.ended.at,
                "ended_turn": self.ended and self.ended.turn,
                "ends_at": self.ends and self.ends.at,
                "ends_turn": self.ends and self.ends.turn,
                "undecidable_from": self.undecidable,
                "because": self.because,
                "warnings_added": self.added,
                "warnings_dropped": self.dropped,
                "untried": self.untried,
            },
        )
        return found

    def _came_of(self, policy: Policy) -> Outcome:
        if self.undecidable is not None:
            if self.ended is None or self.because is Because.EDITION:
                return Outcome.UNDECIDABLE
            return _never(policy, self.ended.ground) or Outcome.UNDECIDABLE
        if self.ends is not None and self.ended is None:
            return Outcome.WOULD_END
        if self.ends is not None and self.ended is not None and self.ends[1:] != self.ended[1:]:
            return Outcome.ENDS_EARLIER
        return Outcome.WARNED_ELSEWHERE if self.added or self.dropped else Outcome.SAME


def _never(policy: Policy, ground: Ground) -> Outcome | None:
    """Return what a policy rules out for a branch that ended on a ground, whatever is said; None if nothing.

    A policy under which no model ends anything leaves the user's wish as it is.
    """
    if not policy.trusted_for_risk:
        return Outcome.WOULD_NOT_END
    nothing = not (policy.categories and policy.eligible_models)
    return Outcome.NOT_AS_LAST_RESORT if nothing and ground is Ground.LAST_RESORT else None
