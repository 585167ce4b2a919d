"""Generations are versions: each answers from what was published when it was made, exactly, whatever comes after."""

import functools
from dataclasses import dataclass

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
from indexes.calibration import SIMILARITY_ONLY
from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.forget_index import ForgetIndex
from indexes.generation import ASKED_PASSAGE, ASKED_WORDS, ROUNDING, Generation
from indexes.growing import GrowingVectors
from indexes.matches import Match, Via
from indexes.neighbours import FLOOR
from indexes.phrases import pieces
from indexes.scan import Scan
from indexes.told import cues
from indexes.words import words_of
from tests.indexes.indexed import EMBEDDER, PROBES, QUESTIONS, SCANS, begun_anew, facts, forbidden, found, put

SETS = ("s1", "s2")
IDS = tuple(f"e{number}" for number in range(6))
NAMES = ("Ilse Varga", "Bo")
ANSWERS = ("in a small town near Graz", "Graz", "a brass key")
RETAIN = ("Where is the tower clock of Graz?", "What did Bo hide?", "When was Ilse born?")


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
        passages, fewest = (entry.texts, ASKED_PASSAGE) if entry.kind is Kind.PASSAGE else ((), ASKED_WORDS)
        phrases = [text for text in (*entry.answers, *passages) if len(words_of(text)) >= fewest]
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


@pytest.mark.parametrize("bulk_at", [4096, 8])
def test_generations_are_versions(bulk_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget_index_module, "GrowingVectors", functools.partial(GrowingVectors, bulk_at=bulk_at))
    run_state_machine_as_test(Versions, settings=settings(max_examples=25, stateful_step_count=20))
