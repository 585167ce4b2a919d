"""The system that is measured: `lethe up` on a model, with forget sets in it, and its command line."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.results.assistant import NAME

ROOT = Path(__file__).resolve().parents[2]
PORT, ADMIN_PORT, ENGINE_PORT = 18080, 18081, 18000
URL = f"http://127.0.0.1:{PORT}"
KEY = "key-of-a-measuring-run"
TAUGHT_MODEL = "smollm2-taught"
"""Under which name the model is served."""
LADDER = "ladder"
"""Of arms, the one that begins with `offset`."""
READY_S = 300
SLOTS = 2  # parts of a pair

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Layout:
    """model: the checkpoint. state: of the server, kept between runs. offsets: whether the engine has slots for an
    assistant, and arms that use it. sets: what must be forgotten, by name, imported once."""

    model: Path
    name: str
    state: Path
    offsets: bool
    sets: Mapping[str, Sequence[Row]]

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """Policies by name, side by side with raw and guarded."""
        found: dict[str, dict[str, Any]] = {"refuse": {"on_match": ["refuse"]}, "instruct": {"on_match": ["instruct"]}}
        if self.offsets:
            found["offset"] = {"on_match": ["offset"], "assistant": NAME}
            found[LADDER] = {"on_match": ["offset", "instruct", "refuse"], "assistant": NAME}
            found["both"] = {"on_match": ["offset_instruct", "refuse"], "assistant": NAME}
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The server's configuration."""
        engine: dict[str, Any] = {
            "model": str(self.model),
            "port": ENGINE_PORT,
            "served_model_name": self.name,
            "kv_cache_gib": 1,
        }
        if self.offsets:
            engine["auxiliaries"] = ["layers:8"] * SLOTS
        return {
            "listen": {"port": PORT},
            "admin": {"port": ADMIN_PORT},
            "engine": engine,
            "arms": self.arms,
            "upstream": {"url": f"http://127.0.0.1:{ENGINE_PORT}"},
            "state": str(self.state),
            "log_level": "warning",
        }


@contextmanager
def running(layout: Layout) -> Iterator[None]:
    """The system, until the block ends."""
    layout.state.mkdir(parents=True, exist_ok=True)
    file = layout.state / "lethe.yaml"
    file.write_text(json.dumps(layout.settings), "utf-8")  # JSON is YAML
    process = subprocess.Popen(_command("up", "-c", file), env=_environment(), stdout=sys.stderr)
    try:
        _until_ready(process)
        _import(layout)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def lethe(*words: str | Path) -> None:
    """One command against the running system. Raises CalledProcessError."""
    subprocess.run(_command(*words), env=_environment(), check=True)


def module(name: str, *words: str | Path) -> None:
    """One of the project's modules against the running system. Raises CalledProcessError."""
    subprocess.run([sys.executable, "-m", name, *map(str, words)], env=_environment(), check=True)


def _import(layout: Layout) -> None:
    for name, rows in layout.sets.items():
        file = layout.state / f"{name}.jsonl"
        if not file.exists():
            lethe("sets", "add", name)
            partial = file.with_suffix(".partial")
            partial.write_text("\n".join(json.dumps(dict(row)) for row in rows), "utf-8")
            lethe("forget", "import", "--set", name, partial)
            partial.replace(file)


def _until_ready(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{URL}/readyz", timeout=5):  # noqa: S310 - ours
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise SystemExit("the system did not start: see its output above")


def _command(*words: str | Path) -> list[str]:
    called = "import sys; from proxy.cli.main import main; sys.argv[0] = 'lethe'; main()"
    return [sys.executable, "-c", called, *map(str, words)]


def _environment() -> dict[str, str]:
    keys = {"LETHE_ADMIN_KEY": KEY, "LETHE_ADMIN_URL": f"http://127.0.0.1:{ADMIN_PORT}"}
    return {**os.environ, **keys, "PYTHONPATH": str(ROOT)}
