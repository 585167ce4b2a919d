"""What every ledger promises of entries."""

from dataclasses import replace
from datetime import timedelta, timezone

import numpy as np
import pytest

from indexes.entries import State
from indexes.ledger.records import (
    Conflict,
    Ledger,
    Missing,
    NewEntry,
    Once,
)
from tests.indexes.ledger.conftest import Opener
from tests.indexes.ledger.stored import ENTRY, MODEL, NOW, new, rows, snapshot, with_set


def test_entries_are_added_all_or_none(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a")
    before = snapshot(ledger)
    with pytest.raises(Conflict, match="e1"):
        ledger.add_entries([new(replace(ENTRY, id="e2")), new(ENTRY)], MODEL, actor="a")
    with pytest.raises(Conflict):  # twice in one call
        ledger.add_entries([new(replace(ENTRY, id="e2")), new(replace(ENTRY, id="e2"))], MODEL, actor="a")
    with pytest.raises(Missing, match="s9"):
        ledger.add_entries([new(replace(ENTRY, id="e2")), new(replace(ENTRY, id="e3", set_id="s9"))], MODEL, actor="a")
    assert snapshot(ledger) == before
    assert ledger.add_entries([new(replace(ENTRY, id="e2"))], MODEL, actor="a") == (3, ["e2"])


def test_a_repeated_request_is_answered_as_the_first_was(reopen: Opener) -> None:
    ledger = with_set(reopen())
    once = Once("client-key", "digest-1")
    first = ledger.add_entries([new(ENTRY), new(replace(ENTRY, id="e2"))], MODEL, actor="a", once=once)
    before = snapshot(ledger)
    # The second time the server has made up other ids; what counts is what was stored.
    assert ledger.add_entries([new(replace(ENTRY, id="e7"))], MODEL, actor="a", once=once) == first == (2, ["e1", "e2"])
    ledger = reopen()
    assert ledger.add_entries([new(replace(ENTRY, id="e8"))], MODEL, actor="a", once=once) == first
    with pytest.raises(Conflict, match="Idempotency-Key"):
        ledger.add_entries([new(replace(ENTRY, id="e9"))], MODEL, actor="a", once=Once("client-key", "digest-2"))
    assert snapshot(ledger) == before


def test_a_request_that_failed_may_be_repeated_under_its_key(ledger: Ledger) -> None:
    once = Once("key", "digest")
    with pytest.raises(Missing):
        ledger.add_entries([new(ENTRY)], MODEL, actor="a", once=once)
    assert with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a", once=once) == (2, ["e1"])


def test_what_is_not_there_can_be_neither_removed_nor_read(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a")
    before = snapshot(ledger)
    for missing in (replace(ENTRY, id="e9"), replace(ENTRY, set_id="s9")):
        with pytest.raises(Missing):
            ledger.drop_entry(missing.set_id, missing.id, actor="a")
        with pytest.raises(Missing):
            ledger.entry(missing.set_id, missing.id)
    assert snapshot(ledger) == before


def test_an_id_that_was_removed_can_be_used_again_without_what_was_kept_of_it(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a")
    ledger.keep_vectors([("e1", rows(9))], "another model")
    ledger.drop_entry("s1", "e1", actor="a")
    changed = replace(ENTRY, texts=("another text",), answers=(), state=State.ACTIVE, threshold=None, expires_at=None)
    assert ledger.add_entries([new(changed, 5)], MODEL, actor="a") == (4, ["e1"])
    assert ledger.entry("s1", "e1") == replace(changed, generation=4)
    held = ledger.vectors("e1", MODEL)
    assert held is not None
    np.testing.assert_array_equal(held, rows(5))
    assert ledger.vectors("e1", "another model") is None


def test_changing_an_entry_leaves_what_it_says(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a")
    ledger.keep_vectors([("e1", rows(9))], "another model")
    changed = replace(
        ENTRY, label="x", threshold=None, state=State.DISABLED, reference="T-2", expires_at=NOW, texts=("ignored",)
    )
    kept = replace(changed, texts=ENTRY.texts, generation=3)
    assert ledger.change_entry("s1", "e1", lambda _: changed, actor="bob") == kept
    assert ledger.entry("s1", "e1") == kept
    assert (ledger.changes(2, 1)[0].actor, ledger.changes(2, 1)[0].action) == ("bob", "entry.update")
    for model, seed in ((MODEL, 1), ("another model", 9)):
        held = ledger.vectors("e1", model)
        assert held is not None
        np.testing.assert_array_equal(held, rows(seed))
    before = snapshot(ledger)
    assert ledger.change_entry("s1", "e1", lambda entry: entry, actor="a") == kept
    for set_id, entry_id in (("s1", "e9"), ("s9", "e1")):
        with pytest.raises(Missing):
            ledger.change_entry(set_id, entry_id, lambda _: changed, actor="a")
    with pytest.raises(ZeroDivisionError):
        ledger.change_entry("s1", "e1", lambda _: 1 / 0, actor="a")  # type: ignore[arg-type, return-value]
    assert snapshot(ledger) == before


def test_entries_that_say_the_same_are_found_by_digest(ledger: Ledger) -> None:
    with_set(with_set(ledger), "s2")
    held = [NewEntry(replace(ENTRY, id=i, set_id=s), rows(1), digest) for i, s, digest in DIGESTED]
    ledger.add_entries(held, MODEL, actor="a")
    assert ledger.alike("s1", ["x", "y", "z", "x"]) == {"x": "e1", "y": "e2"}
    assert ledger.alike("s2", ["x"]) == {"x": "e4"}
    assert ledger.alike("s3", ["x"]) == {}
    assert ledger.alike("s1", (f"d{number}" for number in range(2000))) == {}


DIGESTED = (("e1", "s1", "x"), ("e2", "s1", "y"), ("e3", "s1", "x"), ("e4", "s2", "x"), ("e5", "s1", ""))


def test_what_is_there_already_can_be_left_out(reopen: Opener) -> None:
    ledger = with_set(with_set(reopen()), "s2")
    ledger.add_entries([NewEntry(ENTRY, rows(1), "x")], MODEL, actor="a")

    def told(entry_id: str, digest: str, set_id: str = "s1") -> NewEntry:
        return NewEntry(replace(ENTRY, id=entry_id, set_id=set_id), rows(2), digest)

    batch = [told("e2", "x"), told("e3", "y"), told("e4", "y"), told("e5", ""), told("e6", ""), told("e7", "x", "s2")]
    once = Once("import", "d")
    added = ledger.add_entries(batch, MODEL, actor="a", skip_alike=True, once=once)
    assert added == (4, ["e1", "e3", "e3", "e5", "e6", "e7"])
    assert [entry.id for entry in ledger.entries(None, "", 10)] == ["e1", "e3", "e5", "e6", "e7"]
    assert [change.entry_id for change in ledger.changes(3, 10)] == ["e3", "e5", "e6", "e7"]
    ledger = reopen()
    assert ledger.add_entries(batch, MODEL, actor="a", skip_alike=True, once=once) == added
    again = [told("e8", "x"), told("e9", "y")]
    assert ledger.add_entries(again, MODEL, actor="a", skip_alike=True) == (4, ["e1", "e3"])  # nothing has changed
    with pytest.raises(Conflict, match="e3"):
        ledger.add_entries([told("e3", "z")], MODEL, actor="a", skip_alike=True)


def test_entries_and_vectors_of_many_owners(ledger: Ledger) -> None:
    with_set(ledger)
    ids = [f"e{number:04}" for number in range(1200)]
    ledger.add_entries([new(replace(ENTRY, id=i), seed) for seed, i in enumerate(ids)], MODEL, actor="a")
    asked = [*ids[::2], "missing", ids[0]]
    assert [entry.id for entry in ledger.entries_of(asked)] == ids[::2]
    held = ledger.vectors_of(asked, MODEL)
    assert sorted(held) == ids[::2]
    np.testing.assert_array_equal(held["e0004"], rows(4))
    assert ledger.entries_of([]) == []
    assert ledger.vectors_of(["e0001"], "another model") == {}


def test_removing_an_entry(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a")
    assert ledger.drop_entry("s1", "e1", actor="bob") == 3
    assert ledger.entries(None, "", 10) == []
    assert ledger.vectors("e1", MODEL) is None
    assert ledger.changes(2, 10)[0].action == "entry.remove"
    ledger.add_entries([new(ENTRY)], MODEL, actor="a")  # the id is free again


def test_entries_are_paged_by_id(ledger: Ledger) -> None:
    with_set(with_set(ledger), "s2")
    ids = [f"e{number:02}" for number in range(7)]
    placed = [replace(ENTRY, id=i, set_id="s2" if number % 3 else "s1") for number, i in enumerate(ids)]
    ledger.add_entries([new(entry) for entry in reversed(placed)], MODEL, actor="a")
    pages, after = [], ""
    while page := ledger.entries(None, after, 3):
        pages.append([entry.id for entry in page])
        after = page[-1].id
    assert pages == [ids[:3], ids[3:6], ids[6:]]
    assert [entry.id for entry in ledger.entries("s1", "e00", 10)] == ["e03", "e06"]
    assert ledger.entries("s9", "", 10) == []


def test_entries_are_due_when_their_time_has_come_wherever_it_was_written(ledger: Ledger) -> None:
    times = {
        "past": NOW - timedelta(microseconds=1),
        "now": NOW.astimezone(timezone(timedelta(hours=5, minutes=30))),
        "later": (NOW + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=-9))),
        "whole second": NOW.replace(microsecond=0),
    }
    states = {"off": State.DISABLED, "on": State.ACTIVE}
    entries = [
        replace(ENTRY, id=f"{when} {on}", expires_at=moment, state=state)
        for when, moment in times.items()
        for on, state in states.items()
    ]
    with_set(ledger).add_entries([new(e) for e in [*entries, replace(ENTRY, expires_at=None)]], MODEL, actor="a")
    assert {entry.id for entry in ledger.due(NOW)} == {"past on", "now on", "whole second on"}
    assert {e.id for e in ledger.due((NOW + timedelta(days=1)).astimezone(timezone(timedelta(hours=-11))))} == {
        f"{when} on" for when in times
    }
