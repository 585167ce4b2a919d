"""95 % intervals: Wilson's for a share, bootstrapped ones for a mean and for the mean difference of pairs.

Bootstrap: percentiles 2.5 and 97.5 of the mean over resampled items (Efron 1979); pairs are resampled as pairs, so what
two arms share does not widen the interval of their difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000  # percentiles of a 95 % interval move by about 1 % of its width from run to run
_AT_ONCE = 2_000_000  # numbers drawn at a time: 16 MB
SEED = 20240


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean of n values with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, float | int | list[float]]:
        return {"value": round(self.value, 5), "interval95": [round(self.low, 5), round(self.high, 5)], "n": self.n}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; (0, 1) without cases."""
    if not n:
        return 0.0, 1.0
    z = 1.959964
    share, spread = hits / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def share(hits: int, n: int) -> Estimate:
    """A share with Wilson's interval; 0 of 0 is unknown: 0 to 1."""
    return Estimate(hits / n if n else 0.0, *wilson(hits, n), n)


def mean(values: Sequence[float], seed: int = SEED) -> Estimate:
    """A mean with a bootstrapped interval. Raises ValueError without values."""
    if not values:
        raise ValueError("there is no mean of nothing")
    data = np.asarray(values, np.float64)
    low, high = _percentiles(data, seed)
    return Estimate(float(data.mean()), low, high, len(data))


def paired_difference(first: Sequence[float], second: Sequence[float], seed: int = SEED) -> Estimate:
    """Mean of `second − first`, item by item. Raises ValueError for different lengths or none."""
    return mean([b - a for a, b in zip(first, second, strict=True)], seed)


def _percentiles(data: "np.ndarray[tuple[int], np.dtype[np.float64]]", seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // len(data))
    means = []
    for start in range(0, RESAMPLES, at_once):
        drawn = rng.integers(0, len(data), (min(at_once, RESAMPLES - start), len(data)))
        means.append(data[drawn].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return float(low), float(high)
