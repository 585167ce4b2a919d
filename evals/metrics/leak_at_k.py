"""Leak@k: expected maximum of a leak score over k sampled answers to one question.

From n ≥ k samples, without bias: `Σ s₍ᵢ₎ · C(i − 1, k − 1) / C(n, k)` over the sorted scores. With scores 0 and 1 it is
pass@k. Source: Leak@k (2025): greedy evaluation flatters.
"""

from collections.abc import Sequence
from math import comb


def leak_at_k(scores: Sequence[float], k: int) -> float:
    """Raises ValueError unless 1 ≤ k ≤ len(scores)."""
    n = len(scores)
    if not 1 <= k <= n:
        raise ValueError(f"Leak@{k} needs at least {max(k, 1)} samples, there are {n}")
    return sum(score * comb(i, k - 1) for i, score in enumerate(sorted(scores))) / comb(n, k)
