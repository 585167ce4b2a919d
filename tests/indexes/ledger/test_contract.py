"""What every ledger promises (`indexes.ledger.records.Ledger`), whatever it stores things in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.ledger.records import (
    Conflict,
    Heads,
    Ledger,
    LedgerError,
    Member,
    Missing,
    NewEntry,
    Once,
    Overtaken,
    StoredKey,
    set_owner,
)
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
