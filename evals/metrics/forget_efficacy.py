"""Forget efficacy: `FE = 1 − mean(ROUGE, probability, truth ratio, CS, ES)` on the forget set.

The truth ratio enters as on other sets, high where the truth is known (`mean(max(0, 1 − R))`): all five fall as the
forget set is forgotten. Source: A Closer Look at Machine Unlearning for LLMs.
"""

from collections.abc import Mapping
from statistics import fmean

PARTS = ("rouge", "probability", "truth_ratio", "cosine_similarity", "entailment")


def forget_efficacy(scores: Mapping[str, float]) -> float | None:
    """In [0, 1]; None where one of the five is missing."""
    if any(part not in scores for part in PARTS):
        return None
    return 1 - fmean(scores[part] for part in PARTS)
