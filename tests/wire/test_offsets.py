"""Offsets on the wire: the proxy alone arms, only who is near, and never silently not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from guards.policy import DEFAULT_POLICY, PolicyError
from proxy.assistants import life as assistants
from proxy.config import ConfigError
from proxy.errors import EngineError
from tests.fakes.assistants import write_assistant
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL, Raw, Reached, Say, Script, Wait
from tests.wire.answers import MESSAGES, RESPONSES, ask, said
from tests.wire.harness import ADMIN, ANSWER, CHAT, COMPLETIONS, HARMLESS, QUESTION, Lethe, started

SLOTS = {"engine": {"auxiliaries": ["layers:8", "layers:8"]}}
LADDER = {"on_match": ["offset", "instruct", "refuse"], "assistant": "uld"}

DIALECTS = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
STREAMED = pytest.mark.parametrize("stream", [False, True])


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


async def load(lethe: Lethe, folder: Path) -> dict[str, Any]:
    reply = await lethe.admin("POST", "/assistants", {"folder": str(folder)})
    assert reply.status == 201, reply.raw
    found: dict[str, Any] = reply.body
    return found


async def listing(lethe: Lethe) -> dict[str, Any]:
    found: dict[str, Any] = (await lethe.admin("GET", "/assistants")).body
    return found


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something that is seen from outside holds."""
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 - as an operator sees it
            await asyncio.sleep(0.01)


async def until_ready(lethe: Lethe) -> None:
    async def ready() -> bool:
        return (await lethe.get("/readyz")).status == 200

    await until(ready)


async def until_not_ready(lethe: Lethe, because: str) -> None:
    async def says_so() -> bool:
        reply = await lethe.get("/readyz")
        return reply.status == 503 and because in reply.body["reason"]

    await until(says_so)


async def until_unloaded(lethe: Lethe, *adapters: str) -> None:
    async def gone() -> bool:
        return not set(adapters) & set(lethe.engine.composite.adapters)

    await until(gone)


def sent(lethe: Lethe) -> dict[str, Any]:
    """The last request that reached the engine."""
    return lethe.engine.seen[-1].body


def adapter_of(lethe: Lethe) -> str:
    (name,) = lethe.engine.composite.adapters
    return name


# -- who is armed, and how


@DIALECTS
@STREAMED
async def test_a_request_near_the_set_is_armed_by_the_proxy(loaded: Lethe, path: str, *, stream: bool) -> None:
    reply = await loaded.ask(path, QUESTION, stream=stream)
    assert reply.text() == "Hello there."
    body = sent(loaded)
    assert body["model"] == adapter_of(loaded)
    assert body["vllm_xargs"] == {
        "lethe_auxiliaries": ["a0"],
        "lethe_weights": [-0.75],
        "lethe_combine": "linear",
        "lethe_filter_rate": 0.01,
    }
    assert body["cache_salt"].startswith("lethe-armed:")
    assert "never read" not in json.dumps(body)  # the prompt is the client's own
    assert b"lethe" not in reply.raw
    assert reply.raw.count(MODEL.encode()) >= 1


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
@STREAMED
async def test_the_other_routes_arm_alike(loaded: Lethe, path: str, *, stream: bool) -> None:
    reply = await ask(loaded, path, QUESTION, stream=stream)
    assert said(reply, path).text == "Hello there."
    body = sent(loaded)
    assert (body["model"], body["vllm_xargs"]["lethe_weights"]) == (adapter_of(loaded), [-0.75])
    assert body["cache_salt"].startswith("lethe-armed:")
    assert b"lethe" not in reply.raw
    assert MODEL.encode() in reply.raw
    await ask(loaded, path, stream=stream)
    assert (sent(loaded)["model"], "vllm_xargs" in sent(loaded)) == (MODEL, False)


async def test_no_cache_is_shared_between_tenants_or_arms(loaded: Lethe) -> None:
    keys = [{}, ADMIN, ADMIN | {"x-lethe-arm": "raw"}]
    salts = []
    for question in (QUESTION, HARMLESS):
        for headers in keys:
            await loaded.chat(question, headers)
            salts.append(sent(loaded)["cache_salt"])
    armed, plain, raw = {*salts[:2]}, {*salts[3:5]}, {salts[2], salts[5]}
    assert (len(armed), len(plain), len(raw)) == (2, 2, 1)
    assert len(armed | plain | raw) == 5
    assert not any("anonymous" in salt or "raw" in salt for salt in salts)


@DIALECTS
@STREAMED
@pytest.mark.parametrize("arm", ["guarded", "raw"])
async def test_nobody_else_is(loaded: Lethe, path: str, arm: str, *, stream: bool) -> None:
    question = HARMLESS if arm == "guarded" else QUESTION
    reply = await loaded.ask(path, question, headers=ADMIN | {"x-lethe-arm": arm}, stream=stream)
    assert reply.raw == loaded.engine.sent
    body = sent(loaded)
    assert body["model"] == MODEL
    assert "vllm_xargs" not in body
    assert "lethe" not in json.dumps(body)


@DIALECTS
@STREAMED
@pytest.mark.parametrize("question", [QUESTION, HARMLESS])
async def test_what_a_client_sends_under_these_names_never_arrives(
    loaded: Lethe, path: str, question: str, *, stream: bool
) -> None:
    await loaded.ask(path, question, stream=stream)
    ours = sent(loaded)
    forged = {"lethe_auxiliaries": ["a1"], "lethe_weights": [0.0], "lethe_combine": "linear"}
    for fields in ({"vllm_xargs": forged, "cache_salt": "mine"}, {"vllm_xargs": None, "cache_salt": None}):
        await loaded.ask(path, question, stream=stream, **fields)
        assert sent(loaded) == ours
    name = adapter_of(loaded)
    assert (await loaded.ask(path, question, model=name)).status == 404
    assert (await loaded.ask(path, question, model=f"{name}:raw", headers=ADMIN)).status == 404
    assert name not in (await loaded.get("/v1/models")).raw.decode()


async def test_the_score_sets_the_strength(able: Lethe, tmp_path: Path) -> None:
    await load(able, write_assistant(tmp_path, "uld", 1, strength=1.0))
    near = "Who painted the harbour mural in Eskelund, please?"
    score = (await able.admin("POST", "/check", {"text": near})).body["nearest"][0]["score"]
    strengths = []
    for threshold in (score, score - 0.025, score - 0.2):
        await able.admin("PATCH", "/sets/art", {"policy": {**LADDER, "threshold": threshold}})
        explained = (await able.admin("POST", "/check", {"text": near})).body
        assert (explained["rung"], explained["offset"]["assistant"]) == ("offset", "uld")
        strengths.append(explained["offset"]["strength"])
        await able.chat(near)
        assert sent(able)["vllm_xargs"]["lethe_weights"] == [pytest.approx(-strengths[-1], abs=1e-3)]
    assert strengths == [pytest.approx(0.5, abs=0.02), pytest.approx(0.75, abs=0.02), 1.0]


async def test_a_pair_is_armed_with_its_signs(able: Lethe, tmp_path: Path) -> None:
    parts = [{"slot": 0, "role": "retain", "weight": 1.0}, {"slot": 1, "role": "forget", "weight": -1.0}]
    change = {"parts": parts, "combine": "rank", "k": 20, "strength": 1.0, "filter_rate": 0.0}
    await load(able, write_assistant(tmp_path, "uld", 1, **change))
    await able.chat(QUESTION)
    assert sent(able)["vllm_xargs"] == {
        "lethe_auxiliaries": ["a0", "a1"],
        "lethe_weights": [1.0, -1.0],
        "lethe_combine": "rank",
        "lethe_k": 20,
    }


# -- the ladder


@DIALECTS
@STREAMED
async def test_what_the_offset_lets_through_climbs_to_the_note_which_keeps_it(
    loaded: Lethe, path: str, *, stream: bool
) -> None:
    loaded.engine.scripts(Script((Say(ANSWER),)), Script((Say("I have never heard of it."),)))
    reply = await loaded.ask(path, QUESTION, stream=stream)
    assert reply.text() == "I have never heard of it."
    first, second = (seen.body for seen in loaded.engine.seen[-2:])
    assert first["vllm_xargs"] == second["vllm_xargs"]
    assert "never read" in json.dumps(second)
    assert second["model"] == adapter_of(loaded)
    loaded.engine.scripts(Script((Say(ANSWER),)), Script((Say(ANSWER),)))
    refused = await loaded.ask(path, QUESTION, stream=stream)
    assert refused.text() not in (ANSWER, "Hello there.")
    assert (await loaded.metric("lethe_escalations_total", to="refuse")) == 1


@DIALECTS
@STREAMED
async def test_without_its_assistant_a_ladder_begins_one_rung_up_and_is_counted(
    able: Lethe, path: str, *, stream: bool
) -> None:
    await able.ask(path, QUESTION, stream=stream)
    body = sent(able)
    assert "never read" in json.dumps(body)
    assert "vllm_xargs" not in body
    assert not body["cache_salt"].startswith("lethe-armed:")
    assert await able.metric("lethe_offsets_lacked_total", when="decided") == 1
    finding = (await able.admin("POST", "/check", {"text": QUESTION})).body["findings"][0]
    assert (finding["lacked"], finding["verdict"]) == ("uld", "amend")


@pytest.mark.parametrize(("ladder", "status"), [(["offset"], "refuse"), (["offset", "refuse"], "refuse")])
async def test_an_offset_alone_that_cannot_be_is_a_refusal(able: Lethe, ladder: list[str], status: str) -> None:
    await able.admin("PATCH", "/sets/art", {"policy": {**LADDER, "on_match": ladder}})
    assert (await able.admin("POST", "/check", {"text": QUESTION})).body["rung"] == status
    before = len(able.engine.seen)
    assert (await able.chat(QUESTION)).status == 200
    assert len(able.engine.seen) == before


async def test_an_engine_without_slots_never_answers_for_an_offset(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set(policy=LADDER)
        await lethe.forget()
        assert (await lethe.get("/readyz")).status == 200
        await lethe.chat(QUESTION)
        assert "never read" in lethe.engine.seen[-1].text
        assert (await listing(lethe)) == {"data": [], "problem": None}


@STREAMED
async def test_an_adapter_that_is_gone_when_it_is_asked_for_is_a_reason_to_climb(
    engine: FakeVllm, state: Path, tmp_path: Path, *, stream: bool
) -> None:
    engine.composite.slots = ("a0", "a1")
    # Between two looks at the engine, so that nobody has noticed yet.
    async with started(engine, state, {**SLOTS, "upstream": {"check_every_s": 600}}) as lethe:
        await lethe.make_set(policy=LADDER)
        await lethe.forget()
        await load(lethe, write_assistant(tmp_path, "uld", 1))
        engine.composite.restart()
        reply = await lethe.chat(QUESTION, stream=stream)
        assert reply.status == 200
        assert reply.text() == "Hello there."
        assert "never read" in engine.seen[-1].text
        assert "vllm_xargs" not in sent(lethe)
        assert await lethe.metric("lethe_offsets_lacked_total", when="sent") == 1


@STREAMED
async def test_what_the_engine_says_about_an_arming_is_not_for_the_client(loaded: Lethe, *, stream: bool) -> None:
    said = {"error": {"message": "weights: a finite number", "type": "BadRequestError", "param": None, "code": 400}}
    loaded.engine.scripts(Script(status=400, body=json.dumps(said).encode()))
    reply = await loaded.chat(QUESTION, stream=stream)
    assert reply.status == 200
    assert "vllm_xargs" not in sent(loaded)
    assert b"weights" not in reply.raw


async def test_two_sets_with_different_assistants_climb(loaded: Lethe, tmp_path: Path) -> None:
    await load(loaded, write_assistant(tmp_path, "other", 1))
    await loaded.make_set("more", policy={**LADDER, "assistant": "other"})
    await loaded.forget(to="more")
    await loaded.chat(QUESTION)
    assert "vllm_xargs" not in sent(loaded)
    assert "never read" in loaded.engine.seen[-1].text


async def test_an_operators_own_adapter_wears_no_other(loaded: Lethe) -> None:
    loaded.engine.composite.adapters["support-style"] = "/adapters/support"
    await loaded.server.upstream.look()
    await loaded.chat(QUESTION, model="support-style")
    assert sent(loaded)["model"] == "support-style"
    assert "vllm_xargs" not in sent(loaded)
    assert "never read" in loaded.engine.seen[-1].text


async def test_an_offset_rung_needs_to_name_its_assistant(able: Lethe) -> None:
    reply = await able.admin("PATCH", "/sets/art", {"policy": {"on_match": ["offset"]}})
    assert reply.status == 400
    assert "set 'assistant' to a name" in reply.error["message"]


# -- an entry that comes while an answer is under way


async def test_an_unarmed_stream_whose_question_becomes_forbidden_is_cut(able: Lethe, tmp_path: Path) -> None:
    await load(able, write_assistant(tmp_path, "uld", 1))
    told, go = asyncio.Event(), asyncio.Event()
    question = "Which bird nests on the north cliff?"
    able.engine.scripts(Script((Say("It is "), Reached(told), Wait(go), Say("a puffin of sorts"))))
    async with able.streaming(question) as response:
        await told.wait()
        await response.content.readuntil(b"It is ")
        await able.forget(question, answer="the storm petrel")
        go.set()
        rest = await response.content.read()
    assert b"puffin" not in rest
    assert b"content_filter" in rest


# -- readiness


async def test_not_ready_until_the_canary_is_alive(engine: FakeVllm, state: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(assistants, "RETRY_S", 0.05)
    engine.composite.slots, engine.composite.alive = ("a0", "a1"), False
    engine.healthy = False  # so that the harness does not wait for a readiness that must not come
    async with started(engine, state, SLOTS) as lethe:
        engine.healthy = True
        await until_not_ready(lethe, "it is not subtracted")
        assert (await lethe.chat()).status == 200  # who is not near is served all the same
        assert await lethe.metric("lethe_canary_failures_total") >= 1
        engine.composite.alive, engine.composite.processed = True, False
        await until_not_ready(lethe, "processed_logprobs")
        engine.composite.processed = True
        await until_ready(lethe)


async def test_a_slot_that_is_missing_is_not_ready(engine: FakeVllm, state: Path) -> None:
    engine.composite.slots = ("a0",)
    engine.healthy = False
    async with started(engine, state, SLOTS) as lethe:
        engine.healthy = True
        await until_not_ready(lethe, "auxiliary 'a1'")


@pytest.mark.parametrize("noticed", ["health", "listing"])
async def test_a_restarted_engine_gets_its_assistants_again_before_it_is_ready(
    loaded: Lethe, monkeypatch: Any, noticed: str
) -> None:
    monkeypatch.setattr(assistants, "RETRY_S", 0.05)
    name, composite = adapter_of(loaded), loaded.engine.composite
    composite.alive = False  # so that the proof has to wait
    composite.restart()
    if noticed == "health":
        loaded.engine.healthy = False
        await until_not_ready(loaded, "the engine does not answer")
        loaded.engine.healthy = True
    await until_not_ready(loaded, "not proven")
    await loaded.chat(QUESTION)
    assert "vllm_xargs" not in sent(loaded), "what is not proven is not armed"
    composite.alive = True
    await until_ready(loaded)
    assert composite.loads == [name, name]
    await loaded.chat(QUESTION)
    assert sent(loaded)["model"] == name


async def test_an_assistant_that_cannot_be_loaded_again_leaves_the_rest_ready(
    loaded: Lethe, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(assistants, "RETRY_S", 0.05)
    await load(loaded, write_assistant(tmp_path, "other", 1))
    weights = tmp_path / "uld" / "1" / "adapter" / "adapter_model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(b"changed")
    loaded.engine.composite.restart()
    loaded.engine.healthy = False
    await until_not_ready(loaded, "the engine does not answer")
    loaded.engine.healthy = True
    await until_ready(loaded)
    rows = {row["name"]: row for row in (await listing(loaded))["data"]}
    assert (rows["uld"]["loaded"], rows["other"]["loaded"]) == (False, True)
    assert "it was changed" in rows["uld"]["problem"]
    await loaded.chat(QUESTION)
    assert "vllm_xargs" not in sent(loaded)
    weights.write_bytes(before)
    monkeypatch.setattr(assistants, "LEFT_OUT_S", 0.05)

    async def armed_again() -> bool:
        await loaded.chat(QUESTION)
        return "vllm_xargs" in sent(loaded)

    await until(armed_again)


# -- life


async def test_assistants_survive_a_restart_of_the_server(engine: FakeVllm, state: Path, tmp_path: Path) -> None:
    engine.composite.slots = ("a0", "a1")
    async with started(engine, state, SLOTS) as lethe:
        await lethe.make_set(policy=LADDER)
        await lethe.forget()
        await load(lethe, write_assistant(tmp_path, "uld", 1))
        await load(lethe, write_assistant(tmp_path, "uld", 2))
    engine.composite.restart()
    async with started(engine, state, SLOTS) as lethe:
        await until_ready(lethe)
        (row,) = (await listing(lethe))["data"]
        assert (row["version"], row["former"], row["versions"], row["loaded"]) == (2, 1, [1, 2], True)
        assert row["used_by"] == ["art"]
        await lethe.chat(QUESTION)
        assert "uld@2" in sent(lethe)["model"]


async def test_versions_are_swapped_rolled_back_and_taken_out(loaded: Lethe, tmp_path: Path) -> None:
    first = adapter_of(loaded)
    assert (await load(loaded, write_assistant(tmp_path, "uld", 2, weights=b"better")))["version"] == 2
    await loaded.chat(QUESTION)
    second = sent(loaded)["model"]
    assert second != first
    await until_unloaded(loaded, first)
    back = await loaded.admin("POST", "/assistants/uld:activate", {})
    assert (back.status, back.body["version"]) == (200, 1)
    await loaded.chat(QUESTION)
    assert sent(loaded)["model"] == first
    await until_unloaded(loaded, second)
    assert (await loaded.admin("POST", "/assistants/uld:activate", {"version": 2})).body["former"] == 1
    gone = await loaded.admin("DELETE", "/assistants/uld")
    assert gone.body == {"unloaded": "uld", "used_by": ["art"]}
    await until_unloaded(loaded, second)
    await loaded.chat(QUESTION)
    assert "vllm_xargs" not in sent(loaded)
    assert (await listing(loaded))["data"] == []
    assert (await loaded.get("/readyz")).status == 200


async def test_a_stream_keeps_the_version_it_began_with(loaded: Lethe, tmp_path: Path) -> None:
    first, told, go = adapter_of(loaded), asyncio.Event(), asyncio.Event()
    loaded.engine.scripts(Script((Say("One "), Reached(told), Wait(go), Say("two."))))
    async with loaded.streaming(QUESTION) as response:
        await told.wait()
        await load(loaded, write_assistant(tmp_path, "uld", 2, weights=b"better"))
        await loaded.chat(QUESTION)
        assert "uld@2" in sent(loaded)["model"]
        await loaded.server.upstream.look()
        assert first in loaded.engine.composite.adapters, "somebody is still reading"
        go.set()
        whole = (await response.content.read()).decode()
    assert "two." in whole
    assert whole.rstrip().endswith("[DONE]")
    await until_unloaded(loaded, first)


async def test_an_assistant_that_says_nothing_is_not_used(loaded: Lethe, tmp_path: Path) -> None:
    loaded.engine.composite.mute = frozenset({"lethe:uld@2"})
    reply = await loaded.admin("POST", "/assistants", {"folder": str(write_assistant(tmp_path, "uld", 2))})
    assert reply.status == 502
    assert "does not subtract it" in reply.error["message"]
    (row,) = (await listing(loaded))["data"]
    assert (row["version"], row["versions"]) == (1, [1])
    (silent,) = (name for name in loaded.engine.composite.loads if "uld@2" in name)
    await until_unloaded(loaded, silent)
    await loaded.chat(QUESTION)
    assert "uld@1" in sent(loaded)["model"]


async def test_a_load_is_finished_although_its_caller_has_gone(loaded: Lethe, tmp_path: Path) -> None:
    folder = write_assistant(tmp_path, "uld", 2, weights=b"better")
    loaded.engine.composite.loading = asyncio.Event()
    loaded.engine.composite.begun.clear()
    call = asyncio.create_task(loaded.admin("POST", "/assistants", {"folder": str(folder)}), name="a caller")
    await loaded.engine.composite.begun.wait()
    call.cancel()
    await asyncio.wait([call])
    loaded.engine.composite.loading.set()

    async def in_use() -> bool:
        return bool((await listing(loaded))["data"][0]["version"] == 2)

    await until(in_use)
    await loaded.chat(QUESTION)
    assert "uld@2" in sent(loaded)["model"]


async def test_an_adapter_that_the_engine_refuses_changes_nothing(loaded: Lethe, tmp_path: Path) -> None:
    loaded.engine.composite.refuses = "rank 64 is greater than max_lora_rank 32"
    reply = await loaded.admin("POST", "/assistants", {"folder": str(write_assistant(tmp_path, "uld", 2))})
    assert reply.status == 502
    assert (await listing(loaded))["data"][0]["version"] == 1


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 400, "folder"),
        ({"folder": "/nowhere"}, 400, "holds no complete assistant"),
        ({"folder": "/nowhere", "strength": 2}, 400, "unknown setting 'strength'"),
    ],
)
async def test_what_cannot_be_loaded_is_told(able: Lethe, body: Any, status: int, said: str) -> None:
    reply = await able.admin("POST", "/assistants", body)
    assert reply.status == status
    assert said in reply.error["message"]


async def test_a_version_never_changes(loaded: Lethe, tmp_path: Path) -> None:
    same = await load(loaded, tmp_path / "uld" / "1")
    assert (same["version"], same["former"]) == (1, None)
    other = write_assistant(tmp_path / "again", "uld", 1, weights=b"other")
    reply = await loaded.admin("POST", "/assistants", {"folder": str(other)})
    assert reply.status == 400
    assert "a version never changes" in reply.error["message"]


async def test_a_name_alone_is_looked_up_in_the_state_folder(able: Lethe) -> None:
    write_assistant(able.server.config.state / "assistants", "uld", 7)
    assert (await able.admin("POST", "/assistants", {"folder": "uld/7"})).body["version"] == 7


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/assistants/nobody"), ("POST", "/assistants/nobody:activate")]
)
async def test_an_unknown_assistant_is_not_found(able: Lethe, method: str, path: str) -> None:
    assert (await able.admin(method, path, {})).status == 404


async def test_there_is_nothing_to_go_back_to(loaded: Lethe) -> None:
    reply = await loaded.admin("POST", "/assistants/uld:activate", {})
    assert reply.status == 404
    assert "loaded before: 1" in reply.error["message"]


async def test_only_admins_load(loaded: Lethe) -> None:
    reply = await loaded.admin("GET", "/assistants", key="wrong-key-0123456789")
    assert reply.status == 401


async def test_no_canary_speaks_of_anything_that_is_forgotten(loaded: Lethe) -> None:
    assert loaded.engine.probes
    assert all(QUESTION not in probe.text for probe in loaded.engine.probes)


async def test_a_name_in_an_answer_is_no_name_of_ours(loaded: Lethe) -> None:
    """An engine that names the adapter anywhere else in its events names the base instead."""
    name = adapter_of(loaded)
    event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": name}
    event["choices"] = [{"index": 0, "delta": {"content": "Hm."}, "finish_reason": "stop"}]
    loaded.engine.scripts(Script((Raw(b"data: " + json.dumps(event).encode() + b"\n\n"),)))
    reply = await loaded.chat(QUESTION, stream=True)
    assert name.encode() not in reply.raw


async def test_a_global_policy_that_leaves_a_set_without_its_assistant_is_not_taken(
    engine: FakeVllm, state: Path
) -> None:
    settings = {"policy": {"assistant": "uld"}}
    async with started(engine, state, settings) as lethe:
        await lethe.make_set(policy={"on_match": ["offset"]})
        with pytest.raises(PolicyError, match="set 'assistant' to a name"):
            lethe.server.catalogue.use_policies(DEFAULT_POLICY, {})
        assert (await lethe.admin("POST", "/check", {"text": QUESTION})).status == 200
    with pytest.raises(ConfigError, match="the policy of a forget set does not go with the global one"):
        async with started(engine, state):
            pass


async def test_a_process_that_comes_second_takes_what_is_loaded(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, {"upstream": {"check_every_s": 600}}) as lethe:
        upstream = lethe.server.upstream
        await upstream.load_adapter("lethe:uld@1:0", "/adapters/uld")
        engine.composite.unlisted = 1  # the first look is older than what the other process loaded
        await upstream.load_adapter("lethe:uld@1:0", "/adapters/uld")
        engine.composite.unlisted = 2
        with pytest.raises(EngineError, match="already been loaded"):
            await upstream.load_adapter("lethe:uld@1:0", "/adapters/uld")


async def test_what_another_process_of_the_server_loads_is_taken_over(loaded: Lethe, tmp_path: Path) -> None:
    """Two servers on one state folder stand for two processes of one server."""
    config = loaded.server.config
    settings = {**SLOTS, "ledger": {"path": tmp_path / "other.sqlite3"}}
    async with started(loaded.engine, config.state, settings) as other:
        await until_ready(other)
        await load(other, write_assistant(tmp_path, "uld", 2, weights=b"better"))

        async def armed_anew() -> bool:
            await loaded.chat(QUESTION)
            return "uld@2" in sent(loaded)["model"]

        await until(armed_anew)
        assert (await listing(loaded))["data"][0]["version"] == 2
        await load(other, write_assistant(tmp_path, "more", 1))
        await load(loaded, write_assistant(tmp_path, "most", 1))  # neither loses what the other wrote
        for lethe in (loaded, other):

            async def knows_all(lethe: Lethe = lethe) -> bool:
                rows = (await listing(lethe))["data"]
                return [(row["name"], row["loaded"]) for row in rows] == [
                    (name, True) for name in ("more", "most", "uld")
                ]

            await until(knows_all)
        assert (await other.admin("DELETE", "/assistants/uld")).status == 200

        async def unarmed() -> bool:
            await loaded.chat(QUESTION)
            return "vllm_xargs" not in sent(loaded)

        await until(unarmed)
