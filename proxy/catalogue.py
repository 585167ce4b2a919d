"""The catalogue: forget sets and entries, kept in the ledger and enforced from the index.

A change goes: embed, commit to the ledger (durable), apply to the index, publish a generation, answer. The writer is
one thread, so changes are applied in the order in which they were committed. Whoever is told of a generation can rely
on it: every check that this process makes after that, also for answers in flight, sees at least this generation.

Other processes may write to the ledger too. What they wrote is applied by `follow`, in the same thread; a process that
has not heard from the ledger for longer than its lease checks nothing any more (`proxy.workers.lease`).
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
from indexes.entries import Entry, ForgetSet, State, Storage, check
from indexes.follower import IndexFollower
from indexes.generation import ForgetIndex, Generation
from indexes.ledger.records import (
    Change,
    Heads,
    Ledger,
    LedgerError,
    Member,
    Missing,
    NewEntry,
    Once,
    StoredKey,
)
from indexes.sealed import SealError, SealingKeys
from indexes.vectors import Vectors
from proxy.errors import GuardUnavailable
from proxy.keys import SCOPES, KeyRing, digest_of, new_key
from proxy.metrics import Metrics
from proxy.prepared import Prepared, prepare
from proxy.workers.lease import Lease

Arms = Mapping[str, Mapping[str, Any]]
"""Policy changes by the name of an arm; they win over those of a set."""

Result = TypeVar("Result")
_log = structlog.get_logger("lethe.catalogue")


@dataclass(frozen=True, slots=True)
class Added:
    """Entries in force from a generation; how long their embedding took, and the rest, in seconds.

    `ids` stand for what was to be added, `new` are those of them that were not there before.
    """

    generation: int
    ids: list[str]
    new: frozenset[str]
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
        sealing: SealingKeys | None = None,
        storage: Storage = Storage.CLEAR,
    ) -> None:
        """`anonymous` clients may ask while there is no key for clients. `sealing` are the keys of sealed entries, and
        `storage` is that of entries that do not say themselves.
        """
        self.sealing = sealing
        self.storage = storage
        self._anonymous = anonymous
        self._ledger = ledger
        self._embedder = embedder
        self._default = default
        self._metrics = metrics
        self._index = ForgetIndex(embedder.dimensions, sealing=sealing)
        self._follower = IndexFollower(ledger, self._index, embedder)
        self._heads = Heads(0, 0)
        self._writer = ThreadPoolExecutor(1, "ledger")
        self._embedding = ThreadPoolExecutor(1, "embed-entries")
        self._arms = arms
        self._chains: dict[str, tuple[object, Chain]] = {}
        self.keys = KeyRing((), anonymous=anonymous)
        self.lease = Lease()
        self._broken: str | None = None
        self._fenced: tuple[Generation, Generation] | None = None

    # -- reading

    @property
    def current(self) -> Generation:
        """The generation in force. While nothing may be checked it is another one than before, though its number is
        the same: answers in flight decide anew when it changes, and are refused then.
        """
        generation = self._index.current
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

    def chain(self, generation: Generation, arm: str) -> Chain:
        """The guards of an arm for a generation's sets; made anew only when the sets change."""
        made = self._chains.get(arm)
        if made is None or made[0] is not generation.sets:
            changes = self._arms.get(arm, {})
            made = self._chains[arm] = (generation.sets, Chain.of(generation.sets.values(), self._default, changes))
        return made[1]

    def policy_of(self, set_id: str) -> Policy:
        """The policy of a set in the guarded arm. Raises Missing."""
        found = self.current.sets.get(set_id)
        if found is None:
            raise Missing(f"there is no set '{set_id}'")
        return self._default.with_changes(found.policy)

    def use_policies(self, default: Policy, arms: Arms) -> None:
        """Replaces the global policy and the arms. Raises PolicyError, and changes nothing, when a set does not fit."""
        for changes in ({}, *arms.values()):
            Chain.of(self.current.sets.values(), default, changes)
        self._default, self._arms, self._chains = default, arms, {}

    @property
    def arms(self) -> Arms:
        """The arms beside `raw` and `guarded`."""
        return self._arms

    # -- life

    async def start(self) -> None:
        """Builds the index from the ledger; embeds only what it holds no vectors for. Raises LedgerError."""
        try:
            await self._write(self._catch_up)
        except SealError as error:
            raise LedgerError(str(error)) from None

    async def follow(self) -> int:
        """Applies what other processes have written; returns the generation in force. Raises LedgerError."""

        def look() -> int:
            if self._ledger.heads() != self._heads:
                self._catch_up()
            return self._index.current.number

        return await self._write(look)

    async def tell(self, member: Member) -> None:
        """Tells the other processes that this one lives. Raises LedgerError."""
        await self._write(lambda: self._ledger.beat(member))

    async def leave(self, member_id: str) -> None:
        """Tells the other processes that this one ends. Raises LedgerError."""
        await self._write(lambda: self._ledger.leave(member_id))

    async def members(self, within_s: float) -> list[Member]:
        """The processes that enforce the ledger and were seen within so many seconds. Raises LedgerError."""
        return await self._write(lambda: self._ledger.living(within_s))

    async def mark(self, name: str, first: str) -> str:
        """A value that all processes on the ledger share."""
        return await self._write(lambda: self._ledger.mark(name, first))

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
        started = time.perf_counter()
        new = await self._embedded(await asyncio.to_thread(prepare, entries, self.sealing))
        return await self._add(new, started, actor=actor, once=once)

    async def add_missing(self, entries: Sequence[Entry], *, actor: str) -> Added:
        """Adds those entries that say something that their set does not hold yet, all or none.

        Raises EntryError, Missing (no such set), Conflict.
        """
        started = time.perf_counter()
        prepared = await asyncio.to_thread(prepare, entries, self.sealing)
        there = await self._write(lambda: self._alike(prepared))
        fresh: dict[tuple[str, str], Prepared] = {}
        for one in prepared:
            if one.told not in there:
                fresh.setdefault(one.told, one)
        new = await self._embedded(list(fresh.values()))
        added = await self._add(new, started, actor=actor, skip_alike=True)
        there |= {one.told: stored for one, stored in zip(fresh.values(), added.ids, strict=True)}
        return replace(added, ids=[there[one.told] for one in prepared])

    async def change(self, entry: Entry, *, actor: str) -> Entry:
        """Changes everything but what an entry says. Raises EntryError or Missing."""
        check(entry)

        def commit() -> Entry:
            generation = self._ledger.change_entry(entry, actor=actor)
            rows = self._ledger.vectors(entry.id, self._embedder.name)
            if rows is None:
                self._enforce(generation, None)
            else:
                vectors = rows if len(rows) else np.empty((0, self._embedder.dimensions), np.float32)
                self._enforce(generation, lambda: self._index.put_entry(entry, vectors, generation))
            return replace(entry, generation=generation)

        return await self._change(commit)

    async def remove(self, set_id: str, entry_id: str, *, actor: str) -> int:
        """Removes an entry. Raises Missing."""

        def commit() -> int:
            generation = self._ledger.drop_entry(set_id, entry_id, actor=actor)
            self._enforce(generation, lambda: self._index.drop_entry(entry_id, generation))
            return generation

        return await self._change(commit)

    async def put_set(self, forget_set: ForgetSet, *, actor: str, create: bool) -> int:
        """Creates or changes a set. Raises PolicyError, Conflict, Missing."""
        self._default.with_changes(forget_set.policy)
        retain = (await self._embed([list(forget_set.retain)]))[0]

        def commit() -> int:
            generation = self._ledger.put_set(forget_set, retain, self._embedder.name, actor=actor, create=create)
            self._enforce(generation, lambda: self._index.put_set(forget_set, retain, generation))
            return generation

        return await self._change(commit)

    async def remove_set(self, set_id: str, *, actor: str) -> int:
        """Removes a set with its entries. Raises Missing."""

        def commit() -> int:
            generation = self._ledger.drop_set(set_id, actor=actor)
            self._enforce(generation, lambda: self._index.drop_set(set_id, generation))
            return generation

        return await self._change(commit)

    async def _embedded(self, prepared: Sequence[Prepared]) -> list[NewEntry]:
        vectors = await self._embed([one.cues for one in prepared])
        return [NewEntry(one.entry, rows, one.digest) for one, rows in zip(prepared, vectors, strict=True)]

    async def _add(
        self,
        new: Sequence[NewEntry],
        started: float,
        *,
        actor: str,
        once: Once | None = None,
        skip_alike: bool = False,
    ) -> Added:
        embedded = time.perf_counter()

        def commit() -> tuple[int, list[str]]:
            generation, ids = self._ledger.add_entries(
                new, self._embedder.name, actor=actor, once=once, skip_alike=skip_alike
            )
            mine = ids == [item.entry.id for item in new]  # else some are the answer to an earlier request

            def apply() -> None:
                for item in new:
                    self._index.put_entry(item.entry, item.vectors, generation)

            self._enforce(generation, apply if mine else None)
            return generation, ids

        generation, ids = await self._change(commit)
        fresh = frozenset(ids) & {item.entry.id for item in new}
        return Added(generation, ids, fresh, embed_s=embedded - started, apply_s=time.perf_counter() - embedded)

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
        """Makes a key that may do everything, unless it is there; returns its secret."""
        if secret is not None and self.keys.holds(digest_of(secret), SCOPES):
            return secret
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
                await self.change(replace(entry, state=State.DISABLED), actor="expiry")
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
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def _enforce(self, generation: int, apply: Callable[[], None] | None) -> None:
        """Brings the index to a generation that this process has committed: by itself, or from the ledger where others
        have written in between, or where nobody knows better.
        """
        served = self._index.current.number
        if generation <= served:
            return
        try:
            if apply is not None and generation == served + 1:
                apply()
                self._index.publish(generation)
                self._heads = Heads(generation, self._heads.keys)
                self._gauges()
            else:
                self._catch_up()
        except Exception as error:
            if self.lease.seconds is None or not isinstance(error, LedgerError):
                # Committed but not applied, and nobody will try again: serving on would mean serving old rules.
                self._broken = "the index could not follow the ledger; restart the server"
            _log.error("index_behind_ledger", committed=generation, served=served, fault=type(error).__name__)
            raise

    def _catch_up(self) -> None:
        heads = self._ledger.heads()
        self._follower.catch_up()
        self.keys = self._key_ring()
        self._heads = Heads(self._index.current.number, heads.keys)
        self._gauges()

    def _alike(self, prepared: Sequence[Prepared]) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for set_id in {one.entry.set_id for one in prepared}:
            digests = [one.digest for one in prepared if one.entry.set_id == set_id]
            found |= {(set_id, digest): entry_id for digest, entry_id in self._ledger.alike(set_id, digests).items()}
        return found

    def _key_ring(self) -> KeyRing:
        return KeyRing(self._ledger.keys(), anonymous=self._anonymous)

    def _gauges(self) -> None:
        self._metrics.generation.set(self.current.number)
        self._metrics.entries.set(self.current.entry_count)
