"""Confidence sequences: they hold at every look, they shrink, and they agree with the textbook where it has one."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.ledger.records import Tally
from proxy.experiments.sequential import ALPHA, Interval, difference, interval


def test_nothing_seen_says_nothing() -> None:
    assert interval(Tally()) == Interval(0.0, 1.0)
    assert difference(Tally(), Tally()) == Interval(-1.0, 1.0)
    assert Tally().mean is None


def test_bound_solves_its_equation() -> None:
    """Ten misses: M_n(m) = B(.5, 10.5) / B(.5, .5) / (1 − m)^10 = 20 at the upper end, solved by hand."""
    ratio = math.exp(math.lgamma(10.5) - math.lgamma(11) - math.lgamma(0.5))  # B(.5, 10.5) / B(.5, .5), B(.5, .5) = π
    assert interval(Tally(10, 0)).high == pytest.approx(1 - (ratio * ALPHA) ** (1 / 10), abs=1e-9)
    assert interval(Tally(10, 0)).low == 0.0


@given(n=st.integers(1, 5000), share=st.floats(0, 1), alpha=st.floats(0.001, 0.5))
def test_the_mean_is_inside_and_mirrors(n: int, share: float, alpha: float) -> None:
    tally = Tally(n, n * share)
    found, mirrored = interval(tally, alpha), interval(Tally(n, n - n * share), alpha)
    assert 0 <= found.low <= share + 1e-9
    assert share - 1e-9 <= found.high <= 1
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-6)
    assert interval(tally, alpha / 2).high >= found.high - 1e-12  # surer is wider


def test_it_shrinks_with_what_is_seen() -> None:
    widths = [(found := interval(Tally(n, n * 0.3))).high - found.low for n in (10, 100, 1000, 10_000)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.04


@pytest.mark.parametrize("values", ["outcomes", "between"])
def test_peeking_at_every_step_stays_within_alpha(values: str) -> None:
    """2,000 looks at each of 200 streams: a fixed-sample 95 % interval would miss in about half of the streams."""
    rng = random.Random(7)  # noqa: S311 - test data, not secrets
    missed = 0
    for _ in range(200):
        total = 0.0
        for n in range(1, 2001):
            total += rng.random() < 0.2 if values == "outcomes" else rng.betavariate(1, 4)
            if not _possible(n, total, 0.2):
                missed += 1
                break
    assert missed <= 20  # 10 expected at most; 21 or more of 200 at a true rate of 5 % happens once in a thousand


def _possible(n: int, total: float, mean: float) -> bool:
    """Whether the interval holds the mean, without solving for its ends: the same test at one point."""
    mixture = math.lgamma(0.5 + total) + math.lgamma(0.5 + n - total) - math.lgamma(1 + n) - math.log(math.pi)
    return mixture - total * math.log(mean) - (n - total) * math.log1p(-mean) <= math.log(1 / ALPHA)


@given(n=st.integers(1, 400), hits=st.integers(0, 400), mean=st.floats(0.01, 0.99))
def test_the_interval_is_the_set_of_means_that_are_possible(n: int, hits: int, mean: float) -> None:
    total = float(min(hits, n))
    found = interval(Tally(n, total))
    if min(abs(mean - found.low), abs(mean - found.high)) > 1e-6:
        assert (found.low <= mean <= found.high) is _possible(n, total, mean)


@pytest.mark.parametrize("alpha", [0.01, ALPHA, 0.2])
def test_a_difference_shares_its_alpha_between_the_two(alpha: float) -> None:
    first, second = Tally(50, 10), Tally(80, 30)
    a, b = interval(first, alpha / 2), interval(second, alpha / 2)
    assert difference(first, second, alpha) == Interval(b.low - a.high, b.high - a.low)


def test_difference_sees_what_is_there() -> None:
    assert difference(Tally(2000, 200), Tally(2000, 400)).low > 0
    none = difference(Tally(2000, 200), Tally(2000, 210))
    assert none.low < 0 < none.high
