"""What is no route is a 404, the wrong method a 405, whatever bytes they are written in."""

import json

import pytest

from guards.prompt.routes import ROUTES, Way
from tests.wire.harness import (
    ADMIN,
    ADMIN_KEY,
    CHAT,
    COMPLETIONS,
    Lethe,
    by_socket,
)
from tests.wire.wrong import BODIES

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def armed(shared: Lethe) -> Lethe:
    """The server that the tests of this module share, its engine as if just started."""
    shared.engine.seen.clear()
    return shared


CLOSED = [path.format(response_id="resp_1", rank=0) for path, (way, _) in ROUTES.items() if way is Way.CLOSED]
UNKNOWN = ["/", "/v1", "/v1/chat", "/v1/chat/completions/", "/admin/v1/sets", "/v1/chat%2fcompletions", "/\u00e9"]


@pytest.mark.parametrize("path", [*CLOSED, *UNKNOWN])
async def test_what_is_not_known_is_a_404(armed: Lethe, path: str) -> None:
    for reply in (await armed.post(path, BODIES[CHAT], ADMIN), await armed.get(path, ADMIN)):
        assert reply.status == 404
        assert reply.error["code"] == "unknown_route"
    assert not armed.engine.seen


async def test_wrong_method_names_the_right_one(armed: Lethe) -> None:
    for path, allowed in ((CHAT, "POST"), (COMPLETIONS, "POST")):
        reply = await armed.get(path)
        assert (reply.status, reply.error["code"]) == (405, "wrong_method")
        assert reply.headers["Allow"] == allowed
        assert allowed in reply.error["message"]
    assert (await armed.post("/v1/models", {})).status == 405
    assert (await armed.admin("PUT", "/sets")).error["code"] == "wrong_method"
    assert (await armed.admin("GET", "/nothing")).error["code"] == "unknown_route"


async def test_unknown_model_card_is_a_404(armed: Lethe) -> None:
    for name in ("nothing", "a/b", "%ff", "%00", "\u00e9", ":raw"):
        reply = await armed.get(f"/v1/models/{name}")
        assert reply.status == 404
        assert reply.error["message"]


async def test_names_of_bytes_that_are_no_text(armed: Lethe) -> None:
    for line in (b"GET /v1/models/\xff", b"GET /v1/models/%ff%fe", b"GET /%ff"):
        reply = await by_socket(armed.server.ports["listen"], line + b" HTTP/1.1\r\n")
        assert reply.status in (400, 404)
    for path in (b"/sets/%ff", b"/sets/art/entries/%ff", b"/sets/art/entries?after=%ff", b"/audit?after=%ff"):
        head = b"GET /admin/v1" + path + b" HTTP/1.1\r\nAuthorization: Bearer " + ADMIN_KEY.encode() + b"\r\n"
        reply = await by_socket(armed.server.ports["admin"], head)
        assert reply.status in (200, 400, 404), (path, reply.raw)


async def test_trace_header_that_is_no_text_costs_nothing(armed: Lethe) -> None:
    body = json.dumps(BODIES[CHAT]).encode()
    head = f"POST {CHAT} HTTP/1.1\r\n".encode() + b"traceparent: \xff\xfe\r\nx-lethe-findings: \xff\r\n"
    assert (await by_socket(armed.server.ports["listen"], head, body)).status == 200
