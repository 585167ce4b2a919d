"""When a snapshot is due: after enough changes, and some time after a removal."""

import numpy as np

from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from proxy.catalogue.snapshots import GROWN, REMOVED_S, is_due


def with_entries(index: ForgetIndex, first: int, count: int) -> ForgetIndex:
    number = index.current.number + 1
    index.put_set(ForgetSet("s"), None, number)
    for place in range(first, first + count):
        entry = Entry(f"e{place}", "s", Kind.FACT, texts=(f"Where is box {place}?",))
        index.put_entry(entry, np.ones((1, 2), np.float32), number)
    index.publish(number)
    return index


def again(index: ForgetIndex) -> ForgetIndex:
    """As it begins from a snapshot."""
    return ForgetIndex(2, base=index.base())


def test_after_so_many_changes_or_a_share_of_a_large_index() -> None:
    index = with_entries(ForgetIndex(2), 0, 9)
    assert not is_due(index, 10, 0)
    assert is_due(with_entries(index, 9, 1), 10, 0)
    grown = with_entries(again(with_entries(index, 10, 790)), 800, 100)
    assert not is_due(grown, 10, 0)
    assert is_due(with_entries(grown, 900, 900 // GROWN), 10, 0)


def test_what_was_removed_leaves_it_after_a_while() -> None:
    index = again(with_entries(ForgetIndex(2), 0, 50))
    assert not is_due(index, 100, REMOVED_S + 1)
    index.drop_entry("e1", 2)
    index.publish(2)
    assert not is_due(index, 100, REMOVED_S - 1)
    assert is_due(index, 100, REMOVED_S + 1)


def test_what_was_put_in_arrays_on_the_way_has_no_snapshot_yet() -> None:
    index = ForgetIndex(2)
    for first in range(0, 90, 30):
        with_entries(index, first, 30)
        index.condense()
    assert is_due(index, 90, 0)
    assert not is_due(again(index), 90, 0)


def test_where_none_was_made_nothing_can_stay_in_it() -> None:
    index = with_entries(ForgetIndex(2), 0, 50)
    index.drop_entry("e1", 2)
    index.publish(2)
    assert not is_due(index, 100, REMOVED_S + 1)
