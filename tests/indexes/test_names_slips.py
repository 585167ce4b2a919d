"""Slips of the hand, and details that hold one."""

import random
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.names.details import Counts, counted, held_in, packed
from indexes.names.found import marks_of
from indexes.names.slips import one_slip, one_slip_away, slips_between
from indexes.words import words_of

WORDS = st.text("abcde", min_size=1, max_size=7)


@pytest.mark.parametrize(
    ("a", "b", "slips"),
    [
        ("abilov", "abilov", 0),
        ("abilov", "ablov", 1),
        ("abilov", "abliov", 1),
        ("abilov", "abilow", 1),
        ("partibk", "patrick", 2),
        ("abilov", "abilovic", 2),
        ("abilov", "ibilavsk", 3),
        ("abilov", "a", 3),
    ],
)
def test_slips_between(a: str, b: str, slips: int) -> None:
    assert slips_between(a, b, 2) == slips_between(b, a, 2) == slips
    assert one_slip(a, b) is one_slip(b, a) is (slips <= 1)


@given(WORDS, WORDS)
def test_one_slip_is_the_first_of_several(a: str, b: str) -> None:
    assert one_slip(a, b) is (slips_between(a, b, 1) <= 1)


@given(st.text(ascii_lowercase, min_size=1, max_size=9))
def test_words_one_slip_away_are_one_slip_away(word: str) -> None:
    away = set(one_slip_away(word))
    assert all(one_slip(word, other) and other[0] == word[0] for other in away)
    rng = random.Random(word)  # noqa: S311
    place = rng.randrange(len(word))
    assert word[: place + 1] + rng.choice(ascii_lowercase) + word[place + 1 :] in away


def counts(text: str, entry: str) -> Counts:
    held = held_in(text, words_of(text))
    return counted(held, held, packed(entry, marks_of(entry)))


ENTRY = "Who is the author born in Manama, Bahrain on January 13, 1941?"


@pytest.mark.parametrize(
    ("text", "found", "instead"),
    [
        ("Which author, born in Manama, Bahrain on January 13, 1941, is it?", 5, 0),
        ("Which author, born in Mnaama, Barhain on January 13, 1941, is it?", 5, 0),
        ("Which author, born in Dakar, Senegal on January 13, 1941, is it?", 3, 2),
        ("Which author, born in Manama, Bahrain on January 14, 1941, is it?", 4, 1),  # a number is no misspelling
        ("Which author, born in bahrkin on January 13, 1941, is it?", 3, 0),  # nothing marks it as a detail
    ],
)
def test_a_misspelt_detail_is_there(text: str, found: int, instead: int) -> None:
    assert counts(text, ENTRY) == Counts(found, 5 - found, instead)


@pytest.mark.parametrize(
    ("text", "found", "instead"),
    [
        ("Which awards did Hina Ameen win in Quelm?", 3, 0),
        ("Which awards did Hita Ameen win in Quelm?", 3, 0),  # beside the rest of the name
        ("Which awards did Ameen Hiia win in Quelm?", 3, 0),
        ("Which awards did Hlga Ameen win in Quelm?", 2, 1),  # two slips
        ("Which awards did Rina Ameen win in Quelm?", 2, 1),  # a first letter is hardly ever wrong
        ("Which awards did Hita win in Quelm?", 1, 1),
        ("Which awards did Hita and Ameen win in Quelm?", 2, 1),
        ("Which awards did Hita Okoye win in Quelm?", 1, 2),
    ],
)
def test_a_short_word_is_misspelt_only_beside_the_rest_of_a_name(text: str, found: int, instead: int) -> None:
    assert counts(text, "Which awards did Hina Ameen win in Quelm?") == Counts(found, 3 - found, instead)
