"""Vectors of several embedders side by side, as they are while one is changed for another."""

import json
from dataclasses import replace

import numpy as np
import pytest

from indexes.entries import Entry, ForgetSet, Kind, Storage
from indexes.ledger.records import CHOICE, CHOICES, Conflict, Ledger, NewEntry, set_owner
from indexes.sealed.keys import SealingKeys, new_key
from indexes.sealed.sealing import sealed
from indexes.vectors import Vectors

OLD, NEW = "embedder:1", "embedder:2"
ENTRY = Entry("e1", "s1", Kind.FACT, texts=("Where was Ilse Varga born?",), answers=("in Graz",))
SEALED = sealed(replace(ENTRY, storage=Storage.SEALED), SealingKeys.read(new_key()))


def rows(seed: int, width: int = 4) -> Vectors:
    return np.random.default_rng(seed).standard_normal((1, width)).astype(np.float32)


def held(ledger: Ledger, owner: str, model: str) -> list[float] | None:
    found = ledger.vectors(owner, model)
    return None if found is None else found.ravel().tolist()


def with_entries(ledger: Ledger, *entries: Entry) -> Ledger:
    ledger.put_set(ForgetSet("s1", retain=("keep",)), rows(9), OLD, actor="a", create=True)
    if entries:
        ledger.add_entries([NewEntry(entry, rows(1)) for entry in entries], OLD, actor="a")
    return ledger


def choose(ledger: Ledger, embedder: str) -> None:
    ledger.change_documents(
        CHOICES, lambda _: {CHOICE: json.dumps({"embedder": embedder})}, actor="a", action="embedder.use"
    )


def test_an_entry_and_a_set_come_with_vectors_of_several_embedders(ledger: Ledger) -> None:
    ledger.put_set(ForgetSet("s1", retain=("x",)), rows(1), OLD, actor="a", create=True, also={NEW: rows(2, 7)})
    ledger.add_entries([NewEntry(ENTRY, rows(3), also={NEW: rows(4, 7)})], OLD, actor="a")
    assert held(ledger, set_owner("s1"), OLD) == rows(1).ravel().tolist()
    assert held(ledger, set_owner("s1"), NEW) == rows(2, 7).ravel().tolist()
    assert held(ledger, "e1", OLD) == rows(3).ravel().tolist()
    assert held(ledger, "e1", NEW) == rows(4, 7).ravel().tolist()
    ledger.drop_set("s1", actor="a")
    assert all(held(ledger, owner, model) is None for owner in ("e1", set_owner("s1")) for model in (OLD, NEW))


def test_vectors_are_kept_only_of_what_is_still_as_it_was_read(ledger: Ledger) -> None:
    with_entries(ledger, *(replace(ENTRY, id=f"e{n}") for n in range(4)))
    ledger.put_set(ForgetSet("s2", retain=("keep",)), rows(9), OLD, actor="a", create=True)
    read = ledger.generation()
    ledger.drop_entry("s1", "e1", actor="a")
    ledger.drop_entry("s1", "e2", actor="a")
    ledger.add_entries([NewEntry(replace(ENTRY, id="e2", texts=("another",)), rows(5))], OLD, actor="a")
    ledger.put_set(ForgetSet("s2", retain=("another",)), rows(6), OLD, actor="a", create=False)
    owners = ["e0", "e1", "e2", "e3", "gone", set_owner("s1"), set_owner("s2"), set_owner("s3")]
    ledger.keep_vectors([(owner, rows(7)) for owner in owners], NEW, read)
    assert [owner for owner in owners if held(ledger, owner, NEW)] == ["e0", "e3", set_owner("s1")]


def test_vectors_of_a_set_that_was_made_anew_are_not_those_of_the_former(ledger: Ledger) -> None:
    read = with_entries(ledger, ENTRY).generation()
    ledger.drop_set("s1", actor="a")
    with_entries(ledger, replace(ENTRY, texts=("another",)))
    ledger.keep_vectors([("e1", rows(7)), (set_owner("s1"), rows(7))], NEW, read)
    assert held(ledger, "e1", NEW) is held(ledger, set_owner("s1"), NEW) is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_pages_hold_every_entry_once(ledger: Ledger, size: int) -> None:
    ids = [f"e{n}" for n in range(7)]
    ends = with_entries(ledger, *(replace(ENTRY, id=name) for name in ids)).page_ends(size)
    assert ends == ids[size - 1 :: size]
    pages = [ledger.entries_between(after, until) for after, until in zip(["", *ends], [*ends, None], strict=True)]
    assert [entry.id for page in pages for entry in page] == ids
    assert ledger.entry_count() == 7


def test_sealed_entries_without_vectors_of_an_embedder_are_counted(ledger: Ledger) -> None:
    with_entries(ledger, ENTRY, *(replace(SEALED, id=f"s{n}") for n in range(3)))
    empty = np.empty((0, 0), np.float32)
    ledger.add_entries([NewEntry(replace(SEALED, id="names"), empty)], OLD, actor="a")  # it has nothing to embed
    assert (ledger.sealed_without(OLD), ledger.sealed_without(NEW)) == (0, 3)
    ledger.keep_vectors([("s1", rows(2))], NEW)
    assert ledger.sealed_without(NEW) == 2


def test_a_sealed_entry_must_come_with_vectors_of_the_embedder_that_was_chosen(ledger: Ledger) -> None:
    with_entries(ledger, SEALED)
    choose(ledger, NEW)
    before = ledger.generation()
    with pytest.raises(Conflict, match="another embedder was chosen"):
        ledger.add_entries([NewEntry(replace(SEALED, id="e2"), rows(1))], OLD, actor="a")
    assert ledger.generation() == before
    ledger.add_entries([NewEntry(replace(ENTRY, id="e2"), rows(1))], OLD, actor="a")  # its text can be embedded later
    ledger.add_entries([NewEntry(replace(SEALED, id="e3"), rows(1), also={NEW: rows(2)})], OLD, actor="a")
    ledger.add_entries([NewEntry(replace(SEALED, id="e4"), rows(1))], NEW, actor="a")


def test_a_ledger_is_opened_beside_itself(ledger: Ledger) -> None:
    beside = with_entries(ledger, ENTRY).beside()
    try:
        beside.keep_vectors([("e1", rows(2))], NEW, beside.generation())
        assert held(ledger, "e1", NEW) == rows(2).ravel().tolist()
        ledger.drop_entry("s1", "e1", actor="a")
        assert beside.entries(None, "", 9) == []
    finally:
        beside.close()
    assert ledger.generation() == 3
