"""Truth ratio: how much likelier wrong answers are than a paraphrase of the right one.

`R = p̄_wrong / p_paraphrase` with `p = exp(mean log-probability)` and `p̄` the geometric mean over the wrong answers
(the mean of their mean log-probabilities), as in locuslab/tofu. 1: nothing is known; towards 0: the truth is known.

Aggregates are means: on a forget set of `min(R, 1/R)`, on others of `max(0, 1 − R)`. The convention `c = 1/R` of
open-unlearning gives the same forget aggregate.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from evals.metrics.probability import mean_nll

INDIFFERENT = 1.0
"""Where neither answer can come (the request is refused): what is said does not depend on the fact."""


def truth_ratio(paraphrase: Sequence[float], wrong: Sequence[Sequence[float]]) -> float:
    """R of one item from log-probabilities of tokens. 0 … ∞."""
    right = mean_nll(paraphrase)
    others = fmean(mean_nll(answer) for answer in wrong)
    if math.isinf(right) and math.isinf(others):
        return INDIFFERENT
    try:
        return math.exp(right - others)
    except OverflowError:
        return math.inf


def as_forgotten(ratio: float) -> float:
    """`min(R, 1/R)`: 1 where nothing is known."""
    return min(ratio, 1 / ratio) if ratio else 0.0


def as_known(ratio: float) -> float:
    """`max(0, 1 − R)`: 1 where all is known."""
    return max(0.0, 1 - ratio)
