"""The server starts from its index in files, makes them while it runs, and takes nothing from them that is not so."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from indexes.forget_index import ForgetIndex
from proxy.catalogue import snapshots
from tests.fakes.vllm import FakeVllm
from tests.postgresql import PostgresServer
from tests.wire.harness import ANSWER, HARMLESS, QUESTION, Gate, Lethe, started

Log = list[dict[str, Any]]
EVERY = {"ledger": {"snapshot_every": 1}}
OTHER = {"kind": "entity", "names": ["Thaddeus Okonkwo-Brandt"]}


async def rung(lethe: Lethe, text: str) -> str:
    return str((await lethe.admin("POST", "/check", {"text": text})).body["rung"])


async def add(lethe: Lethe, entry: dict[str, Any]) -> str:
    reply = await lethe.admin("POST", "/sets/art/entries", entry)
    assert reply.status == 201, reply.raw
    return str(reply.body["id"])


async def until(there: Callable[[], object]) -> None:
    async with asyncio.timeout(25):
        while not there():  # noqa: ASYNC110 - what the server logs tells no event
            await asyncio.sleep(0.02)


def said(log: Log, event: str) -> list[dict[str, Any]]:
    return [line for line in log if line["event"] == event]


@pytest.fixture(params=["sqlite", "postgres"])
def every(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A configuration with each kind of ledger."""
    if request.param == "sqlite":
        return EVERY
    postgres: PostgresServer = request.getfixturevalue("postgres")
    return {"ledger": EVERY["ledger"] | {"url": postgres.fresh("snapshots")}}


@pytest.fixture
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "LOOK_S", 0.05)


@pytest.fixture
def written_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "LOOK_S", 3600.0)


@pytest.mark.usefixtures("written_at_the_end")
async def test_a_restart_begins_with_what_was_written_at_the_end(engine: FakeVllm, state: Path, log: Log) -> None:
    async with started(engine, state, EVERY) as lethe:
        await lethe.make_set()
        await add(lethe, {"question": QUESTION, "answer": ANSWER})
        other = await add(lethe, OTHER)
    for expected in ("instruct", "pass"):
        async with started(engine, state, EVERY) as lethe:
            assert lethe.embedder.calls == 0
            assert await rung(lethe, QUESTION) == "instruct"
            assert await rung(lethe, "Who is Thaddeus Okonkwo-Brandt?") == expected
            assert await rung(lethe, HARMLESS) == "pass"
            await lethe.admin("DELETE", f"/sets/art/entries/{other}")
            assert await rung(lethe, "Who is Thaddeus Okonkwo-Brandt?") == "pass"
    assert [line["entries"] for line in said(log, "snapshot_opened")] == [2, 2]


@pytest.mark.usefixtures("written_at_the_end")
async def test_a_damaged_one_is_told_and_not_used(engine: FakeVllm, state: Path, log: Log) -> None:
    async with started(engine, state, EVERY) as lethe:
        await lethe.make_set()
        await add(lethe, {"question": QUESTION, "answer": ANSWER})
    (tables,) = (state / "snapshots").glob("*/tables")
    raw = bytearray(tables.read_bytes())
    raw[-1] ^= 1
    tables.write_bytes(raw)
    async with started(engine, state, EVERY) as lethe:
        assert await rung(lethe, QUESTION) == "instruct"
    assert ["damaged" in line["why"] for line in said(log, "snapshot_refused")] == [True]
    assert not said(log, "snapshot_opened")


@pytest.mark.usefixtures("looks_often")
async def test_one_is_made_and_used_while_requests_are_checked(
    engine: FakeVllm, state: Path, log: Log, every: dict[str, Any]
) -> None:
    async with started(engine, state, every) as lethe:
        await lethe.make_set()
        first = await add(lethe, {"question": QUESTION, "answer": ANSWER})
        await until(lambda: said(log, "snapshot_opened"))
        assert await rung(lethe, QUESTION) == "instruct"
        await add(lethe, OTHER)  # on top of what is mapped
        assert await rung(lethe, "Who is Thaddeus Okonkwo-Brandt?") == "instruct"
        await until(lambda: len(said(log, "snapshot_opened")) > 1)
        assert await rung(lethe, "Who is Thaddeus Okonkwo-Brandt?") == "instruct"
        await lethe.admin("DELETE", f"/sets/art/entries/{first}")
        assert await rung(lethe, QUESTION) == "pass"
        await until(lambda: len(said(log, "snapshot_opened")) > 2)
        assert await rung(lethe, QUESTION) == "pass"
    assert not said(log, "snapshot_failed")
    assert len(list((state / "snapshots").glob("0*"))) == 1


@pytest.mark.usefixtures("looks_often")
async def test_a_folder_that_cannot_be_written_hinders_nobody(engine: FakeVllm, state: Path, log: Log) -> None:
    (state / "snapshots").write_text("a file, where a folder should be")
    async with started(engine, state, EVERY) as lethe:
        await lethe.make_set()
        await add(lethe, {"question": QUESTION, "answer": ANSWER})
        await until(lambda: said(log, "snapshot_failed"))
        assert await rung(lethe, QUESTION) == "instruct"


@pytest.mark.usefixtures("looks_often")
async def test_a_look_that_fails_is_told_and_not_the_last(
    engine: FakeVllm, state: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, due = [RuntimeError("nobody thought of it")], snapshots.is_due

    def is_due(index: ForgetIndex, every: int, since_s: float) -> bool:
        if failures:
            raise failures.pop()
        return due(index, every, since_s)

    monkeypatch.setattr(snapshots, "is_due", is_due)
    async with started(engine, state, EVERY) as lethe:
        await lethe.make_set()
        await add(lethe, {"question": QUESTION, "answer": ANSWER})
        await until(lambda: said(log, "snapshot_opened"))
        assert await rung(lethe, QUESTION) == "instruct"
    assert [line["fault"] for line in said(log, "snapshot_failed")] == ["RuntimeError"]


@pytest.mark.usefixtures("looks_often")
async def test_a_server_that_ends_while_it_goes_over(
    engine: FakeVllm, state: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, opened = Gate(), snapshots.opened
    async with started(engine, state, EVERY) as lethe:
        monkeypatch.setattr(snapshots, "opened", lambda *what: (gate.pass_through(), opened(*what))[1])
        await lethe.make_set()
        await add(lethe, {"question": QUESTION, "answer": ANSWER})
        await until(gate.entered.is_set)
        asyncio.get_running_loop().call_later(0.1, gate.open)
    async with started(engine, state, EVERY) as lethe:
        assert await rung(lethe, QUESTION) == "instruct"
    assert not said(log, "snapshot_failed")


@pytest.mark.usefixtures("looks_often")
async def test_where_none_is_wanted_none_is_made_and_none_stays(engine: FakeVllm, state: Path, log: Log) -> None:
    async with started(engine, state, EVERY) as lethe:
        await lethe.make_set()
        await add(lethe, {"question": QUESTION, "answer": ANSWER})
    folder = state / "snapshots"
    assert list(folder.glob("0*"))
    async with started(engine, state, {"ledger": {"snapshot_every": 0}}) as lethe:
        await until(lambda: not list(folder.glob("[!.]*")))
        await add(lethe, OTHER)
        await asyncio.sleep(0.2)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    assert not said(log, "snapshot_opened")
