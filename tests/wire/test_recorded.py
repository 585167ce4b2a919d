"""Streams with tool calls as a real vLLM 0.32 sent them when it was told to parse and to force them (hermes).

They pass the filters whole, and the scripted engine's have their shape.
"""

from pathlib import Path
from typing import Any

import pytest

from proxy.dialects.base import Call, Dialect
from proxy.dialects.chat import Chat
from proxy.dialects.messages import Messages
from proxy.dialects.responses import Responses
from proxy.dialects.sse import events_of
from proxy.guarded import GuardedStream
from tests.fakes.vllm_compared import _stream_shape as shape_of_stream
from tests.fakes.vllm_shapes import MODEL, Delta, Script, stream_bytes
from tests.fakes.vllm_typed_shapes import MessagesShape, ResponsesShape
from tests.fuzz.streams import generations
from tests.wire.answers import said
from tests.wire.harness import Reply

RECORDED = Path(__file__).parents[1] / "fakes" / "recorded"
DIALECTS: dict[str, Dialect] = {"chat": Chat(), "responses": Responses(), "messages": Messages()}
NAMES = pytest.mark.parametrize("name", DIALECTS)


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.txt").read_bytes()


@NAMES
def test_it_passes_the_filters_whole(name: str) -> None:
    raw = recorded(name)
    guard = GuardedStream(DIALECTS[name], Call({}, MODEL, True, 1, True, (), "q"), generations().first)
    out = b"".join(guard.feed(event) for event in events_of(raw))
    assert guard.done
    before, after = Reply(200, {}, raw), Reply(200, {}, out)
    if name == "chat":
        assert after.arguments == before.arguments == '"nhap"'
        assert after.finish() == before.finish()
    else:
        path = f"/v1/{name}"
        assert said(after, path) == said(before, path)
        assert said(after, path).arguments == '"nhap"'


def scripted(name: str) -> bytes:
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "note", "arguments": ""}}
    rest = [Delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in ('"a', 'b"')]
    script = Script((Delta({"tool_calls": [head]}), *rest), finish="length")
    if name == "chat":
        return stream_bytes(script, {"messages": []})
    tool = {"name": "note", "parameters": {"type": "object"}, "type": "function"}
    body: dict[str, Any] = {"model": MODEL, "tools": [tool], "tool_choice": {"name": "note", "type": "function"}}
    shape: Any = ResponsesShape(body | {"input": "q"})
    if name == "messages":
        shape = MessagesShape(body | {"messages": [{"content": "q"}]})
    return b"".join(shape.stream(script))


@pytest.mark.parametrize("name", ["responses", "messages"])
def test_the_scripted_engine_sends_the_same_events(name: str) -> None:
    real, ours = shape_of_stream(recorded(name)), shape_of_stream(scripted(name))
    assert ours["order"] == real["order"]
    assert ours["numbered"] == real["numbered"]
    different = [kind for kind in real["shapes"] if ours["shapes"][kind] != real["shapes"][kind]]
    # These repeat the request, whose tools the engine fills in.
    assert set(different) <= {"response.created", "response.in_progress", "response.completed"}
