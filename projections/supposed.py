"""What a replay under another policy says: of each branch, and in sum (see `what_if.py`)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from lastresort.domain.policy import Policy
from lastresort.domain.values import Frozen


class Outcome(StrEnum):
    """What becomes of a branch under the other policy."""

    SAME = "same"
    WARNED_ELSEWHERE = "warned elsewhere"  # its ending is the same, a warning is not
    ENDS_EARLIER = "ends earlier"
    WOULD_END = "would end"
    NOT_AS_LAST_RESORT = "would not end as a last resort"  # as it did; on the user's wish it may end still
    WOULD_NOT_END = "would not end"  # on any ground
    UNDECIDABLE = "undecidable"


class Because(StrEnum):
    """Why nothing can be told from some point on."""

    WARNING = "warning"  # the user would not have been warned as they were
    HOLD = "hold"
    ENDING = "ending"  # it would not have ended there
    ATTEMPT = "attempt"  # which act was refused cannot be told
    PROPOSAL = "proposal"  # it may have been the ending, without a handshake
    REDIRECTION = "redirection"
    VERDICT = "verdict"  # its category has no name under the other policy
    BRANCH = "branch"  # another branch of the tree had parted
    EDITION = "edition"  # this program does not know the one that is in force


class BranchOutcome(Frozen):
    """A branch under the other policy. Events are named by their versions in the log."""

    branch: str
    conversation: str
    outcome: Outcome
    ended_at: int | None  # what happened: the ending, and the user turn that it saw
    ended_turn: int | None
    ends_at: int | None  # what would happen: the ending, or the attempt that would be one
    ends_turn: int | None
    undecidable_from: int | None
    because: Because | None
    warnings_added: tuple[int, ...]  # refused attempts that would be warnings
    warnings_dropped: tuple[int, ...]
    untried: int | None  # the first user turn whose answer could have warned, under the other policy alone


class WhatIfSum(NamedTuple):
    """What another policy makes of a log, in sum.

    Attributes:
        edition: None: the one that each event was recorded under.
        branches: how many.
        outcomes: branches by outcome, every outcome.
        untried: branches on which the other policy alone would have let the model warn.
        ends: branches that surely end.
    """

    policy: str
    policy_hash: str
    edition: int | None
    events: int
    branches: int
    outcomes: Mapping[str, int]
    untried: int
    ends: int

    def plus(self, other: "WhatIfSum") -> "WhatIfSum":
        """Return the sum of two parts of a log, under the same policy."""
        return self._replace(
            events=self.events + other.events,
            branches=self.branches + other.branches,
            outcomes={outcome: count + other.outcomes[outcome] for outcome, count in self.outcomes.items()},
            untried=self.untried + other.untried,
            ends=self.ends + other.ends,
        )


class WhatIf(NamedTuple):
    """What another policy makes of a log: branch by branch in the order in which they begin, and in sum."""

    policy: str
    policy_hash: str
    edition: int | None  # None: the one that each event was recorded under
    events: int
    branches: tuple[BranchOutcome, ...]
    sum: Mapping[str, int]  # branches by outcome, every outcome
    untried: int

    @classmethod
    def of(cls, policy: Policy, edition: int | None, events: int, branches: Iterable[BranchOutcome]) -> "WhatIf":
        """Return what a policy makes of a log, from what it makes of its branches."""
        rows = tuple(branches)
        counted = Counter(row.outcome for row in rows)
        outcomes = {outcome.value: counted[outcome] for outcome in Outcome}
        untried = sum(row.untried is not None for row in rows)
        return cls(policy.name, policy.hash, edition, events, rows, outcomes, untried)

    @property
    def total(self) -> WhatIfSum:
        """All but the branches."""
        ends = sum(row.ends_at is not None for row in self.branches)
        return WhatIfSum(
            self.policy, self.policy_hash, self.edition, self.events, len(self.branches), self.sum, self.untried, ends
        )
