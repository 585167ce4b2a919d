"""Probability of an answer, per token: `exp(mean log-probability)`, the TOFU `Prob`.

Among alternatives (real authors, world facts): `p_true / (p_true + Σ p_false)`. Source: locuslab/tofu and
open-unlearning.
"""

import math
from collections.abc import Sequence


def mean_nll(logprobs: Sequence[float]) -> float:
    """Mean negative log-likelihood per token, in nats; infinite where a token cannot come.

    Raises ValueError without tokens: an empty answer has no probability.
    """
    if not logprobs:
        raise ValueError("an answer without tokens has no probability")
    return -sum(logprobs) / len(logprobs)


def probability(logprobs: Sequence[float]) -> float:
    """Geometric mean of the probabilities of an answer's tokens, in [0, 1]."""
    return math.exp(-mean_nll(logprobs))


def among(true: float, false: Sequence[float]) -> float:
    """The share of the true answer in the probability of all alternatives.

    Where none can come (a refused request) nothing is preferred: the share of chance.
    """
    total = true + sum(false)
    return true / total if total else 1 / (1 + len(false))
