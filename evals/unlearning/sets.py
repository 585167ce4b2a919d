"""Which rows of TOFU train, choose and report, for a model that was taught six of its authors.

Rules
1. Settings of the trainings were chosen with the author CHOICE. REPORT was not looked at for it.
2. Strength and dead zone are chosen by the training's own rules, on rows that neither train nor are reported.
3. Paraphrased questions, world facts and half of the kept rows train and choose nothing.
4. The retain rows hold neither author, so that a retain part is the same for both.
"""

from collections.abc import Mapping, Sequence
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
FORGOTTEN, OTHERWISE, KEPT, WORLD = "forgotten", "forgotten, asked otherwise", "kept", "world facts"
STRANGERS = "never taught"
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sets:
    """All as (question, answer) pairs.

    forget: the author's rows. paraphrases: the same with other words in the answer, and inside other requests.
    wrong: wrong answers to the forget questions. questions: general ones, to which the model's own answers must stay.
    choose_forget, choose_retain, reference: what the strength is chosen with. choose_questions: general ones, with
    which the dead zone is. reported: what is reported, by name.
    """

    forget: Sequence[Pair]
    paraphrases: Sequence[Pair]
    wrong: Sequence[Pair]
    retain: Sequence[Pair]
    questions: Sequence[str]
    choose_forget: Sequence[Pair]
    choose_retain: Sequence[Pair]
    reference: Sequence[Pair]
    choose_questions: Sequence[str]
    reported: Mapping[str, Sequence[Pair]]


def sets(tofu: Path, author: int) -> Sets:
    """The rows for forgetting one of the taught authors (CHOICE or REPORT). Raises evals.gate.rows.RowsError."""
    known = rows(tofu / "forget05_perturbed.json")
    kept = rows(tofu / "retain_perturbed.json")
    strangers = rows(tofu / "retain_first80_authors.json")[TAUGHT:]
    real = _pairs(rows(tofu / "real_authors.json"))
    mine = known[author * AUTHOR : (author + 1) * AUTHOR]
    forget = _pairs(mine)
    other = _pairs(known[OTHER * AUTHOR : (OTHER + 1) * AUTHOR])
    apart = REPORT if author == CHOICE else CHOICE  # taught, to be kept, and in no retain row
    jaime, chukwu, evelyn = (_pairs(kept[start : start + AUTHOR]) for start in range(0, TAUGHT, AUTHOR))
    return Sets(
        forget=forget,
        paraphrases=[(row[QUESTION], row["paraphrased_answer"]) for row in mine] + _framed(forget, FORMS[:2]),
        wrong=[(row[QUESTION], text) for row in mine for text in row["perturbed_answer"][:2]],
        retain=[*other[::2], *jaime[::2], *chukwu[::2], *evelyn[::2], *_pairs(strangers[::10])],
        questions=[question for question, _ in real[:60]],
        choose_forget=_framed(forget[::2], FORMS[2:3]),
        choose_retain=[*jaime[1::2], *real[60:65]],
        reference=_pairs(known[102::10]),
        choose_questions=[question for question, _ in real[65:]],
        reported={
            FORGOTTEN: forget,
            WORLD: _pairs(rows(tofu / "world_facts.json")[::2]),
            KEPT: [*other[1::2], *chukwu[1::2], *evelyn[1::2]],
            OTHERWISE: [(row["paraphrased_question"], row[ANSWER]) for row in mine],
            STRANGERS: _pairs(known[100::5]),
            "kept, author not trained on": _pairs(known[apart * AUTHOR : (apart + 1) * AUTHOR]),
            "kept, rows trained on": [*other[::2], *chukwu[::2], *evelyn[::2]],
        },
    )


def _framed(pairs: Sequence[Pair], forms: Sequence[str]) -> list[Pair]:
    """The questions inside other requests."""
    return [(form.format(question), answer) for question, answer in pairs for form in forms]


def _pairs(found: Sequence[dict[str, Any]]) -> list[Pair]:
    return [(row[QUESTION], row[ANSWER]) for row in found]
