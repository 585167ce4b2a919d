"""Sentences: how a text parts into them does not depend on its pieces, and none leaves that was not judged or tells."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guards.stream.abstention import abstains
from guards.stream.json_text import JsonTextFilter, unescaped
from guards.stream.phrase import Cut, PhraseFilter
from guards.stream.sentences import LONGEST, SHORTEST, Sentence, SentenceFilter, SentenceStream
from indexes.phrases import PhraseTable
from indexes.words import words_of
from tests.indexes.texts import fragments, places, ways_to_cut

BAD = "owl"
"""A sentence with this word tells."""

MOST = 3 * LONGEST
"""Characters held by both: a sentence, what of the next one came with its end, and a phrase that may be under way."""

words = st.sampled_from(
    ("owl ", "green door ", "Some harmless words. ", "He said so! ", "Dr. ", "1. ", "\n", '." ', "。")
)


def phrases() -> PhraseTable:
    table = PhraseTable()
    table.add(("green", "door"), 0)
    return table


def judged(sentences: list[Sentence]) -> None:
    for sentence in sentences:
        sentence.tells = BAD in sentence.texts[0]


def opened(table: PhraseTable | None = None, *, json: bool = False) -> SentenceFilter:
    inner = PhraseFilter(table or phrases(), lambda slot: True)
    return SentenceFilter(JsonTextFilter(inner), unescaped) if json else SentenceFilter(inner)


Judge = Callable[[list[Sentence]], None]


def fed(one: SentenceFilter, pieces: list[str], judge: Judge = judged) -> tuple[str, bool]:
    """What left, and whether it was cut; each piece looked at first, as the relay does."""
    shown = ""
    for piece in pieces:
        judge(one.look_ahead(piece))
        step = one.on_delta(piece)
        shown += step.text
        assert one.holding <= MOST
        if isinstance(step, Cut):
            return shown, True
    return shown, False


def run(
    pieces: list[str], one: SentenceFilter | None = None, *, json: bool = False, judge: Judge = judged
) -> tuple[str, bool]:
    """The same to the end of the text."""
    one = one or opened(json=json)
    shown, cut = fed(one, pieces, judge)
    if cut:
        return shown, True
    judge(one.look_ahead("", ends=True))
    step = one.on_finish()
    return shown + step.text, isinstance(step, Cut)


def parted(pieces: list[str]) -> list[tuple[tuple[str, ...], int, int]]:
    stream = SentenceStream()
    found = [sentence for piece in pieces for sentence in stream.feed(piece)] + stream.finish()
    return [(sentence.texts, sentence.start, sentence.end) for sentence in found]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("She was born here. He left.", ["She was born here. ", "He left."]),
        ("Dr. Weaver is a botanist. ", ["Dr. Weaver is a botanist. "]),
        ("1. Granite Glossary\n2. Shale Stories\n", ["1. Granite Glossary\n", "2. Shale Stories\n"]),
        ('He said "so it was." Nobody heard.', ['He said "so it was." ', "Nobody heard."]),
        ("Version 3.5 of it is out", ["Version 3.5 of it is out"]),
        ("彼女は一九五六年に東京で生まれました。以上。", ["彼女は一九五六年に東京で生まれました。", "以上。"]),
        ("", []),
    ],
)
def test_where_sentences_end(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for _, start, end in parted([text])] == sentences


def test_what_is_compared_is_the_sentence_and_what_stood_before_it() -> None:
    found = parted(["She was a weaver. Her town was Taipei. "])
    assert [texts for texts, _, _ in found] == [
        ("She was a weaver. ",),
        ("Her town was Taipei. ", "She was a weaver. Her town was Taipei. "),
    ]
    assert all(len(text) <= LONGEST for texts, _, _ in parted(["Some words in a row. " * 60]) for text in texts)


@example(parts=["a" * 90 + " "] * 12, at=[401, 500])
@example(parts=["a" * 90] * 12, at=[401, 500])
@given(parts=st.lists(words | fragments, max_size=9), at=places)
def test_sentences_do_not_depend_on_where_the_text_is_cut(parts: list[str], at: list[int]) -> None:
    text = "".join(parts)
    whole = parted([text])
    assert "".join(text[start:end] for _, start, end in whole) == text
    assert all(before[2] == after[1] for before, after in pairwise(whole))
    assert all(end - start <= LONGEST for _, start, end in whole)
    assert all(len(text[start:end].strip()) >= SHORTEST for _, start, end in whole[:-1])
    for pieces in ways_to_cut(text, at):
        assert parted(pieces) == whole


@example(parts=["He said so! ", "green ", "owl ", "He said so! ", "door "], at=[])
@example(parts=["green ", "He said so! ", "an owl ", "He said so! ", "He said so! "], at=[])
@example(parts=["a" * 90 + " "] * 5 + ["owl "], at=[401])
@given(parts=st.lists(words | fragments, max_size=7), at=places)
def test_the_cut_does_not_depend_on_where_the_text_is_cut(parts: list[str], at: list[int]) -> None:
    text = "".join(parts)
    outcome = run([text])
    shown, cut = outcome
    assert text.startswith(shown)
    assert BAD not in shown
    assert " green door " not in f" {' '.join(word.text for word in words_of(shown))} "
    assert cut or shown == text
    bounds = {0, *(end for _, _, end in parted([text]))}
    assert len(shown) in bounds or text[len(shown) :].lower().startswith("green")
    for pieces in ways_to_cut(text, at):
        assert run(pieces) == outcome


@example(before="It is known that the ", ends=False, parts=["owl ", "He said so! "], at=[], json=False)
@example(before="Where does the owl sleep?", ends=True, parts=["He said so! ", "owl "], at=[3], json=True)
@example(before="A green ", ends=True, parts=["door ", "He said so! "], at=[], json=False)
@given(
    before=st.lists(words, max_size=3).map("".join),
    ends=st.booleans(),
    parts=st.lists(words | fragments, max_size=6),
    at=places,
    json=st.booleans(),
)
def test_what_was_shown_before_is_read_and_not_cut(
    before: str, ends: bool, parts: list[str], at: list[int], json: bool
) -> None:
    def begun() -> SentenceFilter:
        one = opened(json=json)
        one.shown_before(before)
        if ends:
            one.end_turn()
        return one

    text = "".join(part for part in parts if "\\" not in part)
    shown, cut = outcome = run([text], begun())
    assert text.startswith(shown)
    assert cut or shown == text
    assert BAD not in shown
    for pieces in ways_to_cut(text, at):
        assert run(pieces, begun()) == outcome


@example(parts=["He said so! ", "a green ", "door "], place=18, at=[], json=False, there=False)
@example(parts=["He said so! ", "a green door ", "He said so! "], place=25, at=[], json=True, there=False)
@given(
    parts=st.lists(words | fragments, max_size=6),
    place=st.integers(0, 60),
    at=places,
    json=st.booleans(),
    there=st.booleans(),
)
def test_a_newer_generation_holds_from_where_it_comes(
    parts: list[str], place: int, at: list[int], json: bool, there: bool
) -> None:
    """`there`: it adds nothing, and changes nothing."""

    def renewed(first: list[str], rest: list[str]) -> tuple[str, str, bool]:
        one = opened(phrases() if there else PhraseTable(), json=json)
        shown, cut = fed(one, first)
        if cut:
            return shown, "", True
        step = one.renew(phrases(), lambda slot: True)
        if isinstance(step, Cut):
            return shown, step.text, True
        then, cut = run(rest, one)
        return shown, step.text + then, cut

    text = "".join(part for part in parts if "\\" not in part)
    outcome = renewed([text[:place]], [text[place:]])
    shown, then, cut = outcome
    assert text.startswith(shown + then)
    assert cut or shown + then == text
    if not there and not _tells(shown):
        assert not _tells(shown + then)
    if there:
        assert (shown + then, cut) == run([text], json=json)
    for first in ways_to_cut(text[:place], at):
        assert renewed(first, [text[place:]]) == outcome
    for rest in ways_to_cut(text[place:], at):
        assert renewed([text[:place]], rest) == outcome


def _tells(text: str) -> bool:
    return " green door " in f" {' '.join(word.text for word in words_of(text))} "


@given(parts=st.lists(words, max_size=10))
def test_what_nobody_judged_does_not_leave(parts: list[str]) -> None:
    text = "".join(parts)
    assert run([text], judge=lambda sentences: None) == ("", bool(text))


def test_harmless_sentences_leave_one_by_one() -> None:
    one = SentenceFilter(PhraseFilter(PhraseTable(), lambda slot: True))
    shown = []
    for piece in ("Nothing here ", "is told. And ", "the owl sleeps. ", "More."):
        judged(one.look_ahead(piece))
        step = one.on_delta(piece)
        shown.append((step.text, isinstance(step, Cut)))
    assert shown[:3] == [("", False), ("Nothing here is told. ", False), ("", True)]


def test_a_sentence_that_was_begun_before_is_judged_as_a_whole() -> None:
    one = SentenceFilter(PhraseFilter(PhraseTable(), lambda slot: True))
    one.shown_before("It is known that the ")
    (sentence,) = one.look_ahead("owl sleeps. ")
    assert sentence.texts == ("It is known that the owl sleeps. ",)
    sentence.tells = True
    step = one.on_delta("owl sleeps. ")
    assert isinstance(step, Cut)
    assert step.text == ""


def test_what_the_client_asked_is_no_part_of_the_first_sentence() -> None:
    one = SentenceFilter(PhraseFilter(PhraseTable(), lambda slot: True))
    one.shown_before("Where does the owl sleep?")
    one.end_turn()
    (sentence,) = one.look_ahead("I do not know. ")
    assert sentence.texts == ("I do not know. ",)


def test_a_newer_generation_finds_its_phrases_in_what_is_held() -> None:
    inner = PhraseFilter(PhraseTable(), lambda slot: True)
    one = SentenceFilter(inner)
    judged(one.look_ahead("Some harmless words. A green "))
    assert one.on_delta("Some harmless words. A green ").text == "Some harmless words. "
    assert one.renew(phrases(), lambda slot: True).text == ""
    judged(one.look_ahead("door. "))
    step = one.on_delta("door. ")
    assert (step.text, isinstance(step, Cut)) == ("A ", True)


@given(parts=st.lists(words | fragments, max_size=5), at=places)
def test_inside_json_the_client_s_reading_is_judged(parts: list[str], at: list[int]) -> None:
    text = '{"text": "' + "".join(f"\\u{ord(c):04x}" if c == "o" else c for c in "".join(parts) if c != "\\")
    outcome = run([text], json=True)
    assert BAD not in unescaped(outcome[0])
    for pieces in ways_to_cut(text, at):
        assert run(pieces, json=True) == outcome


def test_json_is_read_as_a_client_reads_it() -> None:
    assert unescaped('a\\n\\u0041\\"\\/\\ud83c\\udfbb') == 'a\nA"/🎻'
    assert unescaped("\\ud83c!") == "\ufffd!"


FREE = st.sampled_from(("I don't know that. ", "It was she. ", "1. ", "No idea. ", "In the north. ", "\n", "... "))


@given(st.lists(FREE, max_size=8).map("".join), places)
def test_an_answer_asserts_until_it_has_said_that_it_does_not_know(text: str, cuts: list[int]) -> None:
    whole = SentenceStream(answers=True)
    found = [*whole.feed(text), *whole.finish()]
    for pieces in ways_to_cut(text, cuts):
        pieced = SentenceStream(answers=True)
        cut = [one for piece in pieces for one in pieced.feed(piece)] + pieced.finish()
        assert [one.asserts for one in cut] == [one.asserts for one in found]
    abstained = False
    for one in found:
        abstained = abstained or abstains(one.texts[0])
        assert one.asserts is (not abstained and any(map(str.isalnum, one.texts[0])))
    other = SentenceStream()
    assert not any(one.asserts for one in (*other.feed(text), *other.finish()))


def test_what_the_client_began_says_nothing_for_the_answer() -> None:
    for begun, own, asserts in (
        ("I don't know. ", "It was she.", [True]),
        ("I don't know", ", but it was she. And so on.", [True, True]),
        ("I don't know", " it. I really don't know.", [True, False]),
        ("I'm afraid", " I don't know. It was she.", [False, False]),
        ("a" * (LONGEST - 8), " I have no idea" * 4, [True, False]),
    ):
        stream = SentenceStream(answers=True)
        stream.feed(begun)
        stream.end_turn()
        assert [one.asserts for one in (*stream.feed(own), *stream.finish())] == asserts, begun
