"""Several processes before one engine: what one loads, rolls back or takes out holds for all, streams go on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.assistants import write_assistant
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Reached, Say, Script, Wait
from tests.wire.assistants import LADDER, SLOTS, listing, load, sent, until, until_ready
from tests.wire.harness import QUESTION, Lethe, started

PATIENT = {"lease_s": 60, "poll_s": 20}  # nobody may be taken for gone, or only asks


@pytest.fixture
async def both(engine: FakeVllm, state: Path, url: str) -> AsyncIterator[tuple[Lethe, Lethe]]:
    """Two servers on one ledger and one engine; a set that subtracts `uld`, with one fact; nothing is loaded yet."""
    engine.composite.slots = ("a0", "a1")
    settings = {**SLOTS, "ledger": {"url": url, **PATIENT}}
    async with started(engine, state / "a", settings) as a, started(engine, state / "b", settings) as b:
        await a.make_set(policy=LADDER)
        await a.forget()
        for lethe in (a, b):
            await until_ready(lethe)
        yield a, b


async def armed_with(lethe: Lethe, version: int | None) -> None:
    """Waits until a request is armed with a version, or not at all."""

    async def so() -> bool:
        reply = await lethe.chat(QUESTION)
        assert reply.status == 200, reply.raw  # never an error, whatever is going on
        model = str(sent(lethe)["model"])
        return "vllm_xargs" not in sent(lethe) if version is None else f"uld@{version}:" in model

    await until(so)


async def rows(lethe: Lethe) -> list[tuple[str, int, bool]]:
    return [(row["name"], row["version"], row["loaded"]) for row in (await listing(lethe))["data"]]


async def test_what_one_changes_holds_for_all(both: tuple[Lethe, Lethe], tmp_path: Path) -> None:
    a, b = both
    await load(a, write_assistant(tmp_path, "uld", 1))
    await armed_with(b, 1)
    await load(b, write_assistant(tmp_path, "uld", 2, weights=b"better"))
    await armed_with(a, 2)
    assert (await a.admin("POST", "/assistants/uld:activate", {})).status == 200
    await armed_with(b, 1)
    assert await rows(a) == await rows(b) == [("uld", 1, True)]

    await load(a, write_assistant(tmp_path, "more", 1))
    await load(b, write_assistant(tmp_path, "most", 1))  # neither loses what the other wrote
    for lethe in both:

        async def knows_all(lethe: Lethe = lethe) -> bool:
            return await rows(lethe) == [("more", 1, True), ("most", 1, True), ("uld", 1, True)]

        await until(knows_all)
    assert (await b.admin("DELETE", "/assistants/uld")).status == 200
    await armed_with(a, None)
    said = [change.action for change in await a.server.catalogue.log(0, 100) if change.set_id is None]
    assert said == [
        *("assistant.load uld@1", "assistant.load uld@2", "assistant.activate uld@1"),
        *("assistant.load more@1", "assistant.load most@1", "assistant.unload uld"),
    ]


async def test_a_stream_at_one_keeps_the_version_that_another_swapped(
    both: tuple[Lethe, Lethe], tmp_path: Path
) -> None:
    a, b = both
    adapters = a.engine.composite.adapters
    await load(a, write_assistant(tmp_path, "uld", 1))
    await armed_with(b, 1)
    reached, go_on = asyncio.Event(), asyncio.Event()
    a.engine.scripts(Script((Say("Hello "), Reached(reached), Wait(go_on), Say("there."))))
    stream = asyncio.create_task(b.chat(QUESTION, stream=True), name="a client")
    await reached.wait()
    await load(a, write_assistant(tmp_path, "uld", 2, weights=b"better"))
    await armed_with(b, 2)
    assert sorted(name.split(":")[1] for name in adapters) == ["uld@1", "uld@2"]
    looks = a.server.upstream.view.seen_at
    await until(lambda: looked_since(a, looks))
    assert len(adapters) == 2  # whoever swapped it has looked again, and leaves it to the stream
    go_on.set()
    assert (await stream).text() == "Hello there."

    async def alone() -> bool:
        return [name.split(":")[1] for name in adapters] == ["uld@2"]

    await until(alone)


async def looked_since(lethe: Lethe, moment: float) -> bool:
    return lethe.server.upstream.view.seen_at > moment


async def test_nobody_unloads_what_another_has_not_yet_swapped(
    both: tuple[Lethe, Lethe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process is slow to follow: it goes on with the version that it has, which stays in the engine for it."""
    a, b = both
    await load(a, write_assistant(tmp_path, "uld", 1))
    await armed_with(b, 1)
    slow = asyncio.Event()
    proven = b.server.assistants._loading.assistant

    async def later(*given: Any) -> Any:
        await slow.wait()
        return await proven(*given)

    monkeypatch.setattr(b.server.assistants._loading, "assistant", later)
    await load(a, write_assistant(tmp_path, "uld", 2, weights=b"better"))
    await armed_with(a, 2)
    looks = a.server.upstream.view.seen_at
    await until(lambda: looked_since(a, looks))
    await armed_with(b, 1)
    slow.set()
    await armed_with(b, 2)

    async def alone() -> bool:
        return [name.split(":")[1] for name in a.engine.composite.adapters] == ["uld@2"]

    await until(alone)
