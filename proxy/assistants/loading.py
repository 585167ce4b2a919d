"""Towards the engine: puts versions of assistants into it, proves them, takes adapters out. Keeps no record.

Several processes may stand before one engine. An adapter is loaded after the others were told that it is needed, and
unloaded when no other needs it: so one that has not yet heard of a new version goes on with the old one.
"""

import asyncio
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import structlog

from guards.engine.card import ADAPTER, Card
from indexes.ledger.records import LedgerError
from proxy.assistants.canary import Canary, CanaryDead
from proxy.assistants.files import NotUsable, opened
from proxy.assistants.offsets import Offsets, Ready
from proxy.assistants.registry import Version
from proxy.errors import BadRequest, ModelGone, RequestError
from proxy.upstream import ADAPTER_PREFIX, UpstreamClient

_log = structlog.get_logger("lethe.assistants")


class Peers(Protocol):
    """The other processes that may stand before the same engine."""

    async def tell(self) -> None:
        """Tells them what this process holds. Raises LedgerError."""
        ...

    async def held(self) -> frozenset[str]:
        """What they hold. Raises LedgerError."""
        ...


class Loading:
    """What the life of assistants asks of the engine."""

    def __init__(self, offsets: Offsets, upstream: UpstreamClient, peers: Peers | None) -> None:
        self._offsets = offsets
        self._upstream = upstream
        self._peers = peers
        self._told: frozenset[str] = frozenset()
        self._salt = secrets.token_hex(16)  # the canary's own partition of the engine's caches

    async def opened(self, folder: Path, digest: str | None = None) -> tuple[Card, Version]:
        """A folder that fits the slots and, where a digest is given, still holds what it held. Raises BadRequest."""
        try:
            return await asyncio.to_thread(opened, folder, self._offsets.slots, digest)
        except NotUsable as error:
            raise BadRequest(str(error), param="folder") from error

    def canary(self) -> Canary:
        """For proofs that belong together: what the engine says without an offset is asked once."""

        async def ask(body: dict[str, Any]) -> Any:
            return await self._upstream.ask("/v1/completions", body)

        return Canary(ask, self._upstream.view.base or "", self._salt)

    async def slots(self, canary: Canary) -> None:
        """Proves every slot. Raises CanaryDead."""
        for name in self._offsets.slots.names:
            await canary.prove(name)

    async def assistant(self, card: Card, version: Version, canary: Canary) -> Ready:
        """Puts a version into the engine and proves it. Raises RequestError or CanaryDead; then it leaves again."""
        adapter = None
        if card.kind == "layers":
            adapter = f"{ADAPTER_PREFIX}{card.name}@{card.version}:{version.digest[:12]}"
            self._offsets.keep(adapter)
            await self.tell()
        try:
            if adapter is not None:
                await self._upstream.load_adapter(adapter, str(version.folder / ADAPTER))
            for part in card.parts:
                await canary.prove(self._offsets.slots.names[part.slot], adapter)
        except (RequestError, CanaryDead):
            if adapter is not None:
                self._offsets.drop(adapter)
            raise
        return Ready(card, adapter)

    async def tell(self) -> None:
        """Tells the others what this process holds, where that has changed."""
        holds = self._offsets.holds
        if self._peers is None or holds == self._told:
            return
        with suppress(LedgerError):  # the next heartbeat tells it
            await self._peers.tell()
            self._told = holds

    async def take_out(self) -> None:
        """Unloads the adapters that no request has any more, in any process."""
        await self.tell()
        if not self._offsets.leaving:
            return
        try:
            held = await self._peers.held() if self._peers is not None else frozenset()
        except LedgerError:
            return  # who knows; the next look at the engine asks again
        for adapter in self._offsets.drained(held):
            try:
                await self._upstream.unload_adapter(adapter)
            except ModelGone:
                continue  # another process took it out
            except RequestError as error:  # it went with the engine
                _log.warning("adapter_not_unloaded", adapter=adapter, fault=type(error).__name__)
