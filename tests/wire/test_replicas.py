"""Servers that share a PostgreSQL ledger: what one of them was told holds in all, and who cannot hear says nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Reached, Say, Stall, Wait
from tests.postgresql import PostgresServer
from tests.relay import Relay
from tests.wire.harness import QUESTION, Lethe, started

LONG_S = 25  # for what must happen, however slow the machine is
PATIENT = {"lease_s": 60, "poll_s": 20}  # for tests in which nobody may be taken for gone, or only asks
OTHER = "Which ship sank first?"


@asynccontextmanager
async def replicas(engine: FakeVllm, state: Path, *ledgers: dict[str, Any]) -> AsyncIterator[list[Lethe]]:
    """A server for each of some `ledger` sections, started one after the other; the first has an empty set `art`."""
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(started(engine, state / str(number), {"ledger": ledger}))
            for number, ledger in enumerate(ledgers)
        ]
        await servers[0].make_set()
        for server in servers:
            await served(server, 1)
        yield servers


async def served(lethe: Lethe, generation: int) -> None:
    async with asyncio.timeout(LONG_S):
        while lethe.server.catalogue.current.number < generation:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def ready(lethe: Lethe, status: int) -> dict[str, Any]:
    async with asyncio.timeout(LONG_S):
        while (reply := await lethe.get("/readyz")).status != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    body: dict[str, Any] = reply.body
    return body


async def add(lethe: Lethe, question: str = QUESTION, query: str = "") -> Any:
    return await lethe.admin("POST", f"/sets/art/entries{query}", {"question": question})


async def is_near(lethe: Lethe, question: str) -> bool:
    return bool((await lethe.admin("POST", "/check", {"text": question})).body["rung"] != "pass")


# -- what one was told holds in all


async def test_a_change_that_was_waited_for_holds_everywhere(engine: FakeVllm, state: Path, url: str) -> None:
    async with replicas(engine, state, *[{"url": url, **PATIENT}] * 3) as (a, b, c):
        reply = await add(a, query=f"?wait=applied&timeout_s={LONG_S}")
        assert (reply.status, reply.body["applied"], reply.body["members"], reply.body["behind"]) == (201, True, 3, [])
        for server in (a, b, c):
            assert server.server.catalogue.current.number == reply.body["generation"] == 2
            assert await is_near(server, QUESTION)
        entry = f"/sets/art/entries/{reply.body['id']}?wait=applied&timeout_s={LONG_S}"
        changed = await b.admin("PATCH", entry, {"state": "disabled"})
        assert (changed.status, changed.body["state"], changed.body["applied"]) == (200, "disabled", True)
        assert not await is_near(a, QUESTION)
        assert (await c.admin("DELETE", entry)).status == 200
        assert (await a.admin("GET", "/sets/art/entries")).body["data"] == []
        gone = await a.admin("DELETE", f"/sets/art?wait=applied&timeout_s={LONG_S}")
        assert gone.body["members"] == 3
        assert b.server.catalogue.current.sets == {}


async def test_answers_in_flight_at_another_replica_are_cut(engine: FakeVllm, state: Path, url: str) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    engine.answers(Say("The one "), Reached(reached), Wait(go_on), Say("who did it"), Stall())
    async with replicas(engine, state, *[{"url": url, **PATIENT}] * 2) as (a, b), b.streaming(QUESTION) as response:
        await reached.wait()
        await add(a, query=f"?wait=applied&timeout_s={LONG_S}")
        go_on.set()
        raw = await asyncio.wait_for(response.content.read(), LONG_S)
    assert b"who did it" not in raw
    assert b'"content_filter"' in raw or b"never read" in engine.seen[-1].text.encode()


async def test_all_write_at_once(engine: FakeVllm, state: Path, url: str) -> None:
    async with replicas(engine, state, *[{"url": url, **PATIENT}] * 2) as (a, b):
        replies = await asyncio.gather(*(add(one, f"What is in box {n}?") for n in range(15) for one in (a, b)))
        assert sorted(reply.body["generation"] for reply in replies) == list(range(2, 32))
        for server in (a, b):
            await served(server, 31)
            assert server.server.catalogue.current.entry_count == 30


async def test_a_request_that_is_repeated_elsewhere_is_answered_as_the_first(
    engine: FakeVllm, state: Path, url: str
) -> None:
    async with replicas(engine, state, *[{"url": url, **PATIENT}] * 2) as (a, b):
        body, key = {"question": QUESTION}, {"Idempotency-Key": "once"}
        first = await a.admin("POST", "/sets/art/entries", body, key)
        again = await b.admin("POST", "/sets/art/entries", body, key)
        assert again.body == first.body
        assert await is_near(b, QUESTION)
        assert b.server.catalogue.current.entry_count == 1


async def test_keys_hold_everywhere(engine: FakeVllm, state: Path, url: str) -> None:
    async with replicas(engine, state, *[{"url": url, **PATIENT}] * 2) as (a, b):
        made = (await a.admin("POST", "/keys", {"scopes": ["client"]})).body
        bearer = {"Authorization": f"Bearer {made['key']}"}
        async with asyncio.timeout(LONG_S):
            while (await b.chat()).status != 401:  # noqa: ASYNC110 - since there is one, anyone needs one
                await asyncio.sleep(0.02)
        assert (await b.chat(headers=bearer)).status == 200
        await a.admin("DELETE", f"/keys/{made['id']}")
        async with asyncio.timeout(LONG_S):
            while b.server.catalogue.keys.open is False:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_the_same_question_is_refused_in_the_same_words_everywhere(
    engine: FakeVllm, state: Path, url: str
) -> None:
    async with replicas(engine, state, *[{"url": url, **PATIENT}] * 2) as (a, b):
        assert a.server.secret == b.server.secret


async def test_what_a_watch_reports_to_one_is_shown_by_all(engine: FakeVllm, state: Path, url: str) -> None:
    async with replicas(engine, state, *[{"url": url, **PATIENT}] * 2) as (a, b):
        entry = (await add(a)).body["id"]
        told = await a.admin("POST", "/sets/art/watch", {"probed": [{"entry": entry, "probes": 5, "leaks": 1}]})
        assert (told.status, told.body["leaked"][0]["raised"]) == (200, True)
        for server in (a, b):
            await leaking(server, 1)
        assert (await b.admin("GET", f"/sets/art/entries/{entry}")).body["raised"] == 1
        async with started(engine, state / "later", {"ledger": {"url": url, **PATIENT}}) as c:
            await leaking(c, 1)
        await b.make_set("other")
        await b.admin("DELETE", "/sets/art")
        assert (await b.admin("POST", "/sets/other/watch", {"probed": []})).status == 200
        for server in (a, b):
            await leaking(server, 0)


async def leaking(lethe: Lethe, entries: int) -> None:
    """Waits until the last round of the set `art` shows so many entries, or until there is none."""
    async with asyncio.timeout(LONG_S):
        while (  # noqa: ASYNC110
            await lethe.metric("lethe_watch_leaking", set="art") != entries
            or (await lethe.metric("lethe_watch_last_timestamp_seconds", set="art") > 0) != bool(entries)
        ):
            await asyncio.sleep(0.01)


async def test_without_announcements_it_asks(
    engine: FakeVllm, state: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexes.ledger.postgres.Watch.wait", lambda self, _: self.close())
    async with replicas(engine, state, *[{"url": url, "poll_s": 0.05, **PATIENT}] * 2) as (a, b):
        await add(a)
        await served(b, 2)


# -- who cannot hear


async def test_a_replica_that_is_cut_off_stops_and_comes_back(
    engine: FakeVllm, state: Path, url: str, postgres: PostgresServer, log: list[dict[str, Any]]
) -> None:
    async with Relay.to(postgres.port) as relay:
        through = postgres.url("replicas", port=relay.port)
        near, far = ({"url": one, "lease_s": 3, "poll_s": 0.1} for one in (url, through))
        async with replicas(engine, state, near, far) as (a, b):
            await relay.cut()
            assert "the ledger has not answered" in (await ready(b, 503))["reason"]
            reply = await b.chat()
            assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
            assert (await add(b)).status == 503
            assert (await ready(a, 200))["status"] == "ready"

            # Who is gone for longer than its lease is waited for no more: it refuses everything by then.
            reply = await add(a, query=f"?wait=applied&timeout_s={LONG_S}")
            assert (reply.status, reply.body["applied"], reply.body["members"]) == (201, True, 1)

            await relay.mend()
            await ready(b, 200)
            assert b.server.catalogue.current.number == reply.body["generation"]
            assert await is_near(b, QUESTION)
            assert (await add(b, OTHER)).status == 201
    events = [line["event"] for line in log]
    assert events.count("ledger_lost") == events.count("ledger_found") == 1


async def test_an_answer_in_flight_at_a_replica_that_is_cut_off_ends(
    engine: FakeVllm, state: Path, url: str, postgres: PostgresServer
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    engine.answers(Say("The one "), Reached(reached), Wait(go_on), Say("who did it"), Stall())
    async with Relay.to(postgres.port) as relay:
        through = postgres.url("replicas", port=relay.port)
        async with (
            replicas(engine, state, {"url": url}, {"url": through, "lease_s": 1}) as (a, b),
            b.streaming(QUESTION) as response,
        ):
            await add(a, OTHER)  # a set that guards nothing lets everything pass
            await served(b, 2)
            await reached.wait()
            await relay.cut()
            await ready(b, 503)
            go_on.set()
            raw = b""
            with pytest.raises(aiohttp.ClientPayloadError):  # it must not look like the end of the answer
                async for block in response.content.iter_any():
                    raw += block
    assert b"guard_unavailable" in raw
    assert b"who did it" not in raw


async def test_a_replica_whose_network_swallows_everything_stops(
    engine: FakeVllm, state: Path, url: str, postgres: PostgresServer
) -> None:
    async with Relay.to(postgres.port) as relay:
        through = postgres.url("replicas", port=relay.port)
        async with replicas(engine, state, {"url": url}, {"url": through, "lease_s": 1}) as (a, b):
            relay.stall()
            await ready(b, 503)
            assert (await b.chat()).status == 503
            await add(a)
            await relay.mend()
            await ready(b, 200)
            assert await is_near(b, QUESTION)


async def test_who_is_behind_is_named(engine: FakeVllm, state: Path, url: str, postgres: PostgresServer) -> None:
    async with Relay.to(postgres.port) as relay:
        through = postgres.url("replicas", port=relay.port)
        async with replicas(engine, state, {"url": url, **PATIENT}, {"url": through, **PATIENT}) as (a, b):
            relay.stall()
            reply = await add(a, query="?wait=applied&timeout_s=1")
            assert (reply.status, reply.body["applied"], reply.body["members"]) == (202, False, 2)
            assert b.server.following is not None
            assert reply.body["behind"] == [b.server.following.id]
            shown = (await a.admin("GET", "/generations")).body
            assert {member["id"]: member["generation"] for member in shown["members"]} == {
                a.server.following.id: 2,
                b.server.following.id: 1,
            }
            assert [member["id"] for member in shown["members"] if member["self"]] == [a.server.following.id]
            await relay.mend()
            await served(b, 2)


async def test_who_has_left_is_waited_for_no_more(engine: FakeVllm, state: Path, url: str) -> None:
    async with replicas(engine, state, {"url": url, **PATIENT}) as (a,):
        async with started(engine, state / "other", {"ledger": {"url": url, **PATIENT}}):
            assert len((await a.admin("GET", "/generations")).body["members"]) == 2
        assert (await add(a, query=f"?wait=applied&timeout_s={LONG_S}")).body["members"] == 1


@pytest.mark.parametrize("query", ["?wait=later", "?wait=applied&timeout_s=0", "?wait=applied&timeout_s=61"])
async def test_a_wait_that_cannot_be_is_refused_before_anything_is_changed(lethe: Lethe, query: str) -> None:
    reply = await add(lethe, query=query)
    assert reply.status == 400
    assert (await lethe.admin("GET", "/generations")).body["generation"] == 1


async def test_alone_there_is_nobody_to_wait_for(lethe: Lethe) -> None:
    reply = await add(lethe, query="?wait=applied")
    assert (reply.status, reply.body["applied"], reply.body["members"]) == (201, True, 1)
