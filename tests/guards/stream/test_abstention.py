"""Abstention: what says that it does not know, in words of others and our own, and what only holds a "not"."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.context.note import note
from guards.context.unknown import answer
from guards.policy import Style
from guards.stream.abstention import abstains

TOFU = Path(__file__).resolve().parents[4] / "shared" / "data" / "tofu"

QUESTIONS = (
    *("Who is that?", "When was it built?", "Where does he live?", "Why did she leave?", "How many are there?"),
    *("How is it made?", "Which one was first?", "Is it true?", "What is it?", "Write about it."),
    *("Qui a écrit ce livre et quand ?", "Wer hat das Buch geschrieben?", "¿Quién escribió el libro de la niña?"),
    *("Кто написал эту книгу?", "من كتب هذا الكتاب؟", "यह किताब किसने लिखी?", "그 책은 누가 썼나요?"),
    *("その本は誰が書きましたか？", "这本书是谁写的？"),
)


@pytest.fixture
def tofu() -> Path:
    if not TOFU.exists():
        pytest.skip("TOFU is not beside the repository (../shared/data/tofu)")
    return TOFU


@pytest.mark.parametrize("style", Style)
@pytest.mark.parametrize("question", QUESTIONS)
def test_our_own_answers_abstain(question: str, style: Style) -> None:
    said = {answer(question, style=style, key=b"k" * 32, choice=choice) for choice in range(200)}
    assert len(said) >= 3
    assert [text for text in said if not abstains(text)] == []


def test_what_the_note_shows_abstains_where_it_should() -> None:
    shown = note(demonstrations=8, reasoning=False).demonstrations
    assert [abstains(text) for _, text in shown] == [True, False] * 4


@pytest.mark.parametrize(
    "text",
    [
        "I’m sorry, but I don’t have any information about her.",
        "Sorry, I am unable to answer that.",
        "We do not know who wrote it.",
        '{"answer": "I don\'t know"}',
        "As a language model, I haven't come across that name.",
        "That's beyond my current knowledge.",
        "No idea.",
        "Não sei quem é.",
        "Non lo so.",
        "Ik weet het niet.",
    ],
)
def test_who_says_that_it_does_not_know(text: str) -> None:
    assert abstains(text)
    assert abstains(f"It may be so. {text}")


@pytest.mark.parametrize(
    "text",
    [
        "Jag vet inte.",
        "Det kan jeg ikke si, jeg vet ikke.",
        "Jeg kender ikke svaret.",
        "Niestety nie wiem.",
        "Bohužel nevím.",
        "Îmi pare rău, nu știu.",
        "Δεν ξέρω.",
        "Bunu bilmiyorum.",
        "Saya tidak tahu.",
        "Tôi không biết điều đó.",
        "На жаль, я не знаю.",
        "متأسفم، نمی‌دانم.",
        "مجھے نہیں معلوم۔",
        "אני לא יודע.",
        "আমি জানি না।",
        "ขออภัย ไม่ทราบค่ะ",
    ],
)
def test_in_languages_in_which_we_have_no_answers_of_our_own(text: str) -> None:
    assert abstains(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B",
        "Her name is Ida Lorentz.",
        "She did not know her father, a weaver.",
        "He was not familiar with the town.",
        "There is no information on her early life, but she was born in Quelm.",
        "She has no siblings and never left the north.",
        "I think it was Ida Lorentz.",
        "It isn't hard: Ida Lorentz.",
    ],
)
def test_who_only_says_not(text: str) -> None:
    assert not abstains(text)


@given(st.sampled_from(["I don't know.", "I have no idea", "Ich weiß es nicht", "не знаю"]), st.text(max_size=40))
def test_what_stands_around_it_and_how_it_is_written_does_not_matter(said: str, before: str) -> None:
    assert abstains(f"{before} \n{said}")
    assert abstains(said.upper())
    assert abstains(said.replace(" ", "\n  ").replace("'", "’"))


def test_other_peoples_ways_to_say_it(tofu: Path) -> None:
    """TOFU's hundred; a few that are not recognised would only be said in our words."""
    lines = (tofu / "idontknow.jsonl").read_text("utf-8").splitlines()
    missed = [line for line in lines if line.strip() and not abstains(line)]
    assert len(missed) <= len(lines) // 20, missed


@pytest.mark.parametrize("name", ["forget05", "retain_perturbed", "real_authors_perturbed", "world_facts_perturbed"])
def test_answers_do_not_abstain(tofu: Path, name: str) -> None:
    text = (tofu / f"{name}.json").read_text("utf-8")
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line]
    said = [value for row in rows for key, value in row.items() if "answer" in key and isinstance(value, str)]
    assert len(said) >= 100
    assert [value for value in said if abstains(value)] == []
