"""What a turn asks of its driver, and how a driver goes on with it."""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from .assessor import Case, Failure, Opinion
from .replies import Outcome


class Ask(NamedTuple):
    """Send this request. The answer is the message that comes back. A driver that hands it on in pieces says by `lies`
    when one lies to be read (True), and when its reader has come back for more (False)."""

    request: dict[str, Any]
    lies: Callable[[bool], None] = lambda whether: None


class Consult(NamedTuple):
    """Let the assessor judge this. The answer is its opinion, None if it has none yet, or a `Failure`."""

    case: Case


class Wait(NamedTuple):
    """Call this, which waits until somebody else is done. There is no answer."""

    until: Callable[[], object]


Steps = Generator[Ask | Consult | Wait, Any, Outcome]
"""A turn: yields what to do, takes what came of it, and returns how it went."""

Answer = TypeVar("Answer")
Consultation = Generator[Consult, Opinion | Failure | None, Answer]
"""A part of a turn that may ask the assessor, and what it returns."""


class BrokenOff(Exception):
    """Is thrown into a turn that breaks off while people read it.

    Attributes:
        reason: why, as the record will say: `STOPPED` or `DROPPED`.
        message: what has come of the message under way, None if none is.
    """

    def __init__(self, reason: str, message: Any = None) -> None:
        super().__init__(reason)
        self.reason, self.message = reason, message


def break_off(steps: Steps, cut: BrokenOff) -> Outcome | None:
    """Break off a turn; return what it keeps of what was shown, None if nothing was shown."""
    try:
        steps.throw(cut)
    except BrokenOff as thrown:
        if thrown is cut:
            return None
        raise
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome
    raise AssertionError("a turn that breaks off asks for nothing more")


def advance(steps: Steps, value: Any) -> Ask | Consult | Wait | Outcome:
    """Go on with a turn; return what it asks for next, or what came of it."""
    try:
        return steps.send(value)
    except StopIteration as done:
        outcome: Outcome = done.value
        return outcome
