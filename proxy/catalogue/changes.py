"""Changes of forget sets and entries: embed, commit to the ledger (durable), apply to the index, answer."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import structlog

from indexes.embedder import Embedder
from indexes.entries import Entry, ForgetSet, State, check
from indexes.generation import ForgetIndex
from indexes.ledger.records import Ledger, Missing, NewEntry, Once
from indexes.sealed import SealingKeys
from indexes.vectors import Vectors
from proxy.catalogue.enforcing import Enforcing
from proxy.catalogue.policies import Policies
from proxy.errors import GuardUnavailable
from proxy.prepared import Prepared, prepare

_log = structlog.get_logger("lethe.changes")


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


class Changes:
    """What is changed is in force when a call returns."""

    def __init__(
        self, enforcing: Enforcing, embedder: Embedder, policies: Policies, sealing: SealingKeys | None
    ) -> None:
        self._enforcing = enforcing
        self._embedder = embedder
        self._policies = policies
        self._sealing = sealing
        self._embedding = ThreadPoolExecutor(1, "embed-entries")

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._embedding.shutdown, True)

    async def add(self, entries: Sequence[Entry], *, actor: str, once: Once | None = None) -> Added:
        """Adds entries, all or none. Raises EntryError, Missing (no such set), Conflict."""
        started = time.perf_counter()
        new = await self._embedded(await asyncio.to_thread(prepare, entries, self._sealing))
        return await self._add(new, started, actor=actor, once=once)

    async def add_missing(self, entries: Sequence[Entry], *, actor: str) -> Added:
        """Adds those entries that say something that their set does not hold yet, all or none.

        Raises EntryError, Missing (no such set), Conflict.
        """
        started = time.perf_counter()
        prepared = await asyncio.to_thread(prepare, entries, self._sealing)
        there = await self._enforcing.ask(lambda ledger: _alike(ledger, prepared))
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

        def commit(ledger: Ledger) -> Entry:
            generation = ledger.change_entry(entry, actor=actor)
            rows = ledger.vectors(entry.id, self._embedder.name)
            if rows is None:
                self._enforcing.enforce(generation, None)
            else:
                vectors = rows if len(rows) else np.empty((0, self._embedder.dimensions), np.float32)
                self._enforcing.enforce(generation, lambda index: index.put_entry(entry, vectors, generation))
            return replace(entry, generation=generation)

        return await self._enforcing.change(commit)

    async def remove(self, set_id: str, entry_id: str, *, actor: str) -> int:
        """Removes an entry. Raises Missing."""

        def commit(ledger: Ledger) -> int:
            generation = ledger.drop_entry(set_id, entry_id, actor=actor)
            self._enforcing.enforce(generation, lambda index: index.drop_entry(entry_id, generation))
            return generation

        return await self._enforcing.change(commit)

    async def put_set(self, forget_set: ForgetSet, *, actor: str, create: bool) -> int:
        """Creates or changes a set. Raises PolicyError, Conflict, Missing."""
        self._policies.default.with_changes(forget_set.policy)
        retain = (await self._embed([list(forget_set.retain)]))[0]

        def commit(ledger: Ledger) -> int:
            generation = ledger.put_set(forget_set, retain, self._embedder.name, actor=actor, create=create)
            self._enforcing.enforce(generation, lambda index: index.put_set(forget_set, retain, generation))
            return generation

        return await self._enforcing.change(commit)

    async def remove_set(self, set_id: str, *, actor: str) -> int:
        """Removes a set with its entries. Raises Missing."""

        def commit(ledger: Ledger) -> int:
            generation = ledger.drop_set(set_id, actor=actor)
            self._enforcing.enforce(generation, lambda index: index.drop_set(set_id, generation))
            return generation

        return await self._enforcing.change(commit)

    async def expire(self, now: datetime | None = None) -> int:
        """Disables the entries whose time has passed; returns how many."""
        moment = now or datetime.now(UTC)
        due = await self._enforcing.ask(lambda ledger: ledger.due(moment))
        for entry in due:
            with suppress(Missing):  # it was removed meanwhile
                await self.change(replace(entry, state=State.DISABLED), actor="expiry")
        return len(due)

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

        def commit(ledger: Ledger) -> tuple[int, list[str]]:
            generation, ids = ledger.add_entries(
                new, self._embedder.name, actor=actor, once=once, skip_alike=skip_alike
            )
            mine = ids == [item.entry.id for item in new]  # else some are the answer to an earlier request

            def apply(index: ForgetIndex) -> None:
                for item in new:
                    index.put_entry(item.entry, item.vectors, generation)

            self._enforcing.enforce(generation, apply if mine else None)
            return generation, ids

        generation, ids = await self._enforcing.change(commit)
        fresh = frozenset(ids) & {item.entry.id for item in new}
        return Added(generation, ids, fresh, embed_s=embedded - started, apply_s=time.perf_counter() - embedded)

    async def _embedded(self, prepared: Sequence[Prepared]) -> list[NewEntry]:
        vectors = await self._embed([one.cues for one in prepared])
        return [NewEntry(one.entry, rows, one.digest) for one, rows in zip(prepared, vectors, strict=True)]

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


def _alike(ledger: Ledger, prepared: Sequence[Prepared]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for set_id in {one.entry.set_id for one in prepared}:
        digests = [one.digest for one in prepared if one.entry.set_id == set_id]
        found |= {(set_id, digest): entry_id for digest, entry_id in ledger.alike(set_id, digests).items()}
    return found
