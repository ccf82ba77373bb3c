"""What counts can say: intervals of shares and medians, of their differences, and whether a split is as it was meant.

Pure arithmetic, and no chance in it: where others resample, the distribution that resampling would approach is worked
out. Intervals are of 95 %, each by itself: of twenty comparisons of arms that do not differ, one may well seem to.

Sources:

* Wilson, Journal of the American Statistical Association 22 (1927) 209-212: the score interval of a share.
* Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10: the difference of two shares, from the intervals of
  each.
* Efron, Annals of Statistics 7 (1979) 1-26: the bootstrap distribution of a median is known exactly, by the binomial
  distribution, and needs no resampling.
* Cochran, Biometrics 10 (1954) 417-451: the chi-square test is for expected counts of 5 and more.
* Dunn, Journal of the American Statistical Association 56 (1961) 52-64: the least p-value of several tests, times their
  number (after Bonferroni).
* NIST Digital Library of Mathematical Functions, 8.4.6, 8.4.10 and 8.8.6: the incomplete gamma function of whole and
  half numbers, in closed form.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import takewhile
from math import erfc, exp, lgamma, log, sqrt
from statistics import NormalDist
from typing import NamedTuple

LEVEL = 0.95
POWER = 0.8
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
_Z_POWER = NormalDist().inv_cdf(POWER)
FEWEST = 5
"""The fewest expected in each arm for the chi-square test. Below, each arm is tested by itself, exactly."""


class Interval(NamedTuple):
    """Both bounds are in it."""

    low: float
    high: float

    def has(self, value: float) -> bool:
        """Whether a value is within it."""
        return self.low <= value <= self.high


# --- Shares -----------------------------------------------------------------------------------------------------------


def share_interval(count: int, of: int) -> Interval | None:
    """Return the interval of a share, `count` of `of`, by Wilson's score; None of nothing."""
    if of == 0:
        return None
    share, weight = count / of, _Z * _Z / of
    middle = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * sqrt(share * (1 - share) / of + weight / of / 4)
    return Interval(0.0 if count == 0 else middle - half, 1.0 if count == of else middle + half)


def difference_interval(count: int, of: int, base_count: int, base_of: int) -> Interval | None:
    """Return the interval of a share less that of the base, by Newcombe; None if either is of nothing."""
    ours, base = share_interval(count, of), share_interval(base_count, base_of)
    if ours is None or base is None:
        return None
    one, other = count / of, base_count / base_of
    low = sqrt((one - ours.low) ** 2 + (base.high - other) ** 2)
    high = sqrt((ours.high - one) ** 2 + (other - base.low) ** 2)
    return Interval(one - other - low, one - other + high)


def detectable_difference(count: int, of: int, base_count: int, base_of: int) -> float | None:
    """Return the smallest difference of two shares that samples of this size would show four times out of five.

    By the normal approximation around the share of both together, with two more of each kind, so that a share of 0 is
    not taken to be known without error.
    """
    if of == 0 or base_of == 0:
        return None
    pooled = (count + base_count + 2) / (of + base_of + 4)
    return min(1.0, (_Z + _Z_POWER) * sqrt(pooled * (1 - pooled) * (1 / of + 1 / base_of)))


# --- Medians ----------------------------------------------------------------------------------------------------------

Distribution = Mapping[int, float]
"""Values, rising, and the probability of each."""


def median(values: Mapping[int, int]) -> int | None:
    """Return the median of numbers, given as how often each comes; of an even count the lower; None of nothing."""
    middle, seen = (sum(values.values()) + 1) // 2, 0
    for value in sorted(values):
        seen += values[value]
        if seen >= middle:
            return value
    return None


def median_distribution(values: Mapping[int, int]) -> Distribution:
    """Return the bootstrap distribution of the median, exactly.

    The median of a sample drawn from these is at most `x` if at least as many of those drawn are as it takes to reach
    the middle, and how many are is binomial.
    """
    of = sum(values.values())
    found, below, seen = dict[int, float](), 0.0, 0
    for value in sorted(values):
        seen += values[value]
        at_most = _binomial_tail(of, seen / of, (of + 1) // 2)
        found[value] = max(0.0, at_most - below)
        below = at_most
    return found


def median_interval(values: Mapping[int, int]) -> Interval | None:
    """Return the percentile interval of the bootstrap distribution of the median; None of nothing."""
    return _percentiles(median_distribution(values)) if values else None


def median_ranks(of: int) -> tuple[int, int, int]:
    """Return which of so many numbers, in order, are the median and the ends of its interval: low end, median, high."""
    middle, outer = (of + 1) // 2, (1 - LEVEL) / 2

    def at_most(seen: int) -> float:
        return _binomial_tail(of, seen / of, middle)

    low = bisect_right(range(1, of), outer, key=at_most) + 1
    high = bisect_left(range(1, of), 1 - outer, key=at_most) + 1
    return low, middle, high


def median_difference(values: Mapping[int, int], base: Mapping[int, int]) -> Interval:
    """Return the percentile interval of the median less that of the base; neither may be of nothing."""
    apart: dict[int, float] = {}
    others = median_distribution(base)
    for one, likely in median_distribution(values).items():
        for other, as_likely in others.items():
            apart[one - other] = apart.get(one - other, 0.0) + likely * as_likely
    return _percentiles({value: apart[value] for value in sorted(apart)})


def _percentiles(distribution: Distribution) -> Interval:
    """Return where the outer parts of a distribution begin."""
    outer, seen = (1 - LEVEL) / 2, 0.0
    within = []
    for value, likely in distribution.items():
        if seen < 1 - outer and seen + likely > outer:
            within.append(value)
        seen += likely
    return Interval(within[0], within[-1])


def _binomial_tail(of: int, share: float, least: int) -> float:
    """Return the probability of at least `least` of `of`, each as likely as `share`.

    Terms that are too far from the middle to matter are left out, so that it takes the root of `of` steps.
    """
    if share >= 1:
        return 1.0
    reach = 10 * sqrt(of * share * (1 - share)) + 40
    first, last = max(least, int(of * share - reach)), min(of, int(of * share + reach))
    ratio = log(share) - log(1 - share)
    start = lgamma(of + 1) + of * log(1 - share)
    terms = (exp(start - lgamma(k + 1) - lgamma(of - k + 1) + k * ratio) for k in range(first, last + 1))
    return min(1.0, sum(terms))


# --- The split --------------------------------------------------------------------------------------------------------


def chi_square(counts: Sequence[int], weights: Sequence[int]) -> float:
    """Return how far counts are from what their weights let expect."""
    every, weight = sum(counts), sum(weights)
    expected = [every * one / weight for one in weights]
    return sum((count - due) ** 2 / due for count, due in zip(counts, expected, strict=True))


def chi_square_tail(value: float, freedom: int) -> float:
    """Return the probability of a chi-square of `value` or more with `freedom` degrees of freedom, in closed form."""
    if value <= 0:
        return 1.0
    half = value / 2
    order = 1.0 if freedom % 2 == 0 else 0.5
    tail = exp(-half) if freedom % 2 == 0 else erfc(sqrt(half))
    while order < freedom / 2:
        tail += exp(order * log(half) - half - lgamma(order + 1))
        order += 1
    return min(1.0, tail)


def split_p_value(counts: Sequence[int], weights: Sequence[int], level: float) -> float | None:
    """Return how likely it is that a split at these weights comes out as far off, or further; at most so likely.

    None if nothing can be said: of so few, not even all in the arm of the least weight would be less likely than
    `level`; or there is but one arm, or one without a weight.
    """
    if len(counts) < 2 or min(weights) < 1:
        return None
    lightest = weights.index(min(weights))
    farthest = [sum(counts) if arm == lightest else 0 for arm in range(len(counts))]
    return _split_p_value(counts, weights) if _split_p_value(farthest, weights) < level else None


def _split_p_value(counts: Sequence[int], weights: Sequence[int]) -> float:
    every, weight = sum(counts), sum(weights)
    if all(every * one >= FEWEST * weight for one in weights):
        return chi_square_tail(chi_square(counts, weights), len(counts) - 1)
    tests = len(counts) if len(counts) > 2 else 1  # of two arms, each says what the other does
    tails = (_outer_tail(count, every, one, weight) for count, one in zip(counts, weights, strict=True))
    return min(1.0, 2 * tests * min(tails))  # twice: it could have been as far off on the other side


def _outer_tail(count: int, of: int, weight: int, every: int) -> float:
    """Return the probability that of `of` at least as many are in an arm, or at most, away from what is expected.

    The logarithms are of whole numbers, so that a share next to 0 or 1 is as good as any. Terms get smaller away from
    what is expected, and are left out from the first that is too small for a float.
    """
    within, without = log(weight) - log(every), log(every - weight) - log(every)
    outer = range(count, -1, -1) if count * every <= of * weight else range(count, of + 1)
    start = lgamma(of + 1)
    terms = (exp(start - lgamma(k + 1) - lgamma(of - k + 1) + k * within + (of - k) * without) for k in outer)
    return sum(takewhile(bool, terms))
