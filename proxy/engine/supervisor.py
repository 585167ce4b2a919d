"""Keeps one vLLM running: starts it, tells how the start goes, watches it, starts it again, ends it.

States:  starting → ready → restarting → ready …      any → stopped (asked to)      starting, restarting → failed

Rules:

1. An engine that dies before it was ever ready is not tried again: the same options fail the same way, each after
   most of a minute. One that was ready is restarted within `RestartPolicy`.
2. `ready` means that `/health` answers 200 and `/v1/models` names the served model. It does not prove that a logit
   offset is alive: whoever offers offsets checks with a canary on every change to `ready`.
3. Nothing outlives `run`: however it is left, the engine's processes have ended (`keeper.py` holds this even for a
   proxy that is killed).
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from proxy.engine.command import EngineOptions, build_command
from proxy.engine.errors import EngineDied, EngineUnavailable, PortTaken, cause_of_death
from proxy.engine.log import EngineLog
from proxy.engine.preflight import check_before_start, check_port
from proxy.engine.process import EngineProcess
from proxy.engine.restarts import RestartBudget, RestartPolicy
from proxy.engine.stages import Stage, stage_after
from proxy.engine.status import EngineState, EngineStatus, Patience

LOG_FILE = "engine.log"
_PORT_WAIT_S = 10.0  # the port of a killed engine is free at once; somebody else's may be about to be


class EngineSupervisor:
    """Supervises one engine. `run` it in a task, or use it as a context manager; one use each.

    `on_change` is called in the event loop on every change of state or stage; it must not raise or block.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        state: Path,
        on_change: Callable[[EngineStatus], None] | None = None,
        restarts: RestartPolicy | None = None,
        patience: Patience | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.options = options
        self._state_folder = state
        self._on_change = on_change
        self._budget = RestartBudget(restarts or RestartPolicy())
        self._patience = patience or Patience()
        self._environ = dict(os.environ if environ is None else environ)
        self._status = EngineStatus(EngineState.STARTING, Stage.IMPORTING)
        self._changed = asyncio.Event()
        self._log = EngineLog(state / LOG_FILE)
        self._process: EngineProcess | None = None
        self._ended_by_us: str | None = None
        self._failure: EngineUnavailable | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def status(self) -> EngineStatus:
        """The engine now."""
        return self._status

    @property
    def base_url(self) -> str:
        """Where the engine answers while it is ready."""
        return self.options.base_url

    @property
    def headers(self) -> Mapping[str, str]:
        """What a request to the engine must carry."""
        key = self.options.api_key
        return {"Authorization": f"Bearer {key}"} if key is not None else {}

    @property
    def log_path(self) -> Path:
        """The file with the engine's output."""
        return self._log.path

    def log_tail(self, lines: int = 40) -> list[str]:
        """The last lines of the engine's output, oldest first."""
        return self._log.tail(lines)

    async def wait_for(self, *states: EngineState) -> EngineStatus:
        """Wait until the engine is in one of `states`."""
        while self._status.state not in states:
            await self._changed.wait()
        return self._status

    async def ready(self) -> None:
        """Wait until the engine answers. Raises the EngineUnavailable that is in the way if it failed or stopped."""
        status = await self.wait_for(EngineState.READY, EngineState.FAILED, EngineState.STOPPED)
        if status.state is not EngineState.READY:
            raise self._failure or EngineDied("the engine was stopped")

    def restart(self, reason: str) -> None:
        """End the engine so that it is started again, for example because its canary is dead. Counts as a restart."""
        if self._process is not None and self._ended_by_us is None:
            self._ended_by_us = reason
            self._process.terminate()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run_quietly(), name="engine supervisor")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def run(self) -> None:
        """Keep the engine running until cancelled. Raises EngineUnavailable when it cannot be kept."""
        try:
            await asyncio.to_thread(check_before_start, self.options, self._state_folder)
            self._log.start()
            timeout = aiohttp.ClientTimeout(total=self._patience.probe)
            async with aiohttp.ClientSession(timeout=timeout, headers=self.headers) as session:
                while True:
                    await self._live_and_die(session)
        except EngineUnavailable as error:
            self._failure = error
            self._set(state=EngineState.FAILED, error=str(error))
            raise
        finally:
            await asyncio.shield(asyncio.to_thread(self._log.close))
            if self._status.state is not EngineState.FAILED:
                self._set(state=EngineState.STOPPED, error=None)

    async def _run_quietly(self) -> None:
        # As a context manager the failure is told by `status` and `ready`.
        with suppress(EngineUnavailable):
            await self.run()

    async def _live_and_die(self, session: aiohttp.ClientSession) -> None:
        """One life of the engine and the pause after it. Returns when it should be started again."""
        self._ended_by_us = None
        self._log.forget()
        self._set(stage=Stage.IMPORTING)
        process = self._process = await EngineProcess.start(
            build_command(self.options, self._environ), self._patience.stop
        )
        was_ready = False
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(process), name="engine output")
                watching = tasks.create_task(self._watch(session), name="engine health")
                ending = tasks.create_task(process.wait(), name="engine end")
                await process.ended.wait()
                watching.cancel()
                was_ready = self._status.state is EngineState.READY or self._budget.total > 0
                if was_ready:
                    # At once, and not after the last of its processes has gone: nobody should be sent there.
                    self._set(state=EngineState.RESTARTING, error=self._ended_by_us or "the engine ended")
                status = await ending
                await asyncio.wait({reading}, timeout=2.0)  # its last words are in the pipe
                reading.cancel()
        finally:
            self._process = None
            await process.stop()
        reason = self._ended_by_us or cause_of_death(status, self._log.tail())
        await self._pause(reason, was_ready=was_ready)

    async def _pause(self, reason: str, *, was_ready: bool) -> None:
        if not was_ready:
            raise EngineDied(f"the engine did not start: {reason} (log: {self.log_path})", self._log.tail())
        delay = self._budget.next_delay(time.monotonic())
        if delay is None:
            total = self._budget.total
            tried = f"was restarted {total} time{'s' * (total != 1)} and died again" if total else "died"
            raise EngineDied(f"the engine {tried}: {reason} (log: {self.log_path})", self._log.tail())
        self._set(state=EngineState.RESTARTING, error=reason, restarts=self._budget.total)
        await asyncio.sleep(delay)
        await self._wait_for_port()

    async def _wait_for_port(self) -> None:
        deadline = time.monotonic() + _PORT_WAIT_S
        while True:
            try:
                return await asyncio.to_thread(check_port, self.options.host, self.options.port)
            except PortTaken:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def _read(self, process: EngineProcess) -> None:
        async for line in process.output():
            self._log.append(line)
            if (stage := stage_after(self._status.stage, line)) is not self._status.stage:
                self._set(stage=stage)

    async def _watch(self, session: aiohttp.ClientSession) -> None:
        """Tell when the engine is ready; end it when it never is, or hangs."""
        patience = self._patience
        well_at = started = time.monotonic()
        while True:
            if await self._answers(session):
                well_at = time.monotonic()
                if self._status.state is not EngineState.READY:
                    self._set(state=EngineState.READY, stage=Stage.SERVING, error=None)
            is_ready = self._status.state is EngineState.READY
            if is_ready and time.monotonic() - well_at > patience.silent:
                self.restart(f"it has not answered for {patience.silent:.0f} s")
            elif not is_ready and time.monotonic() - started > patience.start:
                self.restart(f"it was not ready after {patience.start:.0f} s ({self._status.stage.value})")
            await asyncio.sleep(patience.watch_every if is_ready else patience.probe_every)

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.base_url}/health") as health:
                if health.status != 200 or self._status.state is EngineState.READY:
                    return health.status == 200
            async with session.get(f"{self.base_url}/v1/models") as models:
                names = {model["id"] for model in (await models.json())["data"]} if models.status == 200 else set()
                return self.options.served_model_name in names
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError) as error:
            logging.getLogger(__name__).debug("the engine does not answer yet: %r", error)
            return False

    def _set(
        self,
        *,
        state: EngineState | None = None,
        stage: Stage | None = None,
        restarts: int | None = None,
        error: str | None = None,
    ) -> None:
        now = self._status
        changed = replace(
            now,
            state=state or now.state,
            stage=stage or now.stage,
            restarts=now.restarts if restarts is None else restarts,
            error=error if state is not None else now.error,
        )
        if changed != now:
            self._status = changed
            self._changed.set()
            self._changed = asyncio.Event()
            if self._on_change is not None:
                self._on_change(changed)
