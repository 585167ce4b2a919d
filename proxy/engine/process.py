"""One life of the engine: the keeper process, its output, its end."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from proxy.engine import keeper
from proxy.engine.command import Command

MAX_LINE_BYTES = 256 * 1024  # vLLM prints its whole configuration as one line of 6 kB; ten times that with long paths
_KEEPER = str(Path(keeper.__file__).resolve())
# The keeper's own grace periods after the server's; if it takes longer, something is wrong with the keeper.
_KEEPER_GRACE_S = 10.0


class EngineProcess:
    """A started engine. Its `output` must be read, or it stops at a full pipe."""

    def __init__(self, process: asyncio.subprocess.Process, grace_s: float) -> None:
        self._process = process
        self._grace_s = grace_s
        self.engine_pid: int | None = None
        self.ended = asyncio.Event()
        """Set when the server has ended; the rest of the engine may take a few seconds more."""

    @classmethod
    async def start(cls, command: Command, grace_s: float) -> "EngineProcess":
        """Start the keeper, which starts the engine. A session of its own: ctrl-C on the terminal is for the proxy."""
        keeper = (sys.executable, "-I", "-S", _KEEPER, str(os.getpid()), str(grace_s))
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *(*keeper, *command.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(command.environ),
                start_new_session=True,
                limit=MAX_LINE_BYTES,
            )
        )
        try:
            return cls(await asyncio.shield(starting), grace_s)
        except asyncio.CancelledError:
            # Cancelled half-way, asyncio would kill the keeper, and nobody would wait for the engine's end.
            await cls(await starting, grace_s).stop()
            raise

    async def output(self) -> AsyncIterator[str]:
        """The lines of the engine's output until all its processes have ended."""
        assert self._process.stdout is not None  # noqa: S101 - asked for in `start`
        while True:
            try:
                raw = await self._process.stdout.readline()
            except ValueError:  # longer than MAX_LINE_BYTES; what was read of it is dropped
                continue
            if not raw:
                self.ended.set()
                return
            line = raw.decode("utf-8", "replace").rstrip()
            if self.engine_pid is None and line.startswith(keeper.PID_LINE):
                self.engine_pid = int(line.removeprefix(keeper.PID_LINE))
                continue
            if line == keeper.ENDED_LINE:
                self.ended.set()
                continue
            yield line

    async def wait(self) -> int:
        """Wait for its end; the status is as from a shell: 128+n if signal n ended it."""
        status = await self._process.wait()
        self.ended.set()
        if status >= 0:
            return status
        self._kill()  # somebody killed the keeper: nobody else ends the engine's processes
        return 128 - status

    def terminate(self) -> None:
        """Ask it to end. The keeper makes sure that it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def stop(self) -> None:
        """End it and wait until nothing is left. If cancelled while it waits, kills everything at once."""
        if self._process.returncode is not None:
            return
        self.terminate()
        try:
            async with asyncio.timeout(self._grace_s + _KEEPER_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()
        except BaseException:
            self._kill()
            raise

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.engine_pid is not None:
                os.killpg(self.engine_pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
