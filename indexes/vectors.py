"""Exact nearest neighbours by inner product, over rows that are only ever added.

Two implementations of one contract, run by the same tests: `ExactRows` in numpy is the reference and serves the recent
tail; `FaissRows` serves the bulk. Rows are unit vectors, so the inner product is the cosine similarity.
"""

from typing import Protocol

import faiss
import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""Shape [n, dimensions], float32, unit length."""

Rows = npt.NDArray[np.int64]


class VectorRows(Protocol):
    """A fixed number of rows that can be searched."""

    def __len__(self) -> int: ...

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        """The k best rows of each query: similarities and row numbers, both [len(queries), k], best first.

        Where there are fewer than k rows the rest is filled with similarity -1 and row -1.
        """
        ...

    def vectors(self) -> Vectors:
        """All rows, [n, dimensions]."""
        ...

    def rows(self, numbers: Rows) -> Vectors:
        """The rows of these numbers, [len(numbers), dimensions]."""
        ...


def _empty(queries: int, k: int) -> tuple[Vectors, Rows]:
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

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        scores, found = _empty(len(queries), k)
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


class FaissRows:
    """Rows in a FAISS flat inner-product index; immutable once built."""

    def __init__(self, rows: Vectors) -> None:
        self._index = faiss.IndexFlatIP(rows.shape[1])
        self._index.add(np.ascontiguousarray(rows, np.float32))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def vectors(self) -> Vectors:
        rows: Vectors = self._index.reconstruct_n(0, len(self))
        return rows

    def rows(self, numbers: Rows) -> Vectors:
        found: Vectors = self._index.reconstruct_batch(numbers)
        return found

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        scores, found = _empty(len(queries), k)
        k = min(k, len(self))
        if k and len(queries):
            # Requests are searched side by side already. FAISS's own threads wait for each other by spinning: measured
            # on busy cores, 12 ms for what one thread does in 0.05 ms. The setting belongs to the calling thread.
            faiss.omp_set_num_threads(1)
            scores[:, :k], found[:, :k] = self._index.search(np.ascontiguousarray(queries, np.float32), k)
        return scores, found


class GrowingVectors:
    """Append-only vectors: an immutable FAISS bulk and an exact tail that readers see up to the row they know.

    One writer. A reader takes `view()` once and searches that: rows added later do not appear in it.
    """

    def __init__(self, dimensions: int, bulk_at: int = 4096) -> None:
        self.dimensions = dimensions
        self._bulk_at = bulk_at
        self._bulk: VectorRows = ExactRows(np.empty((0, dimensions), np.float32))
        self._tail: Vectors = np.empty((64, dimensions), np.float32)
        self._used = 0

    def __len__(self) -> int:
        return len(self._bulk) + self._used

    def add(self, rows: Vectors) -> None:
        """Appends rows, [n, dimensions]."""
        if not len(rows):  # of whatever width: an entry may have names only
            return
        if self._used + len(rows) > self._bulk_at:
            self._bulk = FaissRows(np.concatenate([self._bulk.vectors(), self._tail[: self._used], rows]))
            self._tail, self._used = np.empty_like(self._tail), 0
            return
        if self._used + len(rows) > len(self._tail):
            # Readers keep the array they hold; only the writer moves to the larger one.
            grown = np.empty((max(2 * len(self._tail), self._used + len(rows)), self.dimensions), np.float32)
            grown[: self._used] = self._tail[: self._used]
            self._tail = grown
        self._tail[self._used : self._used + len(rows)] = rows
        self._used += len(rows)

    def view(self) -> "VectorView":
        """What a reader sees now."""
        return VectorView(self._bulk, ExactRows(self._tail[: self._used]))


class VectorView:
    """The rows known at one moment. Implements `search` as `VectorRows` does."""

    def __init__(self, bulk: VectorRows, tail: ExactRows) -> None:
        self._bulk = bulk
        self._tail = tail

    def __len__(self) -> int:
        return len(self._bulk) + len(self._tail)

    def vectors(self) -> Vectors:
        return np.concatenate([self._bulk.vectors(), self._tail.vectors()])

    def rows(self, numbers: Rows) -> Vectors:
        bulk = numbers < len(self._bulk)
        found = np.empty((len(numbers), self._tail.vectors().shape[1]), np.float32)
        found[bulk] = self._bulk.rows(numbers[bulk])
        found[~bulk] = self._tail.rows(numbers[~bulk] - len(self._bulk))
        return found

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        if not len(self._bulk):
            return self._tail.search(queries, k)
        bulk_scores, bulk_rows = self._bulk.search(queries, k)
        if not len(self._tail):
            return bulk_scores, bulk_rows
        tail_scores, tail_rows = self._tail.search(queries, k)
        tail_rows = np.where(tail_rows >= 0, tail_rows + len(self._bulk), -1)
        scores = np.concatenate([bulk_scores, tail_scores], axis=1)
        rows = np.concatenate([bulk_rows, tail_rows], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
