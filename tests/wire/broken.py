"""Streams as they stand on the wire, for tests of what breaks in mid-stream."""

import asyncio
import json

from tests.fakes.vllm_shapes import MODEL
from tests.wire.harness import CHAT, Lethe, chat_body


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
