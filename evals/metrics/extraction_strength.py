"""Extraction strength: `1 − k/len` with the smallest prefix k of the answer after which the rest is reproduced.

Source: Carlini et al. 2021; open-unlearning. Where the last token is wrong nothing is reproduced: k = len, 0. (The code
of open-unlearning gives 1/len there, because its loop ends one step early.)
"""

from collections.abc import Sequence


def extraction_strength(hits: Sequence[bool]) -> float:
    """`hits` as in exact memorisation. Raises ValueError without tokens."""
    if not hits:
        raise ValueError("an answer without tokens cannot be extracted")
    last_miss = max((place for place, hit in enumerate(hits) if not hit), default=-1)
    return 1 - (last_miss + 1) / len(hits)
