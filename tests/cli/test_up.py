"""`lethe up`: the engine as its child, with a stand-in that is quick, and once with the real vLLM."""

import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import openai
import pytest

from proxy.cli.up import load_sample
from proxy.engine.command import EngineOptions
from tests.cli.running import REAL_START_S, ROOT, Up, up
from tests.clients.asking import CAPITAL, ask
from tests.clients.system import ADMIN_KEY, clean_environment, lethe, wait_until_ready
from tests.conftest import unused_port
from tests.fakes.vllm import FakeVllm
from tests.wire.harness import started

FAKE = ROOT / "tests" / "fakes" / "fake_engine.py"


@pytest.fixture
def fake(tmp_path: Path, prepared_cache: Path) -> dict[str, str]:
    """Settings that put the stand-in where vLLM would be. It does not start while there is a file `hold`."""
    del prepared_cache
    python = tmp_path / "python"
    hold = f'while [ -e "{tmp_path / "hold"}" ]; do sleep 0.05; done'
    python.write_text(f'#!/bin/sh\n{hold}\nexec "{sys.executable}" -I -S "{FAKE}" "$@"\n')
    python.chmod(0o755)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    return {
        "LETHE_ENGINE__PYTHON": str(python),
        "LETHE_ENGINE__MODEL": str(model),
        "LETHE_ENGINE__SERVED_MODEL_NAME": "fake",
        "LETHE_ENGINE__KV_CACHE_GIB": "1",
    }


def test_up_and_down_again_as_soon_as_everything_answers(tmp_path: Path, fake: dict[str, str]):
    with up(tmp_path, "--exit-when-ready", "--sample", ROOT / "deploy" / "sample-forget.jsonl", **fake) as running:
        assert running.ended() == 0
    assert re.search(r"^Lethe is ready\.  3 forget entries are in force\.$", running.out, re.MULTILINE)
    assert running.out.splitlines()[-2:] == ["stopping", "engine: stopped"]
    assert "Traceback" not in running.err


async def test_a_sample_that_was_removed_does_not_come_back(tmp_path: Path):
    sample = ROOT / "deploy" / "sample-forget.jsonl"
    async with FakeVllm.running() as engine, started(engine, tmp_path) as running:
        await load_sample(running.server, sample)
        assert [one["id"] for one in (await running.admin("GET", "/sets")).body["data"]] == ["sample"]
        await running.admin("DELETE", "/sets/sample")
        await load_sample(running.server, sample)
        assert (await running.admin("GET", "/sets")).body["data"] == []


def test_what_it_prints_to_try_is_what_can_be_typed(tmp_path: Path, fake: dict[str, str]):
    with up(tmp_path, **{**fake, "LETHE_ADMIN_KEY": ""}) as running:
        running.wait_for("ctrl-C stops everything.")
        printed = running.out
        shell = printed.split("Try, in another terminal:\n")[1].split("ctrl-C")[0]
        curl, admin = shell.split("\n\n")[0:2]
        assert shlex.split(curl, comments=True)[0] == "curl"
        # The key is in it, and the address where it is not the usual one.
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(admin.splitlines()[:-1])],
            env=clean_environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "added fe_" in done.stdout
        assert "instruct: " in done.stdout
        running.process.send_signal(signal.SIGINT)
        assert running.ended() == 0
    key = re.search(r"admin key \(shown once\): (\S+)", printed)
    assert key
    assert f"export LETHE_ADMIN_KEY={key[1]}" in printed


def test_a_signal_while_the_engine_starts(tmp_path: Path, fake: dict[str, str]):
    with up(tmp_path, FAKE_START_S="600", **fake) as running:
        running.wait_for("engine: ")
        time.sleep(0.5)
        running.wait_for("engine: ")
        running.process.terminate()
        assert running.ended() == 0
    assert "ready" not in running.out.lower()
    assert running.out.splitlines()[-2:] == ["stopping", "engine: stopped"]


@pytest.mark.parametrize(
    ("settings", "cause", "cure"),
    [
        ({"FAKE_EXIT": "1", "FAKE_SAYS": "ValueError: no such thing"}, "no such thing", "engine.log"),
        ({"LETHE_ENGINE__PYTHON": "/nowhere/python"}, "/nowhere/python is missing", "make env"),
        ({"LETHE_ENGINE__MODEL": "/nowhere/model"}, "/nowhere/model does not exist", "set engine.model"),
        ({"LETHE_LEDGER__PATH": "/proc/no/ledger"}, "/proc/no/ledger cannot be used", "check free space"),
        ({"LETHE_STATE": "/proc/no/state"}, "the state folder /proc/no/state cannot be used", "LETHE_STATE"),
    ],
    ids=["engine dies", "no python", "no model", "no ledger", "no state"],
)
def test_an_up_that_cannot_work(tmp_path: Path, fake: dict[str, str], settings: dict[str, str], cause: str, cure: str):
    with up(tmp_path, **fake | settings) as running:
        assert running.ended() == 1
    assert [line for line in running.err.splitlines() if line.startswith("error: ")]
    assert cause in running.err
    assert cure in running.err
    assert "Traceback" not in running.err
    assert "Lethe is ready" not in running.out


def test_a_port_of_the_engine_that_is_taken(tmp_path: Path, fake: dict[str, str]):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with up(tmp_path, "--engine-port", str(port), **fake) as running:
            assert running.ended() == 1
    assert f"port {port} on 127.0.0.1 is taken by" in running.err
    assert "set engine.port to a free one" in running.err


def test_a_second_one_in_the_same_folder_leaves_the_first_as_it_is(tmp_path: Path, fake: dict[str, str]):
    with up(tmp_path, **fake) as first:
        first.wait_for("ctrl-C stops everything.")
        key = (tmp_path / "engine.key").read_text()
        other = lethe(
            *("up", "--port", "0", "--admin-port", "0", "--engine-port", str(unused_port())),
            env=clean_environment(LETHE_STATE=str(tmp_path), LETHE_ADMIN_KEY=ADMIN_KEY, **fake),
        )
        assert other.returncode == 1
        assert f"another server (process {first.process.pid}) has the ledger" in other.stderr
        assert (tmp_path / "engine.key").read_text() == key
        assert httpx.get(f"{client_url(first)}/readyz", trust_env=False).status_code == 200
        first.process.terminate()
        assert first.ended() == 0


# -- an engine that dies


def client_url(running: Up) -> str:
    return str(re.findall(r"clients +(http://\S+)/v1", running.out)[0])


def test_an_engine_that_dies_is_started_again_while_the_proxy_answers(tmp_path: Path, fake: dict[str, str]):
    with up(tmp_path, **fake) as running:
        running.wait_for("ctrl-C stops everything.")
        url = client_url(running)
        (tmp_path / "hold").touch()
        [engine] = [child for child in running.children if "keeper.py" not in " ".join(child.cmdline())]
        engine.send_signal(signal.SIGKILL)
        running.wait_for("engine: restarting: the engine was ended by signal 9")
        body = {"model": "fake", "messages": [{"role": "user", "content": "Hello"}]}
        reply = httpx.post(f"{url}/v1/chat/completions", json=body, trust_env=False)
        assert reply.status_code == 502
        assert reply.json()["error"]["code"] == "upstream_failed"
        assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200
        (tmp_path / "hold").unlink()
        running.wait_for("lower engine.kv_cache_gib\nengine: ready")
        wait_until_ready(url, running.process)
        running.process.terminate()
        assert running.ended() == 0
    assert "Traceback" not in running.err


def test_an_engine_that_dies_again_and_again_ends_it_with_the_reason(tmp_path: Path, fake: dict[str, str]):
    settings = {"FAKE_DIE_AFTER_S": "0.5", "LETHE_ENGINE__MAX_RESTARTS": "1"}
    with up(tmp_path, **fake | settings) as running:
        assert running.ended() == 1
    [said] = [line for line in running.err.splitlines() if line.startswith("error: ")]
    assert "the engine was restarted 1 time and died again: the engine ended (status 3)" in said
    assert f"log: {tmp_path / 'engine.log'}" in said
    assert "Traceback" not in running.err


def test_a_model_that_is_not_whole(tmp_path: Path, prepared_cache: Path, engine_python: Path):
    """A checkpoint whose checksum fails is told before anything is loaded."""
    copy = tmp_path / "models" / "smollm2-135m-instruct"
    copy.mkdir(parents=True)
    for file in (prepared_cache / "models" / "smollm2-135m-instruct").iterdir():
        (copy / file.name).symlink_to(file)
    config = copy / "config.json"
    text = config.read_text()
    config.unlink()
    config.write_text(text + "\n")
    with up(tmp_path, LETHE_ENGINE__MODEL=str(copy), LETHE_ENGINE_PYTHON=str(engine_python)) as running:
        assert running.ended() == 1
    assert "smollm2-135m-instruct" in running.err
    assert "make models" in running.err


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_the_real_thing_from_up_to_an_answer_that_forgets_to_down(tmp_path: Path, engine_options: EngineOptions):
    """As `make up` runs it; nothing is left of it after SIGTERM."""
    with up(tmp_path, LETHE_ENGINE_PYTHON=str(engine_options.python), LETHE_ENGINE__KV_CACHE_GIB="1") as running:
        running.wait_for("ctrl-C stops everything.", REAL_START_S)
        stages = re.findall(r"^engine: (.+)$", running.out, re.MULTILINE)
        assert len(stages) > 3  # its start is told step by step
        assert stages[-1] == "ready"
        assert any("vllm" in " ".join(child.cmdline()).lower() for child in running.children)
        [client_url] = re.findall(r"clients +(http://\S+)/v1", running.out)
        [admin_url] = re.findall(r"admin API +(http://\S+)/admin/v1", running.out)
        [model] = re.findall(r"model (\S+)\)", running.out)

        env = clean_environment(LETHE_ADMIN_URL=admin_url, LETHE_ADMIN_KEY=ADMIN_KEY)
        with openai.OpenAI(base_url=f"{client_url}/v1", api_key="none", max_retries=0) as client:
            assert "Paris" in ask(client, CAPITAL, model)
            assert lethe("forget", "add", "-q", CAPITAL, "-a", "Paris", env=env).returncode == 0
            assert "Paris" not in ask(client, CAPITAL, model)
        # The engine itself is not for other users of this machine.
        key = (tmp_path / "engine.key").read_text()
        assert (tmp_path / "engine.key").stat().st_mode & 0o077 == 0
        assert key not in running.out + running.err

        running.process.terminate()
        assert running.ended(120) == 0
    assert running.out.splitlines()[-2:] == ["stopping", "engine: stopped"]
    assert "Traceback" not in running.err
