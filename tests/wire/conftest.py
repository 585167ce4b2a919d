"""A scripted engine and a whole server for each test; nothing may be left running when the test ends."""

import asyncio
import functools
import gc
import inspect
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
import structlog
import uvloop

from tests.fakes.assistants import write_assistant
from tests.fakes.vllm import FakeVllm
from tests.postgresql import PostgresServer
from tests.wire.assistants import LADDER, SLOTS, load
from tests.wire.harness import Lethe, started

LIMIT_S = 30


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """The loop that the server runs on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of this folder that waits for long waits for ever; the signal that would end it does not get through."""
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and item.path.is_relative_to(Path(__file__).parent)
            and inspect.iscoroutinefunction(item.obj)
            and not hasattr(item.obj, "hypothesis")
            and item.get_closest_marker("engine") is None
        ):
            item.obj = _limited(item.obj)


def _limited(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(LIMIT_S):
            await test(*args, **kwargs)

    return run


@pytest.fixture(autouse=True)
def log() -> Any:
    """What the server logs, instead of on the terminal."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture(scope="session")
def settled_heap() -> Iterator[None]:
    """What is there before the first test is not looked through after each."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
async def no_leftovers(settled_heap: None) -> AsyncIterator[None]:
    """No task survives the server, and no exception went unseen."""
    async with nothing_left():
        yield


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Fails when a task survives the block, or an exception went unseen in it."""
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    before = asyncio.all_tasks()
    yield
    gc.collect(1)
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if not task.done()} - {asyncio.current_task()}
    assert not left, left
    assert not unseen, unseen


@pytest.fixture
async def engine(no_leftovers: None) -> AsyncIterator[FakeVllm]:
    async with FakeVllm.running() as fake:
        yield fake


@contextmanager
def state_folder() -> Iterator[Path]:
    """A folder for the ledger, in memory where there is such a place: what syncs cost is measured elsewhere."""
    memory = Path("/dev/shm")
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="lethe-test-") as folder:
        yield Path(folder)


@pytest.fixture
def state() -> Iterator[Path]:
    with state_folder() as folder:
        yield folder


@pytest.fixture
async def lethe(engine: FakeVllm, state: Path) -> AsyncIterator[Lethe]:
    """A server with one empty forget set, `art`."""
    async with started(engine, state) as server:
        await server.make_set()
        yield server


@pytest.fixture
async def armed(lethe: Lethe) -> Lethe:
    """The same with one fact to forget."""
    await lethe.forget()
    return lethe


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    return postgres.fresh("replicas")


@pytest.fixture
def url(database: str) -> str:
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("SET client_min_messages = error")
        db.execute("DROP SCHEMA IF EXISTS lethe CASCADE")
    return database


@pytest.fixture
async def able(engine: FakeVllm, state: Path) -> AsyncIterator[Lethe]:
    """A server whose engine has two slots; a set that subtracts `uld`, with one fact; nothing is loaded yet."""
    engine.composite.slots = ("a0", "a1")
    async with started(engine, state, SLOTS) as server:
        await server.make_set(policy=LADDER)
        await server.forget()
        yield server


@pytest.fixture
async def loaded(able: Lethe, tmp_path: Path) -> Lethe:
    """The same with version 1 of `uld` loaded."""
    await load(able, write_assistant(tmp_path, "uld", 1))
    return able


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(settled_heap: None) -> AsyncIterator[Lethe]:
    """One server for all tests of a module, with one fact to forget: for tests that change nothing."""
    with state_folder() as folder:
        async with nothing_left(), FakeVllm.running() as fake, started(fake, folder) as server:
            await server.make_set()
            await server.forget()
            yield server
