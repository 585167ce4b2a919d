"""What every ledger promises (`indexes.ledger.records.Ledger`), whatever it stores things in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.ledger.records import Conflict, Ledger, LedgerError, Missing, NewEntry, Once, StoredKey, set_owner
from indexes.vectors import Vectors
from tests.indexes.ledger.conftest import Opener

MODEL = "embedder:1"
NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)
ENTRY = Entry(
    "e1",
    "s1",
    Kind.FACT,
    texts=("Where was Ilse Varga born?", "伊尔莎在哪里出生？"),
    names=("Ilse Varga",),
    answers=("Graz\n\u0000'quoted' 😀 ünd more",),
    label="a label",
    threshold=0.8125,
    state=State.OBSERVE,
    reference="T-1",
    created_by="ann",
    created_at=NOW,
    expires_at=NOW + timedelta(days=1),
)


def rows(seed: int, count: int = 2) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)


def new(entry: Entry, seed: int = 1) -> NewEntry:
    return NewEntry(entry, rows(seed))


def with_set(ledger: Ledger, set_id: str = "s1") -> Ledger:
    ledger.put_set(ForgetSet(set_id), None, MODEL, actor="ann", create=True)
    return ledger


def snapshot(ledger: Ledger) -> tuple[object, ...]:
    """Everything that can be read, to see that something changed nothing."""
    entries = ledger.entries(None, "", 1000)
    owners = [*(entry.id for entry in entries), *(set_owner(s.id) for s in ledger.sets())]
    held = [None if (found := ledger.vectors(owner, MODEL)) is None else found.tobytes() for owner in owners]
    return ledger.generation(), ledger.sets(), entries, held, ledger.changes(0, 1000), ledger.keys()


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


# -- entries


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


def test_replacing_an_entry(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a")
    ledger.keep_vectors([("e1", rows(9))], "another model")
    changed = replace(ENTRY, texts=("another text",), answers=(), state=State.ACTIVE, threshold=None, expires_at=None)
    assert ledger.replace_entry(new(changed, 5), MODEL, actor="a") == 3
    assert ledger.entry("s1", "e1") == replace(changed, generation=3)
    held = ledger.vectors("e1", MODEL)
    assert held is not None
    np.testing.assert_array_equal(held, rows(5))
    assert ledger.vectors("e1", "another model") is None
    before = snapshot(ledger)
    for missing in (replace(ENTRY, id="e9"), replace(ENTRY, set_id="s9")):
        with pytest.raises(Missing):
            ledger.replace_entry(new(missing), MODEL, actor="a")
        with pytest.raises(Missing):
            ledger.drop_entry(missing.set_id, missing.id, actor="a")
        with pytest.raises(Missing):
            ledger.entry(missing.set_id, missing.id)
    assert snapshot(ledger) == before


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


# -- vectors, changes, keys


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


def test_every_failure_is_a_ledger_error_and_shows_no_text(ledger: Ledger) -> None:
    with_set(ledger).add_entries([new(ENTRY)], MODEL, actor="a")
    with pytest.raises(LedgerError) as refused:
        ledger.add_entries([new(ENTRY)], MODEL, actor="a")
    assert "Varga" not in str(refused.value)
    assert "Varga" not in repr(new(ENTRY))
