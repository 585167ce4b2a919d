"""A server whose engine has slots is ready when a canary has proved them, and what is in use is loaded."""

from pathlib import Path
from typing import Any

import pytest

from proxy.assistants import life as assistants
from tests.fakes.assistants import write_assistant
from tests.fakes.vllm import FakeVllm
from tests.wire.assistants import (
    SLOTS,
    adapter_of,
    listing,
    load,
    sent,
    until,
    until_not_ready,
    until_ready,
)
from tests.wire.harness import QUESTION, Lethe, started


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
