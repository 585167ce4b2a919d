"""Reading: one pass says where to look, and what is then found is what embedding every window would have found."""

from collections.abc import Sequence

import numpy as np
import pytest

from indexes.embedder import ContextEmbedder, InContext, Span
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.reading import Reader
from indexes.scan import Scan
from indexes.segments import Block
from indexes.told import cues
from indexes.vectors import Among, Rows, Vectors
from tests.fakes.embedder import BagEmbedder

THRESHOLD = 0.75
ASKED = "What did the old clockmaker hide in the tower of the town hall?"
OTHERS = (
    "Which colours does the flag of that country have and what do they mean to its people?",
    "How long should bread dough rest at room temperature before it goes to the oven?",
    "Explain how a suspension bridge carries its load, in words that a child understands.",
)


class ContextBag(BagEmbedder):
    """A bag of words that reads in context: a span's vector leans towards the words around it."""

    reads_context = True
    LEANS = 0.3

    def __init__(self) -> None:
        super().__init__()
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.embedded += texts
        return super().embed(texts)

    def embed_in_context(self, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[InContext]:
        found = []
        for text, some in zip(texts, spans, strict=True):
            whole = super().embed([text])[0]
            own = super().embed([text[a:b] for a, b in some])
            exact = np.array([text[a:b] == text.strip() for a, b in some], np.bool_)
            mixed = np.where(exact[:, None], own, own * (1 - self.LEANS) + whole * self.LEANS)
            found.append(InContext((mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32), exact))
        return found


def generation_of(*texts: str, retain: Sequence[str] = ()) -> Generation:
    bag, index = BagEmbedder(), ForgetIndex(64)
    index.put_set(ForgetSet("s", retain=tuple(retain)), bag.embed(list(retain)) if retain else None, 1)
    for number, text in enumerate(texts):
        entry = Entry(f"e{number}", "s", Kind.TOPIC, texts=(text,))
        index.put_entry(entry, bag.embed(cues(entry)), 1)
    return index.publish(1)


def best(scan: Scan, generation: Generation) -> dict[str, float]:
    found: dict[str, float] = {}
    for match in generation.matches(0, scan):
        found[match.entry_id] = max(match.score, found.get(match.entry_id, -1.0))
    return found


def test_a_context_embedder_is_known_by_its_methods() -> None:
    assert isinstance(ContextBag(), ContextEmbedder)
    assert not isinstance(BagEmbedder(), ContextEmbedder)


@pytest.mark.parametrize("asked", [ASKED, f"{OTHERS[0]} {ASKED} {OTHERS[1]}", f"{' '.join(OTHERS * 9)} {ASKED}"])
def test_what_is_near_is_found_as_by_every_window(asked: str) -> None:
    generation = generation_of(ASKED, "Who wrote the song about the seven ships of the northern fleet?")
    bag = ContextBag()
    reader = Reader(bag)
    (scan,) = reader.sharpened(reader.read([asked]), generation, THRESHOLD)
    (full,) = Reader(BagEmbedder()).read([asked])
    assert best(full, generation)["e0"] >= THRESHOLD
    assert best(scan, generation)["e0"] == pytest.approx(best(full, generation)["e0"], abs=0.02)
    assert len(bag.embedded) < len(full.windows)


@pytest.mark.parametrize("text", [*OTHERS, " ".join(OTHERS)])
def test_what_is_near_nothing_is_embedded_once(text: str) -> None:
    bag = ContextBag()
    reader = Reader(bag)
    scans = reader.read([text])
    assert reader.sharpened(scans, generation_of(ASKED), THRESHOLD) == scans
    assert not bag.embedded


@pytest.mark.parametrize("others", [(), OTHERS])
def test_what_matches_is_what_would_match_step_by_step(others: Sequence[str]) -> None:
    texts = [ASKED, f"{OTHERS[0]} {ASKED} {OTHERS[1]}", f"{' '.join(ASKED)}", " ".join(OTHERS), ""]
    reader, generation = Reader(ContextBag()), generation_of(ASKED, *others, retain=OTHERS[2:])
    sharp, matches = reader.matched(reader.read(texts), generation, THRESHOLD)
    expected = reader.sharpened(reader.read(texts), generation, THRESHOLD)
    assert [scan.windows for scan in sharp] == [scan.windows for scan in expected]
    assert matches == [generation.matches(source, scan) for source, scan in enumerate(expected)]
    assert matches[0]


def test_no_window_of_a_request_is_searched_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[bytes] = []
    search = Block.search

    def counted(self: Block, queries: Vectors, k: int, among: Among | None = None) -> tuple[Vectors, Rows]:
        searched.extend(query.tobytes() for query in queries)
        return search(self, queries, k, among)

    monkeypatch.setattr(Block, "search", counted)
    reader, generation = Reader(ContextBag()), generation_of(ASKED, OTHERS[0])
    reader.matched(reader.read([f"{OTHERS[0]} {ASKED} {OTHERS[1]}", " ".join(OTHERS)]), generation, THRESHOLD)
    assert len(searched) == len(set(searched)) > 0


def test_a_window_is_embedded_once_for_all_generations() -> None:
    bag = ContextBag()
    reader, text = Reader(bag), f"{OTHERS[0]} {ASKED} {OTHERS[1]}"
    scans = reader.sharpened(reader.read([text]), generation_of(ASKED), THRESHOLD)
    before = len(bag.embedded)
    assert before
    reader.sharpened(scans, generation_of(ASKED), THRESHOLD)
    assert len(bag.embedded) == before


def test_what_is_near_a_retain_example_is_looked_at_closely() -> None:
    generation = generation_of(ASKED, retain=[OTHERS[2]])
    bag = ContextBag()
    reader = Reader(bag)
    reader.sharpened(reader.read([" ".join(OTHERS)]), generation, THRESHOLD)
    assert OTHERS[2] in bag.embedded


def test_views_are_read_like_texts() -> None:
    hidden = f"{OTHERS[0]} {' '.join(ASKED)} {OTHERS[1]}"  # spaced out
    generation, reader = generation_of(ASKED), Reader(ContextBag())
    (scan,) = reader.sharpened(reader.read([hidden]), generation, THRESHOLD)
    assert best(scan, generation)["e0"] >= THRESHOLD


def test_texts_without_words_have_nothing_in_doubt() -> None:
    reader = Reader(ContextBag())
    scans = reader.sharpened(reader.read(["", "  \n", "…"]), generation_of(ASKED), THRESHOLD)
    assert [len(scan.windows) for scan in scans] == [0, 0, 1]
    assert all(generation_of(ASKED).matches(0, scan) == [] for scan in scans)
