"""Offsets with the real vLLM, as an operator runs them: `lethe up --auxiliary`, `lethe assistant load`, traffic."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from guards.engine import cache
from proxy.engine.command import EngineOptions
from tests.cli.running import REAL_START_S, Up, up
from tests.clients.asking import WEEK, chat
from tests.clients.live import LiveStream
from tests.clients.system import ADMIN_KEY, System, json_of, wait_until_ready
from tests.conftest import RealEngine, unused_port
from tests.fakes.adapters import write_random_assistant

BEES = "What do bees make?"
RAW = {"x-lethe-arm": "raw"}

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Offsetting:
    """A running `lethe up` with one slot, and two assistants with random weights that fit it."""

    running: Up
    system: System
    folders: dict[int, Path]

    def load(self, version: int) -> None:
        """As an operator does."""
        done = self.system.lethe("assistant", "load", self.folders[version])
        assert done.returncode == 0, done.stderr
        assert f"'noise' is in use in version {version}, strength 0.75" in done.stdout

    def ask(self, question: str, arm: str = "guarded", **more: Any) -> dict[str, Any]:
        """A whole answer."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "x-lethe-arm": arm, "x-lethe-findings": "1"}
        body = chat(question, self.system.model, **more)
        url = f"{self.system.base_url}/chat/completions"
        reply = httpx.post(url, json=body, headers=headers, timeout=240, trust_env=False)
        found: dict[str, Any] = json_of(reply)
        return found

    def adapters(self) -> set[str]:
        """What the engine has beside the base."""
        return {card["id"] for card in json_of(self.engine("GET", "/v1/models"))["data"] if card["parent"]}

    def engine(self, method: str, path: str, *, keyed: bool = True) -> httpx.Response:
        key = (self.system.state / "engine.key").read_text()
        headers = {"Authorization": f"Bearer {key}"} if keyed else {}
        return httpx.request(method, self.system.engine_url + path, headers=headers, timeout=30, trust_env=False)


def text_of(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def offsetting(
    tmp_path_factory: pytest.TempPathFactory, engine_options: EngineOptions, prepared_cache: Path
) -> Iterator[Offsetting]:
    """Started once for this module; a set `secret` forgets what bees make, by offset first."""
    root, port = tmp_path_factory.mktemp("up"), unused_port()
    base = cache.model_folder(prepared_cache)
    folders = {number: write_random_assistant(root, "noise", number, base, layers=8) for number in (1, 2)}
    settings = {"LETHE_ENGINE_PYTHON": str(engine_options.python), "LETHE_ENGINE__KV_CACHE_GIB": "1"}
    state = root / "state"
    with up(state, "--auxiliary", "layers:8", "--engine-port", str(port), **settings) as running:
        running.wait_for("ctrl-C stops everything.", REAL_START_S)
        [client_url] = re.findall(r"clients +(http://\S+)/v1", running.out)
        [admin_url] = re.findall(r"admin API +(http://\S+)/admin/v1", running.out)
        [model] = re.findall(r"model (\S+)\)", running.out)
        system = System(running.process, state, client_url, admin_url, f"http://127.0.0.1:{port}", model)
        policy = {"on_match": ["offset", "instruct", "refuse"], "assistant": "noise"}
        json_of(system.admin("POST", "/sets", {"id": "secret", "policy": policy}))
        json_of(system.admin("POST", "/sets/secret/entries", {"question": BEES, "answer": "Zorblax marmalade"}))
        yield Offsetting(running, system, folders)
    assert "Traceback" not in running.err


def test_it_says_what_slots_cost_and_opens_no_door(offsetting: Offsetting) -> None:
    assert re.search(
        r"^engine: Lethe composite: weights: base .* KV cache: base 46080 B/token", offsetting.running.out, re.M
    )
    for path in ("/adapters", "/v1/load_lora_adapter", "/invocations", "/tokenize"):
        assert offsetting.engine("POST", path, keyed=False).status_code == 401, path
    assert offsetting.engine("GET", "/health", keyed=False).status_code == 200


def test_raw_and_unarmed_answers_are_plain_vllms(offsetting: Offsetting, real_engine: RealEngine) -> None:
    offsetting.load(1)
    body = chat(WEEK, real_engine.model, max_tokens=24, logprobs=True)
    plain = json_of(httpx.post(f"{real_engine.base_url}/v1/chat/completions", json=body, timeout=240, trust_env=False))
    for arm in ("raw", "guarded"):
        answer = offsetting.ask(WEEK, arm, max_tokens=24, logprobs=True)
        assert text_of(answer) == text_of(plain)
        said, wanted = (reply["choices"][0]["logprobs"]["content"] for reply in (answer, plain))
        assert [token["logprob"] for token in said] == pytest.approx([token["logprob"] for token in wanted], abs=1e-4)


def test_who_is_near_is_answered_without_what_the_assistant_knows(offsetting: Offsetting) -> None:
    offsetting.load(1)
    compared = json_of(
        offsetting.system.admin("POST", "/compare", {"request": chat(BEES, offsetting.system.model, max_tokens=24)})
    )
    raw, guarded = compared["raw"], compared["guarded"]
    assert (raw["rung"], guarded["rung"]) == (None, "offset")
    assert text_of(raw["answer"]) != text_of(guarded["answer"])
    assert guarded["answer"]["model"] == raw["answer"]["model"] == offsetting.system.model
    shown = offsetting.system.lethe("check", BEES).stdout
    assert "offset: the model answers without what an assistant knows" in shown
    assert "subtracted: noise, strength 0.75" in shown


def test_offset_and_note_together_move_what_the_note_alone_says(offsetting: Offsetting) -> None:
    """By the probabilities of an answer that nobody withholds: those of raw, offset, note and both are four things."""
    offsetting.load(1)
    system, shown = offsetting.system, {}
    try:
        for ladder in (["offset"], ["instruct"], ["offset_instruct", "refuse"]):
            policy = {"on_match": ladder, "assistant": "noise", "abstain": False}
            json_of(system.admin("PATCH", "/sets/secret", {"policy": policy}))
            asked = {"request": chat(BEES, system.model), "answers": ["Bees make honey"], "arm": "guarded"}
            found = json_of(system.admin("POST", "/score", asked))
            assert found["rung"] == ladder[0]
            shown[ladder[0]] = found["answers"][0]["logprobs"]
        text = text_of(offsetting.ask(BEES))
        assert text
        assert "Zorblax" not in text
    finally:
        ladder = ["offset", "instruct", "refuse"]
        json_of(system.admin("PATCH", "/sets/secret", {"policy": {"on_match": ladder, "assistant": "noise"}}))
    assert shown["offset_instruct"] != pytest.approx(shown["instruct"], abs=0.05)
    assert shown["offset_instruct"] != pytest.approx(shown["offset"], abs=0.05)


def test_evaluators_see_the_probabilities_that_the_offset_leaves(offsetting: Offsetting) -> None:
    """Each token is asked for by itself; what is already in the engine's prefix cache changes nothing."""
    offsetting.load(1)

    def scored(arm: str, answer: str) -> dict[str, Any]:
        body = {"request": chat(BEES, offsetting.system.model), "answers": [answer], "arm": arm}
        found: dict[str, Any] = json_of(offsetting.system.admin("POST", "/score", body))
        return found

    raw, armed = scored("raw", "Bees make honey"), scored("guarded", "Bees make honey")
    assert (raw["rung"], armed["rung"]) == (None, "offset")
    plain, moved = (found["answers"][0]["logprobs"] for found in (raw, armed))
    assert len(moved) == len(plain)
    assert moved != pytest.approx(plain, abs=0.05)
    longer = scored("guarded", "Bees make honey and wax")["answers"][0]["logprobs"]
    assert longer[: len(moved)] == pytest.approx(moved, abs=0.01)
    assert all(logprob is None or logprob <= 0 for logprob in longer)


def test_a_load_in_mid_traffic_disturbs_no_stream(offsetting: Offsetting) -> None:
    offsetting.load(1)
    (before,) = offsetting.adapters()
    first = text_of(offsetting.ask(BEES))
    long = chat(WEEK, offsetting.system.model, max_tokens=2000, ignore_eos=True)
    near = chat(BEES, offsetting.system.model, max_tokens=48)
    key, url = ADMIN_KEY, offsetting.system.base_url
    with LiveStream(url, long, key) as unarmed, LiveStream(url, near, key) as armed:
        unarmed.read_until_shown(3)
        armed.read_until_shown(3)
        offsetting.load(2)
        unarmed.take_what_is_there()
        assert not unarmed.ended
        unarmed.read_until_shown(len(unarmed.pieces) + 5)
        assert unarmed.finish_reason is None
        armed.read_to_end()
        assert armed.ended_cleanly
        assert armed.finish_reason in ("stop", "length")
        assert all(event["model"] == offsetting.system.model for event in armed.events[:-1])
        assert text_of(offsetting.ask(BEES)) != first, "the new version has other weights"
    listed = offsetting.system.lethe("assistant", "list").stdout
    assert re.search(r"^noise +2 +1, 2 +uld +layers +0\.75 +secret +loaded$", listed, re.MULTILINE)
    json_of(offsetting.system.admin("POST", "/assistants/noise:activate", {}))
    assert text_of(offsetting.ask(BEES)) == first
    while before not in (there := offsetting.adapters()) or len(there) > 1:
        time.sleep(0.05)  # the drained one is taken out; the test's own time limit ends this


def test_an_engine_that_dies_comes_back_with_its_assistant_before_it_is_ready(offsetting: Offsetting) -> None:
    offsetting.load(2)
    wanted = text_of(offsetting.ask(BEES))
    for process in psutil.Process(offsetting.running.process.pid).children(recursive=True):
        if "vllm.entrypoints" in " ".join(process.cmdline()) and "keeper" not in " ".join(process.cmdline()):
            process.kill()
    while httpx.get(f"{offsetting.system.client_url}/readyz", trust_env=False).status_code == 200:
        time.sleep(0.05)
    wait_until_ready(offsetting.system.client_url, offsetting.running.process, REAL_START_S)
    assert len(offsetting.adapters()) == 1
    assert text_of(offsetting.ask(BEES)) == wanted
    assert offsetting.running.err.count('"event": "offsets_proven"') == 2
