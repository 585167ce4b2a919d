"""Follows a ledger that other processes write to as well, and lets them know how far this one has come.

A round: ask the ledger for what is new, apply it, renew the lease, tell the others. Rounds come when the ledger
announces a change, and at the latest after `poll_s`: an announcement may be lost with the connection that should have
brought it.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import structlog

from indexes.ledger.records import LedgerError, Member
from proxy.catalogue.enforcing import Enforcing
from proxy.workers.lease import Lease

BEATS = 5  # heartbeats in the time of one lease: some may be late
LOOK_S = 0.02  # between two looks at the others while somebody waits for them

_log = structlog.get_logger("lethe.following")


class Announcements(Protocol):
    """Waits, in a thread of its own, until somebody has changed the ledger."""

    def wait(self, timeout_s: float) -> bool:
        """Raises LedgerError."""
        ...

    def interrupt(self) -> None:
        """Ends a wait, from another thread."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Reach:
    """Which processes enforce a generation, of those that may be serving; `behind` names those that do not yet."""

    members: int
    behind: tuple[str, ...]


def uses(embedder: str) -> str:
    """What a process holds that compares vectors of an embedder."""
    return f"embedder {embedder}"


class Following:
    """One process among those that share a ledger."""

    def __init__(
        self, enforcing: Enforcing, *, lease_s: float, poll_s: float, announcements: Announcements | None = None
    ) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._enforcing = enforcing
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._announcements = announcements
        self._listening = ThreadPoolExecutor(1, "announcements")
        self._told_at = float("-inf")
        self._told = -1
        self._lost = False
        self.holds: Callable[[], frozenset[str]] = frozenset
        """What this process needs of the engine that the others share with it; told with each heartbeat."""
        enforcing.lease = Lease(lease_s)

    async def join(self) -> None:
        """From here on the others wait for this process. Raises LedgerError.

        It is told before the ledger is read: what is committed after that is waited for, what was before is read.
        """
        await self._tell(0)
        await self._round()

    async def run(self) -> None:
        """Follows until it is cancelled."""
        while True:
            try:
                await self._wait()
                await self._round()
            except LedgerError as error:
                if not self._lost:
                    _log.error("ledger_lost", fault=str(error), lease_s=self._lease_s)
                self._lost = True
                await asyncio.sleep(self._poll_s)
            except Exception as error:  # the embedder, for one: the lease says how long that may go on
                _log.error("follow_failed", fault=type(error).__name__)
                await asyncio.sleep(self._poll_s)

    async def leave(self) -> None:
        """The others wait for this process no longer. Called when it serves nothing any more."""
        if self._announcements is not None:
            self._announcements.interrupt()
            await asyncio.get_running_loop().run_in_executor(self._listening, self._announcements.close)
        self._listening.shutdown(wait=False)
        try:
            await self._enforcing.ask(lambda ledger: ledger.leave(self.id))
        except LedgerError:  # its lease runs out by itself
            _log.warning("leave_failed")

    async def members(self) -> list[Member]:
        """The processes that may be serving. Raises LedgerError."""
        return await self._enforcing.ask(lambda ledger: ledger.living(self._lease_s))

    async def held(self) -> frozenset[str]:
        """What the others need of the engine. Raises LedgerError."""
        return frozenset().union(*(member.holds for member in await self.members() if member.id != self.id))

    async def tell(self) -> None:
        """Tells the others at once what this process holds. Raises LedgerError."""
        await self._tell(max(self._told, 0))

    async def reach(self, generation: int, timeout_s: float) -> Reach:
        """Waits until every process that may be serving enforces a generation, or for so long. Raises LedgerError."""
        deadline = time.monotonic() + timeout_s
        while True:
            members = [member for member in await self.members() if member.id != self.id]
            behind = tuple(member.id for member in members if member.generation < generation)
            if not behind or time.monotonic() >= deadline:
                return Reach(len(members) + 1, behind)
            await asyncio.sleep(LOOK_S)

    async def _wait(self) -> None:
        if self._announcements is None:
            await asyncio.sleep(self._poll_s)
            return
        waiting: Callable[[float], bool] = self._announcements.wait
        await asyncio.get_running_loop().run_in_executor(self._listening, waiting, self._poll_s)

    async def _round(self) -> None:
        asked_at = time.monotonic()
        generation = await self._enforcing.follow()
        self._enforcing.lease.renew(asked_at)
        if self._lost:
            self._lost = False
            _log.info("ledger_found", generation=generation)
        if generation != self._told or time.monotonic() - self._told_at >= self._lease_s / BEATS:
            await self._tell(generation)

    async def _tell(self, generation: int) -> None:
        embedder = uses(self._enforcing.reading.embedder.name)
        member = Member(self.id, generation, holds=self.holds() | {embedder})
        await self._enforcing.ask(lambda ledger: ledger.beat(member))
        self._told, self._told_at = generation, time.monotonic()
