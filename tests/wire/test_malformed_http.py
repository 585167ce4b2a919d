"""What is hardly HTTP, or is written as no client library does: an error in OpenAI's shape, or read as what it says.

No reply quotes a byte of the request, and nothing reaches the engine but what was checked.
"""

import asyncio
import gzip
import json
import zlib

import pytest

from tests.wire.harness import ADMIN_KEY, CHAT, HARMLESS, QUESTION, Lethe, Reply, chat_body

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARK = b"Zqxj-secret"
ASKED = json.dumps(chat_body(QUESTION)).encode()
PLAIN = json.dumps(chat_body(HARMLESS)).encode()


@pytest.fixture
def armed(shared: Lethe) -> Lethe:
    """The server that the tests of this module share, its engine as if just started."""
    shared.engine.seen.clear()
    return shared


def post(body: bytes = PLAIN, *headers: bytes, line: bytes = b"POST /v1/chat/completions HTTP/1.1") -> bytes:
    """A request with a length, on a connection that ends with it."""
    lines = [line, b"Host: x", b"Connection: close", *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(*chunks: bytes, more: bytes = b"", end: bytes = b"0\r\n\r\n") -> bytes:
    """A request whose body has no length."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n".encode()
    return head + more + b"\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


async def sent(port: int, raw: bytes) -> list[Reply]:
    """All replies that a connection gets to some bytes, until the server ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    try:
        read = await reader.read()
    finally:
        writer.close()
    replies = []
    while read:
        top, _, rest = read.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in top.split(b"\r\n")[1:])
        headers = {name.decode().lower(): value.decode() for name, value in fields.items()}
        size = int(headers.get("content-length", 0))
        replies.append(Reply(int(top.split()[1]), headers, rest[:size]))
        read = rest[size:]
    return replies


MALFORMED = {
    "no request": MARK + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": b"ZQXJ /" + MARK + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown version": b"GET /" + MARK + b" HTTP/3.7\r\nHost: x\r\n\r\n",
    "no host": b"GET /" + MARK + b" HTTP/1.1\r\n\r\n",
    "no address": b"GET http://[" + MARK + b"/v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    "name of a header": b"GET / HTTP/1.1\r\n" + MARK + b" x: 1\r\n\r\n",
    "header of no text": post(PLAIN, b"X-A: " + MARK + b"\x00"),
    "folded header": post(PLAIN, b"X-A: b\r\n " + MARK),
    "bare line ends": post(MARK).replace(b"\r\n", b"\n"),
    "two lengths": post(MARK, b"Content-Length: 3"),
    "the same length twice": post(MARK, b"Content-Length: %d" % len(MARK)),
    "negative length": post(MARK).replace(b"Content-Length: ", b"Content-Length: -"),
    "length and chunks": post(MARK, b"Transfer-Encoding: chunked"),
    "encoding without chunks": post(MARK, b"Transfer-Encoding: gzip"),
    "size of a chunk": chunked(end=MARK + b"\r\n"),
}


@pytest.mark.parametrize("port", ["listen", "admin"])
@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_http_is_an_error_in_our_shape(armed: Lethe, raw: bytes, port: str) -> None:
    (reply,) = await sent(armed.server.ports[port], raw)
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/json"  # type: ignore[index]
    assert (reply.error["type"], reply.error["code"]) == ("invalid_request_error", "malformed_request")
    assert b"Zqxj" not in reply.raw
    assert not armed.engine.seen


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /" + MARK * 1000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + MARK * 1000 + b"\r\n\r\n",
    ],
    ids=["line", "header"],
)
async def test_too_long_a_head(armed: Lethe, raw: bytes) -> None:
    (reply,) = await sent(armed.server.ports["listen"], raw)
    assert (reply.status, reply.error["code"]) == (431, "headers_too_long")
    assert "8190" in reply.error["message"]
    assert b"Zqxj" not in reply.raw


@pytest.mark.parametrize("path", [CHAT, "/v1/models", "/nothing"])
async def test_expectation_that_nobody_meets(armed: Lethe, path: str) -> None:
    raw = post(PLAIN, b"Expect: " + MARK, line=f"POST {path} HTTP/1.1".encode())
    (reply,) = await sent(armed.server.ports["listen"], raw)
    assert reply.status == 417
    assert reply.error["message"] == "Expectation Failed"
    assert not armed.engine.seen


async def test_expectation_that_is_met(armed: Lethe) -> None:
    go_on, reply = await sent(armed.server.ports["listen"], post(ASKED, b"Expect: 100-continue"))
    assert (go_on.status, reply.status) == (100, 200)
    assert "never read" in armed.engine.seen[-1].text


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "x-gzip", "gzip, gzip", "Zqxj"])
@pytest.mark.parametrize("port", ["listen", "admin"])
async def test_encoding_that_is_not_undone_is_refused(armed: Lethe, encoding: str, port: str) -> None:
    path = CHAT if port == "listen" else "/admin/v1/sets"
    head = (f"Content-Encoding: {encoding}".encode(), f"Authorization: Bearer {ADMIN_KEY}".encode())
    for body in (gzip.compress(gzip.compress(PLAIN)), PLAIN):
        raw = post(body, *head, line=f"POST {path} HTTP/1.1".encode())
        (reply,) = await sent(armed.server.ports[port], raw)
        assert (reply.status, reply.error["code"]) == (415, "unsupported_encoding")
        assert "gzip or deflate" in reply.error["message"]
        assert b"Zqxj" not in reply.raw
    two = post(gzip.compress(PLAIN), b"Content-Encoding: gzip", *head, line=f"POST {path} HTTP/1.1".encode())
    (reply,) = await sent(armed.server.ports[port], two)
    assert reply.status in (400, 415)
    assert not armed.engine.seen


@pytest.mark.parametrize(
    "raw",
    [
        post(gzip.compress(ASKED), b"Content-Encoding: GZIP"),
        post(zlib.compress(ASKED), b"Content-Encoding: deflate"),
        post(zlib.compress(ASKED)[2:-4], b"Content-Encoding: deflate"),
        post(ASKED, b"Content-Encoding: identity"),
        post(ASKED, b"Content-Type: application/json; charset=utf-7"),
        post(ASKED, b"Content-Type: text/plain; charset=Zqxj"),
        post(ASKED, line=b"POST http://elsewhere.example/v1/chat/completions?stream=true#x HTTP/1.1"),
        post(ASKED, line=b"POST /v1/ch%61t/completions HTTP/1.1"),
        post(ASKED, b"Upgrade: websocket").replace(b"Connection: close", b"Connection: close, upgrade"),
        post(ASKED, b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
        chunked(ASKED[:20], ASKED[20:]),
        chunked(ASKED, end=b"0\r\nx-lethe-arm: raw\r\nauthorization: Bearer x\r\n\r\n"),
        chunked(gzip.compress(ASKED), more=b"Content-Encoding: gzip\r\n"),
    ],
    ids="gzip deflate raw identity utf-7 no-json address path websocket h2c chunks trailers chunks-of-gzip".split(),
)
async def test_what_is_read_is_checked_as_it_is_read(armed: Lethe, raw: bytes) -> None:
    (reply,) = await sent(armed.server.ports["listen"], raw)
    assert reply.status == 200
    (seen,) = armed.engine.seen
    assert "never read" in seen.text


@pytest.mark.parametrize(
    "body",
    [
        PLAIN + PLAIN,
        PLAIN + b"\n" + ASKED,
        b"\xef\xbb\xbf" + ASKED,
        ASKED.decode().encode("utf-16"),
        ASKED.decode().encode("utf-32-be"),
        ASKED + b"\x00",
        b"--b\r\nContent-Disposition: form-data; name=messages\r\n\r\nhi\r\n--b--\r\n",
        b"model=fake-135m&prompt=Zqxj",
    ],
    ids=["two documents", "lines", "mark", "utf-16", "utf-32", "nul", "multipart", "form"],
)
async def test_body_of_other_than_one_utf8_document(armed: Lethe, body: bytes) -> None:
    (reply,) = await sent(armed.server.ports["listen"], post(body))
    assert reply.status == 400
    assert "not valid JSON" in reply.error["message"]
    assert not armed.engine.seen


@pytest.mark.parametrize(
    "raw",
    [chunked(PLAIN, end=b"ff\r\n" + MARK), post(PLAIN)[:-5], chunked(gzip.compress(PLAIN)[:30], end=b"")],
    ids=["chunk", "length", "gzip"],
)
async def test_body_that_breaks_off_is_not_passed_on(armed: Lethe, raw: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", armed.server.ports["listen"])
    writer.write(raw)
    writer.close()
    await writer.wait_closed()
    await armed.idle()
    assert (await armed.chat()).status == 200  # and the server lives
    assert len(armed.engine.seen) == 1


async def test_requests_in_a_row_are_each_checked(armed: Lethe) -> None:
    """Sent at once on one connection, without waiting for an answer."""
    kept, last = (post(PLAIN).replace(b"Connection: close\r\n", b""), post(ASKED))
    wrong = post(b"{").replace(b"Connection: close\r\n", b"")
    replies = await sent(armed.server.ports["listen"], kept + wrong + kept + last)
    assert [reply.status for reply in replies] == [200, 400, 200, 200]
    assert ["never read" in seen.text for seen in armed.engine.seen] == [False, False, True]
    armed.engine.seen.clear()
    (reply,) = await sent(armed.server.ports["listen"], MARK + b"\r\n\r\n" + last)
    assert reply.error["code"] == "malformed_request"  # where the next request begins is then unknown
    assert not armed.engine.seen


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"OPTIONS * HTTP/1.1", 404),
        (b"OPTIONS /v1/chat/completions HTTP/1.1", 405),
        (b"TRACE /v1/chat/completions HTTP/1.1", 405),
        (b"CONNECT elsewhere.example:443 HTTP/1.1", 404),
        (b"CONNECT /v1/chat/completions HTTP/1.1", 404),
        (b"POST //v1/chat/completions HTTP/1.1", 404),
        (b"POST /x/../v1/chat/completions HTTP/1.1", 404),
    ],
)
async def test_other_methods_and_paths(armed: Lethe, line: bytes, status: int) -> None:
    raw = line + b"\r\nHost: x\r\nConnection: close\r\nX-HTTP-Method-Override: POST\r\n\r\n"
    reply, *_ = await sent(armed.server.ports["listen"], raw + (b"no tunnel\r\n\r\n" if b"CONN" in line else b""))
    assert reply.status == status
    assert reply.error["code"] in ("unknown_route", "wrong_method")
    assert not armed.engine.seen


@pytest.mark.parametrize(("path", "status"), [(CHAT, 405), ("/v1/models", 200), ("/nothing", 404)])
async def test_head_has_no_body(armed: Lethe, path: str, status: int) -> None:
    async with armed.http.head(armed.url + path) as response:
        assert response.status == status
        assert response.content_type == "application/json"
        assert not await response.read()
