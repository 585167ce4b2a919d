"""`lethe serve` and `lethe validate`: a start that cannot work names cause and cure; what was acknowledged stays."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.config import Config
from tests.cli.conftest import Run, runner
from tests.clients.system import (
    ADMIN_KEY,
    LETHE,
    LOG,
    Forgetting,
    System,
    clean_environment,
    forget_set,
    json_of,
    lethe,
    serving,
    wait_until_ready,
)

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def call() -> Run:
    """Calls commands without any server."""
    return runner({})


# -- configuration


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listn: {port: 1}", "unknown setting 'listn'; did you mean 'listen'?"),
        ("upstream: {ulr: x}", "unknown setting 'upstream.ulr'; did you mean 'url'?"),
        ("policy: {treshold: 0.5}", "unknown policy setting 'treshold'; did you mean 'threshold'?"),
        ("policy: {on_match: [refuse, instruct]}", "'on_match' climbs"),
        ("listen: {port: high}", "'listen.port': Input should be a valid integer"),
        ("listen: {port: 70000}", "'listen.port': Input should be less than or equal to 65535"),
        ("upstream: {url: 'localhost:8000'}", "'localhost:8000' is not a URL such as http://127.0.0.1:8000"),
        ("log_level: loud", "'log_level': Input should be 'debug', 'info', 'warning' or 'error'"),
        ("listen:\n  port: [", "is not valid YAML in line 2: "),
        ("- a list", "must hold settings by name, such as 'listen:'"),
        ("upstream: {api_key: '${NOT_SET_ANYWHERE}'}", "the environment variable NOT_SET_ANYWHERE is not set"),
    ],
)
def test_a_configuration_that_is_wrong(call: Run, tmp_path: Path, text: str, said: str):
    file = tmp_path / "lethe.yaml"
    file.write_text(text)
    result = call("validate", "--config", file)
    assert result.exit_code == 3
    assert said in result.stderr
    assert result.stdout == ""
    assert "input_value" not in result.stderr  # pydantic's own words


def test_several_mistakes_are_told_at_once(call: Run, tmp_path: Path):
    file = tmp_path / "lethe.yaml"
    file.write_text("listn: {}\nstat: x\nlimits: {drain: 1}\n")
    said = call("validate", "-c", file).stderr
    assert [line.strip().removeprefix("error: ").split(": ")[0] for line in said.splitlines()] == [str(file)] * 3
    for near in ("'listen'", "'state'", "'drain_s'"):
        assert f"did you mean {near}?" in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LETHE_LISTEN__PRT", "1", "unknown setting 'listen.prt'; did you mean 'port'?"),
        ("LETHE_POLICY__THRESHOLD", "7", "'threshold' is a number from 0 to 1"),
        ("LETHE_POLICY__ON_MATCH", "[", "the environment variable LETHE_POLICY__ON_MATCH is not valid YAML"),
        ("LETHE_CONFIG", "missing.yaml", "there is no configuration file missing.yaml"),
    ],
)
def test_an_environment_that_is_wrong(call: Run, name: str, value: str, said: str):
    result = call("validate", env={name: value})
    assert result.exit_code == 3
    assert said in result.stderr


def test_what_validates(call: Run, tmp_path: Path):
    file = tmp_path / "lethe.yaml"
    file.write_text("listen: {port: 9000}\nupstream: {api_key: '${SECRET_OF_OURS}'}\npolicy: {on_match: [refuse]}\n")
    result = call("validate", "-c", file, env={"SECRET_OF_OURS": "the-secret", "LETHE_POLICY__THRESHOLD": "0.9"})
    assert result.exit_code == 0
    assert result.stdout == "the configuration is valid; clients: 127.0.0.1:9000\n"
    shown = call("validate", "-c", file, "--json", env={"SECRET_OF_OURS": "the-secret"})
    assert json.loads(shown.stdout)["settings"]["listen"]["port"] == 9000
    assert "the-secret" not in shown.stdout
    assert call("validate").exit_code == 0  # defaults apply where nothing is said


# -- starts that cannot work


Fault = Callable[[Path], dict[str, str]]


TAKEN = "the port of a listener of the test"


def taken_port(_: Path) -> dict[str, str]:
    return {"LETHE_LISTEN__PORT": TAKEN}


def taken_admin_port(_: Path) -> dict[str, str]:
    return {"LETHE_ADMIN__PORT": TAKEN}


def open_without_keys(_: Path) -> dict[str, str]:
    return {"LETHE_LISTEN__HOST": "0.0.0.0"}  # noqa: S104


def short_key(_: Path) -> dict[str, str]:
    return {"LETHE_ADMIN_KEY": "short"}


def corrupt_ledger(state: Path) -> dict[str, str]:
    (state / "ledger.sqlite3").write_text("this is no ledger, and long enough to be read as one " * 100)
    return {}


def damaged_ledger(state: Path) -> dict[str, str]:
    """A real ledger with a hole in it."""
    with serving(state, NOWHERE, ready=False) as running, forget_set(running) as forget:
        for number in range(20):
            forget.add(f"What is in box {number}?", f"marble {number}")
    file = state / "ledger.sqlite3"
    content = bytearray(file.read_bytes())
    content[8192 : len(content) - 4096] = b"\x55" * (len(content) - 12288)
    file.write_bytes(content)
    return {}


def newer_ledger(state: Path) -> dict[str, str]:
    with sqlite3.connect(state / "ledger.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("CREATE TABLE sets (id TEXT)")
    db.close()
    return {}


def unusable_state(state: Path) -> dict[str, str]:
    (state / "file").write_text("")
    return {"LETHE_STATE": str(state / "file" / "below")}


def damaged_audit_key(state: Path) -> dict[str, str]:
    (state / "audit.key").write_bytes(b"short")
    return {}


def empty_cache(state: Path) -> dict[str, str]:
    return {"LETHE_CACHE": str(state / "empty")}


def copied_embedder(state: Path) -> Path:
    copy = state / "embedders" / "all-minilm-l6-v2"
    shutil.copytree(Config().embedder_path, copy)
    return copy


def cut_embedder(state: Path) -> dict[str, str]:
    model = max(copied_embedder(state).iterdir(), key=lambda file: file.stat().st_size)
    os.truncate(model, model.stat().st_size // 2)
    return {"LETHE_CACHE": str(state)}


def other_tokenizer(state: Path) -> dict[str, str]:
    (copied_embedder(state) / "tokenizer.json").write_text("{}")
    return {"LETHE_CACHE": str(state)}


@pytest.mark.parametrize(
    ("fault", "code", "cause", "cure"),
    [
        (
            taken_port,
            1,
            "on 127.0.0.1 cannot be used (address already in use): stop",
            "with --port (or set listen.port)",
        ),
        (
            taken_admin_port,
            1,
            "on 127.0.0.1 cannot be used (address already in use): stop",
            "with --admin-port (or set admin.port)",
        ),
        (corrupt_ledger, 1, "is damaged or not a ledger", "restore it from a backup, or move it away"),
        (damaged_ledger, 1, "is damaged or not a ledger", "restore it from a backup, or move it away"),
        (newer_ledger, 1, "has schema 99", "use the version of Lethe that wrote it"),
        (unusable_state, 1, "cannot be used", "check free space and permissions"),
        (damaged_audit_key, 1, "audit.key cannot be read", "restore it, or remove it"),
        (empty_cache, 1, "no embedder in", "run 'make models' or point embedder.path at a prepared folder"),
        (cut_embedder, 1, "all-minilm-l6-v2", "make models"),
        (other_tokenizer, 1, "all-minilm-l6-v2", "make models"),
        (open_without_keys, 3, "anyone could ask", "make a key first"),
        (short_key, 3, "LETHE_ADMIN_KEY has fewer than 16", "choose a longer one"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_start_that_cannot_work_names_cause_and_cure(
    prepared_cache: Path, tmp_path: Path, fault: Fault, code: int, cause: str, cure: str
):
    del prepared_cache
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = fault(tmp_path)
        env = clean_environment(
            LETHE_STATE=str(tmp_path), LETHE_ADMIN_KEY=ADMIN_KEY, LETHE_LISTEN__PORT="0", LETHE_ADMIN__PORT="0"
        )
        port = str(other.getsockname()[1])
        result = lethe("serve", env=env | {k: port if v == TAKEN else v for k, v in settings.items()})
    assert result.returncode == code
    assert cause in result.stderr
    assert cure in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_second_server_on_the_same_ledger(lone: System):
    env = clean_environment(LETHE_STATE=str(lone.state), LETHE_ADMIN_KEY=ADMIN_KEY)
    result = lethe("serve", "--port", "0", "--admin-port", "0", env=env)
    assert result.returncode == 1
    assert f"another server (process {lone.process.pid}) has the ledger {lone.state}" in result.stderr
    assert "stop it, or give this one another ledger.path" in result.stderr
    assert lone.check("Is it well?")["rung"] == "pass"


# -- life


def test_an_admin_key_is_made_once_where_none_was_given(prepared_cache: Path, tmp_path: Path):
    del prepared_cache
    with serving(tmp_path, NOWHERE, ready=False, env={"LETHE_ADMIN_KEY": ""}) as running:
        deadline = time.monotonic() + 20
        while "admin key (shown once): lethe-" not in (said := (tmp_path / "serve.out").read_text()):
            assert time.monotonic() < deadline, said
        key = said.split("admin key (shown once): ")[1].split()[0]
        running.keys["admin"] = key
        assert running.admin("GET", "/sets").status_code == 200
    with serving(tmp_path, NOWHERE, ready=False, env={"LETHE_ADMIN_KEY": ""}) as running:
        running.keys["admin"] = key
        assert running.admin("GET", "/sets").status_code == 200
        assert "shown once" not in (tmp_path / "serve.out").read_text()
    assert key not in (tmp_path / LOG).read_text()
    assert key.encode() not in b"".join(file.read_bytes() for file in tmp_path.glob("ledger.sqlite3*"))


def test_it_is_started_again_on_what_it_had(prepared_cache: Path, tmp_path: Path):
    del prepared_cache
    with serving(tmp_path, NOWHERE, ready=False) as running:
        json_of(running.admin("POST", "/sets", {"id": "kept", "policy": {"on_match": ["refuse"]}}))
        generation = Forgetting(running, "kept").add("Who lives in box 7?", "a marble")["generation"]
    with serving(tmp_path, NOWHERE, ready=False) as running:
        checked = running.check("Who lives in box 7?")
        assert (checked["rung"], checked["generation"]) == ("refuse", generation)


def test_nothing_that_was_acknowledged_is_lost_when_the_server_is_killed(prepared_cache: Path, tmp_path: Path):
    """`kill -9` while several clients add; what was answered is enforced after the next start."""
    del prepared_cache
    acknowledged: list[tuple[str, str]] = []
    failures: list[str] = []

    def add(running: System, worker: int) -> None:
        url, headers = f"{running.admin_url}/admin/v1/sets/kept/entries", {"Authorization": f"Bearer {ADMIN_KEY}"}
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as client:
            for number in range(1000):
                question = f"What is the colour of marble {number} in the box of worker {worker}?"
                try:
                    reply = client.post(url, json={"question": question, "answer": f"blue {worker} {number}"})
                except httpx.TransportError:
                    return
                if reply.status_code != 201:
                    failures.append(reply.text)
                    return
                acknowledged.append((reply.json()["id"], question))

    with serving(tmp_path, NOWHERE, ready=False) as running:
        json_of(running.admin("POST", "/sets", {"id": "kept"}))
        workers = [threading.Thread(target=add, args=(running, number)) for number in range(3)]
        for worker in workers:
            worker.start()
        while len(acknowledged) < 60:
            assert any(worker.is_alive() for worker in workers)
            time.sleep(0.01)
        running.process.send_signal(signal.SIGKILL)
        for worker in workers:
            worker.join()
        running.process.wait()
    assert failures == []
    assert len(acknowledged) >= 60

    with serving(tmp_path, NOWHERE, ready=False) as again:
        entries: list[Any] = []
        after = ""
        while after is not None:
            page = json_of(again.admin("GET", f"/sets/kept/entries?limit=1000&after={after}"))
            entries, after = entries + page["data"], page["next"]
        there = {entry["id"]: entry["texts"] for entry in entries}
        assert {name: there.get(name) for name, _ in acknowledged} == {name: [text] for name, text in acknowledged}
        assert len(there) <= len(acknowledged) + 3  # one that each was waiting for may be in
        for name, question in acknowledged[-20:]:
            checked = again.check(question)
            assert checked["rung"] == "instruct"
            assert name in [match["entry"] for match in checked["nearest"]]


def test_sighup_reads_the_policy_again_and_a_wrong_one_changes_nothing(prepared_cache: Path, tmp_path: Path):
    del prepared_cache
    file = tmp_path / "lethe.yaml"
    file.write_text("policy: {on_match: [refuse]}\n")
    with serving(tmp_path, NOWHERE, "--config", file, ready=False) as running, forget_set(running) as forget:
        forget.add("Who lives in box 7?", "a marble")
        rung = lambda: running.check("Who lives in box 7?")["rung"]  # noqa: E731

        def reloads() -> list[dict[str, Any]]:
            return [line for line in running.log() if line["event"].startswith("reload")]

        def reload(policy: str) -> dict[str, Any]:
            before = len(reloads())
            file.write_text(policy)
            running.process.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 20
            while len(reloads()) == before:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            return reloads()[-1]

        assert rung() == "refuse"
        assert reload("policy: {on_match: [instruct, refuse]}\n")["event"] == "reloaded"
        assert rung() == "instruct"
        for wrong in ("policy: {on_match: [refus]}\n", "policy: [\n", "listn: {}\n"):
            failed = reload(wrong)
            assert (failed["event"], failed["level"]) == ("reload_failed", "error")
            assert str(file) in failed["problem"]
            assert rung() == "instruct"
        assert reload("policy: {on_match: [observe]}\n")["event"] == "reloaded"
        assert rung() == "pass"
        file.unlink()
        running.process.send_signal(signal.SIGHUP)
        assert rung() == "pass"


@pytest.mark.engine
def test_sigterm_lets_an_answer_in_flight_come_to_its_end(real_engine: Any, tmp_path: Path):
    with (
        serving(tmp_path, real_engine.base_url, model=real_engine.model) as running,
        httpx.stream(
            "POST",
            f"{running.base_url}/chat/completions",
            json={
                "model": real_engine.model,
                "messages": [{"role": "user", "content": "Tell me a story."}],
                "max_tokens": 16,
                "ignore_eos": True,
                "temperature": 0,
                "stream": True,
            },
            timeout=200,
            trust_env=False,
        ) as stream,
    ):
        lines = stream.iter_lines()
        first = next(lines)
        running.process.terminate()
        rest = [line for line in lines if line]
    assert first.startswith("data: ")
    assert rest[-1] == "data: [DONE]"
    assert any('"finish_reason":"length"' in line for line in rest)  # the engine may put several tokens in one event


def test_it_can_be_stopped_while_it_starts(prepared_cache: Path, tmp_path: Path):
    """A signal that comes early ends it as cleanly as one that comes late."""
    del prepared_cache
    env = clean_environment(LETHE_STATE=str(tmp_path), LETHE_ADMIN_KEY=ADMIN_KEY)
    command = [LETHE, "serve", "--upstream", NOWHERE, "--port", "0", "--admin-port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not (tmp_path / "ledger.sqlite3").exists():
            assert process.poll() is None
            time.sleep(0.002)
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said == b""


def test_readiness_says_what_is_missing(lone: System):
    with pytest.raises(AssertionError, match="the engine does not answer"):
        wait_until_ready(lone.client_url, limit_s=0.5)
