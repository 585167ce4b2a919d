"""Limits of a key over the wire: a 429 in the shape of each dialect that says when to come again, counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL, Reached, Say, Script, Wait
from tests.wire.answers import MESSAGES, RESPONSES, body_of
from tests.wire.harness import ADMIN, CHAT, COMPLETIONS, HARMLESS, Lethe, Reply, chat_body, started
from tests.wire.test_keys_and_arms import key_with

EMBEDDINGS = "/v1/embeddings"
PATHS = pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, MESSAGES, EMBEDDINGS])


@asynccontextmanager
async def limited(engine: FakeVllm, state: Path, **limits: int) -> AsyncIterator[Lethe]:
    async with started(engine, state, {"limits": {"drain_s": 0, **limits}}) as lethe:
        yield lethe


def request_of(path: str) -> dict[str, Any]:
    if path in (RESPONSES, MESSAGES):
        return body_of(path, HARMLESS)
    if path == CHAT:
        return chat_body(HARMLESS)
    return {"model": MODEL, "prompt" if path == COMPLETIONS else "input": HARMLESS}


def turned_away(reply: Reply, path: str) -> str:
    """Why, in the words that a client of the dialect reads."""
    assert reply.status == 429, reply.raw
    assert int(reply.headers["Retry-After"]) >= 1  # type: ignore[call-overload,index]
    if path == MESSAGES:
        assert set(reply.body) == {"type", "error"}
        assert (reply.body["type"], reply.body["error"]["type"]) == ("error", "rate_limit_error")
        return str(reply.body["error"]["message"])
    assert (reply.error["type"], reply.error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    return str(reply.error["message"])


@PATHS
@pytest.mark.parametrize("stream", [False, True])
async def test_requests_a_minute(engine: FakeVllm, state: Path, path: str, *, stream: bool) -> None:
    body = request_of(path) | ({"stream": True} if stream and path != EMBEDDINGS else {})
    async with limited(engine, state, requests_per_minute=1) as lethe:
        first = await lethe.post(path, body)
        assert first.status == 200, first.raw
        assert first.headers["x-ratelimit-limit-requests"] == "1"  # type: ignore[call-overload,index]
        assert first.headers["x-ratelimit-remaining-requests"] == "0"  # type: ignore[call-overload,index]
        asked = len(engine.seen)
        second = await lethe.post(path, body)
        assert "used up its requests a minute (1): try again in" in turned_away(second, path)
        assert second.headers["x-ratelimit-remaining-requests"] == "0"  # type: ignore[call-overload,index]
        assert len(engine.seen) == asked
        assert await lethe.metric("lethe_limited_total", limit="requests") == 1
        assert (await lethe.post(path, body, await key_with(lethe, "client"))).status == 200  # a key of its own
        assert (await lethe.post(path, body, ADMIN)).status == 200  # operators have none


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, MESSAGES])
@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_a_minute(engine: FakeVllm, state: Path, path: str, *, stream: bool) -> None:
    engine.answers(*(Say(f"word{n} ") for n in range(20)))
    body = request_of(path) | {"stream": stream}
    async with limited(engine, state, tokens_per_minute=5) as lethe:
        assert (await lethe.post(path, body)).status == 200
        assert "used up its tokens a minute (5)" in turned_away(await lethe.post(path, body), path)
        assert await lethe.metric("lethe_limited_total", limit="tokens") == 1


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
async def test_answers_at_once(engine: FakeVllm, state: Path, path: str) -> None:
    async with limited(engine, state, answers_at_once=1) as lethe:
        reached, go_on = asyncio.Event(), asyncio.Event()
        engine.scripts(Script((Say("Hello "), Reached(reached), Wait(go_on), Say("there."))))
        first = asyncio.create_task(lethe.post(path, request_of(path) | {"stream": True}), name="a client")
        await reached.wait()
        assert "as many answers under way as it may (1)" in turned_away(await lethe.post(path, request_of(path)), path)
        go_on.set()
        assert (await first).status == 200
        assert (await lethe.post(path, request_of(path))).status == 200
        assert await lethe.metric("lethe_limited_total", limit="answers") == 1


async def test_a_client_that_leaves_gives_its_place_back(engine: FakeVllm, state: Path) -> None:
    async with limited(engine, state, answers_at_once=1) as lethe:
        reached = asyncio.Event()
        engine.scripts(Script((Say("Hello "), Reached(reached), Wait(asyncio.Event()))))
        client = asyncio.create_task(lethe.chat(stream=True), name="a client")
        await reached.wait()
        client.cancel()
        await asyncio.wait([client])
        await lethe.idle()
        assert (await lethe.chat()).status == 200


async def test_what_is_wrong_with_a_request_is_still_told(engine: FakeVllm, state: Path) -> None:
    """A request that is refused counts like any other: asking wrongly is no way to ask more often."""
    async with limited(engine, state, requests_per_minute=1) as lethe:
        assert (await lethe.post(CHAT, b"{")).status == 400
        assert (await lethe.chat()).status == 429
        assert (await lethe.get("/v1/models")).status == 200
        assert (await lethe.get("/metrics")).status == 200
