"""The life of assistants: kept in the ledger, loaded into the engine, proven, swapped, taken out.

    registered ── engine begins a life ──► loaded ── canary ──► lent ── another version ──► drained ──► unloaded

Rules
1. After each start of the engine all that is registered is loaded and proven again, before the server is ready.
2. What was answered to a caller is durable: the ledger is written before the swap is seen.
3. One change at a time; reads (`proxy.assistants.offsets`) never wait.
4. A change that was begun is finished, even if the one who asked for it has gone.
5. Other processes on the ledger follow: each loads and proves for itself what another has registered, and goes on with
   what it had until then.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog

from guards.engine.card import Card
from indexes.ledger.records import LedgerError
from proxy.assistants.canary import Canary, CanaryDead
from proxy.assistants.loading import Loading, Peers
from proxy.assistants.offsets import Offsets, Ready
from proxy.assistants.registry import KIND, Registered, Version, body_of, read
from proxy.background import going_on
from proxy.catalogue.shared import Shared
from proxy.errors import BadRequest, NotFound, RequestError, UpstreamFailed
from proxy.metrics import Metrics
from proxy.upstream import UpstreamClient

RETRY_S = 5.0  # between two proofs of one life of the engine
LEFT_OUT_S = 30.0  # between two tries of an assistant that failed while the slots are well

Result = TypeVar("Result")
_log = structlog.get_logger("lethe.assistants")


class Assistants:
    """See the head of this file. Use it inside `watched`."""

    def __init__(
        self,
        offsets: Offsets,
        shared: Shared,
        state: Path,
        upstream: UpstreamClient,
        metrics: Metrics,
        peers: Peers | None = None,
    ) -> None:
        self._offsets = offsets
        self._shared = shared
        self._folder = (state / "assistants").absolute()  # the engine may have another working directory
        self._upstream = upstream
        self._metrics = metrics
        self._loading = Loading(offsets, upstream, peers)
        self._registered: dict[str, Registered] = {}
        self._problems: dict[str, str] = {}
        self._tried = (0, 0.0)
        self._changing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._begun: set[asyncio.Task[Any]] = set()
        upstream.on_look = self._looked

    def listing(self) -> list[dict[str, Any]]:
        """All assistants for an admin."""
        return [self._row(one) for _, one in sorted(self._registered.items())]

    # -- changes

    async def load(self, folder: Path, actor: str) -> dict[str, Any]:
        """Loads a version and uses it from now on. `folder`: a path, or NAME/VERSION below the state folder's.

        Raises BadRequest for one that does not fit, UpstreamFailed when the engine does not take it.
        """
        return await self._to_the_end(self._load(folder, actor))

    async def activate(self, name: str, number: int | None, actor: str) -> dict[str, Any]:
        """Uses another version that was loaded before; None: the one that was in use before this. Raises as `load`."""
        return await self._to_the_end(self._activate(name, number, actor))

    async def unload(self, name: str, actor: str) -> None:
        """Forgets an assistant; its folders stay. Raises NotFound."""
        await self._to_the_end(self._unload(name, actor))

    async def close(self) -> None:
        """Gives up changes that were begun and not answered; the ledger holds all of one or nothing."""
        for task in self._begun:
            task.cancel()
        if self._begun:
            await asyncio.wait(self._begun)

    async def _to_the_end(self, change: Coroutine[Any, Any, Result]) -> Result:
        task = asyncio.create_task(change, name="assistant change")
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody may not wait for it
        return await asyncio.shield(task)

    async def _load(self, folder: Path, actor: str) -> dict[str, Any]:
        async with self._changing:
            card, version = await self._loading.opened(folder if folder.is_absolute() else self._folder / folder)
            before = self._registered.get(card.name, Registered(card.name))
            known = before.versions.get(card.version)
            if known is not None and known.digest != version.digest:
                raise BadRequest(
                    f"version {card.version} of '{card.name}' was loaded before with other weights: a version never "
                    "changes; give the new one a number of its own",
                    param="folder",
                )
            return await self._use(before, card, version, actor, "load")

    async def _activate(self, name: str, number: int | None, actor: str) -> dict[str, Any]:
        async with self._changing:
            one = self._known(name)
            wanted = one.former if number is None else number
            if wanted is None or wanted not in one.versions:
                have = ", ".join(map(str, sorted(one.versions)))
                raise NotFound(f"there is no such version of '{name}'; loaded before: {have}", param="version")
            card, version = await self._loading.opened(one.versions[wanted].folder, one.versions[wanted].digest)
            return await self._use(one, card, version, actor, "activate")

    async def _unload(self, name: str, actor: str) -> None:
        async with self._changing:
            self._known(name)

            def without(there: dict[str, str]) -> dict[str, str]:
                return {key: body for key, body in there.items() if key != name}

            await self._shared.change(KIND, without, actor=actor, action=f"assistant.unload {name}")
            await self._follow()
        _log.info("assistant_unloaded", assistant=name)

    # -- following the engine

    def start(self) -> None:
        """Reads what is registered; from here on a change by another process is followed at once."""
        loop = asyncio.get_running_loop()
        self._shared.on_change(lambda: loop.call_soon_threadsafe(self._wake.set))
        self._registered = self._there()

    async def watch(self) -> None:
        """Proves each life of the engine, follows the ledger, takes out what has drained. For ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            async with self._changing:
                await self._follow()
                if self._offsets.slots.names and self._upstream.view.problem is None:
                    await (self._try_again() if self._offsets.proven else self._prove())
                await self._loading.take_out()

    def _looked(self) -> None:
        """After each look at the engine. An adapter that is gone tells of another life, too."""
        if self._offsets.lost(self._upstream.view):
            self._offsets.unproven = "the engine lost an assistant"
        self._wake.set()

    async def _follow(self) -> None:
        """Takes over what is registered now, whoever did it."""
        there = self._there()
        if there != self._registered:
            await self._take_over(there)

    def _there(self) -> dict[str, Registered]:
        return read(self._shared.documents.get(KIND, {}))

    async def _take_over(self, there: dict[str, Registered]) -> None:
        """Brings what is lent to what is registered now."""
        before, self._registered = self._registered, there
        for name in before.keys() - there.keys():
            self._problems.pop(name, None)
            self._lend(name, None)
        moved = [name for name, one in there.items() if name not in before or before[name].used != one.used]
        if moved and self._offsets.proven:  # else all of them are loaded when this life is proven
            ready = await self._all_of(moved, self._loading.canary())
            for name in moved:
                self._lend(name, ready.get(name))

    async def _prove(self) -> None:
        """Proves every slot, then loads and proves what is registered. An assistant that fails is left out."""
        now, life = time.monotonic(), self._upstream.lives
        tried_life, tried_at = self._tried
        if tried_life == life and now - tried_at < RETRY_S:
            return
        self._tried = life, now
        canary = self._loading.canary()
        try:
            await self._loading.slots(canary)
        except CanaryDead as error:
            if self._offsets.unproven != str(error):
                _log.error("canary_dead", problem=str(error))
            self._offsets.unproven = str(error)
            self._metrics.canary_failures.inc()
            return
        self._problems = {}
        ready = await self._all_of(self._registered, canary)
        self._offsets.begin(life, ready)  # if the engine began another life meanwhile, this one counts for nothing
        self._metrics.assistants.set(len(self._offsets))
        _log.info("offsets_proven", slots=len(self._offsets.slots.names), assistants=sorted(ready))

    async def _try_again(self) -> None:
        """Another try for what was left out: a folder may be back, an engine less busy."""
        life, tried_at = self._tried
        if self._problems and time.monotonic() - tried_at >= LEFT_OUT_S:
            self._tried = life, time.monotonic()
            for name, ready in (await self._all_of(tuple(self._problems), self._loading.canary())).items():
                self._lend(name, ready)

    async def _all_of(self, names: Iterable[str], canary: Canary) -> dict[str, Ready]:
        """What of some assistants could be loaded and proven, in the version in use; notes why the others could not."""
        ready = {}
        for name in names:
            one = self._registered[name]
            version = one.used
            try:
                card, _ = await self._loading.opened(version.folder, version.digest)
                ready[name] = await self._loading.assistant(card, version, canary)
                self._problems.pop(name, None)
            except (RequestError, CanaryDead) as error:
                if self._problems.get(name) != str(error):
                    _log.error("assistant_not_loaded", assistant=name, version=one.active, problem=str(error))
                self._problems[name] = str(error)
        return ready

    # -- inside

    async def _use(self, before: Registered, card: Card, version: Version, actor: str, what: str) -> dict[str, Any]:
        if not self._offsets.proven:
            raise UpstreamFailed(self._offsets.problem or "the engine is not ready", retry_after_s=int(RETRY_S))
        self._wake.set()  # whatever comes of it, somebody may have to leave
        try:
            ready = await self._loading.assistant(card, version, self._loading.canary())
        except CanaryDead as error:
            raise UpstreamFailed(f"the engine does not subtract it: {error}") from error

        def change(there: dict[str, str]) -> dict[str, str]:
            one = read(there).get(card.name, before)
            return {**there, card.name: body_of(one.using(version))}

        try:
            await self._shared.change(KIND, change, actor=actor, action=f"assistant.{what} {card.name}@{card.version}")
        except LedgerError:
            if ready.adapter is not None:
                self._offsets.drop(ready.adapter)
            raise
        there = self._there()
        if card.name in there:
            self._registered = {**self._registered, card.name: there[card.name]}
            self._problems.pop(card.name, None)
            self._lend(card.name, ready)
        await self._take_over(there)
        _log.info("assistant_in_use", assistant=card.name, version=card.version, objective=card.objective)
        return self._row(self._known(card.name))

    def _lend(self, name: str, ready: Ready | None) -> None:
        self._offsets.swap(name, ready)
        self._metrics.assistants.set(len(self._offsets))
        self._wake.set()

    def _known(self, name: str) -> Registered:
        found = self._registered.get(name)
        if found is None:
            raise NotFound(f"there is no assistant '{name}'")
        return found

    def _row(self, one: Registered) -> dict[str, Any]:
        ready = self._offsets.ready(one.name)
        problem = (
            self._problems.get(one.name) or self._offsets.problem or "the engine has no slots (engine.auxiliaries)"
        )
        row = {
            "name": one.name,
            "version": one.active,
            "former": one.former,
            "versions": sorted(one.versions),
            "folder": str(one.used.folder),
            "loaded": ready is not None,
            "problem": None if ready else problem,
            "in_flight": self._offsets.in_use(ready.adapter) if ready else 0,
        }
        shown = ("objective", "kind", "combine", "strength", "max_strength", "dead_zone")
        return row | {name: getattr(ready.card, name) if ready else None for name in shown}


@asynccontextmanager
async def watched(assistants: Assistants, metrics: Metrics) -> AsyncIterator[None]:
    """Follows the engine as long as the block runs."""
    assistants.start()
    async with going_on("assistants", assistants.watch, metrics):
        try:
            yield
        finally:
            await assistants.close()
