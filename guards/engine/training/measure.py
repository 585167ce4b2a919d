"""What an assistant does to held-out rows at each strength, and which strength is chosen.

The rule: of the strengths that leave at least `keep` of the recall on held-out retain rows, the smallest whose recall
on held-out forget rows is at most `level`; where none gets there, or no level is known, the one with the lowest forget
recall. Where no strength leaves as much, the one that leaves most.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from guards.engine.contract import Arming
from guards.engine.contract import encode as encode_arming
from guards.engine.training import encode
from guards.engine.training.decode import ROWS, Served
from guards.engine.training.encode import Encoded, padded

RULE = (
    "smallest strength whose held-out forget recall is at most `level` while `keep` of the held-out retain recall is "
    "left; else lowest forget recall; else most retain recall"
)
_WORDS = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Score:
    """Means over rows. recall: of the true answer's words in the greedy answer, in order (ROUGE-L recall, unstemmed).
    probability: exp(mean log p) of the true answer. hits: share of its tokens that are the greedy choice.
    """

    recall: float
    probability: float
    hits: float

    def as_json(self) -> dict[str, float]:
        return {"recall": round(self.recall, 4), "probability": round(self.probability, 4), "hits": round(self.hits, 4)}


@dataclass(frozen=True, slots=True)
class Swept:
    """One strength: the scores of held-out forget and retain rows. Strength 0 is the base alone."""

    strength: float
    forget: Score
    retain: Score

    def as_json(self) -> dict[str, float]:
        row = {"strength": self.strength}
        row |= {f"forget_{name}": value for name, value in self.forget.as_json().items()}
        return row | {f"retain_{name}": value for name, value in self.retain.as_json().items()}


class Measured:
    """Strengths that an interrupted sweep has measured, a file each; `key` is of all else that decides the figures."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key

    def at(self, strength: float, arming: Arming | None) -> Swept | None:
        """None where it is not measured yet."""
        try:
            raw = json.loads(self._path(strength, arming).read_text("utf-8"))
            return Swept(strength, Score(**raw["forget"]), Score(**raw["retain"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, row: Swept, arming: Arming | None) -> None:
        """So that it need not be measured again."""
        path = self._path(row.strength, arming)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"forget": asdict(row.forget), "retain": asdict(row.retain)}), encoding="utf-8")
        partial.replace(path)

    def _path(self, strength: float, arming: Arming | None) -> Path:
        said = json.dumps([self._key, strength, encode_arming(arming)])
        return self._folder / f"strength-{hashlib.sha256(said.encode()).hexdigest()}.json"


def sweep(
    served: Served,
    tokenizer: Any,
    forget: Sequence[Encoded],
    retain: Sequence[Encoded],
    armings: Sequence[tuple[float, Arming | None]],
    tokens: int,
    measured: Measured,
    say: Callable[[float], None],
) -> list[Swept]:
    """Scores at each (strength, arming), in the order given; answers of one strength are drafts for the next."""
    found = []
    drafts = {"forget": [row.answer for row in forget], "retain": [row.answer for row in retain]}
    for strength, arming in armings:
        row = measured.at(strength, arming)
        if row is not None:
            found.append(row)
            continue
        scores = {}
        for side, rows in (("forget", forget), ("retain", retain)):
            answers = served.answers([row.ids[: row.prompt] for row in rows], arming, tokens, drafts[side])
            drafts[side] = answers
            scores[side] = _score(served, tokenizer, rows, answers, arming)
        found.append(Swept(strength, scores["forget"], scores["retain"]))
        measured.keep(found[-1], arming)
        say(strength)
    return found


def choose(rows: Sequence[Swept], keep: float, level: float | None) -> Swept:
    """The row that the rule at the head of this file picks. rows: strength 0 first, then at least one other."""
    before, *tried = rows
    allowed = [row for row in tried if row.retain.recall >= keep * before.retain.recall]
    if not allowed:
        return max(tried, key=lambda row: (row.retain.recall, -row.strength))
    reached = [row for row in allowed if level is not None and row.forget.recall <= level]
    if reached:
        return min(reached, key=lambda row: row.strength)
    return min(allowed, key=lambda row: (row.forget.recall, row.strength))


def recall(answer: str, truth: str) -> float:
    """Share of the truth's words that the answer has in the same order (longest common subsequence)."""
    said, wanted = _WORDS.findall(answer.lower()), _WORDS.findall(truth.lower())
    row = [0] * (len(wanted) + 1)
    for word in said:
        diagonal = 0
        for place, other in enumerate(wanted, 1):
            diagonal, row[place] = row[place], diagonal + 1 if word == other else max(row[place], row[place - 1])
    return row[-1] / len(wanted) if wanted else 0.0


def mean_recall(tokenizer: Any, rows: Sequence[Encoded], answers: Sequence[Sequence[int]]) -> float:
    """Of the rows' true answers in `answers`."""
    texts = tokenizer.batch_decode([list(answer) for answer in answers], skip_special_tokens=True)
    truths = tokenizer.batch_decode([list(row.answer) for row in rows], skip_special_tokens=True)
    return _mean([recall(text, truth) for text, truth in zip(texts, truths, strict=True)])


def _score(
    served: Served, tokenizer: Any, rows: Sequence[Encoded], answers: Sequence[Sequence[int]], arming: Arming | None
) -> Score:
    batches = [rows[first : first + ROWS] for first in range(0, len(rows), ROWS)]
    told = [row for batch in batches for row in _told(served, batch, arming)]
    probability, hits = (_mean(column) for column in zip(*told, strict=True))
    return Score(mean_recall(tokenizer, rows, answers), probability, hits)


@torch.inference_mode()
def _told(served: Served, rows: Sequence[Encoded], arming: Arming | None) -> list[tuple[float, float]]:
    """Probability and greedy hits of each true answer, told token by token."""
    batch = encode.batch(rows, served.pad)
    logits = served.logits(padded([row.ids for row in rows], served.pad, served.device), batch.keep, arming)
    found = []
    for table, labels in zip(logits.cpu(), batch.labels, strict=True):
        counts = labels != encode.IGNORED
        wanted = labels[counts]
        log_p = table[counts].log_softmax(-1).gather(-1, wanted[:, None])
        found.append((float(log_p.mean().exp()), float((table[counts].argmax(-1) == wanted).float().mean())))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
