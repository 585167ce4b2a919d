"""Cosine similarity: `CS = max(0, cos)` of the sentence embeddings of the answer before and after unlearning.

Source: A Closer Look at Machine Unlearning for LLMs (all-MiniLM-L6-v2, the embedder that is shipped).
"""

from collections.abc import Sequence

import numpy as np

from indexes.embedder import Embedder


def cosine_similarities(before: Sequence[str], after: Sequence[str], embedder: Embedder) -> list[float]:
    """One number in [0, 1] for each pair."""
    if not before:
        return []
    cosines = np.sum(embedder.embed(before) * embedder.embed(after), axis=1)
    return [float(value) for value in np.clip(cosines, 0.0, 1.0)]
