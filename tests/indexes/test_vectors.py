"""Nearest rows: every implementation answers as a full comparison would, and a view stays what it was."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.growing import GrowingVectors
from indexes.segments import Block
from indexes.vectors import AROUND, ExactRows, Rows, VectorRows, Vectors, VectorView

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


def test_what_is_added_bit_by_bit_is_searched_in_few_parts() -> None:
    vectors = GrowingVectors(DIMENSIONS, 16)
    for row in unit_rows(1, 100):
        vectors.add(row[None])
    assert [len(part) for part in vectors.view().blocks()] == [16] * 6 + [4]


class _Counted(ExactRows):
    """Rows that know which vectors were searched in them."""

    def __init__(self, rows: Vectors) -> None:
        super().__init__(rows)
        self.searched: list[bytes] = []

    def search(self, queries: Vectors, k: int, among: object = None) -> tuple[Vectors, Rows]:
        if among is None and k <= AROUND:
            self.searched += [query.tobytes() for query in queries]
        return super().search(queries, k, among)  # type: ignore[arg-type]


looks = st.tuples(
    st.lists(st.integers(0, 5), max_size=4),
    st.one_of(st.sampled_from([1, 16, AROUND, AROUND + 1, 2 * AROUND]), st.floats(-1, 1)),
    st.booleans(),
)


@given(st.lists(looks, max_size=6), st.integers(0, 3 * AROUND), st.integers(0, 2 * AROUND))
def test_a_view_that_remembers_answers_the_same_and_searches_once(
    asked: list[tuple[list[int], float | int, bool]], first: int, rest: int
) -> None:
    rows, queries = unit_rows(first, first + rest), unit_rows(99, 6)
    block, tail = _Counted(rows[:first]), ExactRows(rows[first:])
    plain = VectorView((ExactRows(rows[:first]),), tail)
    remembering = VectorView((block,), tail).remembering()
    assert len(remembering) == len(plain)
    even = np.arange(len(rows)) % 2 == 0
    for places, sought, some in asked:
        wanted = queries[places]
        if isinstance(sought, float):  # sums are rounded otherwise where more vectors are compared at once
            near = set(remembering.near(wanted, sought).tolist())
            assert set(plain.near(wanted, sought + 1e-5).tolist()) <= near
            assert near <= set(plain.near(wanted, sought - 1e-5).tolist())
        elif some:
            scores, found = remembering.search(wanted, sought, even)
            np.testing.assert_allclose(scores, plain.search(wanted, sought, even)[0], atol=1e-6)
            assert even[found[found >= 0]].all()
        else:
            assert_exact(rows, wanted, sought, remembering.search(wanted, sought))
    assert len(set(block.searched)) == len(block.searched)


def test_a_view_that_remembers_keeps_its_parts_while_the_view_is_renewed() -> None:
    rows, queries = unit_rows(3, 60), unit_rows(4, 2)
    blocks = (Block(rows[:20]), Block(rows[20:40]))
    view = VectorView(blocks, Block(rows[40:]))
    remembering = view.remembering()
    expected = view.search(queries, 5)
    remembering.search(queries[:1], 5)
    view.renew(blocks, (Block(rows[:40]),))
    for answer in (view.search(queries, 5), remembering.search(queries, 5)):
        for one, other in zip(answer, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("build", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_near_are_all_rows_of_a_level_and_of_very_many_the_nearest(build: Callable[[Vectors], VectorRows]) -> None:
    rows, queries = unit_rows(5, 3 * AROUND), unit_rows(6, 2)
    built = build(rows)
    view = built if isinstance(built, VectorView) else VectorView((built,), ExactRows(rows[:0]))
    similar = rows @ queries.T
    few = float(np.sort(similar.max(axis=1))[-AROUND // 2]) - 1e-6
    assert view.near(queries, few).tolist() == np.flatnonzero(similar.max(axis=1) >= few).tolist()
    assert set(np.argsort(-similar, axis=0)[:AROUND].flat) <= set(view.near(queries, -1.0).tolist())
    assert view.near(queries[:0], -1.0).tolist() == view.near(queries, 1.5).tolist() == []
