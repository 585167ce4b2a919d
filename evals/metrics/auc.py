"""Area under the ROC curve: the probability that a positive scores higher than a negative; ties count half."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """In [0, 1]; .5 is chance. Raises ValueError for an empty group."""
    if not positives or not negatives:
        raise ValueError("an AUC needs both groups")
    ordered = sorted(negatives)
    won = sum(bisect_left(ordered, score) + bisect_right(ordered, score) for score in positives)
    return won / (2 * len(positives) * len(negatives))
