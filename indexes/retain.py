"""Retain examples: texts that must pass although they are near a forget set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexes.calibration import Weights, terms_of
from indexes.scan import Scan
from indexes.vectors import Vectors

RETAINED = 4
"""Retain examples nearest to a window whose details are compared with it."""


@dataclass(frozen=True, slots=True, repr=False)
class RetainExamples:
    """The retain examples of a set: vectors, and the details of each."""

    vectors: Vectors
    details: tuple[bytes, ...]


class RetainScores:
    """How near each window of a text is to a retain example, worked out for the sets that are asked for.

    Scored as entries are: an example of the same form about somebody else is no reason to let a question pass.
    """

    def __init__(self, retain: Mapping[str, RetainExamples], scan: Scan, weights: Weights) -> None:
        self._retain = retain
        self._scan = scan
        self._weights = weights
        self._known: dict[str, Vectors] = {}

    def of(self, set_id: str) -> Vectors:
        """[windows]; -1 where the set has no examples."""
        scores = self._known.get(set_id)
        if scores is None:
            examples = self._retain.get(set_id)
            if examples is None or not len(examples.vectors):
                scores = np.full(len(self._scan.windows), -1.0, np.float32)
            else:
                scores = self._compared(self._scan.vectors @ examples.vectors.T, examples.details)
            self._known[set_id] = scores
        return scores

    def beside(self, set_id: str, start: int, end: int) -> float:
        """The highest score of the windows that share a character with a span."""
        near = self.of(set_id)
        around = (float(near[i]) for i, w in enumerate(self._scan.windows) if w.start < end and start < w.end)
        return max(around, default=-1.0)

    def _compared(self, similarity: Vectors, details: Sequence[bytes]) -> Vectors:
        if not any(details):
            nearest: Vectors = similarity.max(axis=1)
            return nearest
        k = min(RETAINED, similarity.shape[1])
        best = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        return np.array(
            [
                max(
                    terms_of(float(row[i]), self._scan.counts(window, details[i]), by=self._weights).score
                    for i in best[window]
                )
                for window, row in enumerate(similarity)
            ],
            np.float32,
        )
