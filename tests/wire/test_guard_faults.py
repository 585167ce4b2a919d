"""A guard that fails closes, unless its policy says otherwise, and is counted."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Say
from tests.wire.broken import broken_in_mid_stream, raw_stream
from tests.wire.harness import (
    HARMLESS,
    Gate,
    Lethe,
    TestEmbedder,
    started,
)

STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True])


@STREAMED_AND_NOT
async def test_embedder_that_fails_closes(armed: Lethe, stream: bool) -> None:
    armed.embedder.fails = RuntimeError("a text of the request")
    for ask in (armed.chat("new question", stream=stream), armed.complete("another one", stream=stream)):
        reply = await ask
        assert reply.status == 503
        assert reply.error["code"] == "guard_unavailable"
        assert b"a text of" not in reply.raw
        assert reply.headers["Retry-After"] == "1"
    assert not armed.engine.seen
    assert await armed.metric("lethe_guard_faults_total", allowed="false") == 2


async def test_embedder_that_hangs_closes(engine: FakeVllm, state: Path) -> None:
    embedder = TestEmbedder()
    async with started(engine, state, {"embedder": {"deadline_s": 0.1}}, embedder) as lethe:
        await lethe.make_set()
        await lethe.forget()
        embedder.gate = gate = Gate()
        replies = await asyncio.gather(*(lethe.chat(f"question {i}") for i in range(4)))
        assert {reply.status for reply in replies} == {503}
        assert {reply.error["code"] for reply in replies} == {"guard_unavailable"}
        assert not engine.seen
        gate.open()
        embedder.gate = None
        assert (await lethe.chat("question 0")).status == 200


async def test_more_than_can_be_checked_is_turned_away(engine: FakeVllm, state: Path) -> None:
    embedder = TestEmbedder()
    async with started(engine, state, {"embedder": {"queue": 2, "workers": 1}}, embedder) as lethe:
        await lethe.make_set()
        await lethe.forget()
        embedder.gate = gate = Gate()
        asked = [asyncio.create_task(lethe.chat(f"question {i}")) for i in range(5)]
        answered = asyncio.as_completed(asked, timeout=20)
        for turned_away in [await next(answered) for _ in range(3)]:  # the other two wait for the gate
            assert (turned_away.status, turned_away.error["code"]) == (503, "overloaded")
            assert turned_away.headers["Retry-After"] == "1"
        gate.open()
        statuses = sorted([(await task).status for task in asked])
        assert statuses == [200, 200, 503, 503, 503]


async def test_fault_passes_where_every_policy_allows_it_and_is_counted(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, {"policy": {"on_fault": "allow"}}) as lethe:
        await lethe.make_set()
        await lethe.forget()
        lethe.embedder.fails = RuntimeError()
        assert (await lethe.chat("new question")).status == 200
        assert await lethe.metric("lethe_guard_faults_total", allowed="true") == 1
        lethe.embedder.fails = None
        await lethe.make_set("closed", policy={"on_fault": "refuse"})
        lethe.embedder.fails = RuntimeError()
        assert (await lethe.chat("newer question")).status == 503


async def test_answer_is_still_checked_where_a_fault_was_allowed(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, {"policy": {"on_fault": "allow"}}) as lethe:
        await lethe.make_set()
        await lethe.forget()
        lethe.embedder.fails = RuntimeError()
        engine.answers(Say("Marit Solvang-Quist painted it."))
        for stream in (True, False):
            assert "Solvang" not in (await lethe.chat("new question", stream=stream)).text()


async def test_fault_while_a_stream_is_decided_again_breaks_it(lethe: Lethe) -> None:
    go_on = asyncio.Event()
    from tests.fakes.vllm_shapes import Wait

    lethe.engine.answers(Say("It is "), Wait(go_on), Say("said."))
    asked = asyncio.create_task(raw_stream(lethe, HARMLESS))
    await asyncio.wait_for(lethe.engine.arrived.wait(), 5)
    await asyncio.sleep(0.05)
    await lethe.forget()
    lethe.embedder.fails = RuntimeError()
    go_on.set()
    raw = await asked
    assert b"said" not in raw
    broken_in_mid_stream(raw, "guard_unavailable")


async def test_index_that_cannot_follow_its_ledger_closes_everything(
    armed: Lethe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("of a text")

    monkeypatch.setattr(armed.server.catalogue.enforcing.index, "put_entry", fails)
    added = await armed.admin("POST", "/sets/art/entries", {"question": "Which ship sank first?"})
    assert added.status == 500
    assert b"of a text" not in added.raw
    reply = await armed.chat()
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert (await armed.get("/readyz")).status == 503
    assert not armed.engine.seen
