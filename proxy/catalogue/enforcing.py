"""Keeps the index what the ledger says: the one thread that commits changes and applies them.

Changes are applied in the order in which they were committed. Whoever is told of a generation can rely on it: every
check that this process makes after that, also for answers in flight, sees at least this generation.

Other processes may write to the ledger too. What they wrote is applied by `follow`, in the same thread; a process that
has not heard from the ledger for longer than its lease checks nothing any more (`proxy.workers.lease`).
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import structlog

from indexes.embedder import Embedder
from indexes.follower import IndexFollower
from indexes.generation import ForgetIndex, Generation
from indexes.ledger.records import Documents, Heads, Ledger, LedgerError
from indexes.sealed import SealError, SealingKeys
from proxy.keys import KeyRing
from proxy.metrics import Metrics
from proxy.workers.lease import Lease

Result = TypeVar("Result")
_log = structlog.get_logger("lethe.enforcing")


class Enforcing:
    """Owns ledger and index. What is in force is read without waiting; everything else runs in the writer's thread."""

    def __init__(
        self, ledger: Ledger, embedder: Embedder, metrics: Metrics, *, anonymous: bool, sealing: SealingKeys | None
    ) -> None:
        """`anonymous` clients may ask while there is no key for clients. `sealing` are the keys of sealed entries."""
        self._ledger = ledger
        self._metrics = metrics
        self._anonymous = anonymous
        self.index = ForgetIndex(embedder.dimensions, sealing=sealing)
        self._follower = IndexFollower(ledger, self.index, embedder)
        self._heads = Heads(0, 0)
        self._writer = ThreadPoolExecutor(1, "ledger")
        self.keys = KeyRing((), anonymous=anonymous)
        self.documents: Documents = {}
        self.on_documents: list[Callable[[], object]] = []
        """Called in the writer's thread when documents have changed."""
        self.lease = Lease()
        self._broken: str | None = None
        self._fenced: tuple[Generation, Generation] | None = None

    @property
    def current(self) -> Generation:
        """The generation in force. While nothing may be checked it is another one than before, though its number is
        the same: answers in flight decide anew when it changes, and are refused then.
        """
        generation = self.index.current
        if self.broken is None:
            return generation
        if self._fenced is None or self._fenced[0] is not generation:
            self._fenced = generation, replace(generation)
        return self._fenced[1]

    @property
    def broken(self) -> str | None:
        """Why the index may not be what the ledger says; nothing is checked and the server is not ready then."""
        if self._broken is None and self.lease.expired:
            return f"the ledger has not answered for more than {self.lease.seconds:g} s"
        return self._broken

    # -- life

    async def start(self) -> None:
        """Builds the index from the ledger; embeds only what it holds no vectors for. Raises LedgerError."""
        try:
            await self.ask(lambda _: self._catch_up())
        except SealError as error:
            raise LedgerError(str(error)) from None

    async def follow(self) -> int:
        """Applies what other processes have written; returns the generation in force. Raises LedgerError."""

        def look(ledger: Ledger) -> int:
            if ledger.heads() != self._heads:
                self._catch_up()
            return self.index.current.number

        return await self.ask(look)

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

    def read_keys(self) -> None:
        """Puts the keys in force that the ledger holds. Called in the writer's thread."""
        self.keys = KeyRing(self._ledger.keys(), anonymous=self._anonymous)

    def _catch_up(self) -> None:
        heads = self._ledger.heads()
        self._follower.catch_up()
        self.read_keys()
        if heads.documents != self._heads.documents:
            self.documents = self._ledger.documents()
            for call in self.on_documents:
                call()
        self._heads = replace(heads, generation=self.index.current.number)
        self._gauges()

    def _gauges(self) -> None:
        self._metrics.generation.set(self.current.number)
        self._metrics.entries.set(self.current.entry_count)
