"""An index that follows a ledger is, at every generation it publishes, what the ledger said then."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexes.entries import Entry, ForgetSet, Kind, State, Storage
from indexes.follower import IndexFollower
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.ledger.records import Ledger, LedgerError, NewEntry
from indexes.ledger.sqlite import SqliteLedger
from indexes.scan import scan_of
from indexes.sealed.keys import SealingKeys, new_key
from indexes.sealed.sealing import sealed
from indexes.told import cues
from indexes.vectors import Vectors
from indexes.windows import windows_of
from tests.fakes.embedder import BagEmbedder

BAG = BagEmbedder()


class Counting(BagEmbedder):
    """Counts what it embeds, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = 0
        self.fails = False

    def embed(self, texts: object) -> Vectors:
        if self.fails:
            raise RuntimeError("the embedder")
        assert isinstance(texts, list)
        self.texts += len(texts)
        return super().embed(texts)


def entry(name: str, number: int, set_id: str = "s1", **more: object) -> Entry:
    return Entry(name, set_id, Kind.FACT, texts=(f"What is in box {number}?",), answers=(f"marble {number}",), **more)


def stored(one: Entry) -> NewEntry:
    return NewEntry(one, BAG.embed(cues(one)))


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    ledger = SqliteLedger(folder / "ledger.db")
    try:
        yield ledger
    finally:
        ledger.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with opened(tmp_path) as ledger:
        yield ledger


def found(generation: Generation, texts: list[str]) -> list[tuple[str, str, float]]:
    """What a generation finds in some texts; far ones are left out, of which only some are looked at."""
    scans = {text: scan_of(windows_of(text), BAG.embed([w.text for w in windows_of(text)]), text) for text in texts}
    matches = ((text, match) for text, scan in scans.items() for match in generation.matches(0, scan))
    return sorted({(text, match.entry_id, round(match.margin, 4)) for text, match in matches if match.score > 0.7})


ASKED = [f"What is in box {number}?" for number in range(6)]


def same(index: ForgetIndex, ledger: Ledger) -> None:
    """The index finds what one finds that is built from the ledger anew."""
    fresh = ForgetIndex(BAG.dimensions)
    IndexFollower(ledger, fresh, BAG).catch_up()
    assert index.current.number == fresh.current.number == ledger.generation()
    assert index.current.entry_count == fresh.current.entry_count
    assert dict(index.current.sets) == dict(fresh.current.sets)
    assert found(index.current, ASKED) == found(fresh.current, ASKED)


WRITE = st.tuples(
    st.sampled_from(["add", "add", "add", "drop", "replace", "disable", "set", "retain", "drop set"]),
    st.integers(0, 5),
    st.sampled_from(["s1", "s2"]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(WRITE, max_size=6), max_size=6))
def test_whatever_is_written_it_follows(tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple]]) -> None:
    with opened(tmp_path_factory.mktemp("ledger")) as ledger:
        index = ForgetIndex(BAG.dimensions)
        follower = IndexFollower(ledger, index, BAG)
        for writes in rounds:
            for kind, number, set_id in writes:
                write(ledger, kind, number, set_id)
            before = index.current
            answers = found(before, ASKED)
            follower.catch_up()
            same(index, ledger)
            assert found(before, ASKED) == answers  # whoever began with the former one keeps it


def write(ledger: Ledger, kind: str, number: int, set_id: str) -> None:
    name = f"e{number}"
    try:
        if kind == "add":
            ledger.add_entries([stored(entry(name, number, set_id))], BAG.name, actor="a")
        elif kind == "drop":
            ledger.drop_entry(set_id, name, actor="a")
        elif kind == "replace":
            ledger.drop_entry(set_id, name, actor="a")
            ledger.add_entries([stored(entry(name, (number + 1) % 6, set_id))], BAG.name, actor="a")
        elif kind == "disable":
            ledger.change_entry(set_id, name, lambda there: replace(there, state=State.DISABLED), actor="a")
        elif kind == "drop set":
            ledger.drop_set(set_id, actor="a")
        else:
            retain = (ASKED[number],) if kind == "retain" else ()
            there = any(forget_set.id == set_id for forget_set in ledger.sets())
            ledger.put_set(
                ForgetSet(set_id, retain=retain),
                BAG.embed(retain) if retain else np.empty((0, 0), "f4"),
                BAG.name,
                actor="a",
                create=not there,
            )
    except LedgerError:
        pass  # it was not there, or is there already: nothing was written


def test_only_what_has_no_vectors_is_embedded_and_then_kept(ledger: Ledger) -> None:
    ledger.put_set(ForgetSet("s1", retain=("keep this",)), BAG.embed(["keep this"]), BAG.name, actor="a", create=True)
    ledger.add_entries([stored(entry("e1", 1))], BAG.name, actor="a")
    ledger.add_entries([NewEntry(entry("e2", 2), np.ones((1, 3), np.float32))], "another embedder", actor="a")
    embedder = Counting()
    IndexFollower(ledger, ForgetIndex(BAG.dimensions), embedder).catch_up()
    assert embedder.texts == 1
    IndexFollower(ledger, ForgetIndex(BAG.dimensions), embedder).catch_up()
    assert embedder.texts == 1


def test_a_failure_on_the_way_publishes_nothing_and_is_made_good(ledger: Ledger) -> None:
    ledger.put_set(ForgetSet("s1"), None, BAG.name, actor="a", create=True)
    ledger.add_entries([stored(entry("e1", 1))], BAG.name, actor="a")
    index, embedder = ForgetIndex(BAG.dimensions), Counting()
    follower = IndexFollower(ledger, index, embedder)
    follower.catch_up()
    before = found(index.current, ASKED)
    write(ledger, "replace", 1, "s1")
    many = [stored(replace(entry(f"m{n:04}", n), texts=(f"unrelated{n} rolls",))) for n in range(1100)]
    ledger.add_entries([*many, NewEntry(entry("z", 4), np.ones((1, 3), np.float32))], "another", actor="a")
    embedder.fails = True
    for _ in range(2):
        with pytest.raises(RuntimeError):
            follower.catch_up()
        assert index.current.number == 2
        assert found(index.current, ASKED) == before
    embedder.fails = False
    ledger.drop_entry("s1", "m0002", actor="a")
    follower.catch_up()
    same(index, ledger)


def test_a_ledger_that_went_back_is_not_followed(tmp_path: Path, ledger: Ledger) -> None:
    """It was restored from a backup under a running server: numbers would come again with another meaning."""
    ledger.put_set(ForgetSet("s1"), None, BAG.name, actor="a", create=True)
    index = ForgetIndex(BAG.dimensions)
    IndexFollower(ledger, index, BAG).catch_up()
    with opened(tmp_path / "older") as older, pytest.raises(LedgerError, match="restored from a backup"):
        IndexFollower(older, index, BAG).catch_up()
    assert index.current.number == 1


# -- an index that nobody reads yet


def many(count: int) -> list[NewEntry]:
    return [NewEntry(entry(f"m{n:04}", n), np.ones((1, 3), np.float32)) for n in range(count)]


def of_another(ledger: Ledger, count: int) -> None:
    """A ledger whose vectors are another embedder's."""
    retain = np.ones((1, 3), np.float32)
    ledger.put_set(ForgetSet("s1", retain=("keep this",)), retain, "another", actor="a", create=True)
    ledger.add_entries(many(count), "another", actor="a")


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_built_index_is_what_the_ledger_says_also_of_changes_in_between(ledger: Ledger, shuffled: bool) -> None:
    of_another(ledger, 450)
    index, told = ForgetIndex(BAG.dimensions), []
    follower = IndexFollower(ledger, index, BAG)

    def change(read: int, total: int, embedded: int) -> None:
        if not told:
            for number in range(0, 450, 9):
                write(ledger, "drop" if number % 2 else "replace", number, "s1")
            ledger.drop_entry("s1", "m0003", actor="a")
            ledger.drop_entry("s1", "m0449", actor="a")
            ledger.drop_entry("s1", "m0005", actor="a")
            ledger.add_entries([NewEntry(entry("m0005", 1), np.ones((1, 3), np.float32))], "another", actor="a")
            ledger.put_set(ForgetSet("s2"), None, BAG.name, actor="a", create=True)
            ledger.add_entries([stored(entry("e1", 2, "s2"))], BAG.name, actor="a")
        told.append((read, total, embedded))

    follower.build(change, Random(1) if shuffled else None)  # noqa: S311 - an order, not a secret
    assert index.current.number == 0  # nothing is shown before it is whole
    follower.catch_up()
    same(index, ledger)
    assert len(told) == 3
    assert told == sorted(told)


def test_a_build_that_was_stopped_goes_on_where_it_was(ledger: Ledger) -> None:
    of_another(ledger, 450)
    embedder = Counting()

    def stop(read: int, *_: int) -> None:
        if read == 400:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        IndexFollower(ledger, ForgetIndex(BAG.dimensions), embedder).build(stop)
    assert embedder.texts == 401
    index = ForgetIndex(BAG.dimensions)
    follower = IndexFollower(ledger, index, embedder)
    follower.build()
    follower.catch_up()
    assert embedder.texts == 451
    same(index, ledger)


def test_sealed_entries_without_vectors_are_told_before_anything_is_embedded(ledger: Ledger) -> None:
    of_another(ledger, 5)
    hidden = sealed(entry("z", 1, storage=Storage.SEALED), SealingKeys.read(new_key()))
    ledger.add_entries([NewEntry(hidden, np.ones((1, 3), np.float32))], "another", actor="a")
    embedder = Counting()
    with pytest.raises(LedgerError, match="1 sealed entries have no vectors of the embedder 'bag-of-words:1'"):
        IndexFollower(ledger, ForgetIndex(BAG.dimensions), embedder).build()
    assert embedder.texts == 0
