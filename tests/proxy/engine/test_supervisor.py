"""The supervisor with a fake engine: a real child process that starts slowly, dies, hangs, or refuses to stop."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from guards.engine import cache
from proxy.engine import preflight
from proxy.engine.command import EngineOptions
from proxy.engine.errors import EngineDied, EngineNotInstalled, ModelUnusable, NotEnoughRoom, PortTaken
from proxy.engine.restarts import RestartPolicy
from proxy.engine.stages import Stage
from proxy.engine.status import EngineState, EngineStatus, Patience
from proxy.engine.supervisor import EngineSupervisor

from .conftest import Diary, parent_of

Options = Callable[..., EngineOptions]
QUICK = Patience(start=30, stop=1.0, probe_every=0.02, watch_every=0.05, probe=5, silent=10)
SOON = RestartPolicy(max_restarts=2, first_delay_s=0.01, max_delay_s=0.02)


def supervise(options: EngineOptions, tmp_path: Path, seen: list[EngineStatus] | None = None) -> EngineSupervisor:
    on_change = None if seen is None else seen.append
    return EngineSupervisor(options, state=tmp_path / "state", on_change=on_change, restarts=SOON, patience=QUICK)


def states(seen: list[EngineStatus]) -> list[EngineState]:
    """The states without repetitions."""
    return [status.state for i, status in enumerate(seen) if i == 0 or seen[i - 1].state is not status.state]


async def test_starts_tells_its_stages_and_stops(fake_options: Options, tmp_path: Path, diary: Diary):
    seen: list[EngineStatus] = []
    async with supervise(fake_options(start_s=0.2), tmp_path, seen) as engine:
        await engine.ready()
        assert engine.status.state is EngineState.READY
        async with aiohttp.ClientSession() as session, session.get(engine.base_url + "/v1/models") as reply:
            assert (await reply.json())["data"][0]["id"] == "fake"
        assert diary.survivors()
    assert states(seen) == [EngineState.STARTING, EngineState.READY, EngineState.STOPPED]
    stages = [status.stage for status in seen]
    assert stages == sorted(stages, key=lambda stage: stage.position)
    assert Stage.LOADING in stages
    assert not diary.survivors()
    assert "non-default args" in engine.log_path.read_text()


async def test_it_is_not_ready_before_it_answers(fake_options: Options, tmp_path: Path):
    async with supervise(fake_options(start_s=0.5), tmp_path) as engine:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await engine.ready()
        await engine.ready()


async def test_dying_before_it_was_ready_is_final_and_explained(fake_options: Options, tmp_path: Path, diary: Diary):
    options = fake_options(exit=1, says="RuntimeError: DefaultCPUAllocator: can't allocate memory")
    async with supervise(options, tmp_path) as engine:
        with pytest.raises(EngineDied, match=r"status 1\): it ran out of memory; lower engine.kv_cache_gib") as died:
            await engine.ready()
    assert "RuntimeError: DefaultCPUAllocator" in str(died.value)
    assert engine.status.state is EngineState.FAILED
    assert len(diary.processes()) == 1


async def test_dying_later_is_mended(fake_options: Options, tmp_path: Path):
    seen: list[EngineStatus] = []
    async with supervise(fake_options(die_after_s=0.2, die_times=1), tmp_path, seen) as engine:
        await engine.ready()
        await engine.wait_for(EngineState.RESTARTING)
        await engine.ready()
        assert engine.status.restarts == 1
    assert states(seen)[:4] == [EngineState.STARTING, EngineState.READY, EngineState.RESTARTING, EngineState.READY]
    assert "status 3" in next(s.error for s in seen if s.restarts == 1 and s.state is EngineState.RESTARTING)


async def test_dying_again_and_again_is_given_up(fake_options: Options, tmp_path: Path, diary: Diary):
    async with supervise(fake_options(die_after_s=0.15), tmp_path) as engine:
        status = await engine.wait_for(EngineState.FAILED)
        assert "restarted 2 times and died again" in status.error
        with pytest.raises(EngineDied):
            await engine.ready()
    assert len(diary.processes()) == 3


async def test_an_engine_that_may_not_be_restarted_is_not(fake_options: Options, tmp_path: Path, diary: Diary):
    options = fake_options(die_after_s=0.15)
    never = RestartPolicy(max_restarts=0)
    async with EngineSupervisor(options, state=tmp_path / "state", restarts=never, patience=QUICK) as engine:
        status = await engine.wait_for(EngineState.FAILED)
        assert status.error.startswith("the engine died: the engine ended (status 3)")
    assert len(diary.processes()) == 1


async def test_run_raises_what_is_in_the_way(fake_options: Options, tmp_path: Path):
    with pytest.raises(EngineDied):
        await supervise(fake_options(exit=2), tmp_path).run()


async def test_an_engine_that_refuses_to_stop_is_killed_with_all_its_children(
    fake_options: Options, tmp_path: Path, diary: Diary
):
    async with supervise(fake_options(stubborn=1, children=1), tmp_path) as engine:
        await engine.ready()
        assert len(diary.survivors()) == 3
    assert not diary.survivors()
    assert len(diary.processes()) == 3


async def test_children_that_outlive_the_server_are_ended_before_the_restart(
    fake_options: Options, tmp_path: Path, diary: Diary
):
    async with supervise(fake_options(children=1), tmp_path) as engine:
        await engine.ready()
        first = diary.survivors()
        server = diary.processes()[0]
        os.kill(server, signal.SIGKILL)
        await engine.wait_for(EngineState.RESTARTING)
        await engine.ready()
        assert not set(first) & set(diary.survivors())


async def test_a_killed_keeper_leaves_nothing(fake_options: Options, tmp_path: Path, diary: Diary):
    async with supervise(fake_options(), tmp_path) as engine:
        await engine.ready()
        first = diary.survivors()
        keeper = parent_of(first[0])
        os.kill(keeper, signal.SIGKILL)
        await engine.wait_for(EngineState.RESTARTING)
        await engine.ready()
        assert not set(first) & set(diary.survivors())


async def test_cancelling_a_start_leaves_nothing(fake_options: Options, tmp_path: Path, diary: Diary):
    async with supervise(fake_options(start_s=30), tmp_path) as engine:
        while True:
            if diary.processes():
                break
            await asyncio.sleep(0.01)
    assert engine.status.state is EngineState.STOPPED
    assert not diary.survivors()


async def test_cancelling_half_way_through_a_start_leaves_nothing(
    fake_options: Options, tmp_path: Path, diary: Diary, monkeypatch: pytest.MonkeyPatch
):
    """The engine runs already, and the proxy does not know it yet."""
    real = asyncio.create_subprocess_exec

    async def slow(*args: Any, **kwargs: Any) -> asyncio.subprocess.Process:
        process = await real(*args, **kwargs)
        while True:
            if diary.processes():
                break
            await asyncio.sleep(0.01)
        begun.set()
        await asyncio.sleep(0.2)
        return process

    begun = asyncio.Event()
    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    async with supervise(fake_options(start_s=30), tmp_path):
        await begun.wait()
    assert diary.processes()
    assert not diary.survivors()


async def test_a_second_cancellation_does_not_wait_for_a_stubborn_engine(
    fake_options: Options, tmp_path: Path, diary: Diary
):
    slow = Patience(stop=60, probe_every=0.02)
    engine = EngineSupervisor(fake_options(stubborn=1), state=tmp_path / "state", patience=slow)
    task = asyncio.create_task(engine.run(), name="supervisor")
    await engine.ready()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.1)
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await task
    assert diary.gone(within_s=2)


async def test_a_silent_engine_is_restarted(fake_options: Options, tmp_path: Path):
    patience = replace(QUICK, probe=0.2, silent=0.5)
    options = fake_options(deaf_after=10)
    async with EngineSupervisor(options, state=tmp_path / "state", restarts=SOON, patience=patience) as engine:
        await engine.ready()
        async with asyncio.timeout(10):
            await engine.wait_for(EngineState.RESTARTING)
        assert "has not answered" in engine.status.error


async def test_an_engine_that_never_gets_ready_fails(fake_options: Options, tmp_path: Path):
    hurried = Patience(start=0.5, stop=1, probe_every=0.02)
    engine = EngineSupervisor(fake_options(start_s=60), state=tmp_path / "state", patience=hurried)
    with pytest.raises(EngineDied, match=r"not ready after 0 s \(.+\)"):
        await engine.run()


async def test_a_restart_can_be_asked_for(fake_options: Options, tmp_path: Path):
    async with supervise(fake_options(), tmp_path) as engine:
        await engine.ready()
        engine.restart("the canary is silent")
        status = await engine.wait_for(EngineState.RESTARTING)
        assert status.error == "the canary is silent"
        await engine.ready()


async def test_odd_output_is_survived(fake_options: Options, tmp_path: Path):
    async with supervise(fake_options(noise=1), tmp_path) as engine:
        await engine.ready()
        assert "100 % of ��" in engine.log_tail()
    assert "100 % of ��" in engine.log_path.read_text()


async def test_the_key_of_the_engine_is_in_its_headers(fake_options: Options, tmp_path: Path):
    async with supervise(replace(fake_options(), api_key="secret"), tmp_path) as engine:
        await engine.ready()
        async with aiohttp.ClientSession(headers=engine.headers) as session:
            reply = await session.get(engine.base_url + "/v1/models")
            assert (await reply.json())["data"][0]["saw"]["Authorization"] == "Bearer secret"


async def test_a_taken_port_is_told_with_its_owner(fake_options: Options, tmp_path: Path, free_port: int):
    with socket.socket() as other:
        # As vLLM binds: without the check, a second server would silently share the port.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", free_port))
        other.listen()
        with pytest.raises(PortTaken, match=rf"port {free_port} .* \(process {os.getpid()}\).*set engine\.port"):
            await supervise(fake_options(), tmp_path).run()


async def test_a_missing_python_is_told(fake_options: Options, tmp_path: Path):
    options = replace(fake_options(), python=tmp_path / "none")
    with pytest.raises(EngineNotInstalled, match="run `make env`"):
        await supervise(options, tmp_path).run()


async def test_a_missing_model_is_told(fake_options: Options, tmp_path: Path):
    options = replace(fake_options(), model=tmp_path)
    with pytest.raises(ModelUnusable, match=r"no config\.json"):
        await supervise(options, tmp_path).run()


async def test_a_damaged_model_is_told_by_file(fake_options: Options, tmp_path: Path):
    folder = cache.model_folder(tmp_path, "small")
    with cache.publish(folder, recipe="r") as partial:
        (partial / "config.json").write_text("{}")
    (folder / "config.json").write_text("{ }")
    with pytest.raises(ModelUnusable, match=r"config\.json has 3 bytes instead of 2; run `make models`"):
        await supervise(replace(fake_options(), model=folder), tmp_path).run()


async def test_too_little_memory_is_told(fake_options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preflight, "available_memory", lambda: 1024**3)
    with pytest.raises(NotEnoughRoom, match=r"needs about 2\.7 GiB .* 1\.0 GiB are free"):
        await supervise(fake_options(), tmp_path).run()


PARENT = """
import asyncio, json, sys
from pathlib import Path
from typing import Any
from proxy.engine.command import EngineOptions
from proxy.engine.supervisor import EngineSupervisor

async def main():
    fields = json.loads(sys.argv[1])
    options = EngineOptions(**{**fields, "python": Path(fields["python"])})
    async with EngineSupervisor(options, state=Path(sys.argv[2])) as engine:
        await engine.ready()
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def test_nothing_survives_a_killed_parent(fake_options: Options, tmp_path: Path, diary: Diary):
    options = fake_options(children=1)
    fields = {**vars(options), "extra_env": dict(options.extra_env), "cache": None}
    command = [sys.executable, "-c", PARENT, json.dumps(fields, default=str), str(tmp_path / "state")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    try:
        assert parent.stdout.readline() == "ready\n"
        assert len(diary.survivors()) == 3
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert diary.gone(within_s=15)
