"""The phrase filter against a reference, and in examples that read as what they protect."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guards.stream.phrase import Cut, PhraseFilter, Release, Step
from indexes.phrases import PhraseTable
from indexes.words import words_of
from tests.guards.stream.phrases import (
    Phrase,
    always,
    cases,
    feed,
    filter_of,
    forget_lists,
    normal,
    occurrences,
    reference,
    table_of,
    tangled_phrases,
)
from tests.indexes.texts import pieces_at, places, ways_to_cut


@settings(max_examples=70)
@given(cases(), places)
@example(([("ann", "lee")], "ann ann lee"), [4])
@example(([("ann",)], "ann"), [])
@example(([("صلى", "الله")], "xxxxxxxxxxxxxxxﷺ"), [])
@example(([("a", "b", "c"), ("b",)], "a b"), [])
def test_where_the_text_is_cut_into_deltas_does_not_matter(case: tuple[list[Phrase], str], cuts: list[int]) -> None:
    phrases, text = case
    table = table_of(phrases)
    expected = reference(phrases, text, table.longest_span).outcome(text)
    for deltas in ways_to_cut(text, cuts):
        assert feed(PhraseFilter(table, always), deltas) == expected, deltas


@settings(max_examples=70)
@given(cases())
@example(([("ann", "lee")], "ann lee x"))
@example(([("ann", "lee")], "so ann lee"))
@example(([("ann", "lee"), ("lee",)], "ann lees, ann"))
def test_what_may_leave_leaves_at_once_and_nothing_else_does(case: tuple[list[Phrase], str]) -> None:
    phrases, text = case
    table = table_of(phrases)
    must = reference(phrases, text, table.longest_span)
    one, left = PhraseFilter(table, always), ""
    for size, char in enumerate(text, 1):
        step = one.on_delta(char)
        left += step.text
        assert left == text[: must.shown[size]]
        assert isinstance(step, Cut) == (must.cut_at == size)
        assert (one.shown, one.holding) == (len(left), size - len(left))
        if isinstance(step, Cut):
            return
        assert one.holding <= table.longest_span


@settings(max_examples=70)
@given(cases(), places)
def test_no_forbidden_phrase_is_in_what_left_at_any_moment(case: tuple[list[Phrase], str], cuts: list[int]) -> None:
    phrases, text = case
    one, left, step = filter_of(phrases), "", Release("")
    for delta in [*pieces_at(text, cuts), None]:
        step = one.on_finish() if delta is None else one.on_delta(delta)
        left += step.text
        assert not list(occurrences(phrases, words_of(left)))
        if isinstance(step, Cut):
            break
    assert text.startswith(left)
    assert isinstance(step, Cut) or left == text


@given(
    forget_lists, st.lists(st.sampled_from(("sun ", "Mond, ", "лес — ", "山。", "कल।\n", "\u200b", "😀 ")), max_size=12)
)
def test_a_text_without_any_word_of_a_phrase_is_never_held_beyond_its_words(
    raw: list[list[str]], said: list[str]
) -> None:
    one = filter_of([normal(phrase) for phrase in raw])
    for token in said:
        assert one.on_delta(token) == Release(token)
        assert one.holding == 0
    assert one.on_finish() == Release("")


@settings(max_examples=60)
@given(
    st.lists(tangled_phrases, min_size=1, max_size=3),
    st.lists(st.sampled_from(("a ", "b", " ", "x ", "\u200b" * 40, "a" + "-" * 50, "-" * 110)), max_size=8).map(
        "".join
    ),
    places,
)
@example([["a", "b"]], "a" + "-" * 79 + "x y", [])
@example([["a", "b"]], "a" + "-" * 80 + "x y", [3])
def test_what_is_held_is_bounded_and_the_bound_is_in_the_text_not_in_the_deltas(
    raw: list[list[str]], text: str, cuts: list[int]
) -> None:
    phrases = [normal(phrase) for phrase in raw]
    table = table_of(phrases)
    expected = reference(phrases, text, table.longest_span).outcome(text)
    for deltas in ([text], list(text), pieces_at(text, cuts)):
        one = PhraseFilter(table, always)
        assert feed(one, deltas) == expected
        assert one.holding <= table.longest_span + 1  # at a cut, the character that was too many


# -- the same in examples that read as what they protect


def test_a_phrase_is_cut_before_its_first_character() -> None:
    one = filter_of([("ann", "lee"), ("paris",)])
    steps = [one.on_delta(text) for text in ("She is A", "nn", " ", "Le", "e", ", of")]
    assert [step.text for step in steps] == ["She is ", "", "", "", "", ""]
    assert isinstance(steps[-1], Cut)
    assert steps[-1].slot == 0
    assert not any(isinstance(step, Cut) for step in steps[:-1])  # it could still have become "Leeds"


def test_a_phrase_at_the_very_end_is_cut_by_finishing() -> None:
    one = filter_of([("ann", "lee")])
    assert one.on_delta("It was Ann Lee") == Release("It was ")
    assert one.on_finish() == Cut("", 0)


def test_near_misses_pass() -> None:
    phrases = [("ann", "lee"), ("li",)]
    for text in ("Ann Leeds", "Joann Lee", "Ann, and Lee", "Lee Ann", "lithium", "Ann"):
        assert feed(filter_of(phrases), list(text)) == (text, False)


@pytest.mark.parametrize(
    "text", ["**Ann** _Lee_", "ANN-LEE", "Ann\n\nLee", "Ａｎｎ Ｌｅｅ", "A\u200bnn Le\u00ade", "ann|lee"]
)
def test_markup_and_disguise_do_not_hide_a_phrase(text: str) -> None:
    assert feed(filter_of([("ann", "lee")]), list(f"x {text} y"))[1]


def test_of_overlapping_phrases_the_one_that_is_complete_first_decides() -> None:
    assert feed(filter_of([("a", "b", "c"), ("b",)]), ["1 a b c"]) == ("1 a ", True)
    assert feed(filter_of([("a", "b"), ("b",)]), ["1 a b c"]) == ("1 ", True)


def test_at_the_bound_the_stream_is_cut_and_the_held_text_does_not_leave() -> None:
    table = table_of([("ann", "lee")])
    one = PhraseFilter(table, always)
    room = table.longest_span - len("ann")
    assert one.on_delta("so ann" + "-" * room) == Release("so ")
    assert one.holding == table.longest_span
    assert one.on_delta("-") == Cut("", None)


def test_a_word_longer_than_any_that_is_forbidden_is_not_held() -> None:
    one = filter_of([("ann", "lee")])
    assert one.on_delta("ann").text == ""
    assert one.on_delta("abelle").text == "annabelle"
    assert one.on_delta("!").text == "!"


def test_only_phrases_that_act_cut() -> None:
    table = table_of([("ann",), ("lee",)])
    assert feed(PhraseFilter(table, {1}.__contains__), ["ann lee"]) == ("ann ", True)


def test_without_phrases_everything_passes_as_it_comes() -> None:
    one = PhraseFilter(PhraseTable(), always)
    for delta in ("An", "n L", "ee"):
        assert one.on_delta(delta) == Release(delta)


def test_a_long_delta_is_not_copied_again_and_again() -> None:
    # A whole answer comes as one delta, of megabytes: what is left of it must not be copied for each piece.
    copied = []

    class Counted(str):
        def __getitem__(self, key: object) -> str:
            piece = Counted(super().__getitem__(key))  # type: ignore[index]
            copied.append(len(piece))
            return piece

    text = Counted("all is well " * 500)
    assert feed(filter_of([("ann", "lee")]), [text]) == (text, False)
    assert sum(copied) == len(text)


def test_a_step_does_not_show_its_text() -> None:
    steps: list[Step] = [Release("secret"), Cut("secret", 1)]
    assert "secret" not in repr(steps)
