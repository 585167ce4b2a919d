"""Words: the same however text is cut and however its letters are encoded; offsets that point into the raw text."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from indexes import words
from indexes.words import Word, WordStream, words_of
from tests.indexes.texts import LETTERS, places, texts, ways_to_cut


def forms(text: str) -> list[str]:
    return [word.text for word in words_of(text)]


def spans(text: str) -> list[tuple[str, int, int]]:
    return [(word.text, word.start, word.end) for word in words_of(text)]


def fed(pieces: list[str]) -> list[tuple[str, int, int]]:
    stream = WordStream()
    found: list[Word] = []
    for piece in pieces:
        found += stream.feed(piece)
    found += stream.finish()
    assert stream.position == sum(map(len, pieces))
    return [(word.text, word.start, word.end) for word in found]


@given(texts, places)
@example("cafe\u0301 e\u0301", [4])
@example("a\u200bb \u1112\u1161\u11ab", [])
@example("xﷺy½", [1, 2])
@example("か\u3099ﾊﾟ々", [1])
def test_where_text_is_cut_does_not_matter(text: str, cuts: list[int]) -> None:
    whole = spans(text)
    for pieces in ways_to_cut(text, cuts):
        assert fed(pieces) == whole, pieces


@given(st.text(st.characters(max_codepoint=127)))
@example("".join(map(chr, range(128))))
def test_a_text_in_ascii_has_the_same_words_when_it_is_read_at_once(text: str) -> None:
    assert spans(text) == fed([text]) == fed(list(text))


@given(texts)
def test_a_word_once_reported_is_final(text: str) -> None:
    stream, found = WordStream(), []
    for char in text:
        found += stream.feed(char)
        if stream.open_start is None:
            assert [(w.text, w.start, w.end) for w in found] == spans(text[: stream.position])
        else:  # what is open is the rest, and nothing of it was reported
            assert [(w.text, w.start, w.end) for w in found] == spans(text[: stream.position])[:-1]


@given(texts)
def test_offsets_point_at_the_word(text: str) -> None:
    before = 0
    for word in words_of(text):
        assert 0 <= word.start < word.end <= len(text)
        assert word.start >= before
        assert word.text in forms(text[word.start : word.end])
        before = word.start


@given(st.lists(st.sampled_from((*LETTERS, " ", "-")), max_size=12).map("".join))
def test_how_letters_are_encoded_does_not_matter(text: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert forms(unicodedata.normalize(form, text)) == forms(text), form


@pytest.mark.parametrize(
    ("same", "expected"),
    [
        (["Zoë", "zoe", "ZOË", "zoe\u0308", "Ｚｏｅ", "𝒁𝒐𝒆", "Ⓩⓞⓔ", "z\u0336o\u0336e\u0336", "Zo\u20dde"], ["zoe"]),
        (["al\u00adice", "al\u200bice", "al\u200dice", "al\ufe0fice", "al\u2060ice", "al\U000e0061ice"], ["alice"]),
        (["Straße", "STRASSE", "strasse"], ["strasse"]),
        (["ﬁnance oﬃce", "finance office"], ["finance", "office"]),
        (["İzmir", "izmir", "IZMIR"], ["izmir"]),
        (["Σίσυφος", "ΣΙΣΥΦΟΣ", "σισυφοσ"], ["σισυφοσ"]),
        (["O'Neill", "O’Neill", "o neill"], ["o", "neill"]),
        (["XII", "Ⅻ"], ["xii"]),
        (["½", "1/2"], ["1", "2"]),
        (["Łódź", "Lodz"], ["lodz"]),
        (["Søren Æbelø", "soren aebelo"], ["soren", "aebelo"]),
        (["हिन्दी", "हि\u200cन्दी"], ["हिन्दी"]),
        (["फ़िल्म", "फिल्म", "फ\u093cिल्म"], ["फिल्म"]),
        (["مُحَمَّد", "محمد", "محـــمد", "م\u200fحمد", "ﻣﺤﻤﺪ"], ["محمد"]),
        (["أحمد", "احمد"], ["احمد"]),
        (["ﷺ", "صلى الله عليه وسلم"], ["صلى", "الله", "عليه", "وسلم"]),
        (["한국어", unicodedata.normalize("NFD", "한국어")], ["한국어"]),
        (["น้ำ", "นํ้า", "น้ํา"], ["น", "ํ", "า"]),
        (["東京", "東\u200b京", "東 京"], ["東", "京"]),
        (["金", "⾦"], ["金"]),  # a radical is a symbol that looks like the letter
        (["パリ", "パリ", "ﾊﾟﾘ"], ["ハ", "\u309a", "リ"]),
        (["佐々木", "佐 々 木"], ["佐", "々", "木"]),
    ],
    ids=lambda value: None,
)
def test_normal_forms(same: list[str], expected: list[str]) -> None:
    assert {tuple(forms(text)) for text in same} == {tuple(expected)}


@pytest.mark.parametrize(
    ("one", "other"),
    [("हिन्दी", "हन्द"), ("パリ", "バリ"), ("กิน", "กัน"), ("กุ", "กู"), ("한국", "한군"), ("కై", "కె")],
)
def test_what_differs_in_more_than_accents_stays_apart(one: str, other: str) -> None:
    assert forms(one) != forms(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann went.", [("ann", 0, 3), ("went", 4, 8)]),
        ("  **Ann**", [("ann", 4, 7)]),
        ("e\u0301t\u0301 x", [("et", 0, 4), ("x", 5, 6)]),  # marks belong to the word that they close
        ("\u200bA\u200b b", [("a", 1, 3), ("b", 4, 5)]),
        ("漢字ab", [("漢", 0, 1), ("字", 1, 2), ("ab", 2, 4)]),
        ("aﷺ", [("aصلى", 0, 2), ("الله", 1, 2), ("عليه", 1, 2), ("وسلم", 1, 2)]),
        ("Acme™ co", [("acme", 0, 4), ("co", 6, 8)]),
        ("", []),
        ("\u0301\u200b—", []),
    ],
)
def test_offsets(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert spans(text) == expected


@given(texts, st.integers(0, 6))
def test_a_growing_word_that_is_too_long_stays_too_long(text: str, limit: int) -> None:
    # The output filter releases such a word while it grows: the word it becomes must then not match anything short.
    stream, long = WordStream(), False
    for char in text:
        start = stream.open_start
        for word in stream.feed(char):
            if long and word.start == start:
                assert len(word.text) > limit
                long = False
        if stream.open_start is None:
            long = False
            assert not stream.open_longer_than(limit)
        else:
            assert stream.open_longer_than(limit) or not long or stream.open_start != start
            long = stream.open_longer_than(limit)
    for word in stream.finish():
        assert not long or len(word.text) > limit


def test_a_word_without_an_end_is_not_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # A model can emit an unbroken run for minutes; asking at every character must not cost the run's length each time.
    asked = []
    real = words.normal_form
    monkeypatch.setattr(words, "normal_form", lambda raw: (asked.append(len(raw)), real(raw))[1])
    stream = WordStream()
    for _ in range(5000):
        stream.feed("x")
        stream.open_longer_than(20)
    assert sum(asked) < 250


def test_a_word_does_not_show_its_text() -> None:
    assert "secret" not in repr(words_of("secret"))
