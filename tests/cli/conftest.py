"""One server before the real engine for the tests of this folder, and its commands, called in this process."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli.main import main
from tests.clients.system import Forgetting, System, forget_set, serving
from tests.conftest import RealEngine

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def system(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Lethe before the real engine, without keys for clients."""
    with serving(tmp_path_factory.mktemp("lethe"), real_engine.base_url, model=real_engine.model) as running:
        yield running


@pytest.fixture(scope="session")
def lone(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Lethe without an engine, for commands that do not ask a model."""
    del prepared_cache  # the embedder
    with serving(tmp_path_factory.mktemp("lone"), "http://127.0.0.1:1", ready=False) as running:
        yield running


@pytest.fixture
def forget(lone: System) -> Iterator[Forgetting]:
    """A forget set of the test's own."""
    with forget_set(lone) as forgetting:
        yield forgetting


def runner(env: dict[str, str]) -> Run:
    """Calls commands in this process, with these settings of Lethe and no others."""
    settings = {name: None for name in os.environ if name.startswith("LETHE_")} | {
        name: value for name, value in env.items() if name.startswith("LETHE_") or name == "COLUMNS"
    }

    def call(*args: str | Path, env: dict[str, str | None] | None = None, **more: Any) -> Result:
        arguments = [str(arg) for arg in args]
        result = CliRunner().invoke(main, arguments, env=settings | (env or {}), prog_name="lethe", **more)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return call


@pytest.fixture
def run(lone: System) -> Run:
    """Calls commands of the server without an engine."""
    return runner(lone.env)


@pytest.fixture
def asking(system: System) -> Run:
    """Calls commands of the server before the real engine."""
    return runner(system.env)


def out(result: Result) -> str:
    """What a command that must have worked printed."""
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def parsed(result: Result) -> Any:
    """The same, of a command with --json."""
    return json.loads(out(result))
