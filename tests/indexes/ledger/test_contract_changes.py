"""What every ledger promises of vectors, changes, keys and its readers."""

from dataclasses import replace

import numpy as np
import pytest

from indexes.ledger.records import (
    Heads,
    Ledger,
    LedgerError,
    Member,
    Missing,
    StoredKey,
    set_owner,
)
from tests.indexes.ledger.conftest import Opener
from tests.indexes.ledger.stored import ENTRY, MODEL, new, rows, with_set


def test_vectors_are_kept_by_model(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY, 1)], MODEL, actor="a")
    generation = ledger.generation()
    ledger.keep_vectors([("e1", rows(2)), (set_owner("s1"), rows(3))], "embedder:2")
    assert ledger.vectors("e1", "embedder:3") is None
    for owner, model, seed in (("e1", MODEL, 1), ("e1", "embedder:2", 2), (set_owner("s1"), "embedder:2", 3)):
        held = ledger.vectors(owner, model)
        assert held is not None
        assert held.dtype == np.float32
        np.testing.assert_array_equal(held, rows(seed))
    assert ledger.generation() == generation  # nothing that is enforced has changed


def test_a_page_of_changes_never_parts_a_generation(ledger: Ledger) -> None:
    # A reader asks on with the last generation it has seen: what was left of that one it would never see.
    with_set(ledger)
    ledger.add_entries([new(replace(ENTRY, id=f"e{number}")) for number in range(5)], MODEL, actor="a")
    ledger.drop_entry("s1", "e0", actor="a")
    for limit in (1, 2, 3, 6, 7, 100):
        seen, after = [], 0
        while page := ledger.changes(after, limit):
            after = page[-1].generation
            seen += page
        assert [change.generation for change in seen] == [1, 2, 2, 2, 2, 2, 3]
    assert [len(ledger.changes(0, limit)) for limit in (1, 2, 6, 7)] == [1, 6, 6, 7]


def test_keys_are_replaced_and_removed(ledger: Ledger) -> None:
    key = StoredKey("k1", "d1", frozenset({"client"}), "one", "2026-01-02")
    other = StoredKey("k2", "d2", frozenset(), "", "2026-01-01")
    ledger.put_key(key)
    ledger.put_key(other)
    ledger.put_key(replace(key, label="two"))
    assert ledger.keys() == [other, replace(key, label="two")]
    ledger.drop_key("k1")
    assert ledger.keys() == [other]
    with pytest.raises(Missing):
        ledger.drop_key("k1")
    assert "d1" not in repr(key)


def test_heads_tell_of_everything_that_is_enforced(reopen: Opener) -> None:
    ledger = reopen()
    empty = ledger.heads()
    ledger.put_key(StoredKey("k1", "d1", frozenset({"client"}), "", "2026-01-01"))
    with_key = ledger.heads()
    assert (with_key.generation, with_key.keys > empty.keys) == (0, True)
    with_set(ledger)
    assert ledger.heads() == Heads(1, with_key.keys)
    ledger.drop_key("k1")
    assert reopen().heads().keys > with_key.keys


def test_a_key_that_is_stored_again_takes_the_place_of_the_first(ledger: Ledger) -> None:
    ledger.put_key(StoredKey("k1", "same", frozenset({"client"}), "", "2026-01-01"))
    ledger.put_key(StoredKey("k2", "same", frozenset({"admin"}), "", "2026-01-02"))
    assert ledger.keys() == [StoredKey("k2", "same", frozenset({"admin"}), "", "2026-01-02")]


def test_a_mark_is_set_once(reopen: Opener) -> None:
    ledger = reopen()
    assert ledger.mark("wording", "first") == "first"
    assert ledger.mark("wording", "second") == "first"
    ledger = reopen()
    assert ledger.mark("wording", "third") == "first"
    assert ledger.generation() == 0


def test_a_snapshot_sees_one_state(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a")
    with ledger.snapshot():
        assert ledger.generation() == 2
        assert [entry.id for entry in ledger.entries(None, "", 10)] == ["e1"]
    ledger.drop_entry("s1", "e1", actor="a")  # a snapshot has left nothing behind


def test_members_are_seen_as_long_as_they_tell_of_themselves(reopen: Opener) -> None:
    ledger = reopen()
    assert ledger.living(60) == []
    ledger.beat(Member("b", 3))
    ledger.beat(Member("a", 1))
    ledger.beat(Member("a", 2, holds=frozenset({"lethe:uld@1", "x"})))
    assert [m.holds for m in ledger.living(60)] == [{"lethe:uld@1", "x"}, set()]
    assert [(m.id, m.generation) for m in ledger.living(60)] == [("a", 2), ("b", 3)]
    assert all(0 <= member.seen_s < 60 for member in ledger.living(60))
    assert ledger.living(0) == []
    ledger.leave("a")
    ledger.leave("c")
    ledger = reopen()
    assert [member.id for member in ledger.living(60)] == ["b"]
    assert ledger.generation() == 0


def test_every_failure_is_a_ledger_error_and_shows_no_text(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a")
    with pytest.raises(LedgerError) as refused:
        ledger.add_entries([new(ENTRY)], MODEL, actor="a")
    assert "Varga" not in str(refused.value)
    assert "Varga" not in repr(new(ENTRY))
