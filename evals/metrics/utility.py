"""Model utility: harmonic mean of several scores over several sets that must be kept.

TOFU: {probability, ROUGE-L recall, truth ratio} × {retain, real authors, world facts}, nine numbers.
A Closer Look at Machine Unlearning for LLMs: {ROUGE, probability, truth ratio, TE, CS, ES} over the same sets.
"""

from collections.abc import Mapping
from statistics import harmonic_mean

TOFU = ("rouge", "probability", "truth_ratio")
CLOSER_LOOK = ("rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity", "entailment")


def model_utility(sets: Mapping[str, Mapping[str, float]], metrics: tuple[str, ...] = TOFU) -> float | None:
    """The harmonic mean over all sets and metrics; None where a set lacks one of them, as half a utility is none."""
    if not sets or any(metric not in scores for scores in sets.values() for metric in metrics):
        return None
    return harmonic_mean([max(0.0, scores[metric]) for scores in sets.values() for metric in metrics])
