"""Assistants over the wire: loaded, swapped, rolled back and taken out, without a stream that notices."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from guards.policy import DEFAULT_POLICY, PolicyError
from proxy.config import ConfigError
from proxy.errors import EngineError
from tests.fakes.assistants import write_assistant
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Raw, Reached, Say, Script, Wait
from tests.wire.assistants import (
    LADDER,
    SLOTS,
    adapter_of,
    listing,
    load,
    sent,
    until,
    until_ready,
    until_unloaded,
)
from tests.wire.harness import QUESTION, Lethe, started


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
