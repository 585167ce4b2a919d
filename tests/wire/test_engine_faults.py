"""An engine that is down, silent or odd before it answers: the client is told, and nothing looks like an answer."""

import asyncio
import socket
from pathlib import Path

import pytest
from aiohttp import web

from tests.fakes.loopback import served
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Raw, Stall
from tests.wire.broken import raw_stream
from tests.wire.harness import (
    CHAT,
    HARMLESS,
    QUESTION,
    Lethe,
    started,
)

BOTH_QUESTIONS = pytest.mark.parametrize("question", [HARMLESS, QUESTION])
STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True])


@BOTH_QUESTIONS
@STREAMED_AND_NOT
async def test_engine_that_is_down_is_a_502(armed: Lethe, question: str, stream: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        armed.server.upstream._base = f"http://127.0.0.1:{unused.getsockname()[1]}"
        reply = await armed.chat(question, stream=stream)
    assert reply.status == 502
    assert reply.error["code"] == "upstream_failed"
    assert reply.headers["Retry-After"] == "2"
    assert await armed.metric("lethe_upstream_errors_total", kind="connect") >= 1
    assert await armed.metric("lethe_requests_total", outcome="failed") == 1


async def test_engine_that_was_never_up_is_named(engine: FakeVllm, state: Path) -> None:
    engine.healthy = False
    async with started(engine, state) as lethe:
        reply = await lethe.chat()
        assert reply.status == 502
        assert "no model is served" in reply.error["message"]
        ready = await lethe.get("/readyz")
        assert (ready.status, ready.body["status"]) == (503, "not ready")
        assert (await lethe.get("/livez")).status == 200
        engine.healthy = True
        async with asyncio.timeout(5):
            while (await lethe.get("/readyz")).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert (await lethe.chat()).status == 200


async def test_upstream_may_be_named_as_clients_name_it(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, {"upstream": {"url": f"{engine.url}/v1/"}}) as lethe:
        assert (await lethe.get("/readyz")).status == 200
        assert (await lethe.chat()).status == 200


@pytest.mark.parametrize(
    ("path", "status", "body", "says"),
    [
        ("/v1/models", 401, b'{"error":"Unauthorized"}', "set upstream.api_key to its --api-key"),
        ("/v1/models", 200, b"<html>", "is upstream.url a vLLM server?"),
        ("/v1/models", 200, b'{"models": []}', "is upstream.url a vLLM server?"),
        ("/v1/models", 200, b'{"data": [7]}', "is upstream.url a vLLM server?"),
        ("/health", 404, b"not here", "is upstream.url a vLLM server?"),
        ("/health", 500, b"", "its /health has status 500"),
    ],
)
async def test_upstream_that_cannot_be_used_names_the_setting(
    state: Path, path: str, status: int, body: bytes, says: str
) -> None:
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, body=body) if request.path == path else web.Response()

    app.router.add_get("/{path:.*}", answer)
    async with served(app) as url:
        other = FakeVllm()
        other.url, other.healthy = url, False
        async with started(other, state) as lethe:
            await lethe.server.upstream.look()
            reason = (await lethe.get("/readyz")).body["reason"]
            assert reason.startswith("the engine does not answer (")
            assert says in reason


async def test_engine_that_does_not_take_the_connection_is_a_504(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, {"upstream": {"connect_timeout_s": 0.1}}) as lethe:
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            waiting = [socket.socket() for _ in range(3)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(deaf.getsockname())
            lethe.server.upstream._base = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            reply = await lethe.chat()
            for one in waiting:
                one.close()
    assert reply.status == 504
    assert reply.error["code"] == "upstream_timeout"


@BOTH_QUESTIONS
@STREAMED_AND_NOT
async def test_silence_beyond_the_limit_is_a_504(engine: FakeVllm, state: Path, question: str, stream: bool) -> None:
    async with started(engine, state, {"upstream": {"idle_timeout_s": 0.2}}) as lethe:
        await lethe.make_set()
        await lethe.forget()
        engine.answers(Stall())
        reply = await lethe.chat(question, stream=stream)
        assert reply.status == 504
        assert reply.error["code"] == "upstream_timeout"
        await engine.seen[0].ended.wait()
        assert engine.seen[0].cancelled


@pytest.mark.parametrize("status", [500, 502, 503, 401, 403, 404, 405, 307])
async def test_failure_of_the_engine_says_nothing_of_its_inside(armed: Lethe, status: int) -> None:
    armed.engine.answers(status=status, body=b"Traceback: /opt/secret/path", headers={"Location": CHAT})
    for question in (HARMLESS, QUESTION):
        reply = await armed.chat(question)
        assert reply.status == 502
        assert b"secret" not in reply.raw
        assert reply.error["type"] == "upstream_error"
    assert len(armed.engine.seen) == 2


async def test_engine_that_is_busy_is_passed_on(armed: Lethe) -> None:
    body = b'{"error":{"message":"too many requests","type":"rate","param":null,"code":429}}'
    armed.engine.answers(status=429, body=body, headers={"Retry-After": "7"})
    for question in (HARMLESS, QUESTION):
        reply = await armed.chat(question, stream=True)
        assert (reply.status, reply.error["message"]) == (429, "too many requests")
        assert reply.headers["Retry-After"] == "7"


@pytest.mark.parametrize("body", [b"", b"<html>", b'"text"', b"[]", b'{"error": 7}', b'{"message": 1}', b"\xff"])
async def test_error_of_unknown_shape_is_still_an_error(armed: Lethe, body: bytes) -> None:
    armed.engine.answers(status=400, body=body)
    reply = await armed.chat()
    assert reply.status == 400
    assert reply.error["message"]


@BOTH_QUESTIONS
@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"<html>welcome</html>",
        b"[]",
        b"null",
        b'{"choices": 7}',
        b'{"object": "chat.completion"}',
        b"\xff\xfe",
    ],
)
async def test_garbage_called_a_success_is_a_502(armed: Lethe, garbage: bytes, question: str) -> None:
    armed.engine.answers(Raw(garbage))
    reply = await armed.chat(question)
    assert reply.status == 502
    assert reply.error["code"] == "upstream_failed"


@pytest.mark.parametrize(
    "choices",
    [
        b"[7]",
        b"[{}]",
        b'[{"index":"a","message":{"content":"Marit Solvang-Quist painted it"},"finish_reason":"stop"}]',
        b'[{"index":3,"message":{"content":"Marit Solvang-Quist painted it"},"finish_reason":"stop"}]',
        b'[{"index":[],"message":{"content":"Marit Solvang-Quist painted it"},"finish_reason":"stop"}]',
        b'[{"index":0,"message":{"content":"Marit Solvang-Quist painted it"},"finish_reason":null}]',
        b'[{"index":0,"message":"Marit Solvang-Quist painted it","finish_reason":"stop"}]',
        b'[{"index":0,"message":{"content":{"a":["Marit Solvang-Quist painted it"]}},"finish_reason":"stop"}]',
    ],
)
async def test_answer_of_odd_shape_is_never_shown_when_armed(armed: Lethe, choices: bytes) -> None:
    armed.engine.answers(Raw(b'{"id":"x","choices":' + choices + b"}"))
    reply = await armed.chat(QUESTION)
    assert b"Marit" not in reply.raw
    assert reply.status in (200, 502)
    armed.engine.answers(Raw(b'data: {"id":"x","choices":' + choices.replace(b"message", b"delta") + b"}\n\n"))
    assert b"Marit" not in await raw_stream(armed, QUESTION)
