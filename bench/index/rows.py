"""Vectors that lie as those of forget entries do: subjects, questions about each, and three wordings of each question.

What they are made of sets their cosines, which are those that all-MiniLM-L6-v2 gives to TOFU: .81 between two wordings
of one question, .47 between questions about one subject, near 0 otherwise. Real sets are less even than that.
"""

from dataclasses import dataclass

import numpy as np

from indexes.vectors import Rows, Vectors

QUESTIONS, WORDINGS = 20, 3  # of a subject, of a question
ASKED = 0.76  # how much of a question is its subject
WORDED = 0.9  # how much of a wording is its question
PART = 4096  # rows drawn with one seed


def unit(rows: Vectors) -> Vectors:
    """Rows of length 1."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@dataclass(frozen=True)
class SyntheticRows:
    """Any row by its number, without holding the others: a million would fill the memory that is measured."""

    dimensions: int
    seed: int = 11

    def take(self, numbers: Rows) -> Vectors:
        """The rows of these numbers."""
        parts = numbers // PART
        found = np.empty((len(numbers), self.dimensions), np.float32)
        for part in np.unique(parts):
            here = parts == part
            found[here] = self._part(int(part))[numbers[here] - part * PART]
        return found

    def queries(self, numbers: Rows) -> Vectors:
        """A fresh wording of the question of each row."""
        rng = np.random.default_rng((self.seed, 3))
        return self._worded(self._questions(numbers // WORDINGS), rng)

    def _part(self, part: int) -> Vectors:
        numbers = np.arange(part * PART, (part + 1) * PART)
        return self._worded(self._questions(numbers // WORDINGS), np.random.default_rng((self.seed, 2, part)))

    def _questions(self, questions: Rows) -> Vectors:
        subjects, places = np.unique(questions // QUESTIONS, return_inverse=True)
        about = np.stack([self._drawn(0, int(subject)) for subject in subjects])[places]
        asked, places = np.unique(questions, return_inverse=True)
        own = np.stack([self._drawn(1, int(question)) for question in asked])[places]
        return unit(ASKED * about + (1 - ASKED**2) ** 0.5 * own)

    def _worded(self, questions: Vectors, rng: np.random.Generator) -> Vectors:
        own = unit(rng.standard_normal(questions.shape, np.float32))
        return unit(WORDED * questions + (1 - WORDED**2) ** 0.5 * own)

    def _drawn(self, kind: int, number: int) -> Vectors:
        return unit(np.random.default_rng((self.seed, 10 + kind, number)).standard_normal(self.dimensions, np.float32))
