"""Order statistics of samples, and how results are printed."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson


def percentile(samples: npt.ArrayLike, q: float) -> float:
    """The q-th percentile (0 to 100) of at least one sample, linearly interpolated."""
    return float(np.percentile(np.asarray(samples), q))


def median(samples: Sequence[float]) -> float:
    """The 50th percentile."""
    return percentile(samples, 50)


def paired_median(a: Sequence[float], b: Sequence[float]) -> float:
    """Median of a[i] - b[i]: what `a` adds to `b` when both were measured in turn, whatever the machine's drift."""
    return median([x - y for x, y in zip(a, b, strict=True)])


RESAMPLED = 2000  # times; the bounds of an interval then move by a few per cent of its width


def percentile_ratio(turns: Sequence[tuple[Sequence[float], Sequence[float]]], q: float) -> tuple[float, float, float]:
    """The q-th percentile of all a, of that of all b, in turns of (a, b); and the bounds of its 95 % interval.

    The interval is what the ratio is in other draws of as many turns, with replacement: samples of one turn share what
    the machine did meanwhile, so it is the turns that are drawn.
    """

    def ratio(chosen: Iterable[int]) -> float:
        a, b = (np.concatenate([turns[turn][way] for turn in chosen]) for way in (0, 1))
        return percentile(a, q) / percentile(b, q)

    chosen = np.random.default_rng(0).integers(len(turns), size=(RESAMPLED, len(turns)))
    low, high = np.percentile([ratio(some) for some in chosen.tolist()], (2.5, 97.5))
    return ratio(range(len(turns))), float(low), float(high)


def emit(figures: Mapping[str, Any], target: str | None) -> None:
    """Figures as JSON to a file or '-' for standard output; as lines where no target is given."""
    if target is None:
        for name, value in figures.items():
            print(f"{name:<28} {value:.3f}" if isinstance(value, float) else f"{name:<28} {value}")
        return
    raw = orjson.dumps(figures, option=orjson.OPT_INDENT_2)
    if target == "-":
        sys.stdout.buffer.write(raw + b"\n")
    else:
        with open(target, "wb") as file:  # noqa: PTH123 - the target is what the user typed
            file.write(raw)
