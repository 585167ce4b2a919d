"""Windows: no word of a request is out of sight, a question among others is seen alone, the cost stays bounded."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.windows import DENSE_WORDS, LONG_WORD, SHORT_WORDS, WHOLE_WORDS, windows_of

FORGET = "What did the clockmaker Ilse Varga hide in the tower?"
OTHERS = "How do I bake bread at home without yeast?", "Which colours does the flag of Kenya have, please?"

# Runs of one kind of token make long texts out of few draws.
runs = st.lists(
    st.tuples(
        st.sampled_from(("word", "a", "Ünïcode", "x" * 95, "中文字", "ภาษา", "stop.", "why?\n", "。", "—")),
        st.integers(1, 60),
        st.sampled_from((" ", "  ", "\n", "")),
    ),
    max_size=12,
)
texts = runs.map(lambda drawn: "".join((token + gap) * times for token, times, gap in drawn))


def covered(text: str) -> list[int]:
    """How many windows hold each character."""
    counts = [0] * (len(text) + 1)
    for window in windows_of(text):
        counts[window.start] += 1
        counts[window.end] -= 1
    for place in range(1, len(counts)):
        counts[place] += counts[place - 1]
    return counts[:-1]


@given(texts)
def test_every_character_is_inside_some_window(text: str) -> None:
    counts = covered(text)
    assert all(counts[place] for place, char in enumerate(text) if not char.isspace())


@given(texts)
def test_windows_are_what_they_say_and_come_once(text: str) -> None:
    windows = windows_of(text)
    assert all(window.text == text[window.start : window.end] for window in windows)
    assert all(window.text == window.text.strip() and window.text for window in windows)
    assert len({(window.start, window.end) for window in windows}) == len(windows)


@given(texts)
def test_the_number_of_windows_is_bounded_by_the_words(text: str) -> None:
    # A run of two characters counts as a word where words are not written apart: nothing has more words than that.
    words = sum(-(-len(run) // 2) for run in text.split())
    assert len(windows_of(text)) <= 5 * words / 4 + 8


@pytest.mark.parametrize("count", [DENSE_WORDS - 1, DENSE_WORDS, DENSE_WORDS + 1, 500, 4001])
def test_every_word_of_a_long_text_is_in_two_windows(count: int) -> None:
    text = " ".join(f"w{place}" for place in range(count))
    counts = covered(text)
    assert all(counts[match.start()] >= 2 for match in re.finditer(r"\S+", text))


def test_cost_per_word_of_a_very_long_text() -> None:
    text = " ".join(f"w{place}" for place in range(10_000))
    windows = windows_of(text)
    assert len(windows) < 10_000 / 10
    assert sum(len(window.text.split()) for window in windows) <= 2.1 * 10_000


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_question_between_others_is_seen_alone(place: int) -> None:
    asked = list(OTHERS)
    asked.insert(place, FORGET)
    for text in (" ".join(asked), "\n".join(asked)):
        assert FORGET in {window.text for window in windows_of(text)}


@pytest.mark.parametrize(
    "text",
    [
        f"Antworte auf Deutsch: {FORGET}",
        f'Fill in this JSON: {{"question": "{FORGET}", "answer": "',
        f"한국어로 대답하세요： {FORGET}",
        f"Translate «{FORGET}» for me",
        f"Hello there. {FORGET}",
    ],
)
def test_a_short_question_behind_a_label_is_seen_alone(text: str) -> None:
    assert FORGET in {window.text for window in windows_of(text)}


def test_labels_are_no_windows() -> None:
    assert [window.text for window in windows_of('Name: "Ilse Varga"')] == ['Name: "Ilse Varga"']


@pytest.mark.parametrize("padding", [0, 3, 40, 300])
def test_padding_does_not_push_a_question_out_of_sight(padding: int) -> None:
    # Without any punctuation only the slide can find it: some window must hold little else.
    question = "what did the clockmaker ilse varga hide in the tower"
    text = f"{'lorem ' * padding}{question} {'ipsum ' * padding}".strip()
    best = max(
        len(set(window.text.split()) & set(question.split())) / max(len(window.text.split()), 10)
        for window in windows_of(text)
    )
    assert best > 1 / 3


def test_a_chinese_question_between_others_is_seen_alone() -> None:
    text = "今天的天气怎么样？钟表匠伊尔莎在塔里藏了什么？请告诉我法国的首都是哪里。"
    assert "钟表匠伊尔莎在塔里藏了什么？" in {window.text for window in windows_of(text)}
    assert max(len(window.text) for window in windows_of(text * 30)) <= 64


def test_a_short_text_is_one_window() -> None:
    assert [window.text for window in windows_of(f"  {FORGET} ")] == [FORGET]
    assert len(windows_of(" ".join(["word"] * SHORT_WORDS))) == 1
    assert windows_of("") == windows_of(" \n\t") == []


def test_beyond_a_limit_the_whole_says_nothing() -> None:
    for count, kept in ((WHOLE_WORDS, True), (WHOLE_WORDS + 1, False)):
        text = " ".join(["word"] * count)  # one sentence, however long
        assert (text in {window.text for window in windows_of(text)}) is kept


def test_a_run_without_spaces_is_cut_into_words() -> None:
    assert max(len(window.text) for window in windows_of("x" * 100_000)) <= 24 * LONG_WORD


def test_a_window_does_not_show_its_text() -> None:
    assert "secret" not in repr(windows_of("secret"))


@given(texts)
def test_coarse_windows_leave_no_word_out(text: str) -> None:
    windows = windows_of(text)
    coarse = [window for window in windows if window.coarse]
    assert len(coarse) <= len(windows)
    seen = {place for window in coarse for place in range(window.start, window.end)}
    assert all(place in seen for place, char in enumerate(text) if not char.isspace())
