"""`lethe serve --workers`: real processes on the same ports, which agree, are started again, and end together."""

import asyncio
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.cli.conftest import out, runner
from tests.clients.system import (
    ADMIN_KEY,
    LETHE,
    System,
    announced,
    clean_environment,
    forget_set,
    json_of,
    lethe,
    serving,
)
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL
from tests.postgresql import PostgresServer
from tests.relay import Relay

NOWHERE = "http://127.0.0.1:1"
TRIAL = {"id": "trial", "arms": {"guarded": 1, "watched": 1}, "unit": "user"}
WORKERS = 2
LIMIT_S = 60  # what happens within a second on a quiet machine


@pytest.fixture(scope="module")
def crew(prepared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A server of two processes, without an engine."""
    del prepared_cache
    folder = tmp_path_factory.mktemp("crew")
    with serving(folder, NOWHERE, "--workers", str(WORKERS), ready=False) as running:
        yield running


def until(true: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := true()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


def workers(running: System) -> list[psutil.Process]:
    return psutil.Process(running.process.pid).children()


def metric(running: System, name: str) -> dict[str, float]:
    """A metric by worker, from a page for which one worker has asked the others."""
    page = httpx.get(f"{running.client_url}/metrics", timeout=30, trust_env=False).text
    lines = [line for line in page.splitlines() if line.startswith(f"{name}{{worker=")]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_all_enforce_what_was_waited_for(crew: System) -> None:
    with forget_set(crew) as forget:
        for number in range(5):
            body = {"question": f"Who lives in box {number}?", "answers": ["a marble"]}
            reply = crew.admin("POST", f"{forget.entries}?wait=applied&timeout_s=60", body)
            told = json_of(reply)
            assert (reply.status_code, told["applied"], told["members"]) == (201, True, WORKERS)
            assert set(metric(crew, "lethe_generation").values()) == {told["generation"]}
        assert metric(crew, "lethe_entries") == {"0": 5, "1": 5}
        members = json_of(crew.admin("GET", "/generations"))["members"]
        assert len(members) == WORKERS
        assert len({member["generation"] for member in members}) == 1


def test_one_page_of_metrics_shows_all(crew: System) -> None:
    assert metric(crew, "lethe_workers") == {"0": 1, "1": 1}
    page = httpx.get(f"{crew.client_url}/metrics", timeout=30, trust_env=False).text
    assert page.count("# TYPE lethe_generation gauge") == 1
    samples = [line for line in page.splitlines() if not line.startswith("#")]
    assert all('worker="' in line for line in samples)
    assert len(samples) == len({line.rsplit(" ", 1)[0] for line in samples})


def test_commands_wait_for_all(crew: System) -> None:
    commands = runner(crew.env)
    with forget_set(crew) as forget:
        said = out(commands("forget", "add", "--set", forget.name, "-q", "Who lives in box 7?"))
        assert "in force" in said
        assert metric(crew, "lethe_entries") == {"0": 1, "1": 1}


def test_keys_hold_in_all(crew: System) -> None:
    made = json_of(crew.admin("POST", "/keys", {"scopes": ["client"]}))

    def status(key: str | None) -> set[int]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{crew.base_url}/models"
        return {httpx.get(url, headers=headers, timeout=30, trust_env=False).status_code for _ in range(12)}

    until(lambda: status(None) == {401}, "all ask for a key")
    assert status(made["key"]) == {200}
    crew.admin("DELETE", f"/keys/{made['id']}")
    until(lambda: status(None) == {200}, "nobody asks for a key")


def test_a_signal_to_read_the_policy_again_reaches_all(crew: System) -> None:
    before = [line["event"] for line in crew.log()].count("reloaded")
    crew.process.send_signal(signal.SIGHUP)
    until(lambda: [line["event"] for line in crew.log()].count("reloaded") == before + WORKERS, "all have read it")


def test_a_worker_that_dies_is_started_again_and_catches_up(crew: System) -> None:
    with forget_set(crew) as forget:
        for victim in workers(crew):
            victim.send_signal(signal.SIGKILL)
            until(lambda gone=victim: not gone.is_running() or gone.status() == psutil.STATUS_ZOMBIE, "it is gone")
            until(lambda: len(metric_or_none(crew)) == WORKERS, "it is there again")
            # The admin port was the first worker's: it is there again as well.
            body = {"question": f"Who lives in box {victim.pid}?"}
            told = json_of(crew.admin("POST", f"{forget.entries}?wait=applied&timeout_s=60", body))
            assert told["applied"]
            until(lambda g=told["generation"]: set(metric(crew, "lethe_generation").values()) == {g}, "it caught up")
    events = [line["event"] for line in crew.log()]
    assert events.count("worker_died") == events.count("worker_started_again") == WORKERS


def metric_or_none(running: System) -> dict[str, float]:
    try:
        return metric(running, "lethe_workers")
    except httpx.TransportError:  # a connection that a dying worker had taken
        return {}


def test_a_second_server_is_refused_even_when_only_workers_are_left(prepared_cache: Path, tmp_path: Path) -> None:
    del prepared_cache
    env = clean_environment(LETHE_STATE=str(tmp_path), LETHE_ADMIN_KEY=ADMIN_KEY)
    command = ("serve", "--port", "0", "--admin-port", "0", "--upstream", NOWHERE)
    with serving(tmp_path, NOWHERE, "--workers", "2", ready=False) as running:
        for more in ((), ("--workers", "2")):
            refused = lethe(*command, *more, env=env)
            assert refused.returncode == 1
            assert "another server (process" in refused.stderr
        left = workers(running)
        left[0].suspend()  # it cannot end by itself while its parent is gone
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        try:
            assert "another server (process" in lethe(*command, env=env).stderr
        finally:
            left[0].resume()
        _, alive = psutil.wait_procs(left, LIMIT_S)
        assert not alive


def test_a_port_that_is_taken_and_a_wrong_key_are_told_once(prepared_cache: Path, crew: System, tmp_path: Path) -> None:
    del prepared_cache
    port = crew.client_url.rsplit(":", 1)[1]
    env = clean_environment(LETHE_STATE=str(tmp_path), LETHE_ADMIN_KEY=ADMIN_KEY)
    taken = lethe("serve", "--workers", "2", "--port", port, "--admin-port", "0", env=env)
    assert (taken.returncode, taken.stderr.count("error:")) == (1, 1)
    assert "set listen.port" in taken.stderr
    empty = lethe(
        "serve", "--workers", "2", "--port", "0", "--admin-port", "0", env=env | {"LETHE_CACHE": str(tmp_path)}
    )
    assert (empty.returncode, empty.stderr.count("error:")) == (1, 1)
    assert "no embedder in" in empty.stderr


def test_ctrl_c_while_it_starts_leaves_nothing(prepared_cache: Path, tmp_path: Path) -> None:
    del prepared_cache
    env = clean_environment(LETHE_STATE=str(tmp_path), LETHE_ADMIN_KEY=ADMIN_KEY)
    command = [LETHE, "serve", "--workers", "2", "--upstream", NOWHERE, "--port", "0", "--admin-port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        children = until(lambda: psutil.Process(process.pid).children(), "a worker begins")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert b"Traceback" not in said
    assert not psutil.wait_procs(children, LIMIT_S)[1]


def test_replicas_of_workers_on_postgres_and_one_of_them_killed(
    prepared_cache: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    del prepared_cache
    env = {"LETHE_LEDGER__URL": postgres.fresh("workers"), "LETHE_LEDGER__LEASE_S": "4", "LETHE_LEDGER__POLL_S": "0.2"}
    with (
        serving(tmp_path / "a", NOWHERE, "--workers", "2", ready=False, env=env) as a,
        serving(tmp_path / "b", NOWHERE, ready=False, env=env) as b,
    ):
        json_of(a.admin("POST", "/sets?wait=applied&timeout_s=60", {"id": "kept"}))

        def add(to: System, question: str) -> dict[str, Any]:
            added: dict[str, Any] = json_of(
                to.admin("POST", "/sets/kept/entries?wait=applied&timeout_s=60", {"question": question})
            )
            return added

        told = add(a, "Who lives in box 7?")
        assert (told["applied"], told["members"]) == (True, 3)
        assert b.check("Who lives in box 7?")["rung"] == "instruct"
        assert add(b, "Who lives in box 8?")["members"] == 3
        assert a.check("Who lives in box 8?")["rung"] == "instruct"

        b.process.send_signal(signal.SIGKILL)
        b.process.wait()
        told = add(a, "Who lives in box 9?")  # its lease runs out, and it is waited for no more
        assert (told["applied"], told["members"]) == (True, 2)
        assert set(metric(a, "lethe_generation").values()) == {told["generation"]}


def test_a_replica_process_that_is_cut_off_from_its_ledger_says_so_and_comes_back(
    prepared_cache: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    del prepared_cache
    url = postgres.fresh("cut")
    with relay_to(postgres.port) as relay:
        env = {"LETHE_LEDGER__URL": url, "LETHE_LEDGER__LEASE_S": "4", "LETHE_LEDGER__POLL_S": "0.2"}
        cut = env | {"LETHE_LEDGER__URL": postgres.url("cut", port=relay.port)}
        with (
            serving(tmp_path / "a", NOWHERE, ready=False, env=env) as a,
            serving(tmp_path / "b", NOWHERE, ready=False, env=cut) as b,
        ):
            json_of(a.admin("POST", "/sets?wait=applied&timeout_s=60", {"id": "kept"}))
            assert json_of(b.admin("GET", "/sets"))["data"][0]["id"] == "kept"
            relay.cut()
            until(lambda: "the ledger has not answered" in not_ready(b), "it is fenced")
            assert b.admin("POST", "/check", {"text": "Who lives in box 7?"}).status_code == 503
            body = {"question": "Who lives in box 7?"}
            told = json_of(a.admin("POST", "/sets/kept/entries?wait=applied&timeout_s=60", body))
            assert (told["applied"], told["members"]) == (True, 1)
            assert a.check("Who lives in box 7?")["rung"] == "instruct"
            relay.mend()
            until(lambda: "the ledger" not in not_ready(b), "it has caught up")
            assert b.check("Who lives in box 7?")["rung"] == "instruct"


def not_ready(running: System) -> str:
    """Why a server is not ready; there is no engine, so it never is."""
    return str(httpx.get(f"{running.client_url}/readyz", timeout=30, trust_env=False).json()["reason"])


class Cable:
    """A relay that lives in a thread."""

    def __init__(self, relay: Relay, loop: asyncio.AbstractEventLoop) -> None:
        self._relay = relay
        self._loop = loop

    @property
    def port(self) -> int:
        return self._relay.port

    def cut(self) -> None:
        asyncio.run_coroutine_threadsafe(self._relay.cut(), self._loop).result(LIMIT_S)

    def mend(self) -> None:
        asyncio.run_coroutine_threadsafe(self._relay.mend(), self._loop).result(LIMIT_S)


@contextmanager
def relay_to(target: int) -> Iterator[Cable]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()
    cable = Cable(Relay(target), loop)
    try:
        cable.mend()
        yield cable
    finally:
        cable.cut()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LIMIT_S)
        loop.close()


@contextmanager
def fake_engine() -> Iterator[str]:
    """The scripted engine in a thread; its URL."""
    ready: queue.Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event, str]] = queue.Queue()

    async def run() -> None:
        async with FakeVllm.running() as engine:
            done = asyncio.Event()
            ready.put((asyncio.get_running_loop(), done, engine.url))
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="engine")
    thread.start()
    loop, done, url = ready.get(timeout=LIMIT_S)
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(LIMIT_S)


def ask_all(running: System, users: Sequence[str]) -> dict[str, set[str]]:
    """The arms that users get; each request is a connection of its own, which the kernel gives to some worker."""
    seen: dict[str, set[str]] = {user: set() for user in users}
    for user in users:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello?"}], "user": user}
        reply = httpx.post(f"{running.base_url}/chat/completions", json=body, timeout=30, trust_env=False)
        assert reply.status_code == 200, reply.text
        seen[user].add(reply.headers["x-lethe-arm"])
    return seen


def of_all(running: System) -> int:
    """Requests of the trial that were counted, whoever was asked."""
    shown = json_of(running.admin("GET", "/experiments/trial"))["arms"]
    return sum(arm["requests"] for arm in shown.values())


def test_workers_and_replicas_agree_on_an_experiment(
    prepared_cache: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    del prepared_cache
    settings = tmp_path / "lethe.yaml"
    settings.write_text("arms: {watched: {on_match: [observe]}}")
    env = {"LETHE_LEDGER__URL": postgres.fresh("trial"), "LETHE_CONFIG": str(settings)}
    users = [f"u{number}" for number in range(16)]
    with (
        fake_engine() as engine,
        serving(tmp_path / "a", engine, "--workers", "2", env=env) as a,
        serving(tmp_path / "b", engine, env=env) as b,
    ):
        started = json_of(a.admin("POST", "/experiments?wait=applied&timeout_s=60", TRIAL))
        assert (started["applied"], started["members"]) == (True, WORKERS + 1)
        here, there = ask_all(a, users), ask_all(b, users)
        assert here == there  # a user has one arm, whichever process answers
        assert {arm for arms in here.values() for arm in arms} == {"guarded", "watched"}
        until(lambda: of_all(a) == of_all(b) == 2 * len(users), "all have written what they saw")
        shown = json_of(b.admin("GET", "/experiments/trial"))["arms"]
        assert sum(arm["units"] for arm in shown.values()) == len(users)
        answered = metric(a, "lethe_requests_total")
        assert set(answered) == {"0", "1"}  # the kernel gave both workers some

        stopped = json_of(b.admin("POST", "/experiments/trial:stop?wait=applied&timeout_s=60", {"reason": "seen"}))
        assert (stopped["applied"], stopped["members"]) == (True, WORKERS + 1)
        for running in (a, b):
            assert ask_all(running, users) == {user: {"guarded"} for user in users}
            assert of_all(running) == 2 * len(users)
        assert json_of(a.admin("GET", "/experiments/trial"))["reason"] == "seen"


def test_what_a_crew_leaves_behind(prepared_cache: Path, tmp_path: Path) -> None:
    """SIGTERM ends all; nothing but the state folder stays."""
    del prepared_cache
    before = {path.name for path in Path("/tmp").glob("lethe-*")}
    output = tmp_path / "serve.out"
    with serving(tmp_path, NOWHERE, "--workers", "2", ready=False) as running:
        json_of(running.admin("POST", "/sets", {"id": "kept"}))
        own = announced(running.process, output)
        assert own["clients"] == running.client_url
        children = workers(running)
        assert len(children) == WORKERS
    assert not psutil.wait_procs(children, LIMIT_S)[1]
    assert {path.name for path in Path("/tmp").glob("lethe-*") if path.stat().st_uid == os.geteuid()} <= before
    assert "error" not in [line.get("level") for line in running.log() if line["event"].startswith("worker")]
