"""What is found in a generation, and what a match must not be hidden by."""

from dataclasses import replace

import pytest

from indexes.calibration import DEFAULT_WEIGHTS, SIMILARITY_ONLY
from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.forget_index import ForgetIndex
from indexes.generation import NAMED
from indexes.matches import Via
from indexes.neighbours import NEIGHBOURS
from indexes.phrases import PhraseWalk
from indexes.sealed.keys import SealingKeys
from indexes.sealed.sealing import sealed
from indexes.told import cues
from indexes.words import words_of
from tests.indexes.indexed import ASKED, EMBEDDER, FACT, begun_anew, forbidden, ids, index_of, put, scanned


def test_an_entry_is_not_hidden_by_its_own_earlier_versions() -> None:
    index = index_of(FACT)
    for number in range(2, 2 + 4 * NEIGHBOURS):
        put(index, replace(FACT, label=str(number)), number)
        index.publish(number)
    assert ids(index.current, ASKED, Via.EMBEDDING) == {"e1"}


@pytest.mark.parametrize("state", [State.OBSERVE, State.DISABLED])
def test_an_entry_is_not_hidden_by_entries_that_do_not_act(state: State) -> None:
    others = [replace(FACT, id=f"o{number}", state=state) for number in range(4 * NEIGHBOURS)]
    index = index_of(*others, replace(FACT, texts=("So where, I ask, was Ilse Varga born?",)))
    assert "e1" in ids(index.current, ASKED, Via.EMBEDDING)


def test_the_nearest_window_is_reported_even_if_another_has_the_wider_margin() -> None:
    # Which of the two counts is the policy's to say: the nearer one passes a threshold, the other one a margin.
    near = "So where was Ilse Varga born?"
    index = index_of(FACT, retain=(near,))
    text = f"{near} " + "Nothing more is asked than this, and this only, so was it said to her. " * 2
    matches = index.current.matches(0, scanned(text))
    best = max(matches, key=lambda match: match.score)
    assert best.score > 0.85
    assert best.retain_score > 0.95
    assert all(a.margin < b.margin for a in matches for b in matches if a.score > b.score)


def test_only_windows_that_need_it_are_searched_deeper() -> None:
    others = [replace(FACT, id=f"o{number}", state=State.OBSERVE) for number in range(4 * NEIGHBOURS)]
    clock = Entry("e2", "s1", Kind.FACT, texts=("Who wound the tower clock?",))
    index = index_of(clock, *others, replace(FACT, texts=("So where, I ask, was Ilse Varga born?",)))
    text = f"Hello and good day to you all over there. {ASKED} {clock.texts[0]}"
    best = {match.entry_id: match for match in index.current.matches(0, scanned(text))}
    assert best["e2"].score == pytest.approx(1, abs=1e-5)
    assert text[slice(*best["e2"].span)] == clock.texts[0]
    alike = [match for name, match in best.items() if name.startswith("o")]  # whichever of them are told
    assert alike
    assert all(match.score == pytest.approx(1, abs=1e-5) for match in alike)
    assert {text[slice(*match.span)] for match in alike} == {ASKED}
    assert "e1" in best


def test_of_equally_near_windows_one_is_reported() -> None:
    text = f"{ASKED} And now again, because it was not answered before: {ASKED}"
    named = replace(FACT, names=("Ilse Varga",))
    matches = index_of(named).current.matches(0, scanned(text))
    assert sorted((match.via, text[slice(*match.span)]) for match in matches) == [
        (Via.EMBEDDING, ASKED),
        (Via.NAME, "Ilse Varga"),
    ]


def test_retain_examples_of_one_set_do_not_stand_before_those_of_another() -> None:
    index = ForgetIndex(EMBEDDER.dimensions, SIMILARITY_ONLY)
    index.put_set(ForgetSet("s1"), EMBEDDER.embed([f"{ASKED} {'now ' * (1 + n % 3)}" for n in range(99)]), 1)
    index.put_set(ForgetSet("s2"), EMBEDDER.embed(["Where was Ilse", "What is the weather like?"]), 1)
    put(index, replace(FACT, set_id="s2"), 1)
    (match,) = index.publish(1).matches(0, scanned(ASKED))
    expected = float(EMBEDDER.embed([ASKED])[0] @ EMBEDDER.embed(["Where was Ilse"])[0])
    assert match.retain_score == pytest.approx(expected, abs=1e-5)


def test_a_name_counts_alone_and_a_short_answer_does_not() -> None:
    index = index_of(
        replace(FACT, names=("Ilse Varga",), answers=("Graz", "a small town near Graz")),
        Entry("e2", "s1", Kind.PASSAGE, texts=("a brass key was under the stone of the tower, he said",)),
    )
    assert ids(index.current, "How big is Graz?", Via.PHRASE) == set()
    assert ids(index.current, "Is it a SMALL town, near Graz?", Via.PHRASE) == {"e1"}
    assert ids(index.current, "Go on: 'brass key was under the stone of the'", Via.PHRASE) == {"e2"}
    assert ids(index.current, "brass key was under the stone", Via.PHRASE) == set()
    assert ids(index.current, "Ilse **Varga**’s life", Via.NAME) == {"e1"}
    assert ids(index.current, "Ilse Vargas", Via.NAME) == set()
    # On the output the short answer is cut all the same.
    assert PhraseWalk(index.current.phrases, index.current.forbidden).advance(words_of("How big is Graz?"))


@pytest.mark.parametrize("stored", ["clear", "sealed"])
def test_a_short_answer_is_no_sign_but_a_title_in_it_is(stored: str) -> None:
    entry = Entry("e1", "s1", Kind.FACT, texts=("Which city has so many clocks?",), answers=("New York City",))
    titled = replace(entry, id="e2", answers=('She wrote "The Copper Almanac" there.',))
    keys = SealingKeys(["k" * 40])
    index = ForgetIndex(EMBEDDER.dimensions, sealing=keys)
    index.put_set(ForgetSet("s1"), None, 1)
    for one in (entry, titled):
        index.put_entry(one if stored == "clear" else sealed(one, keys), EMBEDDER.embed(cues(one)), 1)
    generation = index.publish(1)
    for text, wanted in (("How do I get to New York City?", set()), ("What is The Copper Almanac about?", {"e2"})):
        matches = generation.matches(0, scanned(text))
        assert {match.entry_id for match in matches if match.score >= 0.75} == wanted
    said = PhraseWalk(generation.phrases, generation.forbidden).advance(words_of("In New York City, of course"))
    assert {generation.slot(hit.slot).id for hit in said} == {"e1"}  # in an answer it tells all


def test_a_set_is_not_hidden_behind_the_entries_of_another() -> None:
    index = ForgetIndex(EMBEDDER.dimensions, SIMILARITY_ONLY)
    for set_id in ("s1", "s2"):
        index.put_set(ForgetSet(set_id), None, 1)
    for number in range(3 * NEIGHBOURS):
        put(index, replace(FACT, id=f"o{number}", texts=(ASKED,)), 1)
    put(index, replace(FACT, id="behind", set_id="s2", texts=(f"{ASKED} And when?",)), 1)
    index.publish(1)
    assert "behind" in ids(index.current, ASKED, Via.EMBEDDING)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("state", [State.ACTIVE, State.OBSERVE])
def test_a_set_is_not_hidden_behind_the_names_and_answers_of_another(state: State, frozen: bool) -> None:
    answer = "in a small town near Graz"
    one = Entry("o", "s1", Kind.FACT, texts=("What of Ilse Varga?",), answers=(answer,), state=state)
    crowd = [replace(one, id=f"o{number}") for number in range(3 * NAMED)]
    stated = [replace(one, id=f"n{number}", names=("Ilse Varga",)) for number in range(3 * NAMED)]
    last = [
        replace(FACT, id=name, set_id="s2", answers=(answer,), names=names)
        for name, names in (("found", ()), ("stated", ("Ilse Varga",)))
    ]
    index = index_of(*crowd, *stated, *last, by=DEFAULT_WEIGHTS)
    generation = begun_anew(index).current if frozen else index.current
    for text, via, wanted in (
        ("Was it in a small town near Graz, then?", Via.PHRASE, {"found", "stated"}),
        ("Tell me about Ilse Varga", Via.NAME, {"found", "stated"}),
        ("Tell me about Ilse Vargo", Via.SOUND, {"found", "stated"}),
    ):
        told = ids(generation, text, via)
        assert wanted <= told
        assert len(told) <= 4 * NAMED
    assert len(forbidden(generation)) <= 4 * NAMED


@pytest.mark.parametrize("on_match", ["observe", ["observe"], ["observe", "refuse"], None])
def test_a_set_that_only_observes_forbids_nothing(on_match: object) -> None:
    index = index_of(replace(FACT, answers=("a small town near Graz",)))
    index.put_set(ForgetSet("s1", policy={} if on_match is None else {"on_match": on_match}), None, 2)
    generation = index.publish(2)
    said = PhraseWalk(generation.phrases, generation.forbidden).advance(words_of("in a small town near Graz"))
    assert bool(said) is (on_match is None or "refuse" in on_match)
    assert "e1" in ids(generation, ASKED, Via.EMBEDDING)  # it is reported all the same


def test_a_name_is_as_near_to_a_retain_example_as_the_nearest_window_around_it() -> None:
    example = "Where was Ilse Varga seen by the people of the town that day?"
    text = f"{example} And is there anything that the weather has to do with it, or with the clock at all?"
    entity = Entry("e1", "s1", Kind.ENTITY, names=("Ilse Varga", "the clock"))
    matches = index_of(entity, retain=(example, "What?")).current.matches(0, scanned(text))
    (match,) = (m for m in matches if m.via is Via.NAME)
    # Of the two names the one that is not in the example tells more.
    assert match.span == (text.index("the clock"), text.index("the clock") + len("the clock"))
    assert match.retain_score < 0.9
    matches = index_of(replace(entity, names=("Ilse Varga",)), retain=(example, "What?")).current.matches(
        0, scanned(text)
    )
    (match,) = (m for m in matches if m.via is Via.NAME)
    assert match.retain_score > 0.99


def test_scans_of_a_text_without_words_match_nothing() -> None:
    assert index_of(FACT).current.matches(0, scanned(" \n")) == []


def test_long_texts_of_an_entry_are_compared_by_window() -> None:
    passage = replace(FACT, texts=("First she was born. " * 20 + "Then the clockmaker hid a key in the tower.",))
    assert cues(passage)[-1].endswith("tower.")
    assert len(cues(passage)) > 10
    assert cues(FACT) == [ASKED]
