"""Rows searched by FAISS, which no other module knows: exact blocks, and segments of many rows.

A segment never changes, is small in memory and is searched by parts.

A search has two steps. Rows are sorted into *lists* by the nearest of some centres; of the lists nearest to a query all
rows are compared as codes of 4 bits for 4 numbers of what tells them from their centre (48 bytes a row, compared in the
processor's registers), and of the best ones the rows themselves (`indexes.rounded`) give the similarity. So what is
reported is exact to about 1e-3, and what can be missed is a row whose list or code looked far away: measured in
`bench.index`.

There are many lists, of which few are looked at: of a million rows one in ten is compared with a query.

A segment in a file is mapped, not read: processes share its rows, and the system may drop them from memory.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from indexes import mapped
from indexes.mapped import MappedError
from indexes.rounded import Rounded
from indexes.vectors import Among, ExactRows, Rows, Vectors, no_rows, search_some

LISTS_PER_ROOT = 2.0  # lists, as a multiple of the square root of the number of rows
SAMPLED = 50  # rows for each list from which the centres are learnt
ROUNDS = 8  # of learning them
PROBED = 0.1  # of the lists are compared with a query; a twentieth loses .6 % of the matches in 615,000 rows
FEWEST_PROBED = 32
WEIGHED = 256  # rows compared exactly at least; of 128, where very many are alike, some of the nearest are not
CODE_NUMBERS = 4  # numbers of a vector that share a code of 4 bits
FEWEST = 16  # rows from which a code of 4 bits can be learnt
CHUNK = 4096  # rows converted at a time

MAGIC = b"lethe-segment-3"

Taken = Callable[[Rows], Vectors]


class SegmentError(Exception):
    """A segment's file is damaged or of another kind; make it anew from the ledger."""


class Block(ExactRows):
    """Exact rows, compared by FAISS where they lie: half the time of numpy for the few queries of a request."""

    def search(self, queries: Vectors, k: int, among: Among | None = None) -> tuple[Vectors, Rows]:
        if among is not None:
            return search_some(self, queries, k, among)
        scores, found = no_rows(len(queries), k)
        k = min(k, len(self))
        if k and len(queries):
            faiss.omp_set_num_threads(1)  # see `Segment.search`
            scores[:, :k], found[:, :k] = faiss.knn(
                np.ascontiguousarray(queries, np.float32), self.vectors(), k, faiss.METRIC_INNER_PRODUCT
            )
        return scores, found


class Segment:
    """Implements `VectorRows` for rows that do not change."""

    def __init__(self, rows: Rounded, index: Any) -> None:
        self._rows = rows
        self._index = index
        index.nprobe = min(max(FEWEST_PROBED, int(PROBED * index.nlist)), index.nlist)
        self.path: Path | None = None
        """The file that it was opened from."""

    @classmethod
    def of(cls, parts: Iterable[tuple[Taken, int]], count: int, dimensions: int) -> "Segment":
        """A segment of `count` rows, FEWEST or more. Of each part it is said how to take rows, and how many it has."""
        rows = Rounded.empty(count, dimensions)
        used = 0
        for taken, size in parts:
            for first in range(0, size, CHUNK):
                numbers = np.arange(first, min(first + CHUNK, size))
                rows.put(used, taken(numbers))
                used += len(numbers)
        return cls(rows, _index_of(rows))

    def __len__(self) -> int:
        return len(self._rows)

    def vectors(self) -> Vectors:
        return self._rows.rows(slice(None))

    def rows(self, numbers: Rows) -> Vectors:
        return self._rows.rows(numbers)

    def search(self, queries: Vectors, k: int, among: Among | None = None) -> tuple[Vectors, Rows]:
        scores, found = no_rows(len(queries), k)
        if not len(queries) or (among is not None and not among.any()):
            return scores, found
        # Requests are searched side by side already. FAISS's own threads wait for each other by spinning: measured on
        # busy cores, 12 ms for what one thread does in 0.05 ms. The setting belongs to the calling thread.
        faiss.omp_set_num_threads(1)
        asked, weighed = np.ascontiguousarray(queries, np.float32), max(WEIGHED, 4 * k)
        if among is None:
            _, candidates = self._index.search(asked, weighed)
        else:
            bits = np.packbits(among, bitorder="little")  # held until the search is over
            only = faiss.IDSelectorBitmap(len(self), faiss.swig_ptr(bits))
            parameters: Any = faiss.SearchParametersIVF  # whose fields its types do not know
            wanted = parameters(sel=only, nprobe=self._index.nprobe)
            _, candidates = self._index.search(asked, weighed, params=wanted)
        for place, (query, numbers) in enumerate(zip(queries, candidates, strict=True)):
            rows = np.sort(numbers[numbers >= 0])  # in the order in which they lie in the file
            similarity = self._rows.times(rows, query)
            best = np.argsort(-similarity, kind="stable")[:k]
            scores[place, : len(best)], found[place, : len(best)] = similarity[best], rows[best]
        return scores, found

    # -- files

    def save(self, path: Path) -> None:
        """Writes a file that is there as a whole or not at all. Raises OSError."""
        arrays: mapped.Arrays = {"numbers": self._rows.numbers, "steps": self._rows.steps}
        mapped.write(path, MAGIC, {}, arrays | {"index": faiss.serialize_index(self._index)})

    @classmethod
    def open(cls, path: Path) -> "Segment":
        """Maps a file that `save` wrote, once its checksums are found right. Raises SegmentError."""
        try:
            _, arrays = mapped.read(path, MAGIC)
        except MappedError as error:
            raise SegmentError(f"a segment cannot be used: {error}") from None
        rows = Rounded(arrays["numbers"], arrays["steps"])
        segment = cls(rows, faiss.deserialize_index(np.array(arrays["index"])))
        segment.path = path
        return segment


def _index_of(rows: Rounded) -> Any:
    faiss.omp_set_num_threads(1)  # as in `search`; requests are served meanwhile
    count, dimensions = rows.numbers.shape
    lists = max(1, int(LISTS_PER_ROOT * count**0.5))
    codes = max(1, dimensions // CODE_NUMBERS)
    index: Any = faiss.index_factory(dimensions, f"IVF{lists},PQ{codes}x4fs", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = ROUNDS
    index.by_residual = True
    index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
    step = max(1, count // max(SAMPLED * lists, 1024))
    index.train(rows.rows(slice(None, None, step)))
    for first in range(0, count, CHUNK):
        index.add(rows.rows(slice(first, first + CHUNK)))
    return index
