"""What the service answers: what was committed, that a branch has ended, why a command could not be carried out.

What an observer is told of it, and how long it took.

And lists of branches, page by page.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple, get_args

from lastresort.domain.commands import Command
from lastresort.domain.decider import Refused
from lastresort.domain.events import BranchOpened, ConversationEnded, ConversationStarted, Evidence, RecordedEvent
from lastresort.domain.state import Conversation, Ended
from lastresort.domain.values import MOST_POSITION, About, Actor, ForkCause, Frozen, Ground, Risk, RiskSeen

from .arguments import checked_version
from .directory import MOST_ROWS
from .ports import List, ListRow, Ports, RiskScreen


class UnknownBranch(LookupError):
    """No branch of that id is in the store."""


class UnknownTurn(ValueError):
    """No turn stands at that version of the branch, or no words do."""


class CommandIdReused(ValueError):
    """A command id was given to two different commands."""


class Contention(RuntimeError):
    """Others kept writing first. Nothing was recorded; the command may be sent again."""


class SpokenSince(Exception):
    """Somebody spoke in a conversation that was to be erased by its age. Nothing was recorded."""


class Receipt(NamedTuple):
    """What a command recorded, and the state of its branch after that."""

    events: tuple[RecordedEvent, ...]
    state: Conversation

    @property
    def version(self) -> int:
        """The version of the command's first event."""
        return self.events[0].version

    def __repr__(self) -> str:
        first = self.events[0]
        return f"<Receipt {first.branch} v{first.version}: {', '.join(one.event.kind for one in self.events)}>"


class Refusal(NamedTuple):
    """A refusal, and the state that it was given in."""

    refused: Refused
    state: Conversation


@dataclass(frozen=True, slots=True)
class BranchEnded:
    """A user turn came after the ending. It was not recorded; it was screened for risk.

    `words` are handed back, so that they can be sent on a new branch: `edit` opens one in place of any earlier
    user turn, the latest of which is `turn`. An appeal is open until the day `appeal_until` at least.
    """

    branch: str
    ended: Ended
    turn: int | None
    risk: Risk
    words: str = field(repr=False)
    appeal_until: str | None = None


def screened(screen: RiskScreen, words: str) -> RiskSeen:
    """Return what a screen says of words; if it fails, that a risk is possible, since doubt holds."""
    try:
        seen = screen(words)
        if isinstance(seen, Mapping):
            return {About(about): Risk(risk) for about, risk in seen.items()}
        return Risk(seen)
    except Exception:  # a screen is the embedder's code, which may raise anything
        return Risk.POSSIBLE


def appeal_until(ended_at: str, months: int) -> str:
    """Return the day until which an appeal is open at least, `months` after an ending: as YYYY-MM-DD, in UTC.

    Where that month has no such day, it is the first of the next, so that nobody has less.
    """
    ended = date.fromisoformat(ended_at[:10])
    years, month = divmod(ended.month - 1 + months, 12)
    try:
        return date(ended.year + years, month + 1, ended.day).isoformat()
    except ValueError:
        years, month = divmod(ended.month + months, 12)
        return date(ended.year + years, month + 1, 1).isoformat()


class BranchRow(Frozen):
    """A branch as a list shows it. Of one that is active, what an ending says is null."""

    branch: str
    conversation: str
    version: int
    account: str | None
    parent: str | None
    at: int | None  # where it opened, on its parent's path
    cause: ForkCause | None
    first_event_at: str  # when its first event was recorded, in UTC
    ground: Ground | None = None
    category: str | None = None
    policy: str | None = None  # the hash of the one that it ended under
    policy_name: str | None = None
    evidence: Evidence | None = None
    ended_at: int | None = None
    ended_by: Actor | None = None
    ending_recorded_at: str | None = None  # when its ending was recorded, in UTC


class Page(NamedTuple):
    """A part of a list, and where to go on: `after` is None if this is the end of it."""

    rows: tuple[BranchRow, ...]
    after: int | None


def listed(found: ListRow, named: Callable[[str], str]) -> BranchRow:
    """Return what a list shows of a branch; `named` returns the name of the policy that governs a branch."""
    began, started = found.began.event, found.started.event
    opened = began if isinstance(began, BranchOpened) else None
    root = started if isinstance(started, ConversationStarted) else None
    ending = found.ending.event if found.ending else None
    over: dict[str, Any] = {}
    if found.ending and isinstance(ending, ConversationEnded):
        same = root is not None and root.policy_hash == ending.policy_hash
        over = {
            "ground": ending.ground,
            "category": ending.category,
            "policy": ending.policy_hash,
            "policy_name": root.policy.name if root and same else named(found.began.branch),
            "evidence": ending.evidence,
            "ended_at": found.ending.version,
            "ended_by": ending.by,
            "ending_recorded_at": found.ending.recorded_at,
        }
    return BranchRow(
        branch=found.began.branch,
        conversation=opened.conversation if opened else root.conversation if root else "",
        version=found.version,
        account=root and root.account,
        parent=opened and opened.parent,
        at=opened and opened.at,
        cause=opened and opened.cause,
        first_event_at=found.began.recorded_at,
        **over,
    )


class Stopwatch:
    """Measures from now on for an observer, if there is one. It belongs to one thread, and to one command."""

    __slots__ = ("_began", "_command", "_monotonic", "_observer")

    def __init__(self, ports: Ports, command: Command) -> None:
        self._observer, self._monotonic = ports.observer, ports.monotonic
        self._command = type(command).__name__
        self._began = 0.0 if self._observer is None else self._monotonic()

    def committed(self, outcome: Receipt) -> None:
        """Tell what was recorded; nothing if that is nothing."""
        if self._observer is not None and outcome.events:
            with suppress(Exception):
                kinds = tuple(recorded.kind for recorded in outcome.events)
                self._observer.committed(self._command, kinds, self._seconds())

    def refused(self, refused: Refused) -> None:
        """Tell under which rules it was refused."""
        if self._observer is not None:
            with suppress(Exception):
                self._observer.refused(self._command, tuple(refused.rules), self._seconds())

    def contended(self, conflicts: int) -> None:
        """Tell how often others wrote first."""
        if self._observer is not None:
            with suppress(Exception):
                self._observer.contended(self._command, conflicts, self._seconds())

    def _seconds(self) -> float:
        return self._monotonic() - self._began


def checked_turn(value: int) -> int:
    """Return the version that was passed as `turn`. Whether a turn stands there is not asked.

    Raises:
        UnknownTurn: it is no int, or one that no log can hold.
    """
    try:
        return checked_version("turn", value)
    except ValueError as error:
        raise UnknownTurn(str(error)) from None


def check_page(which: List, after: int, limit: int) -> None:
    """Check what page of a list of branches is asked for.

    Raises:
        ValueError: there is no such page.
    """
    numbers = type(limit) is int and 1 <= limit <= MOST_ROWS and type(after) is int and 0 <= after <= MOST_POSITION
    if type(which) is not str or which not in get_args(List) or not numbers:
        raise ValueError(
            f"no such page: list is one of {', '.join(get_args(List))}, after a position from 0 to {MOST_POSITION}, "
            f"limit a whole number from 1 to {MOST_ROWS}"
        )
