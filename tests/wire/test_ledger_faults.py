"""Ledger and audit log that cannot be written lose nothing that was acknowledged, and enforce nothing that was not."""

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from indexes.ledger.records import LedgerError
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Say, Script
from tests.wire.harness import (
    QUESTION,
    Lethe,
    payloads,
    started,
)

# -- the ledger


async def test_failing_ledger_enforces_nothing_and_loses_nothing(armed: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = armed.server.catalogue.enforcing._ledger

    def full(*_: Any, **__: Any) -> Any:
        raise LedgerError("no space left on the device /secret/path")

    monkeypatch.setattr(ledger, "add_entries", full)
    reply = await armed.admin("POST", "/sets/art/entries", {"question": "Which ship sank first?"})
    assert reply.status == 503
    assert b"secret" not in reply.raw
    assert (await armed.admin("GET", "/generations")).body["generation"] == 2
    assert (await armed.chat("Which ship sank first?")).raw == armed.engine.sent
    assert (await armed.chat(QUESTION, stream=True)).raw != armed.engine.sent
    monkeypatch.undo()
    assert (await armed.admin("POST", "/sets/art/entries", {"question": "Which ship sank first?"})).status == 201
    assert (await armed.admin("GET", "/generations")).body["entries"] == 2


async def test_failing_embedder_changes_nothing(armed: Lethe) -> None:
    armed.embedder.fails = RuntimeError("the text")
    reply = await armed.admin("POST", "/sets/art/entries", {"question": "Which ship sank first?"})
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert b"the text" not in reply.raw
    assert (await armed.admin("GET", "/generations")).body["generation"] == 2


async def test_restart_serves_what_was_acknowledged(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set()
        await lethe.forget()
    async with started(engine, state) as lethe:
        assert (await lethe.admin("GET", "/generations")).body["entries"] == 1
        await lethe.chat(QUESTION)
        assert "never read" in engine.seen[-1].text


async def test_expiry_that_fails_once_is_tried_again(
    engine: FakeVllm, state: Path, monkeypatch: pytest.MonkeyPatch, log: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr("proxy.app.EXPIRY_CHECK_S", 0.02)
    async with started(engine, state) as lethe:
        await lethe.make_set()
        ledger = lethe.server.catalogue.enforcing._ledger
        with monkeypatch.context() as failing:
            failing.setattr(ledger, "due", lambda _: (_ for _ in ()).throw(LedgerError("busy")))
            await asyncio.sleep(0.1)
        await lethe.forget(expires_at="2020-01-01T00:00:00Z")
        async with asyncio.timeout(5):
            while (await lethe.admin("GET", "/sets/art/entries")).body["data"][0]["state"] != "disabled":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert any(line["event"] == "expiry_failed" for line in log)


def test_payloads_reads_what_the_tests_rely_on() -> None:
    assert list(payloads(b': x\n\ndata: {"a":1}\n\ndata: [DONE]\n\n')) == [{"a": 1}]


async def test_several_scripts_are_taken_in_order(lethe: Lethe) -> None:
    lethe.engine.scripts(Script((Say("a"),)), Script((Say("b"),)))
    assert [(await lethe.chat()).text() for _ in range(3)] == ["a", "b", "Hello there."]


# -- the audit log


async def test_audit_log_that_cannot_be_written_is_told_and_caught_up(
    lethe: Lethe, monkeypatch: pytest.MonkeyPatch, log: list[dict[str, Any]]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("proxy.audit.log.append", full)
    await lethe.forget()
    async with asyncio.timeout(20):
        while not (told := [line for line in log if line["event"] == "audit_log_not_written"]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert told[0]["fault"] == "No space left on device"
    assert (await lethe.chat(QUESTION)).status == 200
    monkeypatch.undo()
    reply = await lethe.admin("GET", "/audit/log")
    actions = [json.loads(line)["action"] for line in reply.raw.splitlines()]
    assert actions == [change["action"] for change in (await lethe.admin("GET", "/audit")).body["data"]]
