"""What a turn asks of its driver."""

from collections.abc import Generator
from typing import Any, NamedTuple

from .assessor import Case, Opinion
from .replies import Outcome


class Ask(NamedTuple):
    """Send this request. The answer is the message that comes back."""

    request: dict[str, Any]


class Consult(NamedTuple):
    """Let the assessor judge this. The answer is its opinion, None if it has none yet, or a `Failure`."""

    case: Case


class Failure(NamedTuple):
    """The assessor could not judge."""

    error: Exception


Steps = Generator[Ask | Consult, Any, Outcome]
"""A turn: yields what to do, takes what came of it, and returns how it went."""

Consultation = Generator[Consult, Opinion | Failure | None, Any]
"""A part of one that may ask the assessor."""
