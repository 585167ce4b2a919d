"""Whatever breaks, a client is told so, and nothing broken looks like a finished answer."""

import asyncio
import errno
import json
import socket
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web

from indexes.ledger.records import LedgerError
from tests.fakes.loopback import served
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL, Close, Fail, Raw, Say, Script, Stall
from tests.wire.harness import (
    CHAT,
    COMPLETIONS,
    HARMLESS,
    QUESTION,
    Gate,
    Lethe,
    TestEmbedder,
    chat_body,
    payloads,
    started,
)

BOTH_QUESTIONS = pytest.mark.parametrize("question", [HARMLESS, QUESTION])
STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True])


async def raw_stream(lethe: Lethe, question: str, path: str = CHAT) -> bytes:
    """Everything a client's socket gets for a stream, chunk framing included."""
    reader, writer = await asyncio.open_connection("127.0.0.1", lethe.server.ports["listen"])
    message = chat_body(question) if path == CHAT else {"model": MODEL, "prompt": question}
    body = json.dumps({**message, "stream": True}).encode()
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


def broken_in_mid_stream(raw: bytes, code: str) -> None:
    """The stream began, an error was said, and there was no end: neither [DONE] nor the last chunk."""
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert b"[DONE]" not in raw
    assert not raw.endswith(b"0\r\n\r\n")
    error = raw[raw.rindex(b"data: {") + 6 : raw.rindex(b"\n\n")]
    assert json.loads(error)["error"]["code"] == code


# -- before anything was sent


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


# -- in the middle of an answer


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@BOTH_QUESTIONS
@pytest.mark.parametrize(
    "end",
    [
        (Close(),),
        (Raw(b'data: {"id":"chatcmpl-1","cho'), Close()),
        (Raw(b"data: [DO"), Close()),
    ],
    ids=["between events", "within an event", "within the end"],
)
async def test_stream_that_breaks_has_no_clean_end(armed: Lethe, path: str, question: str, end: Any) -> None:
    armed.engine.answers(Say("It is "), Say("said "), Say("that "), *end)
    raw = await raw_stream(armed, question, path)
    assert b"said" in raw
    broken_in_mid_stream(raw, "upstream_failed")
    assert await armed.metric("lethe_requests_total", outcome="broken") == 1
    await armed.idle()


@BOTH_QUESTIONS
async def test_stream_that_ends_without_its_end_is_broken(armed: Lethe, question: str) -> None:
    """The engine closes the chunked body properly, but never said [DONE]."""
    done = b"data: [DONE]\n\n"
    armed.engine.answers(Say("It is "), Say("said "), Raw(b"\n"))
    fake_stream = type(armed.engine)._send

    async def without_done(self: FakeVllm, response: Any, data: bytes, cuts: tuple[int, ...]) -> None:
        if data != done:
            await fake_stream(self, response, data, cuts)

    type(armed.engine)._send = without_done  # type: ignore[method-assign]
    try:
        raw = await raw_stream(armed, question)
    finally:
        type(armed.engine)._send = fake_stream  # type: ignore[method-assign]
    broken_in_mid_stream(raw, "upstream_failed")


@BOTH_QUESTIONS
async def test_stream_that_falls_silent_has_no_clean_end(engine: FakeVllm, state: Path, question: str) -> None:
    async with started(engine, state, {"upstream": {"idle_timeout_s": 0.2}}) as lethe:
        await lethe.make_set()
        await lethe.forget()
        engine.answers(Say("It is "), Say("said "), Stall())
        broken_in_mid_stream(await raw_stream(lethe, question), "upstream_timeout")
        await engine.seen[0].ended.wait()
        assert engine.seen[0].cancelled


async def test_error_that_the_engine_reports_in_mid_stream(armed: Lethe) -> None:
    """Unguarded: the engine's own bytes. Guarded: an error of ours, for the engine's words are not checked."""
    armed.engine.answers(Say("It is "), Say("said "), Fail("CUDA out of memory"))
    raw = await raw_stream(armed, HARMLESS)
    assert b"CUDA out of memory" in raw
    raw = await raw_stream(armed, QUESTION)
    assert b"CUDA" not in raw
    broken_in_mid_stream(raw, "upstream_failed")


@pytest.mark.parametrize(
    "garbage", [b"data: {nonsense\n\n", b"data: 7\n\n", b"data: {}\n\n", b'data: {"choices":7}\n\n']
)
async def test_garbage_in_a_guarded_stream_ends_it(armed: Lethe, garbage: bytes) -> None:
    armed.engine.answers(Say("It is "), Say("said "), Raw(b"data: " + garbage + b"\n\n"), Say("that"))
    raw = await raw_stream(armed, QUESTION)
    assert b"nonsense" not in raw
    broken_in_mid_stream(raw, "upstream_failed")


async def test_stream_of_events_that_are_none_is_a_502(armed: Lethe) -> None:
    armed.engine.answers(Raw(b"<html>" * 100), Close())
    for question in (HARMLESS, QUESTION):
        reply = await armed.chat(question, stream=True)
        assert reply.status == 502


async def test_guarded_stream_that_ends_before_its_choices_is_broken(armed: Lethe) -> None:
    armed.engine.answers(Say("It is "), Say("Marit "), Raw(b"data: [DONE]\n\n"))
    raw = await raw_stream(armed, QUESTION)
    assert b"Marit" not in raw
    broken_in_mid_stream(raw, "upstream_failed")


async def test_broken_whole_answer_is_a_502(armed: Lethe) -> None:
    armed.engine.answers(Say("never seen"), Close())
    for question in (HARMLESS, QUESTION):
        reply = await armed.chat(question)
        assert reply.status == 502
        assert reply.error["code"] == "upstream_failed"


async def test_official_client_raises_on_a_broken_stream(armed: Lethe) -> None:
    armed.engine.answers(Say("It is "), Say("said "), Close())
    async with openai.AsyncOpenAI(base_url=f"{armed.url}/v1", api_key="none", max_retries=0) as client:
        for question in (HARMLESS, QUESTION):
            stream = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": question}], stream=True
            )
            with pytest.raises(openai.APIError, match="broke off"):
                async for _ in stream:
                    pass


async def test_unforeseen_failure_in_mid_stream_has_no_clean_end(
    armed: Lethe, monkeypatch: pytest.MonkeyPatch, log: list[dict[str, Any]]
) -> None:
    from proxy.guarded import GuardedStream

    feed = GuardedStream.feed

    def failing(self: GuardedStream, event: bytes, usage: Any = None) -> bytes:
        if b"boom" in event:
            raise ZeroDivisionError(event)
        return feed(self, event, usage)

    monkeypatch.setattr(GuardedStream, "feed", failing)
    armed.engine.answers(Say("It is "), Say("said "), Say("boom "), Say("more."))
    raw = await raw_stream(armed, QUESTION)
    assert b"said" in raw
    assert b"boom" not in raw
    assert b"[DONE]" not in raw
    assert not raw.endswith(b"0\r\n\r\n")
    assert b"internal_error" not in raw.split(b"\r\n\r\n", 1)[0]
    assert raw.count(b"HTTP/1.1") == 1
    (line,) = [line for line in log if line["event"] == "unexpected"]
    assert line["fault"] == "ZeroDivisionError"
    assert "boom" not in str(line)


# -- the guards


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
