"""What answers are worth: ROUGE-L recall and token entropy of each set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.metrics.intervals import Estimate, mean
from evals.metrics.rouge import rouge_l_recall
from evals.metrics.token_entropy import token_entropy_of_text
from evals.unlearning.sets import Pair


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
