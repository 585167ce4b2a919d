"""Nearest rows: every implementation answers as a full comparison would, and a view stays what it was."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.growing import GrowingVectors
from indexes.segments import Block
from indexes.vectors import ExactRows, VectorRows, Vectors

DIMENSIONS = 8


def unit_rows(seed: int, count: int) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def grown(bulk_at: int, step: int) -> Callable[[Vectors], VectorRows]:
    """A view after adding rows a few at a time."""

    def build(rows: Vectors) -> VectorRows:
        vectors = GrowingVectors(DIMENSIONS, bulk_at)
        for first in range(0, len(rows), step):
            vectors.add(rows[first : first + step])
        return vectors.view()

    return build


IMPLEMENTATIONS = {
    "exact": ExactRows,
    "block": Block,
    "tail only": grown(4096, 3),
    "bulk only": grown(0, 1000),
    "bulk and tail": grown(16, 5),
    "one at a time": grown(7, 1),
}


def assert_exact(rows: Vectors, queries: Vectors, k: int, answer: tuple[Vectors, np.ndarray]) -> None:
    scores, found = answer
    assert scores.shape == found.shape == (len(queries), k)
    best = -np.sort(-(queries @ rows.T), axis=1)[:, :k]
    held = min(k, len(rows))
    np.testing.assert_allclose(scores[:, :held], best, atol=1e-6)
    assert (scores[:, held:] == -1).all()
    assert (found[:, held:] == -1).all()
    # Which of two equal rows comes first is free; each row named must have the similarity given, and come once.
    for query, row_scores, row_numbers in zip(queries, scores[:, :held], found[:, :held], strict=True):
        np.testing.assert_allclose(rows[row_numbers] @ query, row_scores, atol=1e-6)
        assert len(set(row_numbers.tolist())) == held


@pytest.mark.parametrize("build", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
@pytest.mark.parametrize("count", [0, 1, 5, 16, 17, 100])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_the_best_rows_are_those_of_a_full_comparison(
    build: Callable[[Vectors], VectorRows], count: int, k: int
) -> None:
    rows, queries = unit_rows(count, count), unit_rows(1000 + k, 7)
    view = build(rows)
    assert len(view) == count
    np.testing.assert_array_equal(view.vectors(), rows)
    assert_exact(rows, queries, k, view.search(queries, k))


@pytest.mark.parametrize("build", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_equal_rows_and_no_queries(build: Callable[[Vectors], VectorRows]) -> None:
    rows = np.repeat(unit_rows(1, 2), 20, axis=0)
    assert_exact(rows, rows[:3], 30, build(rows).search(rows[:3], 30))
    scores, found = build(rows).search(rows[:0], 4)
    assert scores.shape == found.shape == (0, 4)


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, 24), st.integers(1, 30))
def test_a_view_does_not_change_while_rows_are_added(added: list[int], bulk_at: int, k: int) -> None:
    vectors, held = GrowingVectors(DIMENSIONS, bulk_at), []
    everything = unit_rows(7, sum(added))
    queries, used = unit_rows(8, 3), 0
    for count in added:
        held.append((vectors.view(), used))
        vectors.add(everything[used : used + count])
        used += count
        assert len(vectors) == used
    for view, count in [*held, (vectors.view(), used)]:
        assert len(view) == count
        np.testing.assert_array_equal(view.vectors(), everything[:count])
        assert_exact(everything[:count], queries, k, view.search(queries, k))


def test_no_rows_of_another_width_are_no_rows() -> None:
    # What was stored for an entry without texts has no width.
    vectors = GrowingVectors(DIMENSIONS, 2)
    for _ in range(2):
        vectors.add(np.empty((0, 0), np.float32))
        vectors.add(unit_rows(1, 3))
    assert len(vectors) == 6
