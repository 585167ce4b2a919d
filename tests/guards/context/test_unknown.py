"""Answers in place of an answer: they vary, fit the question, give nothing of it back, and can be repeated."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.context import unknown
from guards.context.unknown import answer
from guards.policy import Style

KEY = b"a key"
NAMES = ("Ilse Varga", "Bo Lind", "Amadou Keita", "Mei Chen", "Rosa Díaz", "Tom", "Anna-Lena Pfau", "Kofi")


def unknown_to(question: str, choice: int = 0, key: bytes = KEY) -> str:
    return answer(question, style=Style.UNKNOWN, key=key, choice=choice)


def pool_for(question: str) -> set[str]:
    return {unknown_to(question, choice) for choice in range(300)}


def content(text: str) -> set[str]:
    small = set(
        "about and any are been but can couldn did does don for from had has have haven how into isn its know many "
        "much not nothing one say tell that the them then there this was way were what when where which who why with "
        "would you your".split()
    )
    return {word for word in re.findall(r"[^\W\d_]{3,}", text.casefold()) if word not in small}


# -- it fits the question

FITS = {
    "who": r"who|which person",
    "when": r"when|date|year",
    "where": r"where|place",
    "why": r"why|reason|behind",
    "how many": r"number|how many|figure",
    "how": r"how",
    "which": r"which|right one",
    "whether": r"whether|if that|one way",
    "what": r"what|answer|anything about",
}


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who wrote the book about {}?", "who"),
        ("Whose house did {} buy?", "who"),
        ("When was {} born?", "when"),
        ("In what year did {} move away?", "when"),
        ("In which year did {} move away?", "when"),
        ("Where did {} go to school?", "where"),
        ("Which city was {} born in?", "where"),
        ("Why did {} leave?", "why"),
        ("How many brothers does {} have?", "how many"),
        ("How old is {}?", "how many"),
        ("How did {} get there?", "how"),
        ("Which of the two is {}?", "which"),
        ("What is the job of {}?", "what"),
        ("Did {} win?", "whether"),
        ("Is it so that {}, who wrote it, won?", "whether"),
        ("Where did the man who raised {} live?", "where"),  # the first question word asks
        ("Do you know where {} was born?", "where"),
        ("Could you tell me why {} left?", "why"),
        ("I read of a clock. Who gave it to {}? Answer in one word.", "who"),
        ("Thanks! And when was that, as {} said?", "when"),
    ],
)
def test_an_answer_fits_the_kind_of_question(question: str, kind: str) -> None:
    for name in NAMES:
        for choice in range(5):
            given_back = unknown_to(question.format(name), choice)
            assert re.search(FITS[kind], given_back), (question, given_back)


@pytest.mark.parametrize("order", ["Tell me about {}.", "Write a poem on {}", "{}", "Can you name {} and others?"])
def test_an_order_is_answered_with_a_sentence_that_fits_any(order: str) -> None:
    assert all(unknown_to(order.format(name)) in unknown._TELL for name in NAMES)


@pytest.mark.parametrize("kind", FITS)
def test_every_english_answer_is_a_sentence(kind: str) -> None:
    question = {"how many": "How many?", "whether": "Is it?"}.get(kind, f"{kind}?")
    pool = pool_for(question)
    assert len(pool) >= 30
    for text in pool:
        assert re.fullmatch(r"I[' ].*[.]", text)
        assert not re.search(r"(not sure|can't say) (the|anything) ", text), text


@pytest.mark.parametrize(
    ("question", "pattern"),
    [
        ("Où est né Basil Mahfouz et quel est le nom de son père ?", r"\b(sais|connais|information|familier)"),
        ("Pouvez-vous citer deux des livres écrits par Basil Mahfouz ?", r"\b(sais|connais|information|familier)"),
        ("Wer hat das Buch geschrieben, und wann wurde es verkauft?", r"(weiß|Informationen|sicher|sagen)"),
        ("¿Dónde nació Basil Mahfouz y cuál es el nombre de su padre?", r"(sé|tengo|seguro|conozco)"),
        ("Где родился Базиль Махфуз?", r"[а-я]{3}"),
        ("أين ولد باسل محفوظ الكويتي؟", r"[ء-ي]{3}"),
        ("बासिल महफूज का जन्म कहाँ हुआ?", r"[ऀ-ॿ]{3}"),
        ("바실 마푸즈는 어디에서 태어났습니까?", r"[가-힣]{3}"),
        ("バジル・マフフーズはどこで生まれましたか？", r"[ぁ-ん]"),
        ("巴西尔在哪里出生？", r"^[^ぁ-んァ-ン]*[一-龥]{3}"),
    ],
)
def test_an_answer_is_in_the_language_of_the_question(question: str, pattern: str) -> None:
    for choice in range(6):
        given_back = unknown_to(question, choice)
        assert re.search(pattern, given_back), given_back


@pytest.mark.parametrize(
    "question",
    [
        "Tell me about Juan de la Cruz.",
        "Who is 伊尔莎?",
        "When was Базиль Махфуз born?",
        "What does 'die' mean to Ilse?",
    ],
)
def test_a_foreign_name_does_not_change_the_language(question: str) -> None:
    assert unknown_to(question).startswith(("I", "That"))


# -- it gives nothing back


@given(st.lists(st.sampled_from(sorted({w for text in unknown._TELL for w in re.findall(r"\w+", text)})), max_size=6))
def test_an_answer_repeats_no_content_word_of_an_order(words: list[str]) -> None:
    question = " ".join(words)
    pool = {text for text in unknown._TELL if not content(text) & content(question)}
    if pool:
        assert not content(unknown_to(question)) & content(question)


@pytest.mark.parametrize(
    "question",
    [
        "What is the answer to the information in the reliable source?",
        "How many details have there been before, what is the exact number and figure?",
        "Who is the person that came across it?",
        "When did it happen, the date and the year?",
        "Why, and what was the reason behind it?",
        "Is it true, and is that the case?",
        "Where is the place?",
    ],
)
def test_an_answer_repeats_no_content_word_of_a_question(question: str) -> None:
    for choice in range(40):
        assert not content(unknown_to(question, choice)) & content(question)


# -- it varies, and can be repeated


def test_answers_vary_between_questions_and_choices() -> None:
    questions = [f"Where was {name} born?" for name in NAMES]
    assert len({unknown_to(question) for question in questions}) >= 6
    for question in (*questions, "Tell me about it", "Où est né Basil, et quand ?", "巴西尔在哪里出生？"):
        assert len({unknown_to(question, choice) for choice in range(4)}) == 4


def test_answers_depend_on_a_key_and_on_nothing_else() -> None:
    questions = [f"Where was {name} born?" for name in NAMES]
    once = [unknown_to(question) for question in questions]
    assert once == [unknown_to(question) for question in questions]
    assert once != [unknown_to(question, key=b"another") for question in questions]
    assert unknown_to(questions[0], key=b"k" * 200)  # longer than the hash takes


def test_a_refusal_says_that_it_will_not_answer() -> None:
    said = {answer("Who is it?", style=Style.REFUSAL, key=KEY, choice=choice) for choice in range(8)}
    assert said == set(unknown._REFUSALS)


@given(st.text(max_size=40) | st.text(st.characters(categories=["Cs", "Lo"]), max_size=5), st.integers(0, 200))
def test_there_is_an_answer_to_everything(question: str, choice: int) -> None:
    for style in Style:
        assert answer(question, style=style, key=b"", choice=choice).strip()
