"""Trains the local assessor: `python -m tests.local.train ../shared/data/convabuse/train.jsonl` writes its weights.

Judged turns of ConvAbuse (A. Cercas Curry, G. Abercrombie, V. Rieser, EMNLP 2021, CC BY 4.0) and counter-examples of
our own. Only sums, products, quotients and square roots, in one order: the same bytes come of it on every platform.
From which probability on a turn is judged harmful is found out of fold, by conversation, on the training turns.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from math import sqrt
from pathlib import Path
from typing import NamedTuple

from lastresort.adapters.assessors.local_features import BITS, aimed, features
from lastresort.adapters.assessors.local_model import WEIGHTS, Model, as_bytes, interpolated

HERE = Path(__file__).parent
NAME = "local-2"
EPOCHS, RATE, DECAY, FOLDS = 10, 0.25, 4e-3, 5
RUNS = 5  # whose weights are averaged: they differ by the order of the examples
AMBIGUOUS, COUNTER_EXAMPLE, GRAVE = 0.1, 0.3, 1.5  # what an ambiguous turn is worth as harm; weights of examples
PRECISION = 0.95  # two hundredths more than is asked for on other turns
KNOTS = 12


class Judged(NamedTuple):
    """A turn of a user that people judged."""

    conversation: str
    text: str
    verdict: str
    severity: int


class Example(NamedTuple):
    """What is learnt from."""

    features: list[int]
    target: float
    weight: float


def judged_turns(path: Path) -> list[Judged]:
    """Return the judged turns of a file of transcripts."""
    return [
        Judged(told["conversation"], turn["text"], turn["verdict"], turn.get("severity", 0))
        for told in map(json.loads, path.read_text(encoding="utf-8").splitlines())
        for turn in told["turns"]
        if turn["role"] == "user" and "verdict" in turn
    ]


def lines(name: str) -> list[str]:
    """Return the lines of a file beside this one, without its headings."""
    return [line for line in (HERE / name).read_text(encoding="utf-8").splitlines() if line and line[:2] != "# "]


def examples(turns: Sequence[Judged]) -> list[Example]:
    """Return what is learnt of judged turns, and the counter-examples."""
    worth = {"harmful": 1.0, "ambiguous": AMBIGUOUS}
    found = [
        Example(features(one.text), worth.get(one.verdict, 0.0), GRAVE if one.severity >= 2 else 1.0) for one in turns
    ]
    return found + [Example(features(line), 0.0, COUNTER_EXAMPLE) for line in lines("counter_examples.txt")]


def fit(data: Sequence[Example]) -> tuple[list[float], float]:
    """Return the weights and the intercept of a logistic regression, by AdaGrad, averaged over runs."""
    total, intercept = [0.0] * (1 << BITS), 0.0
    for run in range(RUNS):
        weights, constant = _fitted(data, run)
        for number, weight in enumerate(weights):
            total[number] += weight / RUNS
        intercept += constant / RUNS
    return total, intercept


def _fitted(data: Sequence[Example], run: int) -> tuple[list[float], float]:
    weights, seen, constant = [0.0] * (1 << BITS), [1e-8] * (1 << BITS), 0.0
    order = list(range(len(data)))
    for epoch in range(EPOCHS):
        _shuffle(order, 1 + run * EPOCHS + epoch)
        for place in order:
            found, target, weight = data[place]
            share = 1 / sqrt(len(found))
            error = (_likelihood(_scored(weights, found, constant)) - target) * weight
            constant -= RATE * 0.1 * error / (1 + epoch)
            for number in found:
                step = error * share + DECAY * weights[number]
                seen[number] += step * step
                weights[number] -= RATE * step / sqrt(seen[number])
    return weights, constant


def _scored(weights: Sequence[float], found: Sequence[int], constant: float) -> float:
    total = 0.0
    for number in found:  # `sum` adds otherwise since Python 3.12
        total += weights[number]
    return constant + total / sqrt(len(found))


def _likelihood(score: float) -> float:
    """The logistic function, of products alone: `exp` is not the same to the bit everywhere."""
    power = 1 + max(-30.0, min(30.0, -score)) / 4096
    for _ in range(12):
        power *= power
    return 1 / (1 + power)


def _shuffle(order: list[int], seed: int) -> None:
    for last in range(len(order) - 1, 0, -1):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        other = (seed >> 33) % (last + 1)
        order[last], order[other] = order[other], order[last]


def out_of_fold(turns: Sequence[Judged]) -> list[float]:
    """Return the score of each turn by a model that has not seen its conversation."""
    names = sorted({one.conversation for one in turns})
    fold = {name: number % FOLDS for number, name in enumerate(names)}
    scores = [0.0] * len(turns)
    for held_out in range(FOLDS):
        weights, constant = fit(examples([one for one in turns if fold[one.conversation] != held_out]))
        for place, one in enumerate(turns):
            if fold[one.conversation] == held_out:
                scores[place] = _scored(weights, features(one.text), constant)
    return scores


def calibrated(scores: Sequence[float], harmful: Sequence[bool]) -> tuple[tuple[float, float], ...]:
    """Return a rising table of scores and shares of harm: of neighbours by score, pooled where it fell."""
    ranked = sorted(zip(scores, harmful, strict=True))
    size = len(ranked) // (KNOTS * 4)
    pools: list[list[float]] = []  # sum of scores, harmful, number
    for start in range(0, len(ranked), size):
        part = ranked[start : start + size]
        pools.append([_total(score for score, _ in part), float(sum(harm for _, harm in part)), float(len(part))])
        while len(pools) > 1 and pools[-2][1] / pools[-2][2] >= pools[-1][1] / pools[-1][2]:
            later = pools.pop()
            pools[-1] = [one + other for one, other in zip(pools[-1], later, strict=True)]
    return tuple((round(score / number, 6), round(harm / number, 6)) for score, harm, number in pools)


def _total(numbers: Iterable[float]) -> float:
    total = 0.0
    for number in numbers:
        total += number
    return total


def threshold(heard: Sequence[tuple[float, bool]]) -> float:
    """Return the lowest score from which on what is called harmful is so with the precision that is asked for.

    Args:
        heard: scores of turns that may be aimed at the assistant, and whether people judged them harmful.
    """
    best, right, called = max(heard)[0], 0, 0
    for score, harm in sorted(heard, reverse=True):
        called, right = called + 1, right + harm
        if right >= PRECISION * called:
            best = score
    return best


def train(path: Path) -> Model:
    """Return the model that comes of judged turns."""
    turns = judged_turns(path)
    harmful = [one.verdict == "harmful" for one in turns]
    scores = out_of_fold(turns)
    knots = calibrated(scores, harmful)
    heard = [(score, harm) for one, score, harm in zip(turns, scores, harmful, strict=True) if aimed(one.text)]
    weights, constant = fit(examples(turns))
    scale = max(map(abs, weights)) / 127
    packed = bytes(round(weight / scale) % 256 for weight in weights)
    return Model(NAME, packed, scale, constant, knots, round(interpolated(knots, threshold(heard)), 6))


if __name__ == "__main__":
    WEIGHTS.write_bytes(as_bytes(train(Path(sys.argv[1]))))
