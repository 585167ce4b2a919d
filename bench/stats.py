"""Order statistics of samples, and how results are printed."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson


def percentile(samples: Sequence[float], q: float) -> float:
    """The q-th percentile (0 to 100) of at least one sample, linearly interpolated."""
    return float(np.percentile(np.asarray(samples), q))


def median(samples: Sequence[float]) -> float:
    """The 50th percentile."""
    return percentile(samples, 50)


def paired_median(a: Sequence[float], b: Sequence[float]) -> float:
    """Median of a[i] - b[i]: what `a` adds to `b` when both were measured in turn, whatever the machine's drift."""
    return median([x - y for x, y in zip(a, b, strict=True)])


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
