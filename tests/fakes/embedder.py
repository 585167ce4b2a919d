"""An embedder without a model: texts that share words are near each other, the same text is always the same vector."""

import hashlib
from collections.abc import Sequence

import numpy as np

from indexes.vectors import Vectors
from indexes.words import words_of


class BagEmbedder:
    """Implements `Embedder`: the normalised sum of one random direction for each word. Deterministic everywhere."""

    def __init__(self, dimensions: int = 64, name: str = "bag-of-words:1") -> None:
        self._dimensions = dimensions
        self._name = name
        self._directions: dict[str, Vectors] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = np.empty((len(texts), self._dimensions), np.float32)
        for place, text in enumerate(texts):
            words = [word.text for word in words_of(text)] or [""]  # a text without words has a place of its own
            row = np.sum([self._direction(word) for word in words], axis=0)
            rows[place] = row / np.linalg.norm(row)
        return rows

    def _direction(self, word: str) -> Vectors:
        found = self._directions.get(word)
        if found is None:
            seed = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "big")
            drawn = np.random.default_rng(seed).standard_normal(self._dimensions)
            found = self._directions[word] = (drawn / np.linalg.norm(drawn)).astype(np.float32)
        return found
