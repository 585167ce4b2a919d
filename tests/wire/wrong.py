"""Requests to make wrong, and the reply to one that is."""

from typing import Any

from tests.fakes.vllm_shapes import MODEL
from tests.wire.harness import CHAT, COMPLETIONS, HARMLESS, Reply, chat_body

BODIES: dict[str, dict[str, Any]] = {CHAT: chat_body(HARMLESS), COMPLETIONS: {"model": MODEL, "prompt": HARMLESS}}


def refused(reply: Reply, param: str | None = None, status: int = 400) -> dict[str, Any]:
    """The error of a reply that must be the client's fault."""
    assert reply.status == status, reply.raw
    if param is not None:
        assert reply.error["param"] == param, reply.raw
        assert param.split("[")[0].split(".")[-1] in reply.error["message"]
    return reply.error
