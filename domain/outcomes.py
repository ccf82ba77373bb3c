"""What the service answers: what was committed, that a branch has ended, or why a command could not be carried out."""

from dataclasses import dataclass, field
from typing import NamedTuple

from .events import Recorded
from .state import Conversation, Ended
from .values import Risk


class UnknownBranch(LookupError):
    """No branch of that id is in the store."""


class CommandIdReused(ValueError):
    """A command id was given to two different commands."""


class Contended(RuntimeError):
    """Others kept writing first. Nothing was recorded; the command may be sent again."""


class Committed(NamedTuple):
    """What a command recorded, and the state of its branch after that."""

    events: tuple[Recorded, ...]
    state: Conversation

    @property
    def version(self) -> int:
        """The version of the command's first event."""
        return self.events[0].version


@dataclass(frozen=True, slots=True)
class BranchEnded:
    """A user turn came after the ending. It was not recorded; it was screened for risk.

    `words` are handed back, so that they can be sent on a new branch: `edit` opens one in place of any earlier
    user turn, the latest of which is `turn`.
    """

    branch: str
    ended: Ended
    turn: int | None
    risk: Risk
    words: str = field(repr=False)
