"""The count of words that tell, against a reference that reads the whole text at once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.stream.json_text import JsonTextFilter
from guards.stream.phrase import Cut, PhraseFilter, Step
from guards.stream.telling import LONGEST, Secret, TellingFilter, secrets_of
from indexes.entries import Entry, Kind, State
from indexes.matches import Match, Via
from indexes.phrases import PhraseTable
from indexes.secret import key_of, packed_secret, unpacked_secret
from indexes.words import words_of
from tests.indexes.texts import fragments, places, ways_to_cut

QUESTION = "Where was Hsiao Wei born, and to whom?"
ANSWER = "Hsiao Wei was born in Taipei to a hairdresser and a mechanic."
ENTRY = Entry("e", "s", Kind.FACT, (QUESTION,), answers=(ANSWER,))
NEAR = Match("e", "s", Kind.FACT, State.ACTIVE, 0.9, 0.1, 0, (0, 9), Via.EMBEDDING, slot=0)


def keys(*words: str) -> frozenset[int]:
    return frozenset(map(key_of, words))


def held(slot: int) -> frozenset[int]:
    return unpacked_secret(packed_secret(ENTRY)) if slot == 0 else keys("other")


SECRET = Secret(keys("taipei", "hairdresser", "mechanic"), 1)


def opened(*secrets: Secret | None, phrases: PhraseTable | None = None) -> TellingFilter:
    inner = PhraseFilter(phrases or PhraseTable(), lambda slot: True)
    return TellingFilter(inner, lambda: [one for one in secrets if one is not None])


def run(one: TellingFilter | JsonTextFilter, pieces: list[str]) -> tuple[str, bool]:
    """What left, and whether it was cut."""
    shown = ""
    for piece in pieces:
        step: Step = one.on_delta(piece)
        shown += step.text
        if isinstance(step, Cut):
            return shown, True
    step = one.on_finish()
    return shown + step.text, isinstance(step, Cut)


def expected(text: str, secret: Secret) -> tuple[str, bool]:
    told = set()
    for word in words_of(text):
        key = key_of(word.text)
        if key in secret.keys and len(word.text) <= LONGEST:
            told.add(key)
            if len(told) >= secret.enough:
                return text[: word.start], True
    return text, False


def test_a_secret_is_what_only_the_answer_says() -> None:
    assert secrets_of([NEAR], held, [QUESTION]) == [replace(SECRET, enough=2)]
    assert secrets_of([NEAR], held, ["Was it Taipei? A hairdresser?"]) == [Secret(keys("mechanic"), 1)]
    assert secrets_of([NEAR], held, ["Taipei? A hairdresser? Mechanics?"]) == []
    assert secrets_of([], held, [QUESTION]) == []
    assert secrets_of([replace(NEAR, state=State.OBSERVE)], held, []) == []
    many = secrets_of([NEAR], lambda slot: frozenset(range(9)), [])
    assert many[0].enough == 3
    nearer = replace(NEAR, slot=1, score=0.95)
    assert [len(secret.keys) for secret in secrets_of([NEAR, nearer, NEAR], held, [])] == [1, 3]
    nothing = replace(ENTRY, texts=("Was he?",), answers=("Yes, he was.",))
    assert packed_secret(nothing) == b""


@pytest.mark.parametrize(
    ("text", "shown", "cut"),
    [
        ("I do not know where she was born.", None, False),
        ("She grew up in Taipei, I think.", "She grew up in ", True),
        ("Her father was a HAIRDRESSER.", "Her father was a ", True),
        ("The mechanics of it are unknown.", "The ", True),
        ("Taip", None, False),
        ("taipei" * 10, None, False),  # no word of any language
    ],
)
def test_an_answer_is_cut_before_the_word_that_tells(text: str, shown: str | None, *, cut: bool) -> None:
    assert run(opened(SECRET), [text]) == (text if shown is None else shown, cut)
    assert run(opened(SECRET), list(text)) == (text if shown is None else shown, cut)


telling = st.sampled_from(["taipei", "hairdresser", "mechanic", "cat", "Taipei's", "x" * (LONGEST + 2)])


@given(parts=st.lists(telling | fragments, max_size=12), at=places, enough=st.integers(1, 3))
def test_where_the_text_is_cut_does_not_matter(parts: list[str], at: list[int], enough: int) -> None:
    text, secret = "".join(parts), Secret(SECRET.keys, enough)
    for pieces in ways_to_cut(text, at):
        assert run(opened(secret), pieces) == expected(text, secret)


def test_every_entry_is_counted_by_itself() -> None:
    one, other = (Secret(keys(a, b), 2) for a, b in (("red", "blue"), ("one", "two")))
    assert run(opened(one, other), ["red one red ", "one"]) == ("red one red one", False)
    assert run(opened(one, other), ["red one two blue"]) == ("red one ", True)


def test_a_phrase_is_cut_all_the_same() -> None:
    table = PhraseTable()
    table.add(("green", "door"), 7)
    one = opened(SECRET, phrases=table)
    assert one.on_delta("a green ").text == "a "
    assert one.holding == len("green ")
    step = one.on_delta("door ")
    assert isinstance(step, Cut)
    assert (step.text, step.slot) == ("", 7)


def test_what_was_shown_counts_and_is_not_cut() -> None:
    secret = Secret(keys("taipei", "hairdresser"), 2)
    one = opened(secret)
    one.shown_before("From Taipei. ")
    assert run(one, ["A cat. A hairdresser."]) == ("A cat. A ", True)
    late = opened(secret)
    late.shown_before("A hairdresser from Taipei. ")
    assert run(late, ["That is all. Taipei."]) == ("That is all. Taipei.", False)


def test_a_secret_that_comes_in_mid_stream_is_kept_from_there_on() -> None:
    secrets = [Secret(keys("red", "blue"), 2)]
    one = TellingFilter(PhraseFilter(PhraseTable(), lambda slot: True), lambda: secrets)
    assert one.on_delta("Red and seven of them. ").text == "Red and seven of them. "
    secrets.append(Secret(keys("seven", "eight"), 2))
    assert one.renew(PhraseTable(), lambda slot: True).text == ""
    assert run(one, ["Or seven. Or eight."]) == ("Or seven. Or ", True)


@given(parts=st.lists(telling | fragments, max_size=9), at=st.integers(0, 60), enough=st.integers(1, 3))
def test_going_over_to_the_same_secrets_changes_nothing(parts: list[str], at: int, enough: int) -> None:
    text, secret = "".join(parts), Secret(SECRET.keys, enough)
    one = opened(secret)
    first = one.on_delta(text[:at])
    if isinstance(first, Cut):
        return
    again = one.renew(PhraseTable(), lambda slot: True)
    shown, cut = run(one, [text[at:]])
    assert (first.text + again.text + shown, cut) == expected(text, secret)


def test_inside_json_escapes_are_read() -> None:
    assert run(JsonTextFilter(opened(SECRET)), ['{"city": "\\u0054aipei"}']) == ('{"city": "', True)
