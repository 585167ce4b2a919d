"""Mending slips: what is known stays, what is one slip away is read as it was meant, and a far text costs nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.generation import Generation
from indexes.names.slips import one_slip_away
from indexes.reading import MENDED, MISSPELT, TOGETHER, Reader
from indexes.spelling import MOST_PARTED, Spelling
from indexes.vectors import Vectors

KNOWN = ("the", "what", "capital", "country", "largest", "egypt", "area", "where")
spelling = Spelling(KNOWN)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("What is the cpaital of Egdpt?", "What is the capital of Egypt?"),
        ("WHTA COUNTRRY", "What Country"),
        ("capital", "capital"),
        ("Xcapital yqz", "Xcapital yqz"),  # the first letter is hardly ever wrong
        ("teh", "teh"),  # short words are one slip away from too many
        ("cpaital1 cpaital_ cpaital's x-cpaital", "cpaital1 cpaital_ capital's x-capital"),
        ("столица", "столица"),
        ("Wh-at is the cap.it.al of Eg*ypt?", "What is the capital of Egypt?"),
        ("The <b>cap</b>ital, the coun·try", "The <b>capital, the country"),
        ("the cap ital of Eg ypt", "the capital of Egypt"),
        ("the Esk-elund area", "the Eskelund area"),  # a name: its parts are no words
        ("the-area what.country the-largest-area", "the-area what.country the-largest-area"),
        ("what the", "what the"),
    ],
)
def test_slips_are_mended_and_nothing_else(written: str, meant: str):
    assert spelling.mended(written) == meant
    assert spelling.mended(meant) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("whatisthelargestcountry", "what is the largest country"),
        ("WhatIsTheCapitalOfEgypt", "What Is The Capital Of Egypt"),
        ("so: whatisthelargestcountry's areacountry?", "so: what is the largest country's area country?"),
        ("whatisthe area", "whatisthe area"),  # short runs may be words
    ],
)
def test_words_written_together_are_set_apart(written: str, meant: str):
    known = Spelling(["the", "is", "of", *KNOWN])
    assert known.parted(written) == meant
    assert Spelling(()).parted(written) == written


def test_a_text_written_together_is_compared_in_words():
    (scan,) = Reader(Letters()).read(["whatthelargestcountry"])
    assert [(view.steps, view.windows[0].text) for view in scan.views] == [((TOGETHER,), "what the largest country")]
    (plain,) = Reader(Letters()).read(["what the largest country"])
    assert not plain.views


def test_parting_is_bounded():
    text = "whatisthelargestcountry " * 1000
    parted = spelling.parted(text)
    assert "the largest country" in parted
    assert len(parted) < len(text) + MOST_PARTED


def test_the_commonest_word_wins():
    assert Spelling(["form", "farm"]).mended("ferm") == "form"
    assert Spelling(["farm", "form"]).mended("ferm") == "farm"


@given(st.sampled_from([word for word in KNOWN if len(word) > 4]), st.data())
def test_every_single_slip_is_mended(word: str, data: st.DataObject):
    slipped = data.draw(st.sampled_from(sorted(set(one_slip_away(word)))))
    assert spelling.mended(slipped) == word


@given(st.text(max_size=200))
def test_mending_twice_is_mending_once_and_only_doubtful_texts_change(text: str):
    once = spelling.mended(text)
    assert spelling.mended(once) == once
    assert once == text or spelling.doubts(text)


class Letters:
    """An embedder by letters that knows some words. Counts what it was asked."""

    name = "letters"
    dimensions = 26
    words = KNOWN

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: list[str]) -> Vectors:
        self.asked += texts
        rows = np.array([[text.lower().count(chr(97 + i)) + 0.01 for i in range(26)] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Wordless(Letters):
    words = ()


def generation_of(embedder: Letters, *texts: str) -> Generation:
    index = ForgetIndex(embedder.dimensions)
    index.put_set(ForgetSet("s"), np.empty((0, embedder.dimensions), np.float32), 1)
    for number, text in enumerate(texts):
        index.put_entry(Entry(f"e{number}", "s", Kind.FACT, texts=(text,)), embedder.embed([text]), 1)
    return index.publish(1)


def test_a_near_window_is_read_without_its_slips():
    embedder = Letters()
    generation = generation_of(embedder, "what is the capital of egypt")
    reader = Reader(embedder)
    (scan,) = reader.sharpened(reader.read(["What is the cpaital of Egdpt?"]), generation, 0.75)
    (view,) = scan.views
    assert (view.steps, view.origin) == ((MISSPELT,), (0, 29))
    best = max(generation.matches(0, scan), key=lambda match: match.score)
    assert best.score > 0.99
    assert best.view == (MISSPELT,)
    before = len(embedder.asked)
    assert reader.sharpened([scan], generation, 0.75) == [scan]  # what was read stays read
    assert len(embedder.asked) == before


def test_a_text_that_is_near_nothing_is_read_once():
    embedder = Letters()
    generation = generation_of(embedder, "zzzz")
    reader = Reader(embedder)
    scans = reader.read(["What is the cpaital of Egdpt?"])
    before = len(embedder.asked)
    assert reader.sharpened(scans, generation, 0.75) == scans
    assert len(embedder.asked) == before


def test_an_entry_that_comes_later_is_found_in_what_was_read_before():
    embedder = Letters()
    reader = Reader(embedder)
    first = generation_of(embedder, "zzzz")
    scans = reader.sharpened(reader.read(["the cpaital of Egdpt"]), first, 0.75)
    assert scans[0].views == ()
    (scan,) = reader.sharpened(scans, generation_of(embedder, "the capital of Egypt"), 0.75)
    assert len(scan.views) == 1


def test_few_windows_are_mended_however_long_the_text():
    embedder = Letters()
    generation = generation_of(embedder, "what is the capital of egypt")
    text = " ".join(f"What is the cpaital of Egdpt number {number}?" for number in range(60))
    reader = Reader(embedder)
    (scan,) = reader.sharpened(reader.read([text]), generation, 0.75)
    assert 0 < len(scan.views) <= MENDED


def test_an_embedder_of_which_no_words_are_known_mends_nothing():
    embedder = Wordless()
    generation = generation_of(embedder, "what is the capital of egypt")
    reader = Reader(embedder)
    (scan,) = reader.sharpened(reader.read(["What is the cpaital of Egdpt?"]), generation, 0.75)
    assert scan.views == ()
