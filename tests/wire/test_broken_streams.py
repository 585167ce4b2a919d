"""An answer that breaks off in the middle has no clean end."""

from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL, Close, Fail, Raw, Say, Stall
from tests.wire.broken import broken_in_mid_stream, raw_stream
from tests.wire.harness import (
    CHAT,
    COMPLETIONS,
    HARMLESS,
    QUESTION,
    Lethe,
    started,
)

BOTH_QUESTIONS = pytest.mark.parametrize("question", [HARMLESS, QUESTION])


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
    "garbage",
    [
        b"{nonsense",
        b"7",
        b"{}",
        b'{"choices":7}',
        b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":["nonsense"]}}]}}]}',
        b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":"nonsense"}]}}]}',
        b'{"choices":[{"index":0,"delta":{"function_call":{"name":["nonsense"]}}}]}',
    ],
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
