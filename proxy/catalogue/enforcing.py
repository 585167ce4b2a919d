"""Keeps the index what the ledger says: the one thread that commits changes and applies them.

Changes are applied in the order in which they were committed. Whoever is told of a generation can rely on it: every
check that this process makes after that, also for answers in flight, sees at least this generation.

Other processes may write to the ledger too. What they wrote is applied by `follow`, in the same thread; a process that
has not heard from the ledger for longer than its lease checks nothing any more (`proxy.workers.lease`).

Index and embedder are one thing (`Standing`): vectors of another embedder than its own mean nothing to an index, so
both are replaced in one step, `swap`.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from indexes.embedder import Embedder
from indexes.follower import IndexFollower
from indexes.forget_index import ForgetIndex
from indexes.ledger.records import Documents, Heads, Ledger, LedgerError
from indexes.sealed.keys import SealError, SealingKeys
from proxy.catalogue.pace import Pace
from proxy.keys import KeyRing
from proxy.metrics import Metrics
from proxy.reading import Reading, Served
from proxy.workers.lease import Lease

Result = TypeVar("Result")
_log = structlog.get_logger("lethe.enforcing")


SAY_EVERY_S = 2.0  # a line of progress while the server cannot start


@dataclass(frozen=True, repr=False)
class Standing:
    """An index, the reading of texts that are compared with it, and what keeps it at the ledger's newest generation."""

    reading: Reading
    index: ForgetIndex
    follower: IndexFollower

    @classmethod
    def on(cls, ledger: Ledger, reading: Reading, sealing: SealingKeys | None) -> "Standing":
        """With an empty index."""
        index = ForgetIndex(reading.embedder.dimensions, sealing=sealing)
        return cls(reading, index, IndexFollower(ledger, index, reading.embedder))


class Enforcing:
    """Owns ledger and index. What is in force is read without waiting; everything else runs in the writer's thread."""

    def __init__(
        self, ledger: Ledger, reading: Reading, metrics: Metrics, *, anonymous: bool, sealing: SealingKeys | None
    ) -> None:
        """`anonymous` clients may ask while there is no key for clients. `sealing` are the keys of sealed entries."""
        self._ledger = ledger
        self._metrics = metrics
        self._anonymous = anonymous
        self.sealing = sealing
        self._standing = Standing.on(ledger, reading, sealing)
        self._shown = self.index.current
        self._served = Served.of(self._shown, reading)
        self.also: tuple[Embedder, ...] = ()
        """Embedders whose vectors entries get as well: the one that comes, or the one that others still use."""
        self._heads = Heads(0, 0)
        self._writer = ThreadPoolExecutor(1, "ledger")
        self.keys = KeyRing((), anonymous=anonymous)
        self.documents: Documents = {}
        self.on_documents: list[Callable[[], object]] = []
        """Called in the writer's thread when documents have changed."""
        self.begin_from: Callable[[Ledger, Reading], Standing | None] = lambda *_: None
        """Finds what the server starts with, so that it need not be built. Called in the writer's thread."""
        self.lease = Lease()
        self._broken: str | None = None
        self._fenced: tuple[Served, Served] | None = None

    @property
    def index(self) -> ForgetIndex:
        """What is applied to; whoever only looks takes `current`."""
        return self._standing.index

    @property
    def reading(self) -> Reading:
        """How texts are read for the index in force."""
        return self._standing.reading

    @property
    def current(self) -> Served:
        """The generation in force. While nothing may be checked it is another one than before, though its number is
        the same: answers in flight decide anew when it changes, and are refused then.
        """
        served = self._served
        if self.broken is None:
            return served
        if self._fenced is None or self._fenced[0] is not served:
            self._fenced = served, replace(served)
        return self._fenced[1]

    @property
    def broken(self) -> str | None:
        """Why the index may not be what the ledger says; nothing is checked and the server is not ready then."""
        if self._broken is None and self.lease.expired:
            return f"the ledger has not answered for more than {self.lease.seconds:g} s"
        return self._broken

    # -- life

    async def start(self, alive: Callable[[], None] = lambda: None) -> None:
        """Builds the index from the ledger; embeds only what it holds no vectors for, and calls `alive` now and then
        while that goes on. Raises LedgerError.
        """
        try:
            await self.ask(lambda _: self._begin(alive))
        except SealError as error:
            raise LedgerError(str(error)) from None

    async def follow(self) -> int:
        """Applies what other processes have written; returns the generation in force. Raises LedgerError."""

        def look(ledger: Ledger) -> int:
            if ledger.heads() != self._heads:
                self._catch_up()
            return self.index.current.number

        return await self.ask(look)

    def beside(self) -> Ledger:
        """The ledger for another thread. Raises LedgerError."""
        return self._ledger.beside()

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.shutdown, True)
        await loop.run_in_executor(None, self._ledger.close)

    # -- in the writer's thread

    async def ask(self, work: Callable[[Ledger], Result]) -> Result:
        """Does something with the ledger. Raises LedgerError."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, self._ledger)

    async def change(self, commit: Callable[[Ledger], Result]) -> Result:
        """Does something that commits a change and calls `enforce`, to its end even if who asked for it has gone."""
        started = time.perf_counter()
        try:
            return await asyncio.shield(self.ask(commit))
        finally:
            self._metrics.hot_add_seconds.observe(time.perf_counter() - started)

    def enforce(self, generation: int, apply: Callable[[ForgetIndex], None] | None) -> None:
        """Brings the index to a generation that this process has committed: by itself, or from the ledger where others
        have written in between, or where nobody knows better. Called in the writer's thread.
        """
        served = self.index.current.number
        if generation <= served:
            return
        try:
            if apply is not None and generation == served + 1:
                apply(self.index)
                self.index.publish(generation)
                self._show()
                self._heads = replace(self._heads, generation=generation)
                self._gauges()
            else:
                self._catch_up()
        except Exception as error:
            if self.lease.seconds is None or not isinstance(error, LedgerError):
                # Committed but not applied, and nobody will try again: serving on would mean serving old rules.
                self._broken = "the index could not follow the ledger; restart the server"
            _log.error("index_behind_ledger", committed=generation, served=served, fault=type(error).__name__)
            raise

    def swap(self, standing: Standing) -> None:
        """Puts another index and its embedder in force, in one step, at the ledger's newest generation. What was read
        with the former embedder is compared with the former index, or read anew. Called in the writer's thread.

        Raises LedgerError, or whatever the embedder raises; then what was in force still is.
        """
        standing.follower.catch_up()
        self._standing = standing
        self._show()
        self._heads = replace(self._heads, generation=standing.index.current.number)
        self._gauges()

    def read_keys(self) -> None:
        """Puts the keys in force that the ledger holds. Called in the writer's thread."""
        self.keys = KeyRing(self._ledger.keys(), anonymous=self._anonymous)

    def _begin(self, alive: Callable[[], None]) -> None:
        """Finds or builds the index that the server starts with."""
        found = self.begin_from(self._ledger, self.reading)
        if found is not None:
            self._standing = found
        else:
            self._standing.follower.build(_Said(self._standing.reading.embedder.name, alive))
        self._catch_up()

    def _catch_up(self) -> None:
        heads = self._ledger.heads()
        self._standing.follower.catch_up()
        self._show()
        self.read_keys()
        if heads.documents != self._heads.documents:
            self.documents = self._ledger.documents()
            for call in self.on_documents:
                call()
        self._heads = replace(heads, generation=self.index.current.number)
        self._gauges()

    def _show(self) -> None:
        """From here on everyone sees what was published last."""
        if self._shown is not self.index.current:
            self._shown = self.index.current
            self._served = Served.of(self._shown, self.reading)

    def _gauges(self) -> None:
        self._metrics.generation.set(self.current.number)
        self._metrics.entries.set(self.current.entry_count)


class _Said:
    """Says why a start takes long: entries are embedded first. What is done is kept if the start is broken off."""

    def __init__(self, embedder: str, alive: Callable[[], None]) -> None:
        self._embedder = embedder
        self._alive = alive
        self._pace = Pace()
        self._said = float("-inf")

    def __call__(self, read: int, total: int, embedded: int) -> None:
        self._pace.tell(read, total, embedded)
        now = time.monotonic()
        done = read >= total
        if not embedded or (now - self._said < SAY_EVERY_S and not done):
            return
        self._said = now
        self._alive()
        _log.warning(
            "embedding_before_start",
            note="the ledger holds no vectors of this embedder for some entries",
            embedder=self._embedder,
            entries=f"{read} of {total}",
            per_s=round(self._pace.rate, 1),
            left_s=round(self._pace.left_s or 0),
        )
