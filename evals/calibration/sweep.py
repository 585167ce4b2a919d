"""Threshold against share of hits and share of false alarms, and which setting to propose. Pure.

A text is flagged at a threshold and a margin if one of its matches has that score and is by the margin nearer to the
entry than to a retain example: the rule of `guards.gate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evals.metrics.intervals import wilson

THRESHOLDS = tuple(round(0.40 + 0.01 * step, 2) for step in range(60))
MARGINS = (0.0, 0.02, 0.05, 0.1)
LOWEST = THRESHOLDS[0]


@dataclass(frozen=True, slots=True, repr=False)
class Scored:
    """A text with (score, retain score) of each of its matches."""

    text: str
    source: str
    pairs: tuple[tuple[float, float], ...]

    def reach(self, margin: float) -> float:
        """The highest threshold that still flags it; -1 where none does."""
        return max((score for score, retain in self.pairs if score - retain >= margin), default=-1.0)


@dataclass(frozen=True, slots=True)
class Point:
    """What one setting does."""

    threshold: float
    margin: float
    hits: int
    positives: int
    alarms: int
    negatives: int

    @property
    def tpr(self) -> float:
        return self.hits / self.positives

    @property
    def fpr(self) -> float:
        return self.alarms / self.negatives

    def figures(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "margin": self.margin,
            "tpr": round(self.tpr, 5),
            "tpr_interval95": [round(x, 5) for x in wilson(self.hits, self.positives)],
            "fpr": round(self.fpr, 5),
            "fpr_interval95": [round(x, 5) for x in wilson(self.alarms, self.negatives)],
        }


def point(positive: Sequence[Scored], negative: Sequence[Scored], threshold: float, margin: float) -> Point:
    """What a setting does to texts that should be flagged and to texts that should pass."""
    hits = sum(text.reach(margin) >= threshold for text in positive)
    alarms = sum(text.reach(margin) >= threshold for text in negative)
    return Point(threshold, margin, hits, len(positive), alarms, len(negative))


def curve(positive: Sequence[Scored], negative: Sequence[Scored], margin: float) -> list[Point]:
    """One point for each threshold, lowest first."""
    return [point(positive, negative, threshold, margin) for threshold in THRESHOLDS]


def proposed(positive: Sequence[Scored], negative: Sequence[Scored], target_fpr: float) -> Point | None:
    """The setting with most hits among those with no more false alarms than wanted; None where there is none.

    Of equally good thresholds that follow each other the middle one, which is farthest from doing worse; of equally
    good margins the smallest.
    """
    allowed = [p for m in MARGINS for p in curve(positive, negative, m) if p.fpr <= target_fpr]
    if not allowed:
        return None
    most = max(p.hits for p in allowed)
    margin = min(p.margin for p in allowed if p.hits == most)
    fewest = min(p.alarms for p in allowed if p.hits == most and p.margin == margin)
    equal = [p for p in allowed if (p.hits, p.margin, p.alarms) == (most, margin, fewest)]
    return equal[len(equal) // 2]


def worst(texts: Sequence[Scored], at: Point, count: int, *, missed: bool) -> list[Scored]:
    """The texts that a setting is most wrong about: farthest below the threshold, or above it."""
    wrong = [text for text in texts if (text.reach(at.margin) < at.threshold) is missed]
    return sorted(wrong, key=lambda text: text.reach(at.margin), reverse=not missed)[:count]
