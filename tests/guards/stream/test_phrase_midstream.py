"""A phrase filter that comes when something was shown already, or goes over to a newer generation."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from guards.stream.phrase import Cut, PhraseFilter, Release
from indexes.phrases import PASSAGE_WORDS
from indexes.words import words_of
from tests.guards.stream.phrases import Phrase, always, cases, feed, filter_of, occurrences, table_of
from tests.indexes.texts import pieces_at, places

# -- text that left before the filter was there


@settings(max_examples=70)
@given(cases(), st.integers(0, 60), places)
def test_a_phrase_that_began_before_the_filter_was_there_is_not_completed(
    case: tuple[list[Phrase], str], at: int, cuts: list[int]
) -> None:
    phrases, text = case
    before, after = text[:at], text[at:]
    one = filter_of(phrases)
    for delta in pieces_at(before, cuts):
        one.shown_before(delta)
    assert (one.shown, one.holding) == (len(before), 0)
    left, cut = feed(one, pieces_at(after, cuts))
    assert after.startswith(left)
    assert all(end <= len(before) for _, end, _ in occurrences(phrases, words_of(before + left)))
    if cut:
        assert left != after
        # Either something forbidden ends after what was shown, or the hold grew to its bound.
        held = len(after) - len(left)
        assert held > table_of(phrases).longest_span or any(
            end > len(before) for _, end, _ in occurrences(phrases, words_of(text))
        )
    else:
        assert left == after


def test_what_was_shown_to_its_end_is_past() -> None:
    one = filter_of([("ann", "lee")])
    one.shown_before("Ann Lee")
    assert one.on_delta(", and again Ann L") == Release(", and again ")
    assert one.on_delta("ee.") == Cut("", 0)


# -- newer generations


@settings(max_examples=70)
@given(cases(), places)
def test_renewing_without_a_change_changes_nothing(case: tuple[list[Phrase], str], cuts: list[int]) -> None:
    phrases, text = case
    table = table_of(phrases)
    expected = feed(PhraseFilter(table, always), [text])
    one, left = PhraseFilter(table, always), ""
    for delta in [*pieces_at(text, cuts), None]:
        step = one.on_finish() if delta is None else one.on_delta(delta)
        left += step.text
        if isinstance(step, Cut):
            break
        if delta is not None:
            assert one.renew(table, always) == Release("")
    assert (left, isinstance(step, Cut)) == expected


@settings(max_examples=100)
@given(cases(), st.integers(0, 3), st.integers(0, 60), places, st.booleans())
@example(([("go",), ("ann", "lee")], "ann lee"), 1, 4, [], True)
@example(([("go",), ("ann", "lee")], "ann lee"), 1, 6, [], False)
def test_a_phrase_added_in_mid_stream_is_found_where_it_began_earlier(
    case: tuple[list[Phrase], str], known: int, at: int, cuts: list[int], in_place: bool
) -> None:
    phrases, text = case
    before, after = text[:at], text[at:]
    old = table_of(phrases[:known])
    one, left = PhraseFilter(old, lambda slot: slot < known), ""
    for delta in pieces_at(before, cuts):
        step = one.on_delta(delta)
        left += step.text
        if isinstance(step, Cut):
            return
    shown = len(left)
    if in_place:  # as the index does it: the table that the filter holds already grows
        for slot, phrase in enumerate(phrases[known:], known):
            old.add(phrase, slot)
    table = old if in_place else table_of(phrases)
    step = one.renew(table, always)
    left += step.text
    if not isinstance(step, Cut):
        rest, cut = feed(one, pieces_at(after, cuts))
        left += rest
        assert cut or left == text
    assert text.startswith(left)
    assert all(end <= shown for _, end, _ in occurrences(phrases, words_of(left)))
    longest = table.longest_span
    if left != text and len(text) - shown <= longest:  # no bound in play: there was a reason to cut
        assert any(end > shown for _, end, _ in occurrences(phrases, words_of(text)))


def test_an_entry_added_in_mid_stream_stops_a_phrase_that_has_begun() -> None:
    table = table_of([("go",)])
    one = PhraseFilter(table, always)
    assert one.on_delta("This is Ann ").text == "This is Ann "
    table.add(("ann", "lee"), 1)
    assert one.renew(table, always) == Release("")
    assert one.on_delta("Le") == Release("")
    assert one.on_delta("e.") == Cut("", 1)


def test_an_entry_added_in_mid_stream_stops_a_phrase_that_began_before_the_filter_was_there() -> None:
    one = filter_of([("go",)])
    one.shown_before("This is Ann ")
    assert one.renew(table_of([("ann", "lee")]), always) == Release("")
    assert one.on_delta("Lee.") == Cut("", 0)


def test_an_entry_added_in_mid_stream_holds_for_what_is_held() -> None:
    table = table_of([("ann", "lee", "smith")])
    one = PhraseFilter(table, always)
    assert one.on_delta("This is Ann Lee ").text == "This is "
    table.add(("ann", "lee"), 1)
    assert one.renew(table, always) == Cut("", 1)


@settings(max_examples=70)
@given(cases(), st.integers(0, 60), places)
def test_entries_removed_in_mid_stream_no_longer_cut(case: tuple[list[Phrase], str], at: int, cuts: list[int]) -> None:
    phrases, text = case
    if len(text) > table_of(phrases).longest_span:
        text = text[: table_of(phrases).longest_span]  # the bound of what is held has tests of its own
    one, left = filter_of(phrases), ""
    for delta in pieces_at(text[:at], cuts):
        step = one.on_delta(delta)
        left += step.text
        if isinstance(step, Cut):
            return
    left += one.renew(table_of(phrases), lambda slot: False).text
    rest, cut = feed(one, pieces_at(text[at:], cuts))
    assert (left + rest, cut) == (text, False)


def test_a_filter_remembers_enough_words_for_the_longest_phrase() -> None:
    words = [f"w{place}" for place in range(PASSAGE_WORDS)]
    one = filter_of([("go",)])
    one.on_delta("x y z " + " ".join(words[:-1]) + " ")
    assert one.renew(table_of([tuple(words)]), always) == Release("")
    assert one.on_delta(words[-1] + " ") == Cut("", 0)
