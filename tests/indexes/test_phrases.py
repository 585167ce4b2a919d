"""Phrases: exactly what a naive search over the words finds, for the reader that may see it."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.phrases import PASSAGE_WORDS, PhraseTable, PhraseWalk, pieces
from indexes.words import words_of

# Few letters, so that phrases overlap, repeat and begin like one another.
phrases = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(tuple), max_size=8)
sentences = st.lists(st.sampled_from("abcx"), max_size=25)
freezings = st.sets(st.integers(0, 8))
"""Before which of the phrases a table is put in arrays, and whether at the end."""


def table_of(*drawn: tuple[str, ...], frozen: Iterable[int] = ()) -> PhraseTable:
    """A table of phrases with their numbers as slots; it is frozen before those at the given places."""
    table = PhraseTable()
    for slot, phrase in enumerate(drawn):
        if slot in frozen:
            table = PhraseTable(table.frozen())
        table.add(phrase, slot)
    return PhraseTable(table.frozen()) if len(drawn) in frozen else table


def naive(drawn: list[tuple[str, ...]], said: list[str]) -> list[tuple[int, int, int]]:
    """Slot, first and last word of every occurrence, in the order in which they are complete."""
    return sorted(
        (
            (slot, end - len(phrase), end)
            for end in range(1, len(said) + 1)
            for slot, phrase in enumerate(drawn)
            if end >= len(phrase) and tuple(said[end - len(phrase) : end]) == phrase
        ),
        key=lambda hit: (hit[2], hit[1], hit[0]),
    )


@given(phrases, sentences, st.sets(st.integers(0, 7)), freezings)
def test_finds_what_a_naive_search_finds(
    drawn: list[tuple[str, ...]], said: list[str], seen: set[int], frozen: set[int]
) -> None:
    words = words_of(" ".join(said))
    hits = PhraseWalk(table_of(*drawn, frozen=frozen), seen.__contains__).advance(words)
    expected = [(slot, words[a].start, words[b - 1].end) for slot, a, b in naive(drawn, said) if slot in seen]
    assert [(hit.slot, hit.start, hit.end) for hit in hits] == expected


@given(phrases, sentences, freezings)
def test_start_is_the_earliest_phrase_that_can_still_be_completed(
    drawn: list[tuple[str, ...]], said: list[str], frozen: set[int]
) -> None:
    walk = PhraseWalk(table_of(*drawn, frozen=frozen), lambda slot: True)
    words = words_of(" ".join(said))
    for count, word in enumerate(words, 1):
        walk.advance([word])
        tails = [place for place in range(count) if any(p[: count - place] == tuple(said[place:count]) for p in drawn)]
        assert walk.start == (words[tails[0]].start if tails else None)


@given(phrases, phrases, sentences, freezings)
def test_a_table_that_grows_under_a_walk_changes_nothing_for_the_old(
    old: list[tuple[str, ...]], new: list[tuple[str, ...]], said: list[str], frozen: set[int]
) -> None:
    table, count = table_of(*old, frozen=frozen), len(old)
    walk = PhraseWalk(table, lambda slot: slot < count)
    words, hits = words_of(" ".join(said)), []
    for place, word in enumerate(words):
        if place < len(new):
            table.add(new[place], count + place)
        hits += walk.advance([word])
    expected = PhraseWalk(table_of(*old), lambda slot: True).advance(words)
    assert [(hit.slot, hit.start, hit.end) for hit in hits] == [(hit.slot, hit.start, hit.end) for hit in expected]


@given(phrases, st.sampled_from((" ", " ** ", "\n\n", " | --- | ", "... ")))
def test_longest_span_bounds_what_a_match_covers(drawn: list[tuple[str, ...]], gap: str) -> None:
    table = PhraseTable()
    bounds = [table.longest_span]
    for slot, phrase in enumerate(drawn):
        table.add(phrase, slot)
        bounds.append(table.longest_span)
        written = gap.join(phrase)
        (hit,) = (h for h in PhraseWalk(table, slot.__eq__).advance(words_of(written)) if h.slot == slot)
        assert hit.end - hit.start <= table.longest_span
    assert all(a <= b for a, b in pairwise(bounds))


def test_longest_span_has_room_for_markup_and_no_more() -> None:
    table = table_of(("abcdefgh",) * PASSAGE_WORDS)
    assert 4 * 8 * PASSAGE_WORDS < table.longest_span < 6 * 8 * PASSAGE_WORDS
    assert table.longest_word == 8
    again = PhraseTable(table.frozen())
    assert (again.longest_word, again.longest_span) == (table.longest_word, table.longest_span)
    assert PhraseTable().longest_span < 100


@given(st.lists(st.sampled_from(("ann", "Bob", "çà", "d")), max_size=20))
def test_a_long_text_is_recognised_by_every_run_of_its_words(said: list[str]) -> None:
    found = pieces(" ".join(said))
    words = tuple(word.text for word in words_of(" ".join(said)))
    if len(words) <= PASSAGE_WORDS:
        assert found == ([words] if words else [])
    else:
        assert found == [words[i : i + PASSAGE_WORDS] for i in range(len(words) - PASSAGE_WORDS + 1)]


def test_one_phrase_of_two_entries_and_one_of_an_entry_that_repeats_it() -> None:
    table = PhraseTable()
    for slot in (0, 1, 0):
        table.add(("a", "b"), slot)
    assert [hit.slot for hit in PhraseWalk(table, lambda slot: True).advance(words_of("a b"))] == [0, 1]


@pytest.mark.parametrize("phrase", [(), ("a",) * (PASSAGE_WORDS + 1)])
def test_a_phrase_that_no_reader_could_follow_is_refused(phrase: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="1 to 8 words"):
        PhraseTable().add(phrase, 0)
