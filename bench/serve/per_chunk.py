"""Added time per chunk of an unarmed stream, against a scripted engine without a model.

A real engine takes milliseconds per token and varies by more than the proxy adds; a scripted one leaves only what
the proxy does. `chunk_added_ms` is the proxy's processor time per chunk: unlike the difference
of the two ways' wall times, which is reported beside it, it does not hide behind the other processes' work.
"""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.serve.scripted import MODEL
from bench.serve.targets import chat, stream
from bench.stats import median

CHUNKS = 2000


async def per_chunk(session: aiohttp.ClientSession, rounds: int) -> dict[str, float | None]:
    """Streams through nothing, through the floor and through the proxy, in turn, each in a process of its own.

    `chunk_over_floor` is None where the floor took less than the kernel counts.
    """
    engine_port, floor_port, proxy_port, admin_port = (_free_port() for _ in range(4))
    engine, floor, proxy = (f"http://127.0.0.1:{port}" for port in (engine_port, floor_port, proxy_port))
    with tempfile.TemporaryDirectory() as state:
        serve = [
            *("-c", "from proxy.cli.main import main; main()", "serve", "--upstream", engine),
            *("--port", str(proxy_port), "--admin-port", str(admin_port)),
        ]
        upstream = ("--upstream", str(engine_port))
        async with (
            _process("-m", "bench.serve.scripted", "--port", str(engine_port)),
            _process("-m", "bench.serve.forwarder", "--port", str(floor_port), *upstream) as copier,
            _process(*serve, state=state) as server,
        ):
            await _answers(session, f"{engine}/health")
            await _answers(session, f"{floor}/health")
            await _answers(session, f"{proxy}/readyz")
            direct = await _passes(session, engine, None, rounds)
            through = [await _passes(session, *way, rounds) for way in ((floor, copier), (proxy, server))]
    return {
        "chunk_direct_wall_ms": direct.wall_ms,
        "chunk_floor_wall_ms": through[0].wall_ms,
        "chunk_proxy_wall_ms": through[1].wall_ms,
        "chunk_floor_ms": through[0].cpu_ms,
        "chunk_added_ms": through[1].cpu_ms,
        "chunk_over_floor": through[1].cpu_ms / through[0].cpu_ms if through[0].cpu_ms else None,
    }


@dataclass(frozen=True, slots=True)
class _Passed:
    """Medians per chunk: wall time, and processor time of the process in between."""

    wall_ms: float
    cpu_ms: float


async def _passes(
    session: aiohttp.ClientSession, url: str, between: asyncio.subprocess.Process | None, rounds: int
) -> _Passed:
    wall, cpu = [], []
    for _ in range(rounds + 1):
        before = _cpu_s(between.pid) if between else 0.0
        done = await stream(session, url, "", chat(MODEL, "hello", CHUNKS))
        wall.append(done.total_s / done.events * 1e3)
        cpu.append(((_cpu_s(between.pid) if between else 0.0) - before) / done.events * 1e3)
    return _Passed(median(wall[1:]), median(cpu[1:]))  # the first round warms up


@asynccontextmanager
async def _process(*arguments: str, state: str | None = None) -> AsyncIterator[asyncio.subprocess.Process]:

    env = {**os.environ, **({"LETHE_STATE": state} if state else {})}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env=env,
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _answers(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)


def _cpu_s(pid: int) -> float:
    """Processor time that a process has used, in seconds; the kernel counts in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
