"""The forget index as its one writer uses it, beside those who read."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from indexes.calibration import SIMILARITY_ONLY
from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.forget_index import ForgetIndex
from indexes.matches import Via
from tests.indexes.indexed import ASKED, EMBEDDER, FACT, QUESTIONS, SCANS, forbidden, found, ids, index_of, put, scanned


def test_a_set_that_comes_again_begins_anew() -> None:
    index = index_of(FACT, retain=(ASKED,))
    before = index.current
    index.drop_set("s1", 2)
    index.put_set(ForgetSet("s1"), None, 2)
    put(index, FACT, 2)
    (match,) = index.publish(2).matches(0, scanned(ASKED))
    assert match.retain_score == -1
    index.drop_set("s1", 3)
    assert set(index.publish(3).sets) == set()
    assert set(before.sets) == {"s1"}
    assert [match.retain_score for match in before.matches(0, scanned(ASKED))] == [pytest.approx(1, abs=1e-5)]


def test_an_entry_with_names_only_has_no_cues() -> None:
    entity = Entry("e9", "s1", Kind.ENTITY, names=("Ilse Varga",))
    index = ForgetIndex(EMBEDDER.dimensions, SIMILARITY_ONLY)
    index.put_entry(entity, np.empty((0, 0), np.float32), 1)  # as a ledger may give back what has no rows
    index.publish(1)
    assert ids(index.current, "Who is Ilse Varga?", Via.NAME) == {"e9"}


def test_an_entry_put_twice_in_one_generation_is_there_once() -> None:
    index = index_of(FACT, replace(FACT, state=State.OBSERVE))
    (match,) = index.current.matches(0, scanned(ASKED))
    assert match.state is State.OBSERVE
    assert index.current.entry_count == 1


def test_vectors_of_another_width_change_nothing() -> None:
    index = index_of(FACT)
    with pytest.raises(ValueError, match="numbers"):
        index.put_entry(replace(FACT, texts=("anything",)), np.ones((1, EMBEDDER.dimensions + 1), np.float32), 2)
    index.publish(2)
    assert ids(index.current, ASKED, Via.EMBEDDING) == {FACT.id}


def test_the_index_keeps_no_text_and_shows_none() -> None:
    secret = Entry("e1", "s1", Kind.FACT, texts=("secret question",), names=("secret",), answers=("secret",))
    index = index_of(secret)
    assert "secret" not in repr(index.current.slot(0))
    shown = repr(index.current) + repr(index.current.matches(0, scanned("secret question"))) + repr(scanned("secret"))
    assert "secret" not in shown


def test_readers_of_one_generation_are_not_disturbed_by_the_writer() -> None:
    index = index_of(FACT, replace(FACT, id="e2", names=("Ilse Varga",), texts=QUESTIONS[1:2]))
    kept = index.current
    answers, stop, faults = [found(kept, scan) for scan in SCANS], threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            if [found(kept, scan) for scan in SCANS] != answers or forbidden(kept) != {"e1", "e2"}:
                faults.append("another answer")
            found(index.current, SCANS[0])  # whatever it is, it must be there to be read

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(2, 150):
        put(
            index,
            replace(FACT, id=f"e{number % 7}", texts=(QUESTIONS[number % 3],), answers=(f"word {number}",)),
            number,
        )
        index.publish(number)
    stop.set()
    for reader in readers:
        reader.join()
    assert not faults
