"""Neighbours: of every set that acts near a text the nearest rows are told, whatever lies before them."""

import gc
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes import segments
from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.forget_index import ForgetIndex
from indexes.neighbours import DETAILED, FLOOR, NEIGHBOURS
from indexes.segments import Segment
from indexes.vectors import ExactRows, Rows, Vectors, VectorView

DIMENSIONS = 4
SETS = ("a", "b", "c", "watched")
QUERY = np.eye(1, DIMENSIONS, dtype=np.float32)

Drawn = tuple[float, str, State, bool]
"""Similarity to the query, set, state, removed afterwards."""

rows_drawn = st.tuples(
    st.sampled_from((0.95, 0.9, 0.8, 0.6, 0.4, 0.2)),
    st.sampled_from(SETS),
    st.sampled_from((State.ACTIVE, State.ACTIVE, State.OBSERVE, State.DISABLED)),
    st.booleans(),
)
crowds = st.lists(st.tuples(rows_drawn, st.sampled_from((1, 3, 2 * NEIGHBOURS))), max_size=8)


def near(similarity: float, number: int) -> Vectors:
    """A row so near to the query, of its own in another direction."""
    turned = np.array([0, np.sin(number), np.cos(number), 0])
    return (similarity * QUERY + (1 - similarity**2) ** 0.5 * turned).astype(np.float32)


def index_of(drawn: Sequence[Drawn]) -> ForgetIndex:
    index = ForgetIndex(DIMENSIONS)
    for name in SETS:
        index.put_set(ForgetSet(name, policy={"on_match": "observe"} if name == "watched" else {}), None, 1)
    for number, (similarity, set_id, state, _) in enumerate(drawn):
        entry = Entry(f"e{number}", set_id, Kind.TOPIC, texts=("x",), state=state)
        index.put_entry(entry, near(similarity, number), 1)
    index.publish(1)
    for number, (*_, removed) in enumerate(drawn):
        if removed:
            index.drop_entry(f"e{number}", 2)
    index.publish(2)
    return index


@pytest.mark.parametrize("condensed", [False, True])
@given(crowds)
def test_of_every_set_that_acts_the_nearest_rows_are_told(condensed: bool, crowd: list[tuple[Drawn, int]]) -> None:
    drawn = [one for one, times in crowd for _ in range(times)]
    index = index_of(drawn)
    if condensed:
        index = ForgetIndex(DIMENSIONS, base=index.base())
        for name in SETS:
            index.put_set(ForgetSet(name, policy={"on_match": "observe"} if name == "watched" else {}), None, 2)
        index.publish(2)
    generation = index.current
    told = list(generation._neighbours.of(QUERY, generation._view))
    assert len({row for _, _, row in told}) == len(told)
    ids = [generation.slot(generation._rows.slot(row)).id for _, _, row in told]
    for name in SETS[:-1]:
        acting = sorted(
            (-similarity, f"e{number}")
            for number, (similarity, set_id, state, removed) in enumerate(drawn)
            if set_id == name and state is State.ACTIVE and not removed and similarity >= DETAILED
        )
        missing = {one for _, one in acting} - set(ids)
        heard = sum(one in ids for _, one in acting)
        assert not missing or heard >= NEIGHBOURS
        nearest = [one for similarity, one in acting if similarity == acting[0][0]] if acting else []
        assert not nearest or set(nearest) & set(ids)
    assert not {f"e{number}" for number, (*_, removed) in enumerate(drawn) if removed} & set(ids)
    assert all(similarity >= FLOOR for _, similarity, _ in told)


class _Counted(VectorView):
    """A view that counts how often it is searched, and how deep."""

    def __init__(self, rows: Vectors) -> None:
        super().__init__((), ExactRows(rows))
        self.depths: list[int] = []

    def search(self, queries: Vectors, k: int, among: object = None) -> tuple[Vectors, Rows]:
        self.depths.append(k)
        return super().search(queries, k, among)  # type: ignore[arg-type]


def test_what_a_look_costs_depends_on_the_sets_near_it_not_on_how_many_entries_crowd_there() -> None:
    depths = []
    for crowd in (100, 3000):
        drawn: list[Drawn] = [(0.9, "a", State.ACTIVE, False)] * crowd + [(0.6, "b", State.ACTIVE, False)]
        generation = index_of(drawn).current
        view = _Counted(generation._view.vectors())
        told = [row for _, _, row in generation._neighbours.of(QUERY, view)]
        assert crowd in told
        depths.append(view.depths)
    assert depths[0] == depths[1]


@pytest.mark.parametrize("condensed", [False, True])
def test_an_entry_with_a_threshold_of_its_own_is_not_hidden_behind_nearer_ones_of_its_set(condensed: bool) -> None:
    index = index_of([(0.7, "a", State.ACTIVE, False)] * (5 * NEIGHBOURS))
    own = Entry("own", "a", Kind.TOPIC, texts=("x",), threshold=0.6)
    index.put_entry(own, near(0.65, 1000), 3)
    index.publish(3)
    if condensed:
        index.condense()
        index.publish(4)
    told = [index.current._rows.slot(row) for _, _, row in index.current._neighbours.of(QUERY, index.current._view)]
    assert "own" in {index.current.slot(slot).id for slot in told}


def test_a_segment_is_searched_among_some_of_its_rows() -> None:
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((segments.WEIGHED * 8, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    segment = Segment.of([(ExactRows(rows).rows, len(rows))], len(rows), 32)
    similar, nearest = (one[0] for one in segment.search(rows[:1], 40))
    among = np.ones(len(rows), np.bool_)
    among[nearest[:20]] = False
    scores, found = segment.search(rows[:1], 20, among)
    assert not set(found[0].tolist()) & set(nearest[:20].tolist())
    assert (scores[0] >= similar[20:]).all()  # and better where one was weighed that was not before
    assert (np.diff(scores[0]) <= 0).all()
    assert (segment.search(rows[:2], 5, np.zeros(len(rows), np.bool_))[1] == -1).all()


def test_a_generation_that_nobody_holds_goes_at_once() -> None:
    index = index_of([(0.9, "a", State.ACTIVE, False)] * (2 * NEIGHBOURS))
    list(index.current._neighbours.of(QUERY, index.current._view))
    gone = weakref.ref(index.current._neighbours)
    gc.disable()  # it is not to wait for a collection: the blocks that it holds are large
    try:
        index.publish(3)
        assert gone() is None
    finally:
        gc.enable()
