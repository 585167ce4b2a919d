"""Changes of forget sets and entries: embed, commit to the ledger (durable), apply to the index, answer."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from indexes.entries import Entry, ForgetSet, State, check
from indexes.forget_index import ForgetIndex
from indexes.ledger.records import Ledger, Missing, NewEntry, Once, Overtaken
from indexes.sealed.keys import SealingKeys
from proxy.catalogue.embedding import Embedding
from proxy.catalogue.enforcing import Enforcing
from proxy.catalogue.policies import Policies
from proxy.prepared import Prepared, prepare


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

    def __init__(self, enforcing: Enforcing, policies: Policies, sealing: SealingKeys | None) -> None:
        self._enforcing = enforcing
        self._policies = policies
        self._sealing = sealing
        self._embedding = Embedding(enforcing)

    async def close(self) -> None:
        await self._embedding.close()

    async def add(self, entries: Sequence[Entry], *, actor: str, once: Once | None = None) -> Added:
        """Adds entries, all or none. Raises EntryError, Missing (no such set), Conflict."""
        started = time.perf_counter()
        prepared = await asyncio.to_thread(prepare, entries, self._sealing)
        return await self._add(prepared, started, actor=actor, once=once)

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
        added = await self._add(list(fresh.values()), started, actor=actor, skip_alike=True)
        there |= {one.told: stored for one, stored in zip(fresh.values(), added.ids, strict=True)}
        return replace(added, ids=[there[one.told] for one in prepared])

    async def change(self, set_id: str, entry_id: str, change: Callable[[Entry], Entry], *, actor: str) -> Entry:
        """Makes an entry what `change` makes of it, in everything but what it says. Nobody else changes it meanwhile.

        Raises EntryError or Missing.
        """

        def checked(entry: Entry) -> Entry:
            changed = change(entry)
            check(changed)
            return changed

        def commit(ledger: Ledger) -> Entry:
            changed = ledger.change_entry(set_id, entry_id, checked, actor=actor)
            self._enforcing.enforce(changed.generation, None)
            return changed

        return await self._enforcing.change(commit)

    async def remove(self, set_id: str, entry_id: str, *, actor: str) -> int:
        """Removes an entry. Raises Missing."""

        def commit(ledger: Ledger) -> int:
            generation = ledger.drop_entry(set_id, entry_id, actor=actor)
            self._enforcing.enforce(generation, lambda index: index.drop_entry(entry_id, generation))
            return generation

        return await self._enforcing.change(commit)

    async def add_set(self, forget_set: ForgetSet, *, actor: str) -> int:
        """Creates a set. Raises PolicyError or Conflict."""
        return await self._put_set(forget_set, None, actor=actor)

    async def change_set(
        self, set_id: str, change: Callable[[ForgetSet], ForgetSet], *, actor: str
    ) -> tuple[ForgetSet, int]:
        """Makes a set what `change` makes of it, and says in which generation. Raises PolicyError or Missing."""
        while True:  # whoever is overtaken has let another change through
            was = await self._enforcing.ask(lambda ledger: _set_of(ledger, set_id))
            changed = change(was)
            with suppress(Overtaken):
                return changed, await self._put_set(changed, was, actor=actor)

    async def _put_set(self, forget_set: ForgetSet, was: ForgetSet | None, *, actor: str) -> int:
        self._policies.default.with_changes(forget_set.policy)
        made = await self._embedding.of([forget_set.retain])

        def commit(ledger: Ledger) -> int:
            model = made.model(self._enforcing.reading.embedder.name)
            retain = made.of(0, model)
            also = made.beside(0, model)
            generation = ledger.put_set(forget_set, retain, model, actor=actor, create=was is None, also=also, was=was)
            self._enforce(generation, model, lambda index: index.put_set(forget_set, retain, generation))
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

        def disabled(entry: Entry) -> Entry:
            due = entry.expires_at is not None and entry.expires_at <= moment  # it may live longer by now
            return replace(entry, state=State.DISABLED) if due else entry

        due = await self._enforcing.ask(lambda ledger: ledger.due(moment))
        count = 0
        for entry in due:
            with suppress(Missing):  # it was removed meanwhile
                changed = await self.change(entry.set_id, entry.id, disabled, actor="expiry")
                count += changed.state is State.DISABLED
        return count

    async def _add(
        self,
        prepared: Sequence[Prepared],
        started: float,
        *,
        actor: str,
        once: Once | None = None,
        skip_alike: bool = False,
    ) -> Added:
        made = await self._embedding.of(
            [one.cues for one in prepared], by_all=any(one.entry.sealed is not None for one in prepared)
        )
        embedded = time.perf_counter()

        def commit(ledger: Ledger) -> tuple[int, list[str]]:
            model = made.model(self._enforcing.reading.embedder.name)
            new = [
                NewEntry(one.entry, made.of(place, model), one.digest, made.beside(place, model))
                for place, one in enumerate(prepared)
            ]
            generation, ids = ledger.add_entries(new, model, actor=actor, once=once, skip_alike=skip_alike)

            def apply(index: ForgetIndex) -> None:
                for item in new:
                    index.put_entry(item.entry, item.vectors, generation)

            mine = ids == [item.entry.id for item in new]  # else some are the answer to an earlier request
            self._enforce(generation, model, apply if mine else None)
            return generation, ids

        generation, ids = await self._enforcing.change(commit)
        fresh = frozenset(ids) & {one.entry.id for one in prepared}
        return Added(generation, ids, fresh, embed_s=embedded - started, apply_s=time.perf_counter() - embedded)

    def _enforce(self, generation: int, model: str, apply: Callable[[ForgetIndex], None] | None) -> None:
        """Applies what was embedded by `model`, which another embedder may have replaced since."""
        fits = model == self._enforcing.reading.embedder.name
        self._enforcing.enforce(generation, apply if fits else None)


def _set_of(ledger: Ledger, set_id: str) -> ForgetSet:
    found = next((one for one in ledger.sets() if one.id == set_id), None)
    if found is None:
        raise Missing(f"there is no set '{set_id}'")
    return found


def _alike(ledger: Ledger, prepared: Sequence[Prepared]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for set_id in {one.entry.set_id for one in prepared}:
        digests = [one.digest for one in prepared if one.entry.set_id == set_id]
        found |= {(set_id, digest): entry_id for digest, entry_id in ledger.alike(set_id, digests).items()}
    return found
