"""Forget quality: p-value of a two-sample Kolmogorov–Smirnov test between truth ratios on the forget set.

One sample from the system that is measured, the other from a model that never saw the forget set. High: they cannot be
told apart. Source: TOFU §3; `scipy.stats.ks_2samp` (two-sided).

Exact: of all ways to interleave the two samples, the share in which the distribution functions come as far apart
(counting lattice paths). Written out here because scipy would be the largest package of the environment, for this.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence

MAX_EXACT = 10_000  # values of one sample; beyond, the limit distribution is as good and the count takes seconds


def forget_quality(measured: Sequence[float], reference: Sequence[float]) -> float:
    """The p-value, in (0, 1]. Raises ValueError for an empty sample."""
    return ks_test(measured, reference)[1]


def ks_test(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Statistic and two-sided p-value."""
    if not first or not second:
        raise ValueError("the Kolmogorov–Smirnov test needs two samples")
    n, m = len(first), len(second)
    one, two = sorted(first), sorted(second)
    # In units of 1/(n·m), so that equal distances are equal numbers.
    apart = max(abs(bisect_right(one, x) * m - bisect_right(two, x) * n) for x in (*one, *two))
    statistic = apart / (n * m)
    if max(n, m) > MAX_EXACT:
        return statistic, _limit(statistic * math.sqrt(n * m / (n + m)))
    return statistic, 1 - _paths_within(n, m, apart) if apart else 1.0


def _paths_within(n: int, m: int, apart: int) -> float:
    """Share of the lattice paths from (0, 0) to (n, m) on which |i·m − j·n| stays below `apart`."""
    # Shares, not counts: counts have thousands of digits. Each step goes on with the probability that a random
    # interleaving takes it, so the sum at (n, m) is the share of all paths.
    row = [0.0] * (m + 1)
    for i in range(n + 1):
        for j in range(m + 1):
            if abs(i * m - j * n) >= apart:
                row[j] = 0.0
                continue
            if i == j == 0:
                row[j] = 1.0
                continue
            steps = n + m - i - j + 1
            above = row[j] * (n - i + 1) / steps if i else 0.0
            left = row[j - 1] * (m - j + 1) / steps if j else 0.0
            row[j] = above + left
    return row[m]


def _limit(x: float) -> float:
    """The Kolmogorov distribution's tail."""
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, math.fsum(terms))) if x > 0 else 1.0
