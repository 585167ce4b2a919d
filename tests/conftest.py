"""What tests of several rooms share: the prepared cache and one real vLLM for the whole session."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from guards.engine import cache
from proxy.engine.command import EngineOptions
from proxy.engine.discovery import detect_device, find_engine_python, usable_cpus
from proxy.engine.errors import EngineUnavailable
from proxy.engine.supervisor import EngineSupervisor
from tests.postgresql import NoPostgres, PostgresServer, postgres_server
from tests.properties import settle

settle()
# A suite that was started in the background ignores Ctrl-C, and so would every command that it starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

START_LIMIT_S = 240  # 30 s alone on two cores; tests of others may run beside


@dataclass(frozen=True)
class RealEngine:
    """A vLLM that answers. It has neither guards nor a key."""

    base_url: str
    model: str


@pytest.fixture(scope="session")
def prepared_cache() -> Path:
    """The model cache, checked. Tests do not skip for want of it: `make test` fills it."""
    root = cache.cache_root()
    try:
        cache.check(cache.model_folder(root))
        cache.check(cache.embedder_folder(root))
    except cache.CacheError as error:
        pytest.fail(f"{error} (`make test` does)", pytrace=False)
    return root


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole session; tests skip where it is not installed."""
    try:
        with postgres_server() as server:
            yield server
    except NoPostgres as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def engine_python() -> Path:
    """The engine's Python. Tests do not skip for want of it: `make test` installs it."""
    try:
        return find_engine_python(None, os.environ)
    except EngineUnavailable as error:
        pytest.fail(f"{error}; then `make models`", pytrace=False)


@pytest.fixture(scope="session")
def engine_options(engine_python: Path, prepared_cache: Path) -> EngineOptions:
    """The small model on a free port. Give a second engine another port with `dataclasses.replace`."""
    return EngineOptions(
        python=engine_python,
        model=cache.model_folder(prepared_cache),
        served_model_name="smollm2-135m-instruct",
        port=unused_port(),
        device=detect_device(engine_python),
        kv_cache_gib=1,
        cpus=usable_cpus(),
        cache=prepared_cache,
    )


@pytest.fixture(scope="session")
def real_engine(engine_options: EngineOptions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """One vLLM with the small model, started by the first test that asks and shared by all; do not stop it."""
    state = tmp_path_factory.mktemp("engine")
    ready: Future[None] = Future()
    # The supervisor lives in a loop and a thread of its own: each test has its own loop, the engine outlives them.
    loop = asyncio.new_event_loop()

    async def supervise() -> None:
        try:
            async with EngineSupervisor(engine_options, state=state) as engine:
                await engine.ready()
                ready.set_result(None)
                await asyncio.Event().wait()
        except EngineUnavailable as error:
            ready.set_exception(error)

    async def until_stopped() -> None:
        try:
            await supervise()
        except asyncio.CancelledError:
            loop.stop()

    task = loop.create_task(until_stopped(), name="real engine")
    thread = threading.Thread(target=loop.run_forever, name="real engine")
    thread.start()
    try:
        try:
            ready.result(START_LIMIT_S)
        except (EngineUnavailable, TimeoutError) as error:
            pytest.fail(f"the real engine did not start: {error!r} (run `make env models`)", pytrace=False)
        yield RealEngine(engine_options.base_url, engine_options.served_model_name)
    finally:
        loop.call_soon_threadsafe(lambda: loop.stop() if task.done() else task.cancel())
        thread.join(60)
        loop.close()


def unused_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
