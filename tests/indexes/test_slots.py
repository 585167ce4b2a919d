"""Slots in arrays are those that were put there, and die as others do."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from indexes.entries import Kind, State, Storage
from indexes.rows import FrozenRows, RowTable
from indexes.slots import FrozenSlots, Group, Slot, SlotTable

IDS = ("e1", "e2", "e3", "é")
SLOTS = st.builds(
    Slot,
    st.sampled_from(IDS),
    st.sampled_from(("s1", "s2", "s3")),
    st.sampled_from(Kind),
    st.sampled_from(State),
    st.sampled_from(Storage),
    st.sampled_from((None, 0.7, 1.0)),
    st.integers(0, 3),
    st.just(0),
    st.binary(max_size=8),
)
GROUPS: tuple[set[Group], ...] = (set(), {("s1", False)}, {("s1", True), ("s2", False), ("none", False)})


@given(st.lists(st.one_of(SLOTS, st.sampled_from(IDS), st.just(None)), max_size=25))
def test_slots_live_and_die_alike_in_arrays_and_before(steps: Iterable[Slot | str | None]) -> None:
    """A slot is put, an entry is dropped, or everything so far is put in arrays."""
    live, frozen = SlotTable(), SlotTable()
    for generation, step in enumerate(steps, 1):
        if step is None:
            frozen = SlotTable(FrozenSlots(frozen.frozen().columns()))
        else:
            for table in (live, frozen):
                table.drop(step if isinstance(step, str) else step.id, generation)
                if isinstance(step, Slot):
                    table.add(step)
        assert len(frozen) == len(live)
        assert frozen.living == live.living
        assert [frozen[slot] for slot in range(len(live))] == [live[slot] for slot in range(len(live))]
        seen = [slot for slot in range(len(live)) if live.visible(slot, generation)]
        assert [slot for slot in range(len(live)) if frozen.visible(slot, generation)] == seen
        for set_id in ("s1", "s2", "s3", "none"):
            assert sorted(frozen.of_set(set_id)) == sorted(live.of_set(set_id))
        for groups in GROUPS:
            acting = [live.acts(slot, generation) and live.group(slot) in groups for slot in range(len(live))]
            assert live.acting(groups, generation).tolist() == frozen.acting(groups, generation).tolist() == acting


def test_which_slots_act_is_of_the_generation() -> None:
    table, slot = SlotTable(), Slot("e", "s1", Kind.TOPIC, State.ACTIVE, Storage.CLEAR, None, 0, 1)
    table.add(slot)
    table.drop("e", 3)
    table.add(replace(slot, born=3))
    for generation, acting in ((1, [True, False]), (2, [True, False]), (3, [False, True])):
        assert table.acting({("s1", False)}, generation).tolist() == acting


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 9), st.lists(st.binary(max_size=6)))), max_size=12))
def test_rows_keep_their_slot_and_details(steps: Iterable[tuple[int, list[bytes]] | None]) -> None:
    table, expected = RowTable(), []
    for step in steps:
        if step is None:
            table = RowTable(FrozenRows(table.frozen().columns()))
        else:
            table.add(*step)
            expected += [(step[0], details) for details in step[1]]
        assert [(table.slot(row), table.details(row)) for row in range(len(table))] == expected
        assert table.slots(len(table)).tolist() == [slot for slot, _ in expected]
