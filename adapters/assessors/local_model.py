"""The model: a weight for each feature, an intercept, and a table that makes a probability of a score.

A file of weights is a line of JSON with what is no weight, and then one signed byte for each feature. Sums are of whole
numbers, so that a text has the same score on every platform and Python.
"""

import json
from functools import cache
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

from .local_features import BITS, aimed, features

WEIGHTS = Path(__file__).with_name("local_weights.bin")


class Model(NamedTuple):
    """A linear model.

    Attributes:
        name: with its version.
        weights: by feature, as signed bytes.
        scale: what one step of a weight is worth.
        intercept: the score of a text without a feature that counts.
        knots: pairs of a score and its probability, rising; between them it is interpolated.
        harmful: the probability from which on a turn that can be aimed at the assistant is judged harmful.
    """

    name: str
    weights: bytes
    scale: float
    intercept: float
    knots: tuple[tuple[float, float], ...]
    harmful: float

    def score(self, text: str) -> float:
        """Return the score of a text."""
        found, total = features(text), 0
        for number in found:
            weight = self.weights[number]
            total += weight - 256 if weight > 127 else weight
        return self.intercept + self.scale * total / sqrt(len(found))

    def probability(self, text: str) -> float:
        """Return how likely it is that people would judge the text abusive of the assistant."""
        return interpolated(self.knots, self.score(text))

    def hears_abuse(self, text: str, probability: float | None = None) -> bool:
        """Return whether a text is judged abusive of the assistant; `probability`, if it is known, is not sought."""
        likely = self.probability(text) if probability is None else probability
        return likely >= self.harmful and aimed(text)


def interpolated(knots: tuple[tuple[float, float], ...], score: float) -> float:
    """Return the probability that a rising table has for a score."""
    (below, probability) = knots[0]
    for above, next_one in knots:
        if score < above:
            if above == below:
                return probability
            share = (score - below) / (above - below)
            return probability + share * (next_one - probability) if score > below else probability
        below, probability = above, next_one
    return probability


def as_bytes(model: Model) -> bytes:
    """Return the file of a model."""
    about: dict[str, Any] = {**model._asdict(), "weights": len(model.weights)}
    return json.dumps(about, sort_keys=True).encode() + b"\n" + model.weights


def read_model(file: bytes) -> Model:
    """Return the model of a file.

    Raises:
        ValueError: it is no such file.
    """
    head, _, weights = file.partition(b"\n")
    about = json.loads(head)
    if len(weights) != about.pop("weights") or len(weights) != 1 << BITS:
        raise ValueError(
            f"the file of weights has {len(weights)} of {1 << BITS} weights: it is cut off, or another one"
        )
    return Model(weights=weights, **{**about, "knots": tuple(map(tuple, about["knots"]))})


@cache
def shipped_model() -> Model:
    """Return the model that is shipped."""
    return read_model(WEIGHTS.read_bytes())
