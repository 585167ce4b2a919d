"""Lethe as its users run it: `lethe serve` as a child process, reached over its ports and its command line only."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

LETHE = Path(sys.executable).with_name("lethe")
ADMIN_KEY = "admin-key-of-the-tests"
START_LIMIT_S = 60  # 3 s alone on two cores
STOP_LIMIT_S = 40  # `limits.drain_s` and some

OUTPUT, LOG = "serve.out", "serve.log"


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of Lethe, but for where the model cache is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
    cache = {"LETHE_CACHE": os.environ["LETHE_CACHE"]} if "LETHE_CACHE" in os.environ else {}
    return {**kept, **cache, "COLUMNS": "120", **more}


def lethe(*args: str | Path, env: Mapping[str, str], **more: Any) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        [LETHE, *args], env=dict(env), capture_output=True, text=True, timeout=120, check=False, **more
    )


@dataclass(frozen=True)
class System:
    """A running server. `keys` are secrets by name; `admin` is always there."""

    process: subprocess.Popen[bytes]
    state: Path
    client_url: str
    admin_url: str
    engine_url: str
    model: str
    keys: dict[str, str] = field(default_factory=lambda: {"admin": ADMIN_KEY})

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given."""
        return self.client_url + "/v1"

    @property
    def env(self) -> dict[str, str]:
        """What the command line needs to reach it."""
        return clean_environment(LETHE_ADMIN_URL=self.admin_url, LETHE_ADMIN_KEY=self.keys["admin"])

    def lethe(self, *args: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """One command against this server."""
        return lethe(*args, env=self.env, **more)

    def admin(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """One call of the admin API."""
        headers = {"Authorization": f"Bearer {self.keys['admin']}"}
        return httpx.request(
            method, f"{self.admin_url}/admin/v1{path}", json=body, headers=headers, timeout=60, trust_env=False, **more
        )

    def check(self, text: str) -> dict[str, Any]:
        """What would happen to a text."""
        return json_of(self.admin("POST", "/check", {"text": text}))

    def new_key(self, *scopes: str) -> str:
        """The secret of a new key."""
        return json_of(self.admin("POST", "/keys", {"scopes": list(scopes), "label": "test"}))["key"]

    def log(self) -> list[dict[str, Any]]:
        """What the server has logged so far."""
        return [json.loads(line) for line in (self.state / LOG).read_text().splitlines()]


@dataclass(frozen=True)
class Forgetting:
    """A forget set of one test's own."""

    system: System
    name: str

    @property
    def entries(self) -> str:
        return f"/sets/{self.name}/entries"

    def add(self, question: str, *answers: str, **fields: Any) -> dict[str, Any]:
        """One entry; the reply, given when the entry is in force."""
        return json_of(self.system.admin("POST", self.entries, {"question": question, "answers": answers, **fields}))

    def change(self, entry: str, **fields: Any) -> None:
        json_of(self.system.admin("PATCH", f"{self.entries}/{entry}", fields))

    def remove(self, entry: str) -> None:
        json_of(self.system.admin("DELETE", f"{self.entries}/{entry}"))

    def policy(self, **settings: Any) -> None:
        json_of(self.system.admin("PATCH", f"/sets/{self.name}", {"policy": settings}))


def json_of(response: httpx.Response) -> Any:
    """The body of a call that must have worked."""
    assert response.is_success, response.text
    return response.json()


@contextmanager
def forget_set(system: System) -> Iterator[Forgetting]:
    """A fresh forget set, removed at the end."""
    name = f"t{secrets.token_hex(4)}"
    json_of(system.admin("POST", "/sets", {"id": name}))
    try:
        yield Forgetting(system, name)
    finally:
        system.admin("DELETE", f"/sets/{name}")  # the test may have done it


def wait_until_ready(url: str, process: subprocess.Popen[bytes] | None = None, limit_s: float = START_LIMIT_S) -> None:
    """Waits for /readyz to say 200."""
    deadline = time.monotonic() + limit_s
    said = "nothing"
    while time.monotonic() < deadline:
        assert process is None or process.poll() is None, f"the server ended with {process and process.returncode}"
        try:
            reply = httpx.get(f"{url}/readyz", timeout=5, trust_env=False)
        except httpx.TransportError as error:
            said = repr(error)
        else:
            if reply.status_code == 200:
                return
            said = reply.text
        time.sleep(0.05)
    raise AssertionError(f"not ready after {limit_s} s: {said}")


def announced(process: subprocess.Popen[bytes], output: Path) -> dict[str, str]:
    """The addresses that a server prints once it listens."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        found = dict(re.findall(r"^(clients|admin): +(http://[\d.]+:\d+)", output.read_text(), re.MULTILINE))
        if len(found) == 2:
            return found
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise AssertionError(f"no server: {output.read_text()}{output.with_name(LOG).read_text()}")


@contextmanager
def serving(
    state: Path, engine_url: str, *args: str | Path, model: str = "", ready: bool = True, env: Mapping[str, str] = {}
) -> Iterator[System]:
    """`lethe serve` on free ports until the block ends; then it must stop cleanly and have logged no failure.

    A server that the block has killed is left alone.
    """
    state.mkdir(parents=True, exist_ok=True)
    output, log = state / OUTPUT, state / LOG
    command = [LETHE, "serve", "--upstream", engine_url, "--port", "0", "--admin-port", "0", *args]
    environment = clean_environment(LETHE_STATE=str(state), LETHE_ADMIN_KEY=ADMIN_KEY) | dict(env)
    with (
        output.open("wb") as out,
        log.open("wb") as err,
        subprocess.Popen(command, env=environment, stdout=out, stderr=err) as process,
    ):
        try:
            found = announced(process, output)
            if ready:
                wait_until_ready(found["clients"], process)
            yield System(process, state, found["clients"], found["admin"], engine_url, model)
        finally:
            stop(process)
    if process.returncode != -signal.SIGKILL:
        assert process.returncode == 0, log.read_text()
        assert output.read_text().splitlines()[-1] == "stopping"
    assert "Traceback" not in log.read_text()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Asks a child to end, as a service manager does; ends it by force when it does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
