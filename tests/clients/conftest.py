"""One server before the real engine for this folder, with keys of each kind; a forget set for each test."""

from collections.abc import Callable, Iterator

import openai
import pytest

from tests.clients.engine_metrics import EngineMetrics
from tests.clients.system import Forgetting, System, forget_set, serving
from tests.conftest import RealEngine

ANSWER_LIMIT_S = 240  # a short answer takes a second; tests of others may run beside


@pytest.fixture(scope="session")
def system(real_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Lethe before the real engine. Keys: `admin`, `client`, `raw` (client and raw)."""
    with serving(tmp_path_factory.mktemp("lethe"), real_engine.base_url, model=real_engine.model) as running:
        running.keys["client"] = running.new_key("client")
        running.keys["raw"] = running.new_key("client", "raw")
        yield running


@pytest.fixture
def forget(system: System) -> Iterator[Forgetting]:
    """A forget set of the test's own."""
    with forget_set(system) as forgetting:
        yield forgetting


Connect = Callable[..., openai.OpenAI]


@pytest.fixture
def connect(system: System) -> Iterator[Connect]:
    """Makes OpenAI clients: by the name of a key, and for another base URL."""
    made: list[openai.OpenAI] = []

    def client(key: str = "client", base_url: str | None = None) -> openai.OpenAI:
        secret = system.keys.get(key, key)
        made.append(
            openai.OpenAI(base_url=base_url or system.base_url, api_key=secret, max_retries=0, timeout=ANSWER_LIMIT_S)
        )
        return made[-1]

    yield client
    for one in made:
        one.close()


@pytest.fixture
def client(connect: Connect) -> openai.OpenAI:
    """The official client with an ordinary key."""
    return connect()


@pytest.fixture
def raw(connect: Connect) -> openai.OpenAI:
    """The official client with a key that may ask the raw arm."""
    return connect("raw")


@pytest.fixture
def engine(connect: Connect, system: System) -> openai.OpenAI:
    """The official client at vLLM's own port, past Lethe."""
    return connect("none", system.engine_url + "/v1")


@pytest.fixture
def metrics(system: System) -> EngineMetrics:
    """What the engine says of itself."""
    return EngineMetrics(system.engine_url)
