"""What every ledger promises (`indexes.ledger.records.Ledger`) of what it stores, and of sets."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from indexes.entries import Entry, ForgetSet, Kind
from indexes.ledger.records import (
    Conflict,
    Ledger,
    Missing,
    NewEntry,
    Overtaken,
    StoredKey,
    set_owner,
)
from tests.indexes.ledger.conftest import Opener
from tests.indexes.ledger.stored import ENTRY, MODEL, new, rows, snapshot, with_set

# -- what is stored comes back, also after a restart


def test_an_empty_ledger_is_at_generation_0(ledger: Ledger) -> None:
    assert snapshot(ledger) == (0, [], [], [], [], [])


def test_everything_survives_a_restart(reopen: Opener) -> None:
    ledger = reopen()
    forget_set = ForgetSet("s1", "Clocks", {"threshold": 0.5, "on_match": ["refuse"]}, ("What is a clock?",))
    assert ledger.put_set(forget_set, rows(0, 1), MODEL, actor="ann", create=True) == 1
    assert ledger.add_entries([new(ENTRY)], MODEL, actor="bob") == (2, ["e1"])
    ledger.put_key(StoredKey("k1", "digest", frozenset({"admin", "client"}), "laptop", "2026-01-01"))
    before = snapshot(ledger)

    ledger = reopen()
    assert snapshot(ledger) == before
    assert ledger.sets() == [forget_set]
    assert ledger.entry("s1", "e1") == replace(ENTRY, generation=2)
    held = ledger.vectors("e1", MODEL)
    assert held is not None
    np.testing.assert_array_equal(held, rows(1))
    assert [(c.generation, c.actor, c.action, c.set_id, c.entry_id) for c in ledger.changes(0, 10)] == [
        (1, "ann", "set.create", "s1", None),
        (2, "bob", "entry.add", "s1", "e1"),
    ]
    assert datetime.fromisoformat(ledger.changes(0, 1)[0].at).tzinfo is not None
    assert ledger.keys() == [StoredKey("k1", "digest", frozenset({"admin", "client"}), "laptop", "2026-01-01")]


def test_an_entry_of_least_words_gets_a_time(ledger: Ledger) -> None:
    bare = Entry("e1", "s1", Kind.ENTITY, names=("x",))
    with_set(ledger).add_entries([NewEntry(bare, np.empty((0, 4), np.float32))], MODEL, actor="ann")
    stored = ledger.entry("s1", "e1")
    assert stored.created_at is not None
    assert stored.created_at.tzinfo is not None
    assert replace(stored, created_at=None, generation=0) == bare
    held = ledger.vectors("e1", MODEL)
    assert held is not None
    assert len(held) == 0


def test_generations_count_every_write_and_are_never_used_twice(reopen: Opener) -> None:
    ledger = with_set(reopen())
    made = [ledger.add_entries([new(replace(ENTRY, id=f"e{n}"))], MODEL, actor="a")[0] for n in range(3)]
    made.append(ledger.drop_entry("s1", "e2", actor="a"))
    ledger = reopen()
    made.append(ledger.drop_set("s1", actor="a"))
    assert made == [2, 3, 4, 5, 6]
    assert ledger.generation() == 6


# -- sets


def test_a_set_is_created_once_and_changed_as_a_whole(ledger: Ledger) -> None:
    with_set(ledger)
    with pytest.raises(Conflict, match="s1"):
        ledger.put_set(ForgetSet("s1"), None, MODEL, actor="a", create=True)
    with pytest.raises(Missing, match="s2"):
        ledger.put_set(ForgetSet("s2"), None, MODEL, actor="a", create=False)
    changed = ForgetSet("s1", "new", {"margin": 0.1}, ("x",))
    assert ledger.put_set(changed, rows(1), MODEL, actor="a", create=False) == 2
    assert ledger.sets() == [changed]


def test_a_set_that_somebody_else_has_changed_is_not_overwritten(ledger: Ledger) -> None:
    was = ForgetSet("s1", "label", {"threshold": 0.6, "on_match": ["refuse"]}, ("keep",))
    ledger.put_set(was, rows(1), MODEL, actor="a", create=True)
    now = replace(was, label="another")
    assert ledger.put_set(now, rows(1), MODEL, actor="a", create=False, was=was) == 2
    before = snapshot(ledger)
    with pytest.raises(Overtaken):
        ledger.put_set(replace(was, retain=()), None, MODEL, actor="b", create=False, was=was)
    assert snapshot(ledger) == before


def test_vectors_of_a_set_are_kept_replaced_and_removed_with_their_texts(ledger: Ledger) -> None:
    with_set(ledger)
    owner = set_owner("s1")
    ledger.put_set(ForgetSet("s1", retain=("x", "y")), rows(1), MODEL, actor="a", create=False)
    ledger.keep_vectors([(owner, rows(2))], "another model")
    ledger.put_set(ForgetSet("s1", "label", retain=("x", "y")), None, MODEL, actor="a", create=False)
    assert ledger.vectors(owner, MODEL) is not None
    ledger.put_set(ForgetSet("s1", retain=("z",)), rows(3, 1), MODEL, actor="a", create=False)
    held = ledger.vectors(owner, MODEL)
    assert held is not None
    np.testing.assert_array_equal(held, rows(3, 1))
    assert ledger.vectors(owner, "another model") is None  # they were of other texts
    ledger.drop_set("s1", actor="a")
    assert ledger.vectors(owner, MODEL) is None


def test_a_set_goes_with_its_entries_and_theirs_alone(ledger: Ledger) -> None:
    with_set(with_set(ledger), "s2")
    ledger.add_entries([new(ENTRY), new(replace(ENTRY, id="e2", set_id="s2"))], MODEL, actor="a")
    ledger.keep_vectors([("e1", rows(9))], "another model")
    ledger.drop_set("s1", actor="a")
    assert [s.id for s in ledger.sets()] == ["s2"]
    assert [e.id for e in ledger.entries(None, "", 10)] == ["e2"]
    assert ledger.vectors("e1", MODEL) is ledger.vectors("e1", "another model") is None
    assert ledger.vectors("e2", MODEL) is not None
    with pytest.raises(Missing):
        ledger.entry("s1", "e1")
    with pytest.raises(Missing):
        ledger.drop_set("s1", actor="a")
