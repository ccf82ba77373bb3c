"""Intervals, against values that were published and against counting all cases."""

from itertools import product
from math import comb, factorial, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastresort.projections.intervals import (
    LEVEL,
    chi_square,
    chi_square_tail,
    detectable_difference,
    difference_interval,
    median,
    median_difference,
    median_distribution,
    median_interval,
    share_interval,
    split_p_value,
)

counts = st.dictionaries(st.integers(1, 9), st.integers(1, 4), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0, 0.1611)), (29, 29, (0.8830, 1))],
)
def test_a_share_as_newcombe_has_it(count: int, of: int, expected: tuple[float, float]) -> None:
    """Statistics in Medicine 17 (1998) 857-872, table I, method 3."""
    assert share_interval(count, of) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("ours", "base", "expected"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0000)),
    ],
)
def test_a_difference_as_newcombe_has_it(
    ours: tuple[int, int], base: tuple[int, int], expected: tuple[float, float]
) -> None:
    """Statistics in Medicine 17 (1998) 873-890, table II, method 10."""
    assert difference_interval(*ours, *base) == pytest.approx(expected, abs=5e-5)


def test_of_nothing_nothing_is_said() -> None:
    assert share_interval(0, 0) is None
    assert difference_interval(0, 0, 1, 2) is None
    assert difference_interval(1, 2, 0, 0) is None
    assert detectable_difference(0, 0, 1, 2) is None
    assert detectable_difference(1, 2, 0, 0) is None
    assert median({}) is None
    assert median_interval({}) is None


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("of", [20, 50])
def test_arms_that_do_not_differ_seldom_seem_to(share: float, of: int) -> None:
    """Of all pairs of samples of one population, hardly more than one in twenty leave zero out of the interval."""
    likely = [comb(of, count) * share**count * (1 - share) ** (of - count) for count in range(of + 1)]
    wrong = 0.0
    for one, other in product(range(of + 1), repeat=2):
        interval = difference_interval(one, of, other, of)
        assert interval is not None
        wrong += likely[one] * likely[other] * (not interval.has(0))
    assert wrong < 1 - LEVEL + 0.02


def test_what_can_be_detected() -> None:
    """The textbook's example: 20 % against 10 % takes about 200 in each arm. Less takes more, and it is at most all."""
    assert detectable_difference(20, 199, 40, 199) == pytest.approx(0.1, abs=0.005)
    assert detectable_difference(0, 2, 1, 2) == 1
    assert (detectable_difference(0, 1_000, 0, 1_000) or 1) < 0.01


@given(counts)
def test_the_median_of_resampling_is_worked_out(values: dict[int, int]) -> None:
    """As many as there are ways to draw them, where all of those can be counted."""
    every = [value for value, count in sorted(values.items()) for _ in range(count)][:5]
    few = {value: every.count(value) for value in every}
    seen: dict[int, int] = {}
    for drawn in product(every, repeat=len(every)):
        middle = sorted(drawn)[(len(drawn) - 1) // 2]
        seen[middle] = seen.get(middle, 0) + 1
    expected = {value: count / len(every) ** len(every) for value, count in sorted(seen.items())}
    assert median_distribution(few) == pytest.approx(expected, abs=1e-12)
    assert median(few) == every[(len(every) - 1) // 2]


def test_the_interval_of_a_median() -> None:
    """It holds 95 % of what resampling would give; a thousand times as much data takes no thousand times as long."""
    assert median_interval({7: 1}) == (7, 7)
    assert median_interval(dict.fromkeys(range(1, 42), 1)) == (15, 27)
    assert median_interval(dict.fromkeys(range(1, 42), 100_000)) == (21, 21)
    assert median_difference({5: 40}, {3: 20, 4: 1}) == (2, 2)
    assert median_difference({5: 20, 6: 20}, {5: 20, 6: 20}) == (-1, 1)


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 3.841459), (2, 5.991465), (3, 7.814728), (4, 9.487729), (5, 11.070498), (10, 18.307038)]
)
def test_the_tail_of_chi_square(freedom: int, value: float) -> None:
    """The 5 % points of every table."""
    assert chi_square_tail(value, freedom) == pytest.approx(0.05, abs=1e-7)
    assert chi_square_tail(0, freedom) == 1


def test_a_split() -> None:
    """At equal weights 50 to 50 is as meant, 100 to 200 is not; of one arm, or without a weight, nothing is said."""
    assert chi_square([50, 50], [1, 1]) == 0
    assert split_p_value([50, 50], [1, 1], 0.001) == 1
    assert split_p_value([100, 200], [1, 2], 0.001) == 1
    assert split_p_value([100, 200], [1, 1], 0.001) == pytest.approx(7.75e-9, rel=0.01)
    for counts, weights in (([100], [1]), ([], []), ([0, 0], [1, 1]), ([100, 100], [1, 0])):
        assert split_p_value(counts, weights, 0.001) is None


@pytest.mark.parametrize(("most", "weights"), [(10, [1, 1]), (3, [9, 1]), (1, [1, 98, 1])])
def test_a_split_of_too_few(most: int, weights: list[int]) -> None:
    """Nothing is said of so many, however they are split, since no split would be told; of one more it is."""
    every = [counts for counts in product(range(most + 2), repeat=len(weights)) if sum(counts) in (most, most + 1)]
    assert {counts for counts in every if split_p_value(counts, weights, 0.001) is None} == {
        counts for counts in every if sum(counts) == most
    }


@pytest.mark.parametrize(
    ("counts", "weights", "expected"),
    [
        ([20, 21], [9, 1], 2 * sum(comb(41, k) * 9 ** (41 - k) for k in range(21, 42)) / 10**41),
        ([0, 4_000], [1, 999], 2 * 0.999**4_000),
        ([3, 17], [19, 1], 2 * sum(comb(20, k) * 19**k for k in range(4)) / 20**20),
        ([13, 1, 6], [8, 1, 1], 6 * sum(comb(20, k) * 9 ** (20 - k) for k in range(6, 21)) / 10**20),
        ([2, 10**6], [1, 10**15], 2 * comb(10**6 + 2, 2) / (10**15 + 1) ** 2),
    ],
)
def test_a_split_where_few_are_expected(counts: list[int], weights: list[int], expected: float) -> None:
    """The binomial tail of the arm that is furthest off: both sides, and all arms, of which two are but one."""
    assert split_p_value(counts, weights, 0.001) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("weights", [[9, 1], [19, 1], [8, 1, 1], [4, 1, 1]])
@pytest.mark.parametrize("every", [12, 20])
def test_a_split_as_meant_seldom_seems_another(every: int, weights: list[int]) -> None:
    """Of all ways in which as many can be split by their weights, at most as many are called unlikely as are."""
    likely: dict[float, float] = {}
    for counts in product(range(every + 1), repeat=len(weights)):
        if sum(counts) == every:
            ways = factorial(every) / prod(map(factorial, counts))
            share = prod((weight / sum(weights)) ** count for count, weight in zip(counts, weights, strict=True))
            p_value = split_p_value(counts, weights, 0.001)
            assert p_value is not None
            likely[p_value] = likely.get(p_value, 0.0) + ways * share
    assert sum(likely.values()) == pytest.approx(1)
    for level in (0.0001, 0.001, 0.01, 0.05, 0.5):
        assert sum(chance for p_value, chance in likely.items() if p_value <= level) <= level
