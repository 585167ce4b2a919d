"""The comparison of methods: which rows may be seen when, and what is drawn."""

import argparse
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evals.unlearning import tables
from evals.unlearning.__main__ import compared, main, panels
from evals.unlearning.curve import Panel, curve
from evals.unlearning.methods import METHODS, Method
from evals.unlearning.score import scored
from evals.unlearning.sets import AUTHOR, CHOICE, FORGOTTEN, KEPT, REPORT, Pair, Sets, sets


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
    pairs = [*found.forget, *found.paraphrases, *found.wrong, *found.retain]
    return {question for question, _ in pairs} | set(found.questions)


def questions(pairs: Sequence[Pair]) -> set[str]:
    return {question for question, _ in pairs}


@pytest.mark.parametrize("author", [CHOICE, REPORT])
def test_nothing_that_chooses_or_reports_trains(tofu: Path, author: int):
    found = sets(tofu, author)
    seen = {FORGOTTEN, "kept, rows trained on"}  # the two that say so
    for name, pairs in found.reported.items():
        assert bool(trained_on(found) & questions(pairs)) == (name in seen), name
    chosen_by = [*map(questions, (found.choose_forget, found.choose_retain, found.reference))]
    for asked in (*chosen_by, set(found.choose_questions)):
        assert asked
        assert not trained_on(found) & asked
        assert not any(asked & questions(told) for told in found.reported.values())
    assert not set(found.choose_questions) & set().union(*chosen_by)


def test_the_author_that_is_reported_trains_nothing_of_the_other_choice(tofu: Path):
    choice, report = sets(tofu, CHOICE), sets(tofu, REPORT)
    assert not trained_on(choice) & questions(report.forget)
    assert (choice.retain, choice.questions) == (report.retain, report.questions)  # one retain part serves both
    assert questions(report.reported["kept, author not trained on"]) == questions(choice.forget)


def test_scores_compare_with_the_model_alone():
    asked = {"kept": [("q", "one two three four"), ("q", "five")]}
    found = scored({0.0: {"kept": ["one two three four", "six"]}, 1.0: {"kept": ["one two", "six"]}}, asked)
    assert found[0.0]["kept"].recall.value == 0.5
    assert found[1.0]["kept"].recall.value == 0.25
    assert (found[0.0]["kept"].same, found[1.0]["kept"].same) == (1, 0.5)


def test_the_curve_is_well_formed_and_draws_both_sides():
    sweep = [{"strength": at, "forget_recall": 1 - at, "retain_recall": 1.0} for at in (0, 0.5, 1)]
    root = ET.fromstring(curve({"ULD <x>": Panel(sweep, 0.2, 1), "pair": Panel(sweep, 0.2, 0.5)}))  # noqa: S314 - our own
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 4


def test_a_dead_zone_is_drawn_beside_the_published_method():
    how = {"strength": 1, "level": 0.2, "combine": "rank", "k": 10}
    published, zoned = (
        how | {"chosen_from": [{"strength": at, "forget_recall": recall, "retain_recall": 1} for at in (0, 1, 1.05)]}
        for recall in (0.5, 0.6)
    )
    found = panels({"rank": published, "rank, dead zone": zoned, "ULD, dead zone": zoned})
    assert list(found) == ["rank", "ULD, dead zone"]
    assert (found["rank"].zoned, found["ULD, dead zone"].zoned) == (zoned["chosen_from"], ())
    root = ET.fromstring(curve(found))  # noqa: S314 - our own
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [line.get("stroke-dasharray") for line in lines].count("6 4") == 2
    labels = [text.text for text in root.findall("{http://www.w3.org/2000/svg}text")]
    assert labels.count("10") == 2  # tokens, not strengths; 10.5 would stand on top of it
    assert "10.5" not in labels


def method(strength: float, **texts: tuple[str, str]) -> dict[str, object]:
    """Figures as the command writes them: what is answered at 0 and at `strength`, by set."""
    asked = {name: [("q", "one two three four")] for name in texts}
    told = {at: {name: [said[place]] for name, said in texts.items()} for place, at in enumerate((0.0, strength))}
    found = {at: {name: one.as_json() for name, one in sides.items()} for at, sides in scored(told, asked).items()}
    how = {"combine": "linear", "k": None}
    return {"strength": strength, **how, "before": found[0.0], "after": found[strength], "swept": found}


def test_methods_stand_side_by_side_on_the_same_rows():
    methods = {
        "ULD": method(0.75, **{FORGOTTEN: ("one two three four", "one"), KEPT: ("one two three four",) * 2}),
        "rank": method(5, **{FORGOTTEN: ("one two three four", "none"), KEPT: ("one two three four", "two four")}),
    }
    chosen = tables.at_chosen(methods).splitlines()
    assert [len(row.split("|")) for row in chosen] == [9] * 4
    assert chosen[0].startswith("| set (n) | before | entropy | ULD, 0.75 | entropy | rank, 5 |")
    assert chosen[2].startswith(f"| {FORGOTTEN} (1) | 1.000")
    assert " 0.250 " in chosen[2]
    rows = tables.over_strengths(methods).splitlines()
    assert [len(row.split("|")) for row in rows] == [9] * 6
    assert rows[3].startswith("| ULD | **0.75** | 0.250 ")
    assert rows[3].endswith("| 100% |")
    assert rows[5].endswith("| 0% |")
    assert [tuple(point.values()) for point in tables.line(methods["ULD"])] == [(0.0, 1.0, 1.0), (0.75, 0.25, 1.0)]


def test_a_strength_is_shown_as_what_it_does():
    pair = {FORGOTTEN: ("one", "two"), KEPT: ("one", "one")}
    rank = method(2.5, **pair) | {"combine": "rank", "k": 10}
    assert "| rank, 25 tokens |" in tables.at_chosen({"rank": rank})
    assert "| **25 tokens** |" in tables.over_strengths({"rank": rank})
    assert "| **1** |" in tables.over_strengths({"ULD": method(1, **pair)})


def test_without_a_sweep_the_curve_is_what_the_strength_was_picked_from():
    sweep = [{"strength": 0.0, "forget_recall": 1.0, "retain_recall": 1.0}]
    assert tables.line({"chosen_from": sweep}) == sweep


class Asked:
    """A workshop whose training was done, and that remembers what it was asked."""

    def __init__(self, **card: float) -> None:
        self.card = {"strength": 1.0, "sweep": [], "settings": {"level": 0.2}, **card}
        self.points: list[list[dict[str, Any]]] = []

    def trained(self, name: str, method: Method, rows: Sets) -> tuple[Path, dict[str, Any]]:
        return Path(name), self.card

    def answered(self, assistant: Path, points: list[dict[str, Any]], asked: Any) -> dict[float, Any]:
        self.points.append(points)
        strengths = [0.0, *(point["strength"] for point in points)]
        return {at: {name: ["a"] * len(pairs) for name, pairs in asked.items()} for at in strengths}

    def confirmed(self, assistant: Path, point: dict[str, Any], asked: Any) -> dict[str, Any]:
        return point


@pytest.mark.parametrize("card", [{}, {"dead_zone": 0.3}])
def test_every_strength_is_asked_with_the_cards_dead_zone(tofu: Path, card: dict[str, float]):
    workshop = Asked(**card)
    options = argparse.Namespace(sweep=True, confirm=True)
    found = compared(workshop, "uld", METHODS["ULD"], sets(tofu, REPORT), options)  # type: ignore[arg-type]
    first, swept = workshop.points
    assert [point["strength"] for point in first] == [1.0]
    assert [point["strength"] for point in swept] == list(METHODS["ULD"].strengths)
    # Without one a point is what it was before there were any: answers that are kept are found again.
    assert all({"dead_zone": point["dead_zone"]} == card for point in (*first, *swept) if "dead_zone" in point or card)
    assert found["dead_zone"] == card.get("dead_zone", 0.0)
    assert found["vllm"] == first[0]


def test_a_python_that_cannot_score_is_told_at_the_start(tmp_path: Path, monkeypatch: Any, capsys: Any):
    monkeypatch.setattr("evals.unlearning.__main__.find_spec", lambda name: None)
    monkeypatch.setattr("sys.argv", ["evals.unlearning", "--data", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "nltk" in (said := capsys.readouterr().err)
    assert ".venv/bin/python" in said
