"""Experiments in traffic: units stick to arms, what clients choose is not counted, rails stop, admins see figures."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from proxy.experiments.definition import Experiment
from tests.fakes.vllm import FakeVllm, Say, Script, Stall
from tests.wire.harness import ADMIN, ANSWER, CHAT, COMPLETIONS, HARMLESS, QUESTION, Lethe, started
from tests.wire.test_keys_and_arms import key_with

DEFINITION: dict[str, Any] = {"id": "e", "arms": {"guarded": 1, "strict": 1}, "unit": "session"}
EXPERIMENT = Experiment.model_validate(DEFINITION)
SETTINGS = {"arms": {"strict": {"on_match": ["refuse"]}}}


@pytest_asyncio.fixture
async def divided(engine: FakeVllm, state: Path) -> AsyncIterator[Lethe]:
    """A server with an arm of its own and one fact to forget."""
    async with started(engine, state, SETTINGS) as lethe:
        await lethe.make_set(policy={"on_match": ["instruct", "refuse"]})
        await lethe.forget()
        yield lethe


async def start(lethe: Lethe, **fields: Any) -> dict[str, Any]:
    reply = await lethe.admin("POST", "/experiments", DEFINITION | fields)
    assert reply.status == 201, reply.raw
    body: dict[str, Any] = reply.body
    return body


async def ask(lethe: Lethe, session: str, headers: dict[str, str] | None = None) -> str:
    """The arm that answered."""
    reply = await lethe.chat(QUESTION, {"x-lethe-session": session, **(headers or {})})
    assert reply.status == 200, reply.raw
    return str(reply.headers["x-lethe-arm"])


async def report(lethe: Lethe) -> dict[str, Any]:
    body: dict[str, Any] = (await lethe.admin("GET", "/experiments/e")).body
    return body


async def test_sessions_keep_their_arm_and_are_counted(divided: Lethe) -> None:
    assert (await start(divided))["state"] == "running"
    arms = {f"s{i}": [await ask(divided, f"s{i}") for _ in range(3)] for i in range(12)}
    assert all(len(set(seen)) == 1 for seen in arms.values())
    assert {seen[0] for seen in arms.values()} == {"guarded", "strict"}
    shown = (await report(divided))["arms"]
    for name, arm in shown.items():
        sessions = sum(seen[0] == name for seen in arms.values())
        assert (arm["units"], arm["requests"]) == (sessions, 3 * sessions)
        assert arm["metrics"]["refused"]["mean"] == float(name == "strict")
        assert arm["metrics"]["failed"]["of_requests"] == 0
    assert shown["guarded"]["metrics"]["length"]["mean"] > 0


async def test_without_an_experiment_everyone_is_guarded(divided: Lethe) -> None:
    await start(divided)
    assert (await divided.admin("POST", "/experiments/e:stop", {"reason": "enough"})).body["reason"] == "enough"
    assert {await ask(divided, f"s{i}") for i in range(12)} == {"guarded"}
    assert (await report(divided))["arms"]["strict"]["requests"] == 0
    assert (await divided.admin("DELETE", "/experiments/e")).status == 200
    assert (await divided.admin("GET", "/experiments/e")).status == 404


async def test_an_arm_that_the_client_chose_is_not_counted(divided: Lethe) -> None:
    await start(divided)
    assert await ask(divided, "s1", ADMIN | {"x-lethe-arm": "strict"}) == "strict"
    assert sum(arm["requests"] for arm in (await report(divided))["arms"].values()) == 0


async def test_the_raw_arm_is_only_for_keys_with_its_scope(divided: Lethe) -> None:
    await start(divided, arms={"raw": 1}, control="raw")
    client, both = await key_with(divided, "client"), await key_with(divided, "client", "raw")
    assert await ask(divided, "s", client) == "guarded"
    assert await ask(divided, "s", both) == "raw"
    assert (await report(divided))["arms"]["raw"]["requests"] == 1


async def test_a_guard_rail_stops_the_experiment(divided: Lethe) -> None:
    await start(divided, guard_rails=[{"arm": "strict", "metric": "refused", "at_most": 0.2}])
    strict = next(unit for i in range(99) if EXPERIMENT.arm_of(f"session:anonymous:{(unit := f's{i}')}") == "strict")
    for _ in range(14):
        await ask(divided, strict)
    shown = await report(divided)
    assert shown["state"] == "stopped"
    assert shown["reason"] == "refused of arm 'strict' is above 0.2"
    assert await ask(divided, strict) == "guarded"


async def test_a_restart_goes_on_with_the_experiment(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, SETTINGS) as lethe:
        await start(lethe)
        before = {f"s{i}": await ask(lethe, f"s{i}") for i in range(8)}
    async with started(engine, state, SETTINGS) as lethe:
        assert {session: await ask(lethe, session) for session in before} == before
        arms = (await report(lethe))["arms"]
        assert sum(arm["units"] for arm in arms.values()) == 8
        assert sum(arm["requests"] for arm in arms.values()) == 16


@pytest.mark.parametrize(
    ("fields", "status", "named"),
    [
        ({"arms": {"guarded": 1, "other": 1}}, 400, "there is no arm 'other'"),
        ({"arms": {"guarded": -1}}, 400, "above 0"),
        ({"unit": "planet"}, 400, "unit"),
        ({"wieghts": 1}, 400, "unknown setting 'wieghts'"),
    ],
)
async def test_wrong_definitions_are_told(divided: Lethe, fields: dict[str, Any], status: int, named: str) -> None:
    reply = await divided.admin("POST", "/experiments", DEFINITION | fields)
    assert reply.status == status
    assert named in reply.error["message"]


async def test_a_second_experiment_must_wait(divided: Lethe) -> None:
    await start(divided)
    reply = await divided.admin("POST", "/experiments", DEFINITION | {"id": "other"})
    assert (reply.status, reply.error["code"]) == (409, "conflict")
    assert (await divided.admin("DELETE", "/experiments/e")).status == 409
    assert (await divided.admin("POST", "/experiments/other:stop")).status == 404
    assert [one["id"] for one in (await divided.admin("GET", "/experiments")).body["data"]] == ["e"]


async def test_the_file_holds_no_name_of_a_unit(divided: Lethe, state: Path) -> None:
    await start(divided, unit="user")
    await divided.chat(QUESTION, user="jane.roe@example.com")
    await report(divided)
    written = await asyncio.to_thread(lambda: [file.read_bytes() for file in state.glob("ledger*")])
    assert written
    assert b"jane" not in b"".join(written)


async def test_experiments_are_for_admins(divided: Lethe) -> None:
    client = (await key_with(divided, "client"))["Authorization"].split()[1]
    for method, path in (("GET", "/experiments"), ("POST", "/experiments"), ("GET", "/experiments/e")):
        assert (await divided.admin(method, path, key=client)).status == 403


async def shadowed(lethe: Lethe, n: int) -> dict[str, Any]:
    """The figures of the guarded arm's pairs, once there are so many."""
    async with asyncio.timeout(5):
        while True:
            pairs = (await report(lethe))["shadow"].get("guarded")
            if pairs and pairs["same"]["n"] >= n:
                return dict(pairs)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_shadow_compares_with_the_raw_answer_and_keeps_numbers(
    engine: FakeVllm, state: Path, path: str, stream: bool
) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set(policy={"on_match": ["refuse"]})
        await lethe.forget()
        await start(lethe, arms={"guarded": 1}, shadow={"share": 1})
        engine.answers(Say(f"It was {ANSWER}, said the quokka"))
        reply = await lethe.ask(path, QUESTION, stream=stream)
        assert reply.status == 200
        assert ANSWER.encode() not in reply.raw  # what the client got is as ever
        pairs = await shadowed(lethe, 1)
        assert pairs["raw_leak"]["mean"] == 1
        assert pairs["same"]["mean"] == 0
        assert pairs["similarity"]["mean"] < 1
        asked = engine.seen[-1].body
        assert not asked.get("stream")
        assert await lethe.metric("lethe_shadow_total", outcome="compared") == 1
        written = await asyncio.to_thread(lambda: b"".join(file.read_bytes() for file in state.glob("ledger*")))
        assert b"quokka" not in written


async def test_shadow_of_an_unguarded_answer_is_the_same(divided: Lethe) -> None:
    await start(divided, arms={"guarded": 1}, shadow={"share": 1})
    await divided.chat(HARMLESS, stream=True)
    pairs = await shadowed(divided, 1)
    assert (pairs["same"]["mean"], pairs["raw_leak"]["mean"]) == (1, 0)
    assert pairs["similarity"]["mean"] == pytest.approx(1)


async def test_a_shadow_that_fails_or_hangs_is_counted_and_harms_nobody(divided: Lethe) -> None:
    await start(divided, arms={"guarded": 1}, shadow={"share": 1, "timeout_s": 1, "at_once": 1})
    divided.engine.scripts(Script((Say("fine"),)), Script((Say("later"), Stall())), Script((Say("fine"),)))
    assert (await divided.chat(HARMLESS)).status == 200
    async with asyncio.timeout(5):
        while len(divided.engine.seen) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (await divided.chat(HARMLESS)).status == 200  # its shadow finds no room
    async with asyncio.timeout(5):
        while not await divided.metric("lethe_shadow_total", outcome="failed"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await divided.metric("lethe_shadow_total", outcome="left_out") == 1
    assert (await report(divided))["shadow"] == {}


async def test_shadow_takes_its_share_and_nothing_else(divided: Lethe) -> None:
    await start(divided, shadow={"share": 1})
    await divided.chat(HARMLESS, ADMIN | {"x-lethe-arm": "guarded"})  # chosen
    await divided.chat(HARMLESS, n=2)
    assert len(divided.engine.seen) == 2
