"""Starts the workers of one server, keeps them running, and ends them together.

The parent serves nothing. It holds the ledger's lock (its workers inherit it, so that no second server gets in while
one of them lives), reserves the ports, and starts the first worker before the others: what is wrong with the
configuration is told once. A worker that dies is started again; one that dies again and again ends the server.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import structlog

from indexes.ledger.sqlite import SqliteLedger
from proxy.config import Config, Listen
from proxy.listening import PortInUse
from proxy.workers.slot import ALIVE, VARIABLE, Slot

START_S = 120.0  # until a worker listens, or says that it is alive: it loads a model, and reads the ledger
RESTARTS = 5  # deaths of workers within RESTARTS_S after which it is no accident
RESTARTS_S = 60.0
BACKOFF_S = 0.5  # before a worker is started again
GRACE_S = 10.0  # beyond `limits.drain_s`, before a worker that does not end is killed

_COMMAND = "from proxy.cli.main import main; main()"

_log = structlog.get_logger("lethe.workers")


class WorkerFailed(Exception):
    """A worker ended when it should run. `code` is what it ended with; `told`: it has said why itself."""

    def __init__(self, message: str, code: int = 1, *, told: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.told = told


class Crew:
    """The workers of a server. `arguments` are those of the command that each of them runs."""

    def __init__(self, config: Config, arguments: Sequence[str]) -> None:
        self._config = config
        self._arguments = tuple(arguments)
        self._undo = ExitStack()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._watching: dict[int, asyncio.Task[None]] = {}
        self._deaths: deque[float] = deque(maxlen=RESTARTS)
        self._passed: tuple[int, ...] = ()
        self.failed: asyncio.Future[WorkerFailed] = asyncio.get_running_loop().create_future()
        """Done when the server cannot go on."""
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        """Starts all workers; returns when they listen. Raises WorkerFailed, PortInUse or LedgerError."""
        try:
            for name, listen in (("listen", self._config.listen), ("admin", self._config.admin)):
                reserved = self._undo.enter_context(_reserved(listen, name))
                self.ports[name] = reserved.getsockname()[1]
            self._folder = self._undo.enter_context(tempfile.TemporaryDirectory(prefix="lethe-"))
            alive, self._parent = os.pipe()
            for end in (alive, self._parent):
                self._undo.callback(os.close, end)
            self._passed = (alive,)
            if self._config.ledger.url is None:
                ledger = await asyncio.to_thread(SqliteLedger, self._config.ledger_path)
                self._undo.callback(ledger.close)
                self._passed += (ledger.lock_file,)
            await self._begin(0)
            await asyncio.gather(*(self._begin(number) for number in range(1, self._config.workers)))
        except BaseException:
            await self.stop()
            raise
        self._watching = {
            number: asyncio.create_task(self._watch(number), name=f"worker {number}") for number in self._running
        }

    def pass_on(self, number: int) -> None:
        """Sends a signal to all workers."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)

    async def stop(self) -> None:
        """Ends all workers, as gently as their drain time allows."""
        for task in self._watching.values():
            task.cancel()
        self.pass_on(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._config.limits.drain_s + GRACE_S):
                await asyncio.gather(*(process.wait() for process in self._running.values()))
        except TimeoutError:
            self.pass_on(signal.SIGKILL)
            await asyncio.gather(*(process.wait() for process in self._running.values()))
        self._undo.close()

    async def _watch(self, number: int) -> None:
        """Starts a worker again whenever it dies."""
        while True:
            code = await self._running[number].wait()
            _log.error("worker_died", worker=number, code=code)
            now = time.monotonic()
            self._deaths.append(now)
            if len(self._deaths) == RESTARTS and now - self._deaths[0] < RESTARTS_S:
                self._give_up(WorkerFailed(f"workers died {RESTARTS} times within {RESTARTS_S:.0f} s: see the log"))
                return
            await asyncio.sleep(BACKOFF_S)
            try:
                await self._begin(number)
            except WorkerFailed as error:
                _log.error("worker_does_not_start", worker=number, code=error.code)
                # Its process has ended, which the next round sees and counts.
            else:
                _log.info("worker_started_again", worker=number)

    def _give_up(self, error: WorkerFailed) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    async def _begin(self, number: int) -> None:
        """Starts one worker and waits until it listens. Raises WorkerFailed."""
        told, telling = os.pipe()
        slot = Slot(
            number=number,
            of=self._config.workers,
            listen_port=self.ports["listen"],
            admin_port=self.ports["admin"],
            folder=self._folder,
            listening=telling,
            parent=self._passed[0],
        )
        slot.socket().unlink(missing_ok=True)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _COMMAND,
                *self._arguments,
                env={**os.environ, VARIABLE: slot.told()},
                pass_fds=(*self._passed, telling),
                start_new_session=True,  # ctrl-C is for the parent, which ends them in order
            )
        finally:
            os.close(telling)
        self._running[number] = process
        try:
            listening = ALIVE
            while listening == ALIVE:
                async with asyncio.timeout(START_S):
                    listening = await _read(told)
        except TimeoutError:
            process.kill()
            listening = b""
        finally:
            os.close(told)
        if not listening:
            code = await process.wait()
            if code > 0:
                raise WorkerFailed(f"worker {number} did not start", code, told=True)
            raise WorkerFailed(f"worker {number} did not start (ended by signal {-code})")


async def _read(end: int) -> bytes:
    """What comes out of a pipe, or nothing when its other end is closed."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(end, readable.cancel)
    try:
        await asyncio.wait((readable,))
    finally:
        loop.remove_reader(end)
    return os.read(end, 1)


def _reserved(listen: Listen, name: str) -> socket.socket:
    """A port that stays this server's, whichever of its workers listen on it. Raises PortInUse."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    reserved = socket.socket(family)
    try:
        with socket.socket(family) as probe:  # without sharing it: two servers on one port would answer by turns
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listen.host, listen.port))
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            port = probe.getsockname()[1]
        reserved.bind((listen.host, port))
    except OSError as error:
        reserved.close()
        raise PortInUse(listen, name, error) from None
    return reserved
