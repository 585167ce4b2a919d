"""The comparison of methods: which rows may be seen when, which strength is chosen, and what is drawn."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from evals.unlearning.curve import curve
from evals.unlearning.score import Scores, chosen, scored
from evals.unlearning.sets import AUTHOR, CHOICE, REPORT, Sets, sets

FORGET, KEEP = ["forgotten"], ["kept"]


def row(author: int, number: int) -> dict[str, object]:
    question = f"question {number} on author {author}"
    return {
        "question": question,
        "answer": f"answer {number} on author {author}",
        "paraphrased_question": f"other words for {question}",
        "paraphrased_answer": f"other words for answer {number} on author {author}",
        "perturbed_answer": [f"wrong {k} to {question}" for k in range(5)],
    }


@pytest.fixture
def tofu(tmp_path: Path) -> Path:
    def write(name: str, first: int, authors: int) -> None:
        found = [row(author, number) for author in range(first, first + authors) for number in range(AUTHOR)]
        (tmp_path / name).write_text(json.dumps(found))

    write("forget05_perturbed.json", 0, 10)
    write("retain_perturbed.json", 100, 20)
    write("retain_first80_authors.json", 100, 80)
    write("real_authors.json", 300, 5)
    write("world_facts.json", 400, 6)
    return tmp_path


def trained_on(found: Sets) -> set[str]:
    pairs = [*found.forget, *found.reworded, *found.wrong, *found.retain, *found.framed()]
    return {question for question, _ in pairs} | set(found.general)


@pytest.mark.parametrize("author", [CHOICE, REPORT])
def test_nothing_that_is_held_out_trains(tofu: Path, author: int):
    found = sets(tofu, author)
    trained = trained_on(found)
    held = [*found.asked_otherwise, *(pair for pairs in found.choosing.values() for pair in pairs)]
    held += [pair for name, pairs in found.reported.items() if name != "kept, rows trained on" for pair in pairs]
    if author == CHOICE:  # its own rows are reported when the other author is forgotten, not now
        held = [pair for pair in held if pair not in set(found.forget)]
    assert not trained & {question for question, _ in held}


def test_what_is_chosen_with_is_not_reported(tofu: Path):
    choice, report = sets(tofu, CHOICE), sets(tofu, REPORT)
    looked_at = {question for pairs in choice.choosing.values() for question, _ in pairs}
    told = {question for pairs in report.reported.values() for question, _ in pairs}
    told |= {question for question, _ in [*report.forget, *report.asked_otherwise]}
    assert not looked_at & told
    assert not {question for question, _ in report.forget} & trained_on(choice)
    assert choice.retain == report.retain
    assert {question.split()[-1] for question, _ in report.forget} == {str(REPORT)}


def test_scores_compare_with_the_model_alone():
    asked = {"kept": [("q", "one two three four"), ("q", "five")]}
    found = scored({0.0: {"kept": ["one two three four", "six"]}, 1.0: {"kept": ["one two", "six"]}}, asked)
    assert found[0.0]["kept"].recall.value == 0.5
    assert found[1.0]["kept"].recall.value == 0.25
    assert (found[0.0]["kept"].same, found[1.0]["kept"].same) == (1, 0.5)


def told(**recalls: tuple[float, float]) -> Scores:
    """Scores with these recalls of what is forgotten and of what is kept; names are strengths in hundredths."""
    answer, truth = "word " * 100, [("q", "word " * 100)]
    asked = {"forgotten": truth, "kept": truth}
    answers = {
        int(name[1:]) / 100: {
            "forgotten": [answer[: round(5 * 100 * forgotten)]],
            "kept": [answer[: round(5 * 100 * kept)]],
        }
        for name, (forgotten, kept) in recalls.items()
    }
    return scored(answers, asked)


@pytest.mark.parametrize(
    ("scores", "strength"),
    [
        (told(s0=(0.9, 1), s50=(0.2, 1), s100=(0.1, 1)), 0.5),  # the smallest that gets there
        (told(s0=(0.9, 1), s50=(0.2, 0.9), s100=(0.1, 0.99)), 1),  # and keeps
        (told(s0=(0.9, 1), s50=(0.6, 1), s100=(0.4, 0.99)), 1),  # none gets there: the lowest
        (told(s0=(0.9, 1), s50=(0.6, 0.9), s100=(0.1, 0.5)), 0.5),  # none keeps: what keeps most
    ],
)
def test_the_strength_that_is_chosen(scores: Scores, strength: float):
    assert chosen(scores, 0.25, FORGET, KEEP) == strength


def test_the_curve_is_well_formed_and_draws_every_set():
    scores = told(s0=(0.9, 1), s100=(0.1, 0.99))
    drawn = curve({"ULD <x>": scores, "pair": scores}, ["forgotten", "kept"], 0.2, {"ULD <x>": 1, "pair": 1})
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 4
