"""Generations: each answers from what was published when it was made, exactly, whatever happens after."""

import functools
import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from indexes import forget_index as forget_index_module
from indexes.calibration import DEFAULT_WEIGHTS, SIMILARITY_ONLY, Weights
from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.forget_index import ForgetIndex
from indexes.generation import NAMED, ROUNDING, Generation
from indexes.growing import GrowingVectors
from indexes.matches import Match, Via
from indexes.neighbours import FLOOR, NEIGHBOURS
from indexes.phrases import PhraseWalk, pieces
from indexes.scan import Scan, scan_of
from indexes.told import cues
from indexes.windows import windows_of
from indexes.words import words_of
from tests.fakes.embedder import BagEmbedder

EMBEDDER = BagEmbedder()
SETS = ("s1", "s2")
IDS = tuple(f"e{number}" for number in range(6))
QUESTIONS = ("Where was Ilse Varga born?", "Who made the tower clock?", "What did Ilse hide in the clock?")
NAMES = ("Ilse Varga", "Bo")
ANSWERS = ("in a small town near Graz", "Graz", "a brass key")
RETAIN = ("Where is the tower clock of Graz?", "What did Bo hide?", "When was Ilse born?")
PROBES = (
    "Where was Ilse Varga born?",
    "Tell me: what did Ilse Varga hide? Was it a brass key, perhaps, or something else that Bo found",
    "Is it so that she was born in a small town near Graz, in Austria?",
    "What is the weather like?",
)


def scanned(text: str) -> Scan:
    windows = windows_of(text)
    return scan_of(windows, EMBEDDER.embed([window.text for window in windows]), text)


SCANS = tuple(scanned(probe) for probe in PROBES)


def put(index: ForgetIndex, entry: Entry, generation: int) -> None:
    index.put_entry(entry, EMBEDDER.embed(cues(entry)), generation)


def found(generation: Generation, scan: Scan) -> set[tuple[object, ...]]:
    """Matches as plain facts; scores rounded, because a full comparison may sum in another order."""
    matches = generation.matches(3, scan)
    assert {match.source for match in matches} <= {3}
    return {facts(match) for match in matches}


def facts(m: Match) -> tuple[object, ...]:
    return (m.entry_id, m.set_id, m.kind, m.state, m.via, m.span, m.threshold, round(m.score, 4), round(m.margin, 4))


# -- a model: entries and sets in dicts, every comparison made in full


@dataclass(frozen=True)
class Model:
    entries: dict[str, Entry]
    retain: dict[str, tuple[str, ...]]

    def found(self, scan: Scan) -> set[tuple[object, ...]]:
        return {
            facts(match) for e in self.entries.values() if e.state is not State.DISABLED for match in self.of(e, scan)
        }

    def of(self, entry: Entry, scan: Scan) -> list[Match]:
        near = [-1.0] * len(scan.windows)
        if examples := self.retain.get(entry.set_id):
            near = (scan.vectors @ EMBEDDER.embed(examples).T).max(axis=1).tolist()
        said = []
        if rows := cues(entry):
            scores = scan.vectors @ EMBEDDER.embed(rows).T
            said += [
                self.match(entry, float(scores[i, j]), near[i], (window.start, window.end), Via.EMBEDDING)
                for i, window in enumerate(scan.windows)
                for j in range(len(rows))
                if scores[i, j] >= FLOOR
            ]
        passages = entry.texts if entry.kind is Kind.PASSAGE else ()
        phrases = [text for text in (*entry.answers, *passages) if len(words_of(text)) >= 3]
        for via, texts in ((Via.NAME, entry.names), (Via.PHRASE, phrases)):
            for start, end in (span for text in texts for piece in pieces(text) for span in spans_of(piece, scan)):
                around = [near[i] for i, w in enumerate(scan.windows) if w.start < end and start < w.end]
                said.append(self.match(entry, 1.0, max(around, default=-1.0), (start, end), via))
        return [m for m in said if not any(beats(other, m) for other in said)]

    @staticmethod
    def match(entry: Entry, score: float, near: float, span: tuple[int, int], via: Via) -> Match:
        return Match(entry.id, entry.set_id, entry.kind, entry.state, score, near, 3, span, via, entry.threshold)

    def forbidden(self, text: str) -> set[str]:
        said = [word.text for word in words_of(text)]
        return {
            e.id
            for e in self.entries.values()
            if e.state is State.ACTIVE
            for forbidden in (*e.answers, *(e.texts if e.kind is Kind.PASSAGE else ()))
            for p in pieces(forbidden)
            if any(tuple(said[i : i + len(p)]) == p for i in range(len(said)))
        }


def beats(other: Match, m: Match) -> bool:
    """Another match of the same kind is at least as good in both, and better in one or found earlier."""
    if other is m or other.via is not m.via:
        return False
    ahead = (other.score - m.score, other.margin - m.margin)
    if max(map(abs, ahead)) < ROUNDING:
        return other.span < m.span or (other.span == m.span and id(other) < id(m))
    return min(ahead) > -ROUNDING


def spans_of(piece: tuple[str, ...], scan: Scan) -> list[tuple[int, int]]:
    words = scan.words
    return [
        (words[i].start, words[i + len(piece) - 1].end)
        for i in range(len(words) - len(piece) + 1)
        if tuple(word.text for word in words[i : i + len(piece)]) == piece
    ]


entries = st.builds(
    Entry,
    id=st.sampled_from(IDS),
    set_id=st.sampled_from(SETS),
    kind=st.sampled_from((Kind.FACT, Kind.PASSAGE)),
    texts=st.lists(st.sampled_from(QUESTIONS), max_size=2, unique=True).map(tuple),
    names=st.lists(st.sampled_from(NAMES), max_size=1).map(tuple),
    answers=st.lists(st.sampled_from(ANSWERS), max_size=2, unique=True).map(tuple),
    threshold=st.sampled_from((None, 0.9)),
    state=st.sampled_from((State.ACTIVE, State.ACTIVE, State.OBSERVE, State.DISABLED)),
)


class Versions(RuleBasedStateMachine):
    """Changes of every kind in any order; every generation ever published is asked again after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.index = ForgetIndex(EMBEDDER.dimensions, SIMILARITY_ONLY)
        self.entries: dict[str, Entry] = {}
        self.retain: dict[str, tuple[str, ...]] = {}
        self.kept: list[tuple[Generation, list[set[tuple[object, ...]]], tuple[object, ...]]] = []
        self.keep(self.index.current)

    @property
    def next(self) -> int:
        return self.index.current.number + 1

    def keep(self, generation: Generation) -> None:
        model = Model(self.entries, self.retain)
        for scan in SCANS:
            assert found(generation, scan) == model.found(scan)
        assert forbidden(generation) == {e for text in PROBES for e in model.forbidden(text)}
        assert set(generation.sets) == set(self.retain)
        living = [e for e in self.entries.values() if e.state is not State.DISABLED]
        assert generation.entry_count == len(living)
        self.kept.append((generation, [found(generation, scan) for scan in SCANS], outline(generation)))

    @rule(entry=entries)
    def put_entry(self, entry: Entry) -> None:
        if entry.set_id not in self.retain:
            self.index.put_set(ForgetSet(entry.set_id), None, self.next)
            self.retain = {**self.retain, entry.set_id: ()}
        put(self.index, entry, self.next)
        self.entries = {**self.entries, entry.id: entry}

    @rule(entry_id=st.sampled_from(IDS))
    def drop_entry(self, entry_id: str) -> None:
        self.index.drop_entry(entry_id, self.next)
        self.entries = {k: e for k, e in self.entries.items() if k != entry_id}

    @rule(set_id=st.sampled_from(SETS), retain=st.lists(st.sampled_from(RETAIN), max_size=2).map(tuple))
    def change_set(self, set_id: str, retain: tuple[str, ...]) -> None:
        self.put_set(set_id, retain)

    def put_set(self, set_id: str, retain: tuple[str, ...]) -> None:
        self.index.put_set(ForgetSet(set_id), EMBEDDER.embed(retain), self.next)
        self.retain = {**self.retain, set_id: retain}

    @rule(set_id=st.sampled_from(SETS))
    def relabel_set(self, set_id: str) -> None:
        if set_id in self.retain:
            self.index.put_set(ForgetSet(set_id, label="new"), None, self.next)

    @rule(set_id=st.sampled_from(SETS))
    def drop_set(self, set_id: str) -> None:
        self.index.drop_set(set_id, self.next)
        self.retain = {k: r for k, r in self.retain.items() if k != set_id}
        self.entries = {k: e for k, e in self.entries.items() if e.set_id != set_id}

    @rule()
    def condense(self) -> None:
        self.index.condense()

    @rule()
    def begin_anew_from_arrays(self) -> None:
        """As a server does that is started from a snapshot: what was not published is applied again."""
        self.publish()
        self.index = begun_anew(self.index)
        self.publish()

    @rule()
    def publish(self) -> None:
        generation = self.index.publish(self.next)
        assert generation is self.index.current
        self.keep(generation)

    @invariant()
    @precondition(lambda self: self.kept)
    def every_generation_answers_as_it_did(self) -> None:
        assert self.index.current is self.kept[-1][0]  # what is not published is not seen
        for generation, answers, rest in self.kept[-4:]:
            assert [found(generation, scan) for scan in SCANS] == answers
            assert outline(generation) == rest


def outline(generation: Generation) -> tuple[object, ...]:
    return forbidden(generation), generation.entry_count, dict(generation.sets)


def forbidden(generation: Generation) -> set[str]:
    hits = (
        hit for text in PROBES for hit in PhraseWalk(generation.phrases, generation.forbidden).advance(words_of(text))
    )
    return {generation.slot(hit.slot).id for hit in hits}


@pytest.mark.parametrize("bulk_at", [4096, 8])
def test_generations_are_versions(bulk_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget_index_module, "GrowingVectors", functools.partial(GrowingVectors, bulk_at=bulk_at))
    run_state_machine_as_test(Versions, settings=settings(max_examples=25, stateful_step_count=20))


# -- what a match must not be hidden by

ASKED = "Where was Ilse Varga born?"
FACT = Entry("e1", "s1", Kind.FACT, texts=(ASKED,), answers=("Graz",))


def index_of(*entries_put: Entry, retain: tuple[str, ...] = (), by: Weights = SIMILARITY_ONLY) -> ForgetIndex:
    index = ForgetIndex(EMBEDDER.dimensions, by)
    for set_id in {entry.set_id for entry in entries_put}:
        index.put_set(ForgetSet(set_id), EMBEDDER.embed(retain), 1)
    for entry in entries_put:
        put(index, entry, 1)
    index.publish(1)
    return index


def begun_anew(index: ForgetIndex) -> ForgetIndex:
    """The same from arrays, as a server has it that begins with a snapshot."""
    begun = ForgetIndex(EMBEDDER.dimensions, index._weights, base=index.base())
    for forget_set in index.current.sets.values():
        retain = index._retain.get(forget_set.id)
        begun.put_set(forget_set, None if retain is None else retain.vectors, 0)
    begun.publish(index.current.number)
    return begun


def ids(generation: Generation, text: str, via: Via) -> set[str]:
    return {match.entry_id for match in generation.matches(0, scanned(text)) if match.via is via}


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
    assert best["o1"].score == pytest.approx(1, abs=1e-5)
    assert text[slice(*best["e2"].span)] == clock.texts[0]
    assert text[slice(*best["o1"].span)] == ASKED
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


def test_scans_of_a_text_without_words_match_nothing() -> None:
    assert index_of(FACT).current.matches(0, scanned(" \n")) == []


def test_long_texts_of_an_entry_are_compared_by_window() -> None:
    passage = replace(FACT, texts=("First she was born. " * 20 + "Then the clockmaker hid a key in the tower.",))
    assert cues(passage)[-1].endswith("tower.")
    assert len(cues(passage)) > 10
    assert cues(FACT) == [ASKED]


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
