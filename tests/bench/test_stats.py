"""The statistics of the benchmarks: what is printed of samples."""

import pytest

from bench.stats import percentile_ratio


def test_a_ratio_of_percentiles_with_what_other_turns_would_have_given() -> None:
    alike = [([2.0, 4.0], [1.0, 2.0])] * 5
    assert percentile_ratio(alike, 50) == pytest.approx((2, 2, 2))
    uneven = [([3.0] * 9, [2.0]), ([5.0], [2.0] * 3)] * 4
    ratio, low, high = percentile_ratio(uneven, 50)
    assert (ratio, low) == (1.5, 1.5)
    assert 1.5 <= high <= 2.5


def test_the_interval_of_few_uneven_turns_is_wide() -> None:
    ratio, low, high = percentile_ratio([([1.0], [1.0]), ([3.0], [1.0])], 99)
    assert (low, high) == (1, 3)
    assert low < ratio < high
