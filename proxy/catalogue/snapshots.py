"""Snapshots of the index, so that the server starts in seconds: opened at start, made again after enough changes.

One is made by a process of its own (`indexes.snapshots.making`), which reads the ledger, not this process's memory.
Then the server goes over to it: what came since the last one lies in arrays from then on, and all workers map the same
files. At a clean end what came since is written by the server itself.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

import indexes
from indexes.follower import IndexFollower
from indexes.forget_index import ForgetIndex
from indexes.ledger.records import Ledger, LedgerError
from indexes.snapshots.files import SnapshotError, SnapshotFolder
from indexes.snapshots.fitting import MadeOf
from indexes.snapshots.making import Order, save
from indexes.snapshots.start import opened
from proxy.catalogue.enforcing import Enforcing, Standing
from proxy.config import Config
from proxy.reading import Reading

LOOK_S = 5.0  # how often it is asked whether a snapshot is due, or there
GROWN = 8  # entries to one that was changed: so all snapshots together cost a bounded share of the changes
REMOVED_S = 600.0  # after which what was removed is no longer in a snapshot either
AGAIN_S = 60.0  # after one that failed
AT_THE_END = 100  # changed entries that are written when the server ends

_log = structlog.get_logger("lethe.snapshots")


@dataclass(frozen=True, slots=True, repr=False)
class Kept:
    """Where snapshots lie and of which ledger they are. `writes`: this process has them made, others only use them.

    `every`: changed entries after which one is due; 0 for never.
    """

    folder: SnapshotFolder
    ledger: Path
    url: str | None
    every: int
    writes: bool

    @classmethod
    def of(cls, config: Config, *, writes: bool) -> "Kept":
        """As configured."""
        settings = config.ledger
        folder = SnapshotFolder(config.snapshots_path.absolute())
        return cls(folder, config.ledger_path.absolute(), settings.url, settings.snapshot_every, writes)


class Snapshots:
    """Keeps the snapshots of one server's ledger. `start` comes when the index is in force, `close` before it ends."""

    def __init__(self, kept: Kept, enforcing: Enforcing) -> None:
        self._kept = kept
        self._enforcing = enforcing
        self._made_at = time.monotonic()
        self._not_before = 0.0
        self._looked_at = 0  # the generation of the newest that was tried
        self._running: asyncio.Task[None] | None = None
        if kept.every:
            enforcing.begin_from = self._opened

    def start(self) -> None:
        if self._kept.every:
            self._running = asyncio.create_task(self._run(), name="snapshots")
        elif self._kept.writes:
            self._running = asyncio.create_task(asyncio.to_thread(self._clear), name="snapshots")

    async def close(self) -> None:
        """Writes what has come since the last snapshot, unless something of that is gone: then it is made anew."""
        if self._running is None:
            return
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running
        index = self._enforcing.index
        if (
            self._kept.every
            and self._kept.writes
            and not index.gone
            and index.unsettled >= min(self._kept.every, AT_THE_END)
        ):
            with suppress(LedgerError, SnapshotError, OSError):  # the next start takes longer
                await self._enforcing.ask(self._written)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except Exception as error:  # whatever it was: what is in force serves on, and the next look tries again
                _log.warning("snapshot_failed", fault=type(error).__name__)

    def _clear(self) -> None:
        """What is left of a time when there were some would keep the names of entries that are removed later."""
        try:
            self._kept.folder.clear()
        except (SnapshotError, OSError) as error:
            _log.warning("snapshots_left", fault=type(error).__name__, note="remove the folder 'snapshots' by hand")

    async def look(self) -> None:
        """Has a snapshot made if one is due, and goes over to a newer one if it is there. Raises LedgerError, OSError.

        `run` does so every few seconds.
        """
        due = is_due(self._enforcing.index, self._kept.every, time.monotonic() - self._made_at)
        if self._kept.writes and due and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + AGAIN_S
            if await self._made():
                self._made_at, self._not_before = time.monotonic(), 0.0
        newest = await asyncio.to_thread(self._kept.folder.newest)
        if newest > max(self._enforcing.index.began, self._looked_at):
            await self._go_over()

    def _made_of(self, reading: Reading) -> MadeOf:
        return MadeOf.now(reading.embedder.name, reading.embedder.dimensions, self._enforcing.sealing)

    def _opened(self, ledger: Ledger, reading: Reading) -> Standing | None:
        """What begins with the newest snapshot that fits; None where there is none. Raises LedgerError."""
        started = time.perf_counter()
        self._looked_at = self._kept.folder.newest()
        index, refused = opened(self._kept.folder, ledger, self._made_of(reading), self._enforcing.sealing)
        for why in refused:
            _log.warning("snapshot_refused", why=why, note="the index is made from the ledger instead")
        if index is None:
            return None
        spent = round(time.perf_counter() - started, 3)
        _log.info("snapshot_opened", generation=index.began, entries=index.current.entry_count, seconds=spent)
        return Standing(reading, index, IndexFollower(ledger, index, reading.embedder))

    def _opened_beside(self, reading: Reading) -> Standing | None:
        """The same in another thread than the writer's, with a ledger of its own."""
        beside = self._enforcing.beside()
        try:
            return self._opened(beside, reading)
        finally:
            beside.close()

    def _written(self, ledger: Ledger) -> None:
        with self._kept.folder.writing():
            save(self._kept.folder, ledger, self._made_of(self._enforcing.reading), self._enforcing.index)

    async def _made(self) -> bool:
        kept, embedder, sealing = self._kept, self._enforcing.reading.embedder, self._enforcing.sealing
        keys = sealing.plain() if sealing is not None else None
        order = Order(str(kept.folder.path), str(kept.ledger), kept.url, embedder.name, embedder.dimensions, keys)
        started = time.perf_counter()
        status, told = await _in_a_process_of_its_own(order)
        spent = round(time.perf_counter() - started, 2)
        if status:
            _log.warning("snapshot_failed", status=status, seconds=spent, **told)
        else:
            _log.info("snapshot_made", seconds=spent, **told)
        return status == 0

    async def _go_over(self) -> None:
        """Puts the index of the newest snapshot in force, at the ledger's newest generation."""
        reading = self._enforcing.reading
        found = await asyncio.to_thread(self._opened_beside, reading)

        def swap(ledger: Ledger) -> None:
            if found is not None and self._enforcing.reading is reading:
                follower = IndexFollower(ledger, found.index, reading.embedder)
                self._enforcing.swap(Standing(reading, found.index, follower))

        await self._enforcing.ask(swap)


def is_due(index: ForgetIndex, every: int, since_s: float) -> bool:
    """Whether a snapshot is to be made of an index, so many seconds after the last one or the start."""
    if index.unsettled >= max(every, index.current.entry_count // GROWN):
        return True
    return index.began > 0 and index.gone > 0 and since_s > REMOVED_S


async def _in_a_process_of_its_own(order: Order) -> tuple[int, dict[str, Any]]:
    """Exit status, and what the process says. It ends with the one who waits for it."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "indexes.snapshots.making"),
        env=_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await child.communicate(order.written())
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    try:
        told = json.loads(output)
    except ValueError:
        told = {}
    return child.returncode or 0, told


def _environment() -> Mapping[str, str]:
    room = str(Path(indexes.__file__).parents[1])
    paths = [room, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
