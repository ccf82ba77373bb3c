"""Rounds: every contender runs once in each, so that whatever slows the machine for a while slows them all.

A ratio is taken within a round before its median is. One round says little: the median says what is usual, and the
lowest and the highest how far to trust it. The first round warms up and is not counted; the order is turned about
each time, so that nobody always runs in the wake of the same neighbour.
"""

import gc
import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

Round = Mapping[str, float]
"""What one round measured, by name."""

Contender = Callable[[], Round]
"""Does one round's work, and returns what it measured."""


class Goal(NamedTuple):
    """What a figure is to be: at least, or at most, `bound`."""

    bound: float
    least: bool

    def met(self, value: float) -> bool:
        return value >= self.bound if self.least else value <= self.bound


def at_least(bound: float) -> Goal:
    return Goal(bound, least=True)


def at_most(bound: float) -> Goal:
    return Goal(bound, least=False)


class Line(NamedTuple):
    """A figure to be, and how it follows from a round."""

    name: str
    unit: str
    of: Callable[[Round], float]
    goal: Goal | None = None


def value(name: str, unit: str, goal: Goal | None = None, *, of: str | None = None) -> Line:
    """A figure that was measured as it is, under `of` or its own name."""
    return Line(name, unit, lambda measured: measured[of or name], goal)


def ratio(name: str, part: str, whole: str, goal: Goal | None = None, unit: str = "ratio") -> Line:
    """How many times `whole` `part` is."""
    return Line(name, unit, lambda measured: measured[part] / measured[whole], goal)


class Work(NamedTuple):
    """One group of the table: its contenders, and the figures that follow from what they measure."""

    id: str
    title: str
    contenders: Sequence[Contender]
    lines: Sequence[Line]
    notes: Callable[[], Sequence[str]] = tuple  # what is to be said of it once it was measured


class Figure(NamedTuple):
    """One number, as every round gave it."""

    work: str
    name: str
    unit: str
    rounds: tuple[float, ...]
    goal: Goal | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def met(self) -> bool | None:
        """Whether the median is what it is to be; None if there is no goal."""
        return self.goal and self.goal.met(self.median)


def measure(work: Work, rounds: int, told: Callable[[int], None] = lambda count: None) -> list[Figure]:
    """Run the contenders of `work`, `rounds` times after a round that does not count.

    Args:
        work: what to measure.
        rounds: how many, at least 1.
        told: called with the number of each round as it begins, 0 for the one that does not count.
    """
    measured: list[Round] = []
    order = list(work.contenders)
    for count in range(rounds + 1):
        told(count)
        gathered: dict[str, float] = {}
        for contender in order:
            gc.collect()  # nobody sweeps up after a neighbour; within its run each pays for its own
            gathered.update(contender())
        order.reverse()
        if count > 0:
            measured.append(gathered)
    return [
        Figure(work.id, line.name, line.unit, tuple(line.of(one) for one in measured), line.goal) for line in work.lines
    ]


def medians(samples: Mapping[str, Iterable[float]]) -> Round:
    """Return the median of each, for a contender that does the same thing many times in a round."""
    return {name: statistics.median(values) for name, values in samples.items()}


@contextmanager
def one_core() -> Iterator[None]:
    """Stay on one core, where the system lets a process choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
