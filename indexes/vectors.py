"""Nearest neighbours by inner product, over rows that are only ever added.

Two implementations of one contract: `ExactRows` in numpy is the reference and serves what is recent; large numbers of
rows are put together in the background into a `Segment`, which is smaller and is searched by parts. Rows are unit
vectors, so the inner product is the cosine similarity.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""Shape [n, dimensions], float32, unit length."""

Rows = npt.NDArray[np.int64]

Among = npt.NDArray[np.bool_]
"""Which of the rows may be found, [rows]."""

AROUND = 32
"""Rows of each part of a view that are told of what lies around a vector."""


class VectorRows(Protocol):
    """A fixed number of rows that can be searched."""

    def __len__(self) -> int: ...

    def search(self, queries: Vectors, k: int, among: Among | None = None) -> tuple[Vectors, Rows]:
        """The k best rows of each query: similarities and row numbers, both [len(queries), k], best first.

        Where there are fewer than k rows the rest is filled with similarity -1 and row -1. Only rows that are `among`
        those wanted count; None means all.
        """
        ...

    def vectors(self) -> Vectors:
        """All rows, [n, dimensions]."""
        ...

    def rows(self, numbers: Rows) -> Vectors:
        """The rows of these numbers, [len(numbers), dimensions]."""
        ...


def search_some(exact: "ExactRows", queries: Vectors, k: int, among: Among) -> tuple[Vectors, Rows]:
    """A search among some of the rows, which are copied."""
    places = np.flatnonzero(among)
    scores, found = type(exact)(exact.rows(places)).search(queries, k)
    return scores, np.where(found >= 0, places[found] if len(places) else found, -1)


def no_rows(queries: int, k: int) -> tuple[Vectors, Rows]:
    """The answer of `search` before anything was found."""
    return np.full((queries, k), -1, np.float32), np.full((queries, k), -1, np.int64)


class ExactRows:
    """Rows in a numpy array. A view of the first `count` rows of an array that may grow behind it."""

    def __init__(self, rows: Vectors) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def vectors(self) -> Vectors:
        return self._rows

    def rows(self, numbers: Rows) -> Vectors:
        return self._rows[numbers]

    def search(self, queries: Vectors, k: int, among: Among | None = None) -> tuple[Vectors, Rows]:
        if among is not None:
            return search_some(self, queries, k, among)
        scores, found = no_rows(len(queries), k)
        k = min(k, len(self))
        if k and len(queries):
            similarity = queries @ self._rows.T
            best = np.argpartition(-similarity, k - 1, axis=1)[:, :k] if k < len(self) else None
            if best is None:
                best = np.broadcast_to(np.arange(len(self)), similarity.shape)
            order = np.argsort(-np.take_along_axis(similarity, best, 1), axis=1, kind="stable")
            best = np.take_along_axis(best, order, 1)
            scores[:, :k] = np.take_along_axis(similarity, best, 1)
            found[:, :k] = best
        return scores, found


class VectorView:
    """The rows known at one moment. Implements `VectorRows`."""

    def __init__(self, blocks: tuple[VectorRows, ...], tail: ExactRows) -> None:
        self._tail = tail
        self._held = _Held.of(blocks, tail)

    def renew(self, before: tuple[VectorRows, ...], after: tuple[VectorRows, ...]) -> None:
        """Takes other blocks that hold the same rows, so that the first ones may go."""
        blocks = self._held.blocks
        if blocks[: len(before)] == before:
            self._held = _Held.of((*after, *blocks[len(before) :]), self._tail)  # readers see the one or the other

    def __len__(self) -> int:
        return self._held.count

    def blocks(self) -> tuple[VectorRows, ...]:
        """Its parts; what they hold does not change."""
        return tuple(rows for _, rows in self._held.parts if len(rows))

    def vectors(self) -> Vectors:
        return np.concatenate([part.vectors() for _, part in self._held.parts])

    def rows(self, numbers: Rows) -> Vectors:
        parts = self._held.parts
        of_part = np.searchsorted([start for start, _ in parts], numbers, side="right") - 1
        found = np.empty((len(numbers), self._tail.vectors().shape[1]), np.float32)
        for place, (start, part) in enumerate(parts):
            here = of_part == place
            found[here] = part.rows(numbers[here] - start)
        return found

    def remembering(self) -> "VectorView":
        """The same rows, for one request in one thread: what lies around a vector is searched once."""
        return _Remembering(self._held.blocks, self._tail)

    def near(self, queries: Vectors, level: float) -> Rows:
        """The rows whose similarity to any of the queries is `level` or more; of very many, the nearest."""
        scores, rows = self._found(queries, AROUND)
        return np.unique(rows[(rows >= 0) & (scores >= level)])

    def search(self, queries: Vectors, k: int, among: Among | None = None) -> tuple[Vectors, Rows]:
        scores, rows = self._found(queries, k, among)
        return scores[:, :k], rows[:, :k]

    def _found(self, queries: Vectors, k: int, among: Among | None = None) -> tuple[Vectors, Rows]:
        """The k best rows of every part for each query, or some more, best first."""
        found = [
            (start, part.search(queries, k, None if among is None else among[start : start + len(part)]))
            for start, part in self._held.parts
        ]
        if len(found) == 1:
            return found[0][1]
        scores = np.concatenate([scores for _, (scores, _) in found], axis=1)
        rows = np.concatenate([np.where(rows >= 0, rows + start, -1) for start, (_, rows) in found], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


class _Remembering(VectorView):
    """A view that is not renewed, and keeps what it found around each vector."""

    def __init__(self, blocks: tuple[VectorRows, ...], tail: ExactRows) -> None:
        super().__init__(blocks, tail)
        self._known: dict[bytes, tuple[Vectors, Rows]] = {}

    def _found(self, queries: Vectors, k: int, among: Among | None = None) -> tuple[Vectors, Rows]:
        if among is not None or k > AROUND or not len(queries):
            return super()._found(queries, k, among)
        keys = [query.tobytes() for query in queries]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            found = super()._found(queries[list(new.values())], AROUND)
            self._known.update(zip(new, zip(*found, strict=True), strict=True))
        scores, rows = zip(*(self._known[key] for key in keys), strict=True)
        return np.stack(scores), np.stack(rows)


@dataclass(frozen=True, slots=True)
class _Held:
    """The parts of a view, each with the number of its first row; there is always one."""

    blocks: tuple[VectorRows, ...]
    parts: tuple[tuple[int, VectorRows], ...]
    count: int

    @classmethod
    def of(cls, blocks: tuple[VectorRows, ...], tail: ExactRows) -> "_Held":
        parts: list[tuple[int, VectorRows]] = []
        count = 0
        for part in (*blocks, tail):
            if len(part):
                parts.append((count, part))
                count += len(part)
        return cls(blocks, tuple(parts) or ((0, tail),), count)
