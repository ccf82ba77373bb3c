"""Intervals, against values that were published and against counting all cases."""

from itertools import product
from math import comb

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
    """At equal weights 50 to 50 is as meant, 100 to 200 is not; of a few, or of one arm, nothing is said."""
    assert chi_square([50, 50], [1, 1]) == 0
    assert split_p_value([50, 50], [1, 1]) == 1
    assert split_p_value([100, 200], [1, 2]) == 1
    assert split_p_value([100, 200], [1, 1]) == pytest.approx(7.75e-9, rel=0.01)
    assert split_p_value([4, 5], [1, 1]) is None
    assert split_p_value([0, 5_000], [1, 1_001]) is None
    assert split_p_value([100], [1]) is None
    assert split_p_value([], []) is None
