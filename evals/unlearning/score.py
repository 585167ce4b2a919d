"""What answers are worth: ROUGE-L recall and token entropy of each set, and the strength that is chosen from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.metrics.intervals import Estimate, mean
from evals.metrics.rouge import rouge_l_recall
from evals.metrics.token_entropy import token_entropy_of_text
from evals.unlearning.sets import Pair

KEEP = 0.98  # of the recall on what must stay: the "within 2 % relative"


@dataclass(frozen=True, slots=True)
class Scored:
    """Of one set at one strength."""

    recall: Estimate
    entropy: Estimate
    same: float  # share of answers that are the model's own, to the letter

    def as_json(self) -> dict[str, object]:
        return {"recall": self.recall.as_json(), "entropy": self.entropy.as_json(), "same": round(self.same, 4)}


Scores = dict[float, dict[str, Scored]]  # strength → set


def scored(answers: Mapping[float, Mapping[str, Sequence[str]]], asked: Mapping[str, Sequence[Pair]]) -> Scores:
    """answers: strength 0, the model alone, is among them."""
    return {
        strength: {name: _scored(texts, answers[0.0][name], asked[name]) for name, texts in by_set.items()}
        for strength, by_set in answers.items()
    }


def _scored(texts: Sequence[str], own: Sequence[str], pairs: Sequence[Pair]) -> Scored:
    recalls = [rouge_l_recall(text, answer) for text, (_, answer) in zip(texts, pairs, strict=True)]
    entropies = [token_entropy_of_text(text) for text in texts]
    same = sum(text == other for text, other in zip(texts, own, strict=True)) / len(texts)
    return Scored(mean(recalls), mean(entropies), same)


def chosen(scores: Scores, level: float, forget: Sequence[str], keep: Sequence[str]) -> float:
    """The smallest strength at which every set of `forget` is at most at `level` and every set of `keep` has KEEP left.

    Where none is: of those that keep, the one with the lowest mean recall on `forget`; where none keeps, the one that
    keeps most. scores: strength 0 and at least one other.
    """
    before = scores[0.0]
    tried = sorted(strength for strength in scores if strength)

    def kept(strength: float) -> float:
        return min(scores[strength][name].recall.value / max(before[name].recall.value, 1e-9) for name in keep)

    def left(strength: float) -> float:
        return sum(scores[strength][name].recall.value for name in forget)

    allowed = [strength for strength in tried if kept(strength) >= KEEP]
    if not allowed:
        return max(tried, key=lambda strength: (kept(strength), -strength))
    gone = [s for s in allowed if all(scores[s][name].recall.value <= level for name in forget)]
    return gone[0] if gone else min(allowed, key=lambda strength: (left(strength), strength))
