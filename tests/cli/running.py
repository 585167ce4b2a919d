"""`lethe up` as a child process, and what it has printed."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.clients.system import ADMIN_KEY, LETHE, clean_environment, stop
from tests.conftest import unused_port

ROOT = Path(__file__).parents[2]
REAL_START_S = 240  # 30 s alone on two cores


class Up:
    """A running `lethe up`, and what it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], state: Path) -> None:
        self.process = process
        self._state = state
        self.children: list[psutil.Process] = []

    @property
    def out(self) -> str:
        return (self._state / "up.out").read_text()

    @property
    def err(self) -> str:
        return (self._state / "up.err").read_text()

    def wait_for(self, text: str, limit_s: float = 60) -> None:
        """Waits until it has printed a text."""
        deadline = time.monotonic() + limit_s
        while text not in self.out:
            assert self.process.poll() is None, self.out + self.err
            assert time.monotonic() < deadline, self.out + self.err
            time.sleep(0.02)
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def ended(self, limit_s: float = 60) -> int:
        """Waits for its end; nothing that it started may be left then. Returns its exit status."""
        status = self.process.wait(limit_s)
        assert psutil.wait_procs(self.children, timeout=5)[1] == []
        return status


@contextmanager
def up(state: Path, *args: str | Path, **env: str) -> Iterator[Up]:
    """`lethe up` on free ports."""
    state.mkdir(exist_ok=True)
    environment = clean_environment(LETHE_STATE=str(state)) | {"LETHE_ADMIN_KEY": ADMIN_KEY} | env
    with (
        (state / "up.out").open("wb") as out,
        (state / "up.err").open("wb") as err,
        subprocess.Popen(
            [LETHE, "up", "--port", "0", "--admin-port", "0", "--engine-port", str(unused_port()), *args],
            env=environment,
            cwd=ROOT,
            stdout=out,
            stderr=err,
        ) as process,
    ):
        running = Up(process, state)
        try:
            yield running
        finally:
            stop(process)
            for child in running.children:  # a test that fails must not leave them to the next
                if child.is_running():
                    child.kill()
