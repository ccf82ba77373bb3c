"""The assessor's port: what a second opinion on a turn is, what its author is shown, and how long we wait for it.

An assessor sees what people read of the conversation, never tool calls or thinking, and its word counts as an
assessor's. One that fails, takes too long or answers nonsense has judged nothing: the turn is ambiguous, the risk
unknown. One that answers None has no opinion yet (a human queue, say), and nothing is recorded.
"""

import threading
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol

from lastresort.domain.turn_text import BETWEEN
from lastresort.domain.values import About, Assessment

RECENT = 20
"""How many turns before the one in question an assessor is shown."""


class Opinion(Assessment):
    """What an assessor says of a turn, and whom a risk is about."""

    about: About = About.SELF


class Failure(NamedTuple):
    """The assessor could not judge."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Case:
    """What an assessor is shown.

    Attributes:
        branch, version: the user turn to judge.
        turn: what the user wrote since the last answer.
        before: who said what before it, `user` or `assistant`, the latest `RECENT` turns.
        categories: those that may lead to an ending.
    """

    branch: str
    version: int
    turn: str = field(repr=False)
    before: tuple[tuple[str, str], ...] = field(repr=False)
    categories: tuple[str, ...] = ()


class Assessor(Protocol):
    """Judges a turn. A function will do. It may raise, to say that it could not."""

    def __call__(self, case: Case, /) -> Opinion | None: ...


class AsyncAssessor(Protocol):
    """The same, awaited."""

    def __call__(self, case: Case, /) -> Awaitable[Opinion | None]: ...


def case_of(branch: str, version: int, said: Iterable[tuple[str, str]], categories: tuple[str, ...]) -> Case:
    """Return the case of the latest unit, whether or not it was answered.

    Args:
        branch, version: the user turn to judge.
        said: who said what on the path, `user` or `assistant`, oldest first.
        categories: those that may lead to an ending.
    """
    turns = list(said)
    while turns and turns[-1][0] == "assistant":
        turns.pop()
    unit: list[str] = []
    while turns and turns[-1][0] == "user":
        unit.insert(0, turns.pop()[1])
    return Case(branch, version, BETWEEN.join(unit), tuple(turns[-RECENT:]), categories)


def assess(assessor: Assessor, case: Case, patience: float) -> Opinion | Failure | None:
    """Ask an assessor in a thread of its own, which is left behind after `patience` seconds."""
    answers: SimpleQueue[Opinion | Failure | None] = SimpleQueue()

    def answer() -> None:
        try:
            answers.put(checked(assessor(case)))
        except Exception as error:  # an assessor that fails, in any way, has judged nothing
            answers.put(Failure(error))
        except BaseException as error:  # this thread's own end, which would keep the turn waiting and be printed
            answers.put(Failure(RuntimeError(f"the assessor was stopped by {type(error).__name__}")))

    threading.Thread(target=answer, name="assessor", daemon=True).start()
    try:
        return answers.get(timeout=patience)
    except Empty:
        return Failure(TimeoutError(f"no opinion within {patience} s"))


def checked(said: Opinion | None) -> Opinion | None:
    """Return what an assessor said.

    Raises:
        TypeError: it is neither an opinion nor None.
    """
    if not (said is None or isinstance(said, Opinion)):
        raise TypeError(f"an assessor returns an Opinion or None, not a {type(said).__name__}")
    return said
