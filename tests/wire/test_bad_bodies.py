"""A body that cannot be read is said so, in OpenAI's shape, and never costs a 500."""

import gzip
import json
from pathlib import Path

import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL
from tests.wire.harness import (
    ADMIN_KEY,
    CHAT,
    COMPLETIONS,
    HARMLESS,
    QUESTION,
    Lethe,
    by_socket,
    chat_body,
    started,
)
from tests.wire.wrong import BODIES, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])


@pytest.fixture
def armed(shared: Lethe) -> Lethe:
    """The server that the tests of this module share, its engine as if just started."""
    shared.engine.seen.clear()
    return shared


@BOTH
@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"model": "x",}', "not valid JSON"),
        (b"{'model': 1}", "line 1"),
        (b'{"temperature": NaN}', "not valid JSON"),
        (b'{"temperature": Infinity}', "not valid JSON"),
        (b'{"temperature": 1e999}', "not valid JSON"),
        (b'{"user": "\\ud800"}', "not valid JSON"),
        (b'{"user": "\xff"}', "not valid JSON"),
        (b'{"user": "\x00"}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"7", "must be a JSON object"),
        (b"\x1f\x8b\x08\x00", "not valid JSON"),
    ],
)
async def test_body_that_is_no_json_object(armed: Lethe, path: str, raw: bytes, says: str) -> None:
    assert says in refused(await armed.post(path, raw))["message"]
    assert not armed.engine.seen


async def test_last_of_two_equal_keys_is_the_one_that_is_checked_and_sent(armed: Lethe) -> None:
    harmless, forgotten = (json.dumps(chat_body(text)["messages"]) for text in (HARMLESS, QUESTION))
    for first, last, guarded in ((harmless, forgotten, True), (forgotten, harmless, False)):
        await armed.post(CHAT, f'{{"model":"{MODEL}","messages":{first},"messages":{last}}}'.encode())
        assert ("never read" in armed.engine.seen[-1].text) is guarded
        assert armed.engine.seen[-1].raw.count(b'"messages"') == 1


@BOTH
async def test_body_that_is_too_large(state: Path, path: str) -> None:
    async with FakeVllm.running() as engine, started(engine, state, {"limits": {"max_body_mib": 1}}) as lethe:
        body = json.dumps(BODIES[path] | {"user": "u" * 1024**2}).encode()
        error = refused(await lethe.post(path, body), status=413)
        assert error["code"] == "request_too_large"
        assert "limits.max_body_mib" in error["message"]
        bomb = gzip.compress(b" " * (3 * 1024**2))
        reply = await lethe.post(path, bomb, {"Content-Encoding": "gzip"})
        assert reply.status == 413
        assert reply.error["code"] == "request_too_large"
        small = gzip.compress(json.dumps(BODIES[path]).encode())
        assert (await lethe.post(path, small, {"Content-Encoding": "gzip"})).status == 200


async def test_body_that_is_not_what_its_headers_say(armed: Lethe) -> None:
    for port, path in (("listen", CHAT), ("admin", "/admin/v1/sets")):
        head = f"POST {path} HTTP/1.1\r\nContent-Encoding: gzip\r\nAuthorization: Bearer {ADMIN_KEY}\r\n".encode()
        reply = await by_socket(armed.server.ports[port], head, b"no gzip at all")
        assert reply.status == 400
        assert reply.error["message"]


@BOTH
@pytest.mark.parametrize("depth", [260, 1000])
@pytest.mark.parametrize("field", ["user", "response_format", "tools", "metadata", "stop"])
async def test_deep_nesting(armed: Lethe, path: str, field: str, depth: int) -> None:
    value = b"[" * depth + b"]" * depth
    body = json.dumps(BODIES[path]).encode()[:-1] + b',"' + field.encode() + b'":' + value + b"}"
    reply = await armed.post(path, body)
    assert reply.status in (200, 400), reply.raw
    if reply.status == 400:
        refused(reply)


async def test_deep_nesting_for_admins(armed: Lethe) -> None:
    deep = b"[" * 600 + b"]" * 600
    for path in ("/sets/art/entries", "/sets", "/check", "/compare", "/keys"):
        for body in (deep, b'{"a":' + deep + b"}", b'{"request":{"model":"fake-135m","messages":' + deep + b"}}"):
            reply = await armed.admin("POST", path, body, {"Idempotency-Key": "k"})
            assert reply.status == 400, reply.raw
            assert reply.error["message"]
    asked = json.dumps({"request": chat_body(HARMLESS)}).encode()[:-2] + b',"stop":' + deep + b"}}"
    assert (await armed.admin("POST", "/compare", asked)).status == 400
