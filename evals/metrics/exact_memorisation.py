"""Exact memorisation: share of the tokens of the true answer that are the likeliest ones, given those before them.

Source: open-unlearning (`exact_memorization`); teacher-forced.
"""

from collections.abc import Sequence


def exact_memorisation(hits: Sequence[bool]) -> float:
    """`hits`: for each token of the answer, whether it has rank 1. Raises ValueError without tokens."""
    if not hits:
        raise ValueError("an answer without tokens cannot be memorised")
    return sum(hits) / len(hits)
