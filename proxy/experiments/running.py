"""The experiment that runs: gives each unit its arm, counts what is seen, stops when a guard rail is crossed.

Experiments and counts stand in the ledger, so that all workers and replicas agree: they follow a start or a stop as
they follow an entry, and add to the same counts. Nothing here waits on a request's way: arms are computed from the
definition in memory, observations are queued, and one task writes them each second. What is queued when a process is
killed is lost: counts are a sample, not a ledger.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import structlog

from indexes.ledger.records import LedgerError, Observation
from proxy.catalogue.shared import Shared
from proxy.errors import Conflicting, NotFound
from proxy.exchange import GUARDED, RAW, Exchange
from proxy.experiments.definition import Experiment, Metric, Unit
from proxy.experiments.results import breached, results
from proxy.experiments.stored import KIND, Stored, all_of, read, running_of
from proxy.keys import Caller

FLUSH_S = 1.0
MAX_WAITING = 10_000  # observations; when the ledger cannot be written for so long, the newest are given up
SESSION_HEADER = "x-lethe-session"
RAIL = "guard-rail"
"""Who stops an experiment, when nobody asked for it."""

_log = structlog.get_logger("lethe.experiments")


class Experiments:
    """All experiments of a ledger; at most one runs."""

    def __init__(self, shared: Shared, key: bytes) -> None:
        """`key` hashes the names of units; it is the same in all processes on the ledger."""
        self._shared = shared
        self._key = key
        self._waiting: deque[tuple[str, Observation]] = deque(maxlen=MAX_WAITING)
        self._known: tuple[object, Stored | None] = (None, None)

    @property
    def running(self) -> Experiment | None:
        documents = self._shared.documents
        if self._known[0] is not documents:
            self._known = documents, running_of(documents.get(KIND, {}))
        stored = self._known[1]
        return stored.experiment if stored else None

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
        if experiment is None or exchange.arm_chosen:
            return
        unit = unit_of(experiment.unit, exchange.caller, exchange.call.body, headers)
        if experiment.arm_of(unit) != exchange.arm:
            return  # began under another experiment, or kept from the raw arm
        values: dict[str, float] = {
            Metric.REFUSED: float(exchange.outcome == "refused"),
            Metric.CUT: float(exchange.outcome == "cut"),
            Metric.FAILED: float(exchange.outcome in ("failed", "broken")),
            Metric.LEFT: float(exchange.outcome == "left"),  # left out, whoever gives up waiting would hide the wait
            Metric.SLOW: float(exchange.seconds > experiment.slow_after_s),
            Metric.LENGTH: min(1.0, exchange.tokens / experiment.long_answer_tokens),
        }
        hashed = hashlib.blake2b(unit.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).hexdigest()
        self._waiting.append((experiment.id, Observation(exchange.arm, values, hashed)))

    def saw_pair(self, arm: str, values: Mapping[str, float]) -> None:
        """Counts a pair of answers to one request, the client's and the raw arm's."""
        if experiment := self.running:
            self._waiting.append((experiment.id, Observation(arm, values)))

    # -- in the background

    async def run(self) -> None:
        """Writes what was seen and looks whether the experiment goes on, each second, until cancelled."""
        while True:
            try:
                await self.flush()
            except LedgerError as error:  # the next round tries again; requests are answered all the same
                _log.error("experiments_not_written", fault=type(error).__name__)
            await asyncio.sleep(FLUSH_S)

    async def flush(self) -> None:
        """Writes what this process saw, and stops the experiment if what all saw crosses a guard rail."""
        seen: dict[str, list[Observation]] = {}
        for name, one in self._waiting:
            seen.setdefault(name, []).append(one)
        self._waiting.clear()  # before anything is waited for: two flushes must not write the same
        while seen:
            name, observations = seen.popitem()
            try:
                await self._shared.observe(KIND, name, observations)
            except LedgerError:
                seen[name] = observations
                self._waiting.extendleft((name, one) for name, some in seen.items() for one in some)
                raise
            await self._check(name)

    async def _check(self, name: str) -> None:
        experiment = self.running
        if experiment is None or experiment.id != name or not experiment.guard_rails:
            return
        if rail := breached(experiment, await self._shared.tallies(KIND, name)):
            reason = f"{rail.metric.value} of arm '{rail.arm}' is above {rail.at_most:g}"
            try:
                await self._stop(name, reason, RAIL)
            except (Conflicting, NotFound):
                return  # another process was first
            _log.warning("experiment_stopped", experiment=name, reason=reason)

    # -- for admins

    async def start(self, experiment: Experiment, actor: str) -> int:
        """Starts an experiment; the generation from which it holds.

        Raises Conflicting while one runs, or where the id was used.
        """

        def change(there: dict[str, str]) -> dict[str, str]:
            if running := running_of(there):
                raise Conflicting(
                    f"'{running.experiment.id}' is running: stop it first, requests belong to one experiment"
                )
            if experiment.id in there:
                raise Conflicting(f"'{experiment.id}' was there before: its figures stay, choose another id")
            return {**there, experiment.id: Stored(experiment, _now()).body()}

        return await self._shared.change(KIND, change, actor=actor, action=f"experiment.start {experiment.id}")

    async def stop(self, experiment_id: str, reason: str, actor: str) -> int:
        """Stops an experiment: everyone is guarded from the generation that is returned.

        Raises NotFound, Conflicting.
        """
        await self.flush()
        return await self._stop(experiment_id, reason, actor)

    async def _stop(self, experiment_id: str, reason: str, actor: str) -> int:
        def change(there: dict[str, str]) -> dict[str, str]:
            stored = _of(there, experiment_id)
            if not stored.runs:
                raise Conflicting(f"'{experiment_id}' is not running")
            return {**there, experiment_id: replace(stored, stopped_at=_now(), reason=reason).body()}

        return await self._shared.change(KIND, change, actor=actor, action=f"experiment.stop {experiment_id}")

    async def remove(self, experiment_id: str, actor: str) -> int:
        """Forgets a stopped experiment and what was counted. Raises NotFound, Conflicting."""

        def change(there: dict[str, str]) -> dict[str, str]:
            if _of(there, experiment_id).runs:
                raise Conflicting(f"'{experiment_id}' is running: stop it first")
            return {name: body for name, body in there.items() if name != experiment_id}

        return await self._shared.change(KIND, change, actor=actor, action=f"experiment.remove {experiment_id}")

    def all(self) -> list[Stored]:
        """All experiments, the newest first."""
        return all_of(self._shared.documents.get(KIND, {}))

    async def report(self, experiment_id: str) -> dict[str, Any]:
        """What an experiment shows; what other processes saw within the last second may be missing. Raises NotFound."""
        await self.flush()
        stored = _of(self._shared.documents.get(KIND, {}), experiment_id)
        return results(stored, await self._shared.tallies(KIND, experiment_id))

    async def close(self) -> None:
        """Writes what is still queued."""
        try:
            await self.flush()
        except LedgerError as error:
            _log.error("experiments_not_written", fault=type(error).__name__)


def unit_of(unit: Unit, caller: Caller, body: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """What sticks to an arm. A request that names no session or user belongs to its key."""
    named: Any = None
    if unit is Unit.SESSION:
        named = headers.get(SESSION_HEADER)
    elif unit is Unit.USER:
        named = body.get("safety_identifier") or body.get("user")
    return f"{unit}:{caller.key_id}:{named}" if isinstance(named, str) and named else f"key:{caller.key_id}"


def _of(documents: Mapping[str, str], experiment_id: str) -> Stored:
    body = documents.get(experiment_id)
    if body is None:
        raise NotFound(f"there is no experiment '{experiment_id}'")
    return read(body)


def _now() -> str:
    return datetime.now(UTC).isoformat()
