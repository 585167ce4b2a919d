"""How strongly an offset acts: nothing below the threshold, never less for more, never above what was tried."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.strength import AT_THRESHOLD, MAX_STRENGTH, RAMP, strength_of

score = st.floats(-1.0, 2.0)
threshold = st.floats(0.01, 1.0)
full = st.floats(0.01, MAX_STRENGTH)


@given(score, threshold, full, full)
def test_it_is_bounded_and_nothing_only_below_the_threshold(s: float, t: float, f: float, ceiling: float) -> None:
    strength = strength_of(s, t, f, ceiling)
    assert 0 <= strength <= min(f, ceiling, MAX_STRENGTH)
    assert (strength == 0) is (s < t)


@given(score, score, threshold, full, full)
def test_it_never_falls_when_the_score_rises(one: float, other: float, t: float, f: float, ceiling: float) -> None:
    low, high = sorted((one, other))
    assert strength_of(low, t, f, ceiling) <= strength_of(high, t, f, ceiling)


@given(score, threshold, full, full, full)
def test_it_never_falls_when_more_is_wanted_or_allowed(s: float, t: float, f: float, more: float, c: float) -> None:
    low, high = sorted((f, more))
    assert strength_of(s, t, low, c) <= strength_of(s, t, high, c)
    assert strength_of(s, t, c, low) <= strength_of(s, t, c, high)


@given(threshold, full)
def test_a_request_that_is_surely_near_gets_the_whole(t: float, f: float) -> None:
    assert strength_of(min(1.0, t + RAMP), t, f) == pytest.approx(f)
    assert strength_of(1.0, t, f) == pytest.approx(strength_of(2.0, t, f))


def test_the_shape() -> None:
    assert strength_of(0.75, 0.75, 2.0) == 2.0 * AT_THRESHOLD
    assert strength_of(0.75 + RAMP / 2, 0.75, 2.0) == pytest.approx(1.5)
    assert strength_of(0.9, 0.75, 2.0) == 2.0
    assert strength_of(0.9, 0.75, 2.0, ceiling=1.25) == 1.25
    assert strength_of(1.0, 1.0, 2.0) == 2.0
