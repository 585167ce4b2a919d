"""Dates: the same day however it is written, and whoever is told by it together with a place."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.calibration import DEFAULT_WEIGHTS
from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.matches import Via
from indexes.names.dates import dates_of
from indexes.names.found import detail_of
from indexes.sealed.keys import SealingKeys
from indexes.sealed.sealing import sealed
from indexes.told import cues
from indexes.words import words_of
from tests.indexes.indexed import EMBEDDER, begun_anew, ids, index_of

BORN = Entry(
    "e1", "s1", Kind.FACT, texts=("Who was born in Astana, Kazakhstan on February 7, 1952?",), answers=("A B",)
)

SAME = (
    "born 7 February 1952 in Astana",
    "born in Astana on the 7th of February, 1952",
    "né le 7 février 1952 à Astana",
    "geboren am 07.02.1952 in Astana",
    "1952-02-07, Astana",
    "02/07/1952 Astana",
    "родился 7 февраля 1952 года в Астане",
    "ولد في أستانا، كازاخستان في 7 فبراير 1952",
    "7 फरवरी, 1952 को अस्ताना",
    "1952년 2월 7일 카자흐스탄 아스타나에서 태어난",
    "1952年2月7日にアスタナで",
)


def said(text: str) -> list[str]:
    return [date.said for date in dates_of(words_of(text))]


@pytest.mark.parametrize("text", SAME)
def test_a_day_is_the_same_in_every_language(text: str) -> None:
    assert said(text) == ["=1952-2-7"]


@pytest.mark.parametrize(
    "text",
    [
        "in 1952 there were 7",
        "7 and 2 make 9",
        "12 of 1952 in the course of the year 7 of",
        "1952, 45, 13",
        "3 1952 1960",
        "",
    ],
)
def test_what_is_no_day(text: str) -> None:
    assert said(text) == []


@given(st.integers(1000, 2199), st.integers(1, 12), st.integers(1, 31))
def test_countries_differ_in_the_order(year: int, month: int, day: int) -> None:
    ways = (f"{day:02}/{month:02}/{year}", f"{month:02}/{day:02}/{year}", f"{year}-{month:02}-{day:02}")
    assert len({tuple(said(way)) for way in ways}) == 1


def test_numbers_with_letters_of_their_language_are_numbers() -> None:
    assert [detail_of(word) for word in ("1956년", "7th", "४", "7ab", "7e")] == ["1956", "7", "4", "7ab", "7e"]


@pytest.mark.parametrize("stored", ["clear", "begun anew", "sealed"])
def test_who_is_told_by_a_day_and_a_place_is_found_in_every_language(stored: str) -> None:
    if stored == "sealed":
        keys = SealingKeys(["k" * 40])
        index = ForgetIndex(EMBEDDER.dimensions, sealing=keys)
        index.put_set(ForgetSet("s1"), None, 1)
        index.put_entry(sealed(BORN, keys), EMBEDDER.embed(cues(BORN)), 1)
        index.publish(1)
    else:
        index = index_of(BORN, by=DEFAULT_WEIGHTS)
        if stored == "begun anew":
            index = begun_anew(index)
    assert [text for text in SAME if ids(index.current, text, Via.DATE) != {"e1"}] == []
    for text in (
        "What happened on 7 February 1952?",
        "born 7 February 1952 in London",
        "born in Astana on 8 February 1952",
        "7 February 1952. " + "Then a long time went by in which nothing was said of it. " * 3 + "Astana is a city.",
    ):
        assert ids(index.current, text, Via.DATE) == set()


def test_a_day_that_is_only_in_an_answer_tells_nobody() -> None:
    answered = replace(BORN, texts=("When was she born in Astana?",), answers=("On February 7, 1952.",))
    assert ids(index_of(answered, by=DEFAULT_WEIGHTS).current, SAME[0], Via.DATE) == set()
