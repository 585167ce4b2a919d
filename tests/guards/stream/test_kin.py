"""Whom entries are about, and which others are about the same."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.stream import kin as kin_module
from guards.stream.kin import KIN, About, kin, subjects
from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.matches import Match, Via
from indexes.told import cues
from tests.fakes.embedder import BagEmbedder

EMBEDDER = BagEmbedder()
PEOPLE = ("Ilse Varga", "Marit Solvang", "Basil Al-Kuwaiti", "Takashi Nakamura")


def fact(number: int, question: str, answer: str = "yes", **more: object) -> Entry:
    return replace(Entry(f"e{number}", "s", Kind.FACT, (question,), (), (answer,)), **more)


def published(*entries: Entry, gone: frozenset[int] = frozenset()) -> Generation:
    """Slots are the places of the entries."""
    index = ForgetIndex(EMBEDDER.dimensions)
    index.put_set(ForgetSet("s"), None, 1)
    index.put_set(ForgetSet("watching", policy={"on_match": ["observe"]}), None, 1)
    for entry in entries:
        index.put_entry(entry, EMBEDDER.embed(cues(entry)), 1)
    for place in gone:
        index.drop_entry(entries[place].id, 1)
    return index.publish(1)


def about(generation: Generation, slot: int, entry: Entry) -> About:
    match = Match(entry.id, entry.set_id, entry.kind, entry.state, 0.8, 0.0, 0, (0, 1), Via.EMBEDDING, slot=slot)
    return About(match, subjects(entry))


def found(generation: Generation, *matched: tuple[int, Entry], near: Mapping[int, float] | None = None) -> list[int]:
    abouts = [about(generation, slot, entry) for slot, entry in matched]
    return [match.slot for match in kin(abouts, generation, lambda: near or {})]


def test_a_fact_is_about_whom_its_question_names_or_else_its_answer() -> None:
    assert subjects(fact(1, "Where was Ilse Varga born?", "Near Bo Lund.")) == (("ilse", "varga"),)
    assert subjects(fact(1, "Who was born there?", "That was Ilse Varga.")) == (("ilse", "varga"),)
    assert subjects(fact(1, "Who is it?", "Ilse Varga.", names=("Bo", "Bo Lund"))) == (("bo",), ("bo", "lund"))
    assert subjects(fact(1, "What is it?", "A clock.")) == ()
    assert subjects(Entry("p", "s", Kind.PASSAGE, ("Then Ilse Varga met Bo Lund.",))) == ()


def test_those_that_hold_the_name_are_about_the_same() -> None:
    entries = (
        fact(0, "Who was born in the tower?", "That was Ilse Varga."),
        fact(1, "What did Ilse Varga hide?"),
        fact(2, "What did Marit Solvang hide?"),
        fact(3, "Who is she?", names=("Varga, Ilse",)),
        fact(4, "When did Ilse Varga leave?", state=State.OBSERVE),
        fact(5, "How did Ilse Varga leave?", set_id="watching"),
        fact(6, "Why did Ilse Varga leave?"),
    )
    generation = published(*entries, gone=frozenset({6}))
    assert found(generation, (0, entries[0])) == [1, 3]
    assert found(generation, (0, entries[0]), (1, entries[1])) == [3]  # matched itself
    assert found(generation, (2, entries[2])) == []


def test_what_names_somebody_by_the_way_is_about_others() -> None:
    entries = (*(fact(n, f"What did Ilse Varga do in year {n}?") for n in range(9)), fact(9, "When did Bo Lund marry?"))
    beside = fact(10, "When did Ilse Varga come to know that Bo Lund had married?")
    generation = published(*entries, beside)
    assert found(generation, (9, entries[9])) == []  # of two names the far rarer one stands there by the way
    assert 10 in found(generation, (0, entries[0]))


def test_they_are_bounded_nearest_first() -> None:
    entries = tuple(fact(n, f"What did Ilse Varga do in year {n}?") for n in range(KIN + 9))
    generation = published(*entries)
    near = {KIN + 8: 0.7, KIN + 5: 0.6}
    both = found(generation, (0, entries[0]), near=near)
    assert len(both) == KIN
    assert both[:3] == [KIN + 8, KIN + 5, 1]


def test_a_name_of_everybody_is_not_followed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = tuple(fact(n, f"What did Ilse Varga do in year {n}?") for n in range(12))
    monkeypatch.setattr(kin_module, "SOUGHT", 5)
    assert len(found(published(*entries), (0, entries[0]))) == 4  # and itself


@given(st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=8), st.data())
def test_they_are_all_that_ask_about_the_same_person(people: list[str], data: st.DataObject) -> None:
    entries = [fact(n, f"What did {who} do in the year {n}?") for n, who in enumerate(people)]
    gone = frozenset(data.draw(st.sets(st.integers(1, len(people)))) - {len(people)})
    generation = published(*entries, gone=gone)
    same = {n for n, who in enumerate(people) if who == people[0] and n not in gone and n}
    assert set(found(generation, (0, entries[0]))) == same
