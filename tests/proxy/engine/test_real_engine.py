"""The supervisor with the real vLLM: it answers, comes back when it is killed, and nothing survives the parent."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil
import pytest

from proxy.engine.command import EngineOptions

from ...conftest import RealEngine, unused_port

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[3]

# A parent of its own, so that it can be killed. It tells each change of state in a line.
PARENT = """
import asyncio, json, sys
from pathlib import Path
from proxy.engine.command import EngineOptions
from proxy.engine.supervisor import EngineSupervisor

async def main():
    fields = json.loads(sys.argv[1])
    options = EngineOptions(**{**fields, **{name: Path(fields[name]) for name in ("python", "model", "cache")}})
    def tell(status):
        print(status.state, status.restarts, flush=True)
    async with EngineSupervisor(options, state=Path(sys.argv[2]), on_change=tell):
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def ask(session: aiohttp.ClientSession, engine: RealEngine) -> str:
    body = {
        "model": engine.model,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "max_tokens": 16,
    }
    async with session.post(engine.base_url + "/v1/chat/completions", json=body) as reply:
        return (await reply.json())["choices"][0]["message"]["content"]


async def test_it_answers(real_engine: RealEngine):
    async with aiohttp.ClientSession() as session:
        assert "Paris" in await ask(session, real_engine)


async def test_what_is_switched_off_is_off(real_engine: RealEngine):
    async with aiohttp.ClientSession() as session:
        for path in ("/docs", "/openapi.json", "/collective_rpc", "/sleep", "/server_info"):
            async with session.get(real_engine.base_url + path) as reply:
                assert reply.status == 404, path
        body = {"lora_name": "x", "lora_path": "/x"}
        async with session.post(real_engine.base_url + "/v1/load_lora_adapter", json=body) as reply:
            assert reply.status == 404


def test_it_comes_back_when_killed_and_nothing_survives_the_parent(
    engine_options: EngineOptions, tmp_path: Path, real_engine: RealEngine
):
    # The shared engine is asked for so that it exists: two engines side by side must not touch each other.
    options = replace(engine_options, port=unused_port())
    fields = json.dumps({**vars(options), "extra_env": {}}, default=str)
    command = [sys.executable, "-c", PARENT, fields, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    family: list[psutil.Process] = []
    try:
        wait_for(parent, "ready 0")
        family = psutil.Process(parent.pid).children(recursive=True)
        core = next(process for process in family if "EngineCore" in process.name() or "EngineCore" in title(process))
        core.send_signal(signal.SIGKILL)
        wait_for(parent, "ready 1")
        psutil.wait_procs(family, timeout=5)
        assert not any(process.is_running() for process in family)
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 3  # keeper, server, engine core
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    _, left = psutil.wait_procs(family, timeout=30)
    assert not left


def title(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


def wait_for(parent: subprocess.Popen, line: str) -> None:
    deadline = time.monotonic() + 240
    for said in parent.stdout:
        if said.strip() == line:
            return
        assert not said.startswith("failed")
        assert time.monotonic() < deadline
    pytest.fail("the supervisor ended")
