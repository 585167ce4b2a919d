"""Requests to `/v1/responses` and `/v1/messages`, and what an engine says to them."""

from typing import Any

import pytest

from tests.fakes.vllm_shapes import Delta, Say
from tests.wire.answers import MESSAGES, RESPONSES
from tests.wire.harness import ANSWER, Reply

BOTH = pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
CUT = {RESPONSES: "content_filter", MESSAGES: "refusal"}
ENDED = {RESPONSES: "completed", MESSAGES: "end_turn"}
TOOL = {"name": "note", "description": "Writes a note."}
TOOLS: dict[str, list[dict[str, Any]]] = {
    RESPONSES: [{"type": "function", **TOOL, "parameters": {"type": "object"}}],
    MESSAGES: [{**TOOL, "input_schema": {"type": "object"}}],
}


def pieces(lead: str = "") -> list[Say]:
    words = [f"{word} " for word in ANSWER.split()]
    return [Say(lead)] * bool(lead) + [Say(word) for word in words] + [Say("in oil.")]


def call(written: str, size: int, name: str = "note") -> list[Delta]:
    """A tool call as vLLM streams it."""
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    parts = [written[i : i + size] for i in range(0, len(written), size)]
    return [
        Delta({"tool_calls": [head]}),
        *(Delta({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}) for part in parts),
    ]


def leaks(reply: Reply) -> bool:
    """The answer's words stand in the bytes that the client got."""
    return all(word.encode() in reply.raw for word in ("Marit", "Solvang", "Quist"))
