"""Which rows of TOFU train, choose and report, for a model that was taught six of its authors.

Rules
1. Settings and strengths are chosen with the author CHOICE and the rows held out in `choosing`; nothing reported was
   looked at for it. The author REPORT is only forgotten once everything is decided.
2. Paraphrased questions and world facts train nothing.
3. The retain rows hold neither author, so both share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.gate.rows import rows
from guards.engine.training.augment import FORMS

AUTHOR = 20  # rows an author, in order
CHOICE, REPORT, OTHER = (
    1,
    0,
    2,
)  # of the three taught authors of forget05: Xin Lee Williams, Hina Ameen, Moshe Ben-David
TAUGHT = 60  # rows of each file that the model was taught
QUESTION, ANSWER = "question", "answer"
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sets:
    """All as (question, answer) pairs.

    forget: the author's rows; reworded: the same answers in other words (they train); asked_otherwise: the same
    questions in other words (they do not); wrong: wrong answers to the forget questions.
    """

    forget: Sequence[Pair]
    reworded: Sequence[Pair]
    asked_otherwise: Sequence[Pair]
    wrong: Sequence[Pair]
    retain: Sequence[Pair]
    general: Sequence[str]  # questions for which the model's own answers are retain rows
    choosing: dict[str, Sequence[Pair]]
    reported: dict[str, Sequence[Pair]]

    def framed(self, number: int = 2) -> list[Pair]:
        """The forget questions inside other requests; they train, too."""
        return [(form.format(question), answer) for question, answer in self.forget for form in FORMS[:number]]


def sets(tofu: Path, author: int) -> Sets:
    """The rows for forgetting one of the taught authors (CHOICE or REPORT). Raises evals.gate.rows.RowsError."""
    known = rows(tofu / "forget05_perturbed.json")
    kept = rows(tofu / "retain_perturbed.json")
    strangers = rows(tofu / "retain_first80_authors.json")[TAUGHT:]
    real = _pairs(rows(tofu / "real_authors.json"))
    mine = known[author * AUTHOR : (author + 1) * AUTHOR]
    other = _pairs(known[OTHER * AUTHOR : (OTHER + 1) * AUTHOR])
    jaime, chukwu, evelyn = (_pairs(kept[start : start + AUTHOR]) for start in range(0, TAUGHT, AUTHOR))
    return Sets(
        forget=_pairs(mine),
        reworded=[(row[QUESTION], row["paraphrased_answer"]) for row in mine],
        asked_otherwise=[(row["paraphrased_question"], row[ANSWER]) for row in mine],
        wrong=[(row[QUESTION], text) for row in mine for text in row["perturbed_answer"][:2]],
        retain=[*other[::2], *jaime[::2], *chukwu[::2], *evelyn[::2], *_pairs(strangers[::10])],
        general=[question for question, _ in real[:60]],
        choosing={"kept": jaime[1::2], "general": real[60:80]},
        reported={
            "kept": [*other[1::2], *chukwu[1::2], *evelyn[1::2]],
            "kept, author not in the retain rows": _pairs(known[CHOICE * AUTHOR : (CHOICE + 1) * AUTHOR]),
            "kept, rows trained on": [*other[::2], *chukwu[::2], *evelyn[::2]],
            "world facts": _pairs(rows(tofu / "world_facts.json")),
            "never taught": _pairs(known[100::4]),
        },
    )


def _pairs(found: Sequence[dict[str, Any]]) -> list[Pair]:
    return [(row[QUESTION], row[ANSWER]) for row in found]
