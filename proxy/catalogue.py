"""The catalogue: forget sets and entries, kept in the ledger and enforced from the index.

A change goes: embed, commit to the ledger (durable), apply to the index, publish a generation, answer. The writer is
one thread, so changes are applied in the order in which they were committed. Whoever is told of a generation can rely
on it: every check made after that, also for answers in flight, sees at least this generation.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import structlog

from guards.chain import Chain
from guards.policy import Policy
from indexes.embedder import Embedder
from indexes.entries import Entry, ForgetSet, State, check
from indexes.generation import ForgetIndex, Generation, cues
from indexes.ledger.records import Change, Ledger, Missing, NewEntry, Once, StoredKey, set_owner
from indexes.vectors import Vectors
from proxy.errors import GuardUnavailable
from proxy.keys import SCOPES, KeyRing, new_key
from proxy.metrics import Metrics

PAGE = 1000  # entries read from the ledger at a time

Arms = Mapping[str, Mapping[str, Any]]
"""Policy changes by the name of an arm; they win over those of a set."""

Result = TypeVar("Result")
_log = structlog.get_logger("lethe.catalogue")


@dataclass(frozen=True, slots=True)
class Added:
    """Entries in force from a generation; how long their embedding took, and the rest, in seconds."""

    generation: int
    ids: list[str]
    embed_s: float
    apply_s: float


class Catalogue:
    """Owns ledger and index. Reads are synchronous and never wait; changes are coroutines."""

    def __init__(
        self,
        ledger: Ledger,
        embedder: Embedder,
        default: Policy,
        metrics: Metrics,
        *,
        anonymous: bool = True,
        arms: Arms = MappingProxyType({}),
    ) -> None:
        """`anonymous` clients may ask while there is no key for clients."""
        self._anonymous = anonymous
        self._ledger = ledger
        self._embedder = embedder
        self._default = default
        self._metrics = metrics
        self._index = ForgetIndex(embedder.dimensions)
        self._writer = ThreadPoolExecutor(1, "ledger")
        self._embedding = ThreadPoolExecutor(1, "embed-entries")
        self._arms = arms
        self._chains: dict[str, tuple[object, Chain]] = {}
        self.keys = KeyRing((), anonymous=anonymous)
        self.broken: str | None = None
        """Why the index no longer follows the ledger; the server is not ready then."""

    # -- reading

    @property
    def current(self) -> Generation:
        """The generation in force."""
        return self._index.current

    def chain(self, generation: Generation, arm: str) -> Chain:
        """The guards of an arm for a generation's sets; made anew only when the sets change."""
        made = self._chains.get(arm)
        if made is None or made[0] is not generation.sets:
            changes = self._arms.get(arm, {})
            made = self._chains[arm] = (generation.sets, Chain.of(generation.sets.values(), self._default, changes))
        return made[1]

    def use_policies(self, default: Policy, arms: Arms) -> None:
        """Replaces the global policy and the arms."""
        self._default, self._arms, self._chains = default, arms, {}

    @property
    def arms(self) -> Arms:
        """The arms beside `raw` and `guarded`."""
        return self._arms

    # -- life

    async def start(self) -> None:
        """Builds the index from the ledger; embeds only what it holds no vectors for."""
        await self._write(self._load)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._embedding.shutdown, True)
        await loop.run_in_executor(None, self._writer.shutdown, True)
        await loop.run_in_executor(None, self._ledger.close)

    # -- changes

    async def add(self, entries: Sequence[Entry], *, actor: str, once: Once | None = None) -> Added:
        """Adds entries, all or none. They are in force when this returns.

        Raises EntryError, Missing (no such set), Conflict.
        """
        for entry in entries:
            check(entry)
        started = time.perf_counter()
        vectors = await self._embed([cues(entry) for entry in entries])
        embedded = time.perf_counter()
        new = [NewEntry(entry, rows) for entry, rows in zip(entries, vectors, strict=True)]

        def commit() -> tuple[int, list[str]]:
            generation, ids = self._ledger.add_entries(new, self._embedder.name, actor=actor, once=once)
            if generation > self.current.number:  # else it is the answer to a repeated request
                for item in new:
                    self._index.put_entry(item.entry, item.vectors, generation)
                self._index.publish(generation)
            return generation, ids

        generation, ids = await self._change(commit)
        return Added(generation, ids, embed_s=embedded - started, apply_s=time.perf_counter() - embedded)

    async def replace(self, entry: Entry, *, actor: str) -> Entry:
        """Replaces an entry as a whole. Raises EntryError or Missing."""
        check(entry)
        vectors = (await self._embed([cues(entry)]))[0]

        def commit() -> Entry:
            generation = self._ledger.replace_entry(NewEntry(entry, vectors), self._embedder.name, actor=actor)
            self._index.put_entry(entry, vectors, generation)
            self._index.publish(generation)
            return replace(entry, generation=generation)

        return await self._change(commit)

    async def remove(self, set_id: str, entry_id: str, *, actor: str) -> int:
        """Removes an entry. Raises Missing."""

        def commit() -> int:
            generation = self._ledger.drop_entry(set_id, entry_id, actor=actor)
            self._index.drop_entry(entry_id, generation)
            return self._index.publish(generation).number

        return await self._change(commit)

    async def put_set(self, forget_set: ForgetSet, *, actor: str, create: bool) -> int:
        """Creates or changes a set. Raises PolicyError, Conflict, Missing."""
        self._default.with_changes(forget_set.policy)
        retain = (await self._embed([list(forget_set.retain)]))[0]

        def commit() -> int:
            generation = self._ledger.put_set(forget_set, retain, self._embedder.name, actor=actor, create=create)
            self._index.put_set(forget_set, retain, generation)
            return self._index.publish(generation).number

        return await self._change(commit)

    async def remove_set(self, set_id: str, *, actor: str) -> int:
        """Removes a set with its entries. Raises Missing."""

        def commit() -> int:
            generation = self._ledger.drop_set(set_id, actor=actor)
            self._index.drop_set(set_id, generation)
            return self._index.publish(generation).number

        return await self._change(commit)

    # -- looking things up in the ledger

    async def entry(self, set_id: str, entry_id: str) -> Entry:
        """Raises Missing."""
        return await self._write(lambda: self._ledger.entry(set_id, entry_id))

    async def entries(self, set_id: str | None, after: str, limit: int) -> list[Entry]:
        """Entries by id, after a given one."""

        def read() -> list[Entry]:
            if set_id is not None and set_id not in self.current.sets:
                raise Missing(f"there is no set '{set_id}'")
            return self._ledger.entries(set_id, after, limit)

        return await self._write(read)

    async def changes(self, after: int, limit: int) -> list[Change]:
        """The change log after a generation."""
        return await self._write(lambda: self._ledger.changes(after, limit))

    async def put_key(self, key: StoredKey) -> None:
        def commit() -> None:
            self._ledger.put_key(key)
            self.keys = self._key_ring()

        await self._write(commit)

    async def make_admin_key(self, secret: str | None = None) -> str:
        """Makes a key that may do everything; returns its secret."""
        secret, key = new_key(SCOPES, "start", secret)
        await self.put_key(key)
        return secret

    async def drop_key(self, key_id: str) -> None:
        """Raises Missing."""

        def commit() -> None:
            self._ledger.drop_key(key_id)
            self.keys = self._key_ring()

        await self._write(commit)

    async def stored_keys(self) -> list[StoredKey]:
        return await self._write(self._ledger.keys)

    async def expire(self, now: datetime | None = None) -> int:
        """Disables the entries whose time has passed; returns how many."""
        moment = now or datetime.now(UTC)
        due = await self._write(lambda: self._ledger.due(moment))
        for entry in due:
            with suppress(Missing):  # it was removed meanwhile
                await self.replace(replace(entry, state=State.DISABLED), actor="expiry")
        return len(due)

    # -- inside

    async def _embed(self, groups: Sequence[Sequence[str]]) -> list[Vectors]:
        """Embeds groups of texts in one go; one array for each group."""
        flat = [text for group in groups for text in group]
        if not flat:
            return [np.empty((0, self._embedder.dimensions), np.float32) for _ in groups]
        loop = asyncio.get_running_loop()
        try:
            vectors = await loop.run_in_executor(self._embedding, self._embedder.embed, flat)
        except Exception as error:  # without vectors an entry would be kept and not enforced
            _log.error("embedder_failed", fault=type(error).__name__)
            raise GuardUnavailable("the embedder failed; nothing was changed", retry_after_s=1) from error
        ends = np.cumsum([len(group) for group in groups])
        return [np.asarray(rows, np.float32) for rows in np.split(vectors, ends[:-1])]

    async def _change(self, commit: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        try:
            # A change that was begun is finished, even if the one who asked for it has gone.
            return await asyncio.shield(self._write(commit))
        finally:
            self._metrics.hot_add_seconds.observe(time.perf_counter() - started)

    async def _write(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._guarded, work)

    def _guarded(self, work: Callable[[], Result]) -> Result:
        before = self._ledger.generation()
        try:
            return work()
        finally:
            if self.current.number != before:
                self._gauges()
            if self._ledger.generation() != before and self.current.number != self._ledger.generation():
                # Committed but not applied: serving on would mean serving old rules.
                self.broken = "the index could not follow the ledger; restart the server"
                _log.error("index_behind_ledger", committed=self._ledger.generation(), served=self.current.number)

    def _all_entries(self) -> list[Entry]:
        found: list[Entry] = []
        while page := self._ledger.entries(None, found[-1].id if found else "", PAGE):
            found += page
        return found

    def _load(self) -> None:
        generation = self._ledger.generation()
        for forget_set in self._ledger.sets():
            rows = self._stored(set_owner(forget_set.id), list(forget_set.retain))
            self._index.put_set(forget_set, rows, generation)
        for entry in self._all_entries():
            self._index.put_entry(entry, self._stored(entry.id, cues(entry)), generation)
        self._index.publish(generation)
        self.keys = self._key_ring()
        self._gauges()

    def _stored(self, owner: str, texts: list[str]) -> Vectors:
        rows = self._ledger.vectors(owner, self._embedder.name)
        if rows is not None and len(rows) == len(texts):
            return rows if len(rows) else np.empty((0, self._embedder.dimensions), np.float32)
        made = self._embedder.embed(texts)
        self._ledger.keep_vectors([(owner, made)], self._embedder.name)
        return made

    def _key_ring(self) -> KeyRing:
        return KeyRing(self._ledger.keys(), anonymous=self._anonymous)

    def _gauges(self) -> None:
        self._metrics.generation.set(self.current.number)
        self._metrics.entries.set(self.current.entry_count)
