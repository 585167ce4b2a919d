"""Confidence sequences: intervals that hold at every moment at once, so that looking at them early costs nothing.

For observations x₁, x₂, … in [0, 1] with mean m, the mixture

    M_n(m) = B(a + S_n, b + n − S_n) / B(a, b) / (m^{S_n} (1 − m)^{n − S_n}),   S_n = Σ xᵢ

is a nonnegative supermartingale that starts at 1: for 0/1 outcomes it is a likelihood ratio against a Beta(a, b)
prior (Robbins, 1970), and for values in between the factor of each x is convex in x, so it lies below the line
through its values at 0 and 1. By Ville's inequality M_n(m) stays below 1/α for ever with probability 1 − α, and the
set of all m for which it does so far is a confidence sequence. The prior is Jeffreys'.
"""

import math
from dataclasses import dataclass

from indexes.ledger.records import Tally

PRIOR = 0.5  # both parameters of the Beta prior
ALPHA = 0.05
_STEPS = 60  # halvings: an interval's end to 1e-18


@dataclass(frozen=True, slots=True)
class Interval:
    """A share in [0, 1] between two bounds."""

    low: float
    high: float


def interval(tally: Tally, alpha: float = ALPHA) -> Interval:
    """Where the mean lies, at every n at once with probability 1 − alpha."""
    if not tally.n:
        return Interval(0.0, 1.0)
    mean = tally.total / tally.n
    return Interval(_bound(tally, mean, 0.0, alpha), _bound(tally, mean, 1.0, alpha))


def difference(first: Tally, second: Tally, alpha: float = ALPHA) -> Interval:
    """Where mean(second) − mean(first) lies: each arm's interval gets half of alpha. In [−1, 1]."""
    a, b = interval(first, alpha / 2), interval(second, alpha / 2)
    return Interval(b.low - a.high, b.high - a.low)


def _bound(tally: Tally, inside: float, outside: float, alpha: float) -> float:
    """The end of the interval between its middle and the end of the scale; M_n(m) rises from the one to the other."""
    if _excess(tally, outside, alpha) <= 0:
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if _excess(tally, middle, alpha) <= 0:
            inside = middle
        else:
            outside = middle
    return inside


def _excess(tally: Tally, m: float, alpha: float) -> float:
    """log M_n(m) − log(1/α): at most 0 for an m that is still possible."""
    hits, misses = tally.total, tally.n - tally.total
    if (m <= 0 and hits > 0) or (m >= 1 and misses > 0):
        return math.inf
    likelihood = (hits * math.log(m) if hits else 0.0) + (misses * math.log1p(-m) if misses else 0.0)
    return _log_beta(PRIOR + hits, PRIOR + misses) - _log_beta(PRIOR, PRIOR) - likelihood + math.log(alpha)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
