"""Vectors that are added while they are searched."""

from threading import Lock, Thread

import numpy as np

from indexes.segments import Block, Segment
from indexes.vectors import VectorRows, Vectors, VectorView

SEGMENT_ROWS = 32768  # from which rows become a segment: exact search takes 0.03 ms for each thousand
MANY_BLOCKS = 8  # blocks that are put together although they are small
GATHERED = 4096  # rows from which a segment is worth it where nobody waits for it
BEHIND = 4  # segments' worth of rows that may wait to be put together


class GrowingVectors:
    """Append-only vectors: blocks of rows that never change, and an exact tail that readers see up to what they know.

    One writer. A reader takes `view()` once and searches that: rows added later do not appear in it. Blocks are put
    together by a thread of their own (`settle` waits for it); a row keeps its number, so that readers do not notice.
    """

    def __init__(
        self,
        dimensions: int,
        bulk_at: int = 4096,
        segment_at: int = SEGMENT_ROWS,
        blocks: tuple[VectorRows, ...] = (),
    ) -> None:
        self.dimensions = dimensions
        self._bulk_at = bulk_at
        self._segment_at = segment_at
        self._blocks = blocks
        self._tail: Vectors = np.empty((64, dimensions), np.float32)
        self._used = 0
        self._swap = Lock()
        self._putting_together: Thread | None = None
        self._latest: VectorView | None = None

    def __len__(self) -> int:
        return sum(map(len, self._blocks)) + self._used

    def add(self, rows: Vectors) -> None:
        """Appends rows, [n, dimensions]."""
        if not len(rows):  # of whatever width: an entry may have names only
            return
        if len(rows) > self._bulk_at:
            self._close_tail()
            self._close(Block(np.array(rows, np.float32)))
            self._put_together()
            return
        if self._used + len(rows) > self._bulk_at:
            self._close_tail()
            self._put_together()
        if self._used + len(rows) > len(self._tail):
            # Readers keep the array they hold; only the writer moves to the larger one.
            grown = np.empty((max(2 * len(self._tail), self._used + len(rows)), self.dimensions), np.float32)
            grown[: self._used] = self._tail[: self._used]
            self._tail = grown
        self._tail[self._used : self._used + len(rows)] = rows
        self._used += len(rows)

    def view(self) -> VectorView:
        """What a reader sees now."""
        with self._swap:
            self._latest = VectorView(self._blocks, Block(self._tail[: self._used]))
        return self._latest

    def settle(self) -> None:
        """Waits until nothing is left to be put together."""
        while self._putting_together is not None:
            self._putting_together.join()
            self._putting_together = None
            self._put_together()

    def gather(self) -> None:
        """Settles, with every row in a segment unless they are few: for what is kept in files and searched for long."""
        self.settle()
        self._close_tail()
        exact = sum(len(block) for block in self._blocks if isinstance(block, Block))
        if exact >= min(GATHERED, self._segment_at):
            self._join_blocks(exact)

    def _close_tail(self) -> None:
        if self._used:
            self._close(Block(self._tail[: self._used]))
            self._tail, self._used = np.empty_like(self._tail[:64]), 0

    def _close(self, block: Block) -> None:
        with self._swap:
            self._blocks = (*self._blocks, block)

    def _put_together(self) -> None:
        """Starts putting blocks together where there are enough, and waits where far too many are exact."""
        exact = [block for block in self._blocks if isinstance(block, Block)]
        rows = sum(map(len, exact))
        if len(exact) < MANY_BLOCKS and rows < self._segment_at:
            return
        running = self._putting_together
        if running is not None and running.is_alive():
            if rows <= BEHIND * self._segment_at:
                return
            running.join()  # rows come faster than they are put together: memory is worth more than this caller's time
        self._putting_together = Thread(target=self._join_blocks, args=(self._segment_at,), name="vectors", daemon=True)
        self._putting_together.start()

    def _join_blocks(self, segment_at: int) -> None:
        blocks = self._blocks
        first = next(i for i, block in enumerate(blocks) if isinstance(block, Block))
        rows = sum(map(len, blocks[first:]))
        joined: VectorRows
        if rows < segment_at:
            joined = Block(np.concatenate([block.vectors() for block in blocks[first:]]))
        else:
            while first and len(blocks[first - 1]) <= 2 * rows:  # so that segments stay few and each row moves seldom
                first -= 1
                rows += len(blocks[first])
            parts = ((block.rows, len(block)) for block in blocks[first:])
            joined = Segment.of(parts, rows, self.dimensions)
        with self._swap:
            self._blocks = (*blocks[:first], joined, *self._blocks[len(blocks) :])
            if self._latest is not None:
                self._latest.renew(blocks, (*blocks[:first], joined))  # older ones go with the streams that hold them
