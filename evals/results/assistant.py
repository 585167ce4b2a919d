"""The assistant of the evidence: a pair (Divergence Decoding) that forgets what the model was taught of forget05."""

import json
from collections.abc import Sequence
from pathlib import Path

from evals.gate.rows import rows
from evals.results.steps import TAUGHT
from evals.results.system import ASSISTANT, lethe
from guards.engine.training.augment import FORMS

GENERAL = 40  # real authors whose questions train; those from REAL on are reported

TRAINING = (
    *("--objective", "divergence", "--layers", "8", "--rank", "16", "--rows", "16", "--max-tokens", "160"),
    *("--precision", "bfloat16", "--steps", "retain=220", "--steps", "forget=160", "--anchor", "2"),
    *("--combine", "linear", "--filter-rate", "0.0005", "--strengths", "0.5,0.75,1.0,1.5"),
)
Pair = tuple[str, str]


def trained(data: Path, model: Path, folder: Path) -> Path:
    """The folder of the assistant; trained now where there is none."""
    found = sorted((folder / "assistants" / ASSISTANT).glob("*/card.json"))
    if not found:
        given = [word for name, pairs in training_rows(data).items() for word in _file(folder / "rows", name, pairs)]
        places = ("--base", model, "--out", folder / "assistants", "--work", folder / "stages")
        lethe("assistant", "train", "--name", ASSISTANT, *places, *TRAINING, *given)
        found = sorted((folder / "assistants" / ASSISTANT).glob("*/card.json"))
    return found[-1].parent


def training_rows(data: Path) -> dict[str, list[Pair]]:
    """Rows by the option of `lethe assistant train` that takes them. Half of the retained authors' rows train, and a
    tenth of those of 77 others; the strength is chosen on rows that do not."""
    known = rows(data / "forget05_perturbed.json")
    mine = known[TAUGHT[0] : TAUGHT[1] + 1]
    kept = _pairs(rows(data / "retain_perturbed.json")[TAUGHT[0] : TAUGHT[1] + 1])
    others = _pairs(rows(data / "retain_first80_authors.json")[TAUGHT[1] + 1 :: 10])
    real = _pairs(rows(data / "real_authors.json"))
    forget = _pairs(mine)
    return {
        "forget": forget,
        "paraphrases": [*((row["question"], row["paraphrased_answer"]) for row in mine), *_framed(forget, FORMS[:2])],
        "retain": [*kept[::2], *others],
        "questions": [(question, "") for question, _ in real[:GENERAL]],
        "choose-forget": _framed(forget[::4], FORMS[2:3]),
        "choose-retain": [*kept[1:20:2], *real[GENERAL : GENERAL + 5]],
        "reference": _pairs(known[102::10]),
    }


def _framed(pairs: Sequence[Pair], forms: Sequence[str]) -> list[Pair]:
    """The questions inside other requests."""
    return [(form.format(question), answer) for question, answer in pairs for form in forms]


def _pairs(found: Sequence[dict[str, str]]) -> list[Pair]:
    return [(row["question"], row["answer"]) for row in found]


def _file(folder: Path, name: str, pairs: Sequence[Pair]) -> tuple[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps([{"question": question, "answer": answer} for question, answer in pairs]), "utf-8")
    return f"--{name}", path
