"""Vectors in one byte a number: a quarter of their size, and their similarities exact to about 1e-3.

The numbers of a row are whole multiples of the row's own step, its largest number being 127 of them. A row that is
rounded once more stays as it is, so rows may be moved from segment to segment any number of times.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexes.vectors import Rows, Vectors

STEPS = 127


@dataclass(frozen=True, slots=True, repr=False)
class Rounded:
    """`numbers` [n, dimensions] and `steps` [n]: a row is the product of its two."""

    numbers: npt.NDArray[np.int8]
    steps: npt.NDArray[np.float32]

    @classmethod
    def empty(cls, count: int, dimensions: int) -> "Rounded":
        return cls(np.empty((count, dimensions), np.int8), np.empty(count, np.float32))

    def put(self, first: int, rows: Vectors) -> None:
        """Rounds rows into their places from `first` on."""
        steps = np.abs(rows).max(axis=1, initial=0).astype(np.float32) / np.float32(STEPS)
        steps[steps == 0] = 1  # of a row of nothing but zeros
        end = first + len(rows)
        self.steps[first:end] = steps
        self.numbers[first:end] = np.rint(rows / steps[:, None])

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, places: Rows | slice) -> Vectors:
        """The rows at some places."""
        return self.numbers[places].astype(np.float32) * self.steps[places, None]

    def times(self, places: Rows, query: Vectors) -> Vectors:
        """The similarity of the rows at some places to one query."""
        return (self.numbers[places].astype(np.float32) @ query) * self.steps[places]
