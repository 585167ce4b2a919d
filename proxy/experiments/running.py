"""The experiment that runs: gives each unit its arm, counts what is seen, stops when a guard rail is crossed.

Nothing here waits on a request's way: arms are computed from the definition in memory, observations are queued, and one
task writes them each second. What is queued when a process is killed is lost: counts are a sample, not a ledger.
"""

import asyncio
import hashlib
import os
import secrets
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog

from proxy.errors import Conflicting, GuardUnavailable, NotFound
from proxy.exchange import GUARDED, RAW, Exchange
from proxy.experiments.definition import Experiment, Metric, Unit
from proxy.experiments.results import breached, results
from proxy.experiments.store import ExperimentExists, Observation, Store, Stored
from proxy.keys import Caller

FLUSH_S = 1.0
MAX_WAITING = 10_000  # observations; when the file cannot be written for so long, older ones are given up
SESSION_HEADER = "x-lethe-session"

Result = TypeVar("Result")
_log = structlog.get_logger("lethe.experiments")


class Experiments:
    """All experiments of a state directory; at most one runs."""

    def __init__(self, state: Path) -> None:
        self._writer = ThreadPoolExecutor(1, "experiments")
        self._store = Store(state / "experiments.sqlite3")
        self._key = _key(state / "experiments.key")
        self._waiting: deque[Observation] = deque(maxlen=MAX_WAITING)
        self._current: Stored | None = None

    @property
    def running(self) -> Experiment | None:
        return self._current.experiment if self._current else None

    # -- on a request's way

    def arm_for(self, caller: Caller, body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        """The arm of a request that names none. The raw arm is only for those who might ask for it."""
        experiment = self.running
        if experiment is None:
            return GUARDED
        arm = experiment.arm_of(unit_of(experiment.unit, caller, body, headers))
        return GUARDED if arm == RAW and not caller.may(RAW) else arm

    def saw(self, exchange: Exchange, headers: Mapping[str, str]) -> None:
        """Counts an exchange whose arm the running experiment chose; others would tell about those who chose."""
        experiment = self.running
        if experiment is None or exchange.arm_chosen or exchange.outcome == "left":
            return
        unit = unit_of(experiment.unit, exchange.caller, exchange.call.body, headers)
        if experiment.arm_of(unit) != exchange.arm:
            return  # began under another experiment, or kept from the raw arm
        values: dict[str, float] = {
            Metric.REFUSED: float(exchange.outcome == "refused"),
            Metric.CUT: float(exchange.outcome == "cut"),
            Metric.FAILED: float(exchange.outcome in ("failed", "broken")),
            Metric.SLOW: float(exchange.seconds > experiment.slow_after_s),
            Metric.LENGTH: min(1.0, exchange.tokens / experiment.long_answer_tokens),
        }
        hashed = hashlib.blake2b(unit.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()
        self._waiting.append(Observation(exchange.arm, values, hashed))

    def saw_pair(self, arm: str, values: Mapping[str, float]) -> None:
        """Counts a pair of answers to one request, the client's and the raw arm's."""
        self._waiting.append(Observation(arm, values))

    # -- in the background

    async def run(self) -> None:
        """Writes what was seen and looks whether the experiment goes on, each second, until cancelled."""
        while True:
            try:
                await self.flush()
            except sqlite3.Error as error:  # the next round tries again; requests are answered all the same
                _log.error("experiments_not_written", fault=type(error).__name__)
            await asyncio.sleep(FLUSH_S)

    async def flush(self) -> None:
        """Writes what was seen, stops the experiment if a guard rail is crossed, and follows what others did."""
        self._current = await self._in_writer(self._flush)

    def _flush(self) -> Stored | None:
        if self._current is not None and self._waiting:
            experiment, seen = self._current.experiment, list(self._waiting)
            self._store.add(experiment.id, seen)
            for _ in seen:
                self._waiting.popleft()
            if rail := breached(experiment, self._store.counts(experiment.id)):
                reason = f"{rail.metric.value} of arm '{rail.arm}' is above {rail.at_most:g}"
                if self._store.stop(experiment.id, _now(), reason):
                    _log.warning("experiment_stopped", experiment=experiment.id, reason=reason)
        return next((one for one in self._store.all() if one.stopped_at is None), None)

    # -- for admins

    async def start(self, experiment: Experiment) -> dict[str, Any]:
        """Starts an experiment. Raises Conflicting while one runs, or where the id was used."""
        try:
            await self._in_writer(self._store.start, experiment, _now())
        except ExperimentExists as error:
            raise Conflicting(str(error)) from None
        self._waiting.clear()
        await self.flush()
        return await self.report(experiment.id)

    async def stop(self, experiment_id: str, reason: str) -> dict[str, Any]:
        """Stops an experiment: from now on everyone is guarded. Raises NotFound, Conflicting."""
        await self.flush()
        if not await self._in_writer(self._store.stop, experiment_id, _now(), reason):
            await self._stored(experiment_id)
            raise Conflicting(f"'{experiment_id}' is not running")
        await self.flush()
        return await self.report(experiment_id)

    async def remove(self, experiment_id: str) -> None:
        """Forgets a stopped experiment. Raises NotFound, Conflicting."""
        if not await self._in_writer(self._store.remove, experiment_id):
            await self._stored(experiment_id)
            raise Conflicting(f"'{experiment_id}' is running: stop it first")

    async def all(self) -> list[Stored]:
        return await self._in_writer(self._store.all)

    async def report(self, experiment_id: str) -> dict[str, Any]:
        """What an experiment shows. Raises NotFound."""
        await self.flush()
        stored = await self._stored(experiment_id)
        return results(stored, await self._in_writer(self._store.counts, experiment_id))

    async def close(self) -> None:
        """Writes what is still queued and closes the file."""
        try:
            await self.flush()
        except (sqlite3.Error, GuardUnavailable) as error:
            _log.error("experiments_not_written", fault=type(error).__name__)
        await self._in_writer(self._store.close)
        self._writer.shutdown()

    async def _stored(self, experiment_id: str) -> Stored:
        found = next((one for one in await self.all() if one.experiment.id == experiment_id), None)
        if found is None:
            raise NotFound(f"there is no experiment '{experiment_id}'")
        return found

    async def _in_writer(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, *arguments)


def unit_of(unit: Unit, caller: Caller, body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """What sticks to an arm. A request that names no session or user belongs to its key."""
    named: Any = None
    if unit is Unit.SESSION:
        named = headers.get(SESSION_HEADER)
    elif unit is Unit.USER:
        named = body.get("safety_identifier") or body.get("user")
    return f"{unit}:{caller.key_id}:{named}" if isinstance(named, str) and named else f"key:{caller.key_id}"


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _key(path: Path) -> bytes:
    """The key under which units are hashed; made at the first start of a state directory."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as file:
        file.write(made := secrets.token_bytes(32))
    return made
