"""Rows: which slot each row of the vectors belongs to, and the details of its text.

A table of rows is a *base* that does not change (`FrozenRows`, arrays) and what came after, numbered through.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from indexes.columns import Appended, Array, Blobs, Columns, part, under


class FrozenRows:
    """Rows in arrays; details are those of `indexes.names.details`."""

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self._columns = dict(columns)
        self._slots = columns["slots"].data
        self._details = Blobs(part("details", columns))

    @classmethod
    def of(cls, slots: npt.ArrayLike, details: Sequence[bytes]) -> "FrozenRows":
        return cls({"slots": np.array(slots, np.uint32), **under("details", Blobs.of(details).columns())})

    def and_then(self, others: "FrozenRows") -> "FrozenRows":
        """With others behind."""
        slots = np.concatenate([self._columns["slots"], others._columns["slots"]])
        return FrozenRows({"slots": slots, **under("details", self._details.and_then(others._details).columns())})

    def __len__(self) -> int:
        return len(self._slots)

    def slot(self, row: int) -> int:
        return self._slots[row]

    def details(self, row: int) -> bytes:
        return self._details[row]

    def slots(self) -> Array:
        """The slots of all rows, [rows]."""
        return self._columns["slots"]

    def columns(self) -> Columns:
        return self._columns


class RowTable:
    """All rows of an index: base and tail. Append-only, one writer."""

    def __init__(self, base: FrozenRows | None = None) -> None:
        self._base = base if base is not None else FrozenRows.of((), ())
        self._first = len(self._base)
        self._slots = Appended(np.uint32)
        self._details: list[bytes] = []

    def __len__(self) -> int:
        return self._first + len(self._slots)

    def add(self, slot: int, details: Sequence[bytes]) -> None:
        """Rows of a slot, one for each of the details. Comes before their vectors: who sees a row looks it up here."""
        self._details.extend(details)
        self._slots.extend([slot] * len(details))

    def slot(self, row: int) -> int:
        return self._base.slot(row) if row < self._first else self._slots[row - self._first]

    def details(self, row: int) -> bytes:
        return self._base.details(row) if row < self._first else self._details[row - self._first]

    def slots(self, count: int) -> Array:
        """The slots of the first rows, [count], of which there are no fewer than the base has."""
        return np.concatenate([self._base.slots(), self._slots.first(count - self._first)])

    def frozen(self) -> FrozenRows:
        """Base and tail as one."""
        return self._base.and_then(FrozenRows.of(self._slots.first(len(self._slots)), self._details))
