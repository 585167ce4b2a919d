"""A fake engine as a real child process, and a look at what is left of it."""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.engine.command import EngineOptions

FAKE = Path(__file__).parents[2] / "fakes" / "fake_engine.py"


class Diary:
    """What the fake noted of its processes: servers, and the children they started."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def processes(self) -> list[int]:
        """All that were ever started, in order."""
        return [int(pid) for pid in self.path.read_text().split()] if self.path.exists() else []

    def survivors(self) -> list[int]:
        """Those that still run. A zombie that waits for its parent does not."""
        return [pid for pid in self.processes() if (stat := _stat(pid)) and stat[0] != "Z"]

    def gone(self, within_s: float) -> bool:
        """Whether no process is left, waiting a little."""
        deadline = time.monotonic() + within_s
        while self.survivors() and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.survivors()


def _stat(pid: int) -> list[str]:
    """State and parent of a process, and what follows them in /proc; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def parent_of(pid: int) -> int:
    """The process that a running process belongs to."""
    return int(_stat(pid)[1])


@pytest.fixture
def diary(tmp_path: Path) -> Iterator[Diary]:
    """The fake's diary. A test that leaves a process behind fails, and does not burden the next."""
    kept = Diary(tmp_path / "diary")
    yield kept
    left = kept.survivors()
    for pid in left:
        os.kill(pid, 9)
    assert not left


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    """An executable that takes the arguments of a Python with vLLM, and is the fake."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE}" "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture
def fake_options(tmp_path: Path, fake_python: Path, free_port: int, diary: Diary) -> Callable[..., EngineOptions]:
    """Options for the fake; keyword arguments are its FAKE_ settings, without the prefix and in lower case."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")

    def make(**settings: object) -> EngineOptions:
        fake = {f"FAKE_{name.upper()}": str(value) for name, value in settings.items()}
        return EngineOptions(
            python=fake_python,
            model=model,
            served_model_name="fake",
            port=free_port,
            kv_cache_gib=1,
            extra_env=fake | {"FAKE_DIARY": str(diary.path)},
        )

    return make
