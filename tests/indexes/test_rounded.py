"""Rows in one byte a number: near what they were, and no further from it however often they are moved."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from indexes.rounded import STEPS, Rounded
from indexes.vectors import Vectors

COUNT, DIMENSIONS = 5, 7

numbers = st.integers(-1000, 1000).map(lambda number: number / 1000)
rows_drawn = st.lists(st.lists(numbers, min_size=DIMENSIONS, max_size=DIMENSIONS), min_size=COUNT, max_size=COUNT).map(
    lambda drawn: np.array(drawn, np.float32)
)


def rounded(rows: Vectors) -> Rounded:
    made = Rounded.empty(len(rows), DIMENSIONS)
    made.put(0, rows[:2])
    made.put(2, rows[2:])
    return made


@given(rows_drawn)
def test_each_number_is_off_by_half_a_step_at_most(rows: Vectors) -> None:
    largest = np.abs(rows).max(axis=1, keepdims=True)
    assert (np.abs(rounded(rows).rows(slice(None)) - rows) <= largest / STEPS * 0.501).all()


@given(rows_drawn)
def test_rows_that_are_rounded_again_stay_as_they_are(rows: Vectors) -> None:
    once = rounded(rows)
    again = rounded(once.rows(slice(None)))
    np.testing.assert_array_equal(again.numbers, once.numbers)
    np.testing.assert_allclose(again.steps, once.steps, rtol=1e-6)


@given(rows_drawn, st.permutations(range(COUNT)))
def test_similarities_are_those_of_the_rows(rows: Vectors, places: list[int]) -> None:
    made, query = rounded(rows), rows[0]
    chosen = np.array(places[:3])
    np.testing.assert_allclose(made.times(chosen, query), made.rows(chosen) @ query, atol=1e-5)
    assert len(made) == COUNT
