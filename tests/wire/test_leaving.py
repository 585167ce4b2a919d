"""A client that leaves stops the generation, whenever it leaves, and nothing of its request stays behind."""

import asyncio
import json

import pytest

from tests.fakes.vllm_shapes import Say, Stall
from tests.wire.harness import CHAT, COMPLETIONS, HARMLESS, QUESTION, Gate, Lethe, chat_body

STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True])


async def sent_request(lethe: Lethe, question: str, **fields: object) -> asyncio.StreamWriter:
    """A request whose connection the test holds in its hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", lethe.server.ports["listen"])
    body = json.dumps(chat_body(question, **fields)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    lethe.reader = reader  # type: ignore[attr-defined]
    return writer


async def left(writer: asyncio.StreamWriter, *, rudely: bool) -> None:
    """Closes a connection, with or without goodbye."""
    if rudely:
        writer.transport.abort()
    else:
        writer.close()
    await asyncio.sleep(0)


@STREAMED_AND_NOT
@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("question", [HARMLESS, QUESTION])
async def test_leaving_before_the_first_token_stops_the_engine(
    armed: Lethe, question: str, stream: bool, rudely: bool
) -> None:
    armed.engine.answers(Stall())
    writer = await sent_request(armed, question, stream=stream)
    await asyncio.wait_for(armed.engine.arrived.wait(), 5)
    await left(writer, rudely=rudely)
    await asyncio.wait_for(armed.engine.seen[0].ended.wait(), 5)
    assert armed.engine.seen[0].cancelled
    await armed.idle()
    assert await armed.metric("lethe_requests_total", outcome="left") == 1


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("question", [HARMLESS, QUESTION])
async def test_leaving_in_mid_stream_stops_the_engine(armed: Lethe, question: str, rudely: bool) -> None:
    armed.engine.answers(Say("I think "), Say("that "), Stall())
    writer = await sent_request(armed, question, stream=True)
    await asyncio.wait_for(armed.reader.readuntil(b"that"), 5)  # type: ignore[attr-defined]
    await left(writer, rudely=rudely)
    await asyncio.wait_for(armed.engine.seen[0].ended.wait(), 5)
    assert armed.engine.seen[0].cancelled
    await armed.idle()
    assert await armed.metric("lethe_requests_total", outcome="left") == 1
    assert await armed.metric("lethe_upstream_errors_total") == 0


async def test_leaving_while_the_engine_sends_fast_is_no_failure_of_the_engine(armed: Lethe, log: list[object]) -> None:
    armed.engine.answers(*[Say("word " * 2000)] * 300)
    for question in (HARMLESS, QUESTION):
        writer = await sent_request(armed, question, stream=True)
        await asyncio.wait_for(armed.reader.readuntil(b"word"), 5)  # type: ignore[attr-defined]
        await left(writer, rudely=True)
        await armed.idle()
    assert await armed.metric("lethe_upstream_errors_total") == 0
    assert await armed.metric("lethe_requests_total", outcome="left") == 2
    assert not [line for line in log if line["event"] == "unexpected"]  # type: ignore[index]


async def test_leaving_during_embedding_sends_nothing_to_the_engine(armed: Lethe) -> None:
    armed.embedder.gate = gate = Gate()
    writer = await sent_request(armed, "a question that was not seen before", stream=True)
    while not gate.entered.is_set():  # noqa: ASYNC110 - set by a thread
        await asyncio.sleep(0.005)
    await left(writer, rudely=False)
    await armed.idle()
    gate.open()
    armed.embedder.gate = None
    assert (await armed.chat("another one", stream=False)).status == 200
    assert len(armed.engine.seen) == 1
    assert await armed.metric("lethe_requests_total", outcome="left") == 1


async def test_leaving_while_the_note_is_counted_leaves_nothing(armed: Lethe) -> None:
    armed.engine.tokenizing = asyncio.Event()
    writer = await sent_request(armed, QUESTION)
    while not armed.engine.counted:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await left(writer, rudely=True)
    await armed.idle()


async def test_leaving_with_half_a_request_sent_costs_nothing(armed: Lethe) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", armed.server.ports["listen"])
    writer.write(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{{".encode())
    await writer.drain()
    await left(writer, rudely=True)
    assert (await armed.chat()).status == 200
    assert len(armed.engine.seen) == 1


async def test_admin_who_leaves_has_still_added(lethe: Lethe) -> None:
    """A change that was begun is finished: it is in the ledger, so it must be in force."""
    lethe.embedder.gate = gate = Gate()
    _, writer = await asyncio.open_connection("127.0.0.1", lethe.server.ports["admin"])
    body = json.dumps({"question": QUESTION}).encode()
    head = (
        "POST /admin/v1/sets/art/entries HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin-secret-0123456789\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    while not gate.entered.is_set():  # noqa: ASYNC110 - set by a thread
        await asyncio.sleep(0.005)
    await left(writer, rudely=True)
    await asyncio.sleep(0.02)
    gate.open()
    lethe.embedder.gate = None
    stored = (await lethe.admin("GET", "/sets/art/entries")).body["data"]
    in_force = (await lethe.admin("GET", "/generations")).body["entries"]
    assert in_force == len(stored)
