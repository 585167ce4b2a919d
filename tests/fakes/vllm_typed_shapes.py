"""The events and bodies of vLLM 0.32 for `/v1/responses` and `/v1/messages`, from the same scripts as those of chat.

`tests/wire/test_fake_is_true.py` compares them with a real engine; what the small model cannot do (reasoning, tools) is
written as vLLM's own converters write it.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.fakes.vllm_shapes import (
    Delta,
    Extra,
    Fail,
    Raw,
    Say,
    Script,
    as_json,
    tokens_of,
)


def spans_of(script: Script) -> Iterator[tuple[str, Any]]:
    """The steps of a script in order, as (kind, what): text, reasoning, tool calls, and everything else as it is."""
    for step in script.steps:
        match step:
            case Say(text):
                yield "text", text
            case Delta(fields):
                for name, value in fields.items():
                    yield ("reasoning" if name.startswith("reasoning") else name), value
            case Extra(text=text):
                yield "text", text
            case _:
                yield "step", step


class TypedShape:
    """What both have in common."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.model = body["model"]
        self.prompt_tokens = prompt_tokens_of(body)
        self.said = 0

    @staticmethod
    def event(payload: dict[str, Any]) -> bytes:
        return b"event: " + payload["type"].encode() + b"\ndata: " + as_json(payload) + b"\n\n"


class ResponsesShape(TypedShape):
    """`/v1/responses`."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body)
        self._number = 0
        self._items: list[dict[str, Any]] = []
        self._kind = ""
        self._text = ""
        self._item: dict[str, Any] = {}

    def stream(self, script: Script) -> Iterator[Any]:
        """What is sent for a script, in pieces, and what comes between."""
        for kind in ("response.created", "response.in_progress"):
            yield self._event({"response": self._response("in_progress", [], None), "type": kind})
        for kind, what in spans_of(script):
            if kind == "step":
                match what:
                    case Fail(message):
                        yield as_json({"error": {"message": message, "type": "x", "param": None, "code": 500}})
                        return
                    case Raw(data):
                        yield data
                    case _:
                        yield what
                continue
            yield from self._piece(kind, what)
        yield from self._close()
        incomplete = script.finish == "length"
        response = self._response("incomplete" if incomplete else "completed", self._items, self.said)
        yield self._event({"response": response, "type": "response.completed"})

    def whole(self, script: Script) -> dict[str, Any]:
        """The same as one answer."""
        for kind, what in spans_of(script):
            if kind != "step":
                list(self._piece(kind, what))
        list(self._close())
        if not self._items:
            self._kind = "text"
            list(self._open({}))
            list(self._close())
        status = "incomplete" if script.finish == "length" else "completed"
        return self._response(status, self._items, self.said)

    def _event(self, payload: dict[str, Any]) -> bytes:
        place = list(payload).index("text" if payload["type"].endswith("_text.done") else "type")
        items = list(payload.items())
        numbered = dict([*items[:place], ("sequence_number", self._number), *items[place:]])
        self._number += 1
        return self.event(numbered)

    def _piece(self, kind: str, what: Any) -> Iterator[bytes]:
        calls = what if kind == "tool_calls" else [None]
        for call in calls:
            opens = kind != self._kind or (call and call.get("id") and call["id"] != self._item.get("call_id"))
            if opens:
                yield from self._close()
                self._kind = kind
                yield from self._open(call or {})
            text = call["function"].get("arguments", "") if call else str(what)
            self._text += text
            self.said += 1
            at = {"item_id": self._item["id"], "output_index": len(self._items)}
            if kind == "tool_calls":
                if text:
                    yield self._event(
                        {
                            "delta": text,
                            "item_id": at["item_id"],
                            "output_index": at["output_index"],
                            "type": "response.function_call_arguments.delta",
                        }
                    )
            elif kind == "reasoning":
                yield self._event({"content_index": 0, "delta": text, **at, "type": "response.reasoning_text.delta"})
            else:
                yield self._event(
                    {
                        "content_index": 0,
                        "delta": text,
                        "item_id": at["item_id"],
                        "logprobs": [],
                        "output_index": at["output_index"],
                        "type": "response.output_text.delta",
                    }
                )

    def _open(self, call: dict[str, Any]) -> Iterator[bytes]:
        index = len(self._items)
        self._text = ""
        if self._kind == "tool_calls":
            self._item = {
                "arguments": "",
                "call_id": call.get("id", "call_1"),
                "name": call.get("function", {}).get("name", "note"),
                "type": "function_call",
                "id": f"fc_{index}",
                "async": None,
                "caller": None,
                "namespace": None,
                "status": "in_progress",
            }
        elif self._kind == "reasoning":
            self._item = {
                "id": f"rs_{index}",
                "summary": [],
                "type": "reasoning",
                "content": None,
                "encrypted_content": None,
                "status": "in_progress",
            }
        else:
            self._item = {
                "id": f"msg_{index}",
                "content": [],
                "role": "assistant",
                "status": "in_progress",
                "type": "message",
                "phase": None,
            }
        yield self._event({"item": dict(self._item), "output_index": index, "type": "response.output_item.added"})
        if self._kind != "tool_calls":
            part = (
                {"text": "", "type": "reasoning_text"}
                if self._kind == "reasoning"
                else {"annotations": [], "text": "", "type": "output_text", "logprobs": []}
            )
            yield self._event(
                {
                    "content_index": 0,
                    "item_id": self._item["id"],
                    "output_index": index,
                    "part": part,
                    "type": "response.content_part.added",
                }
            )

    def _close(self) -> Iterator[bytes]:
        if not self._kind:
            return
        index, text = len(self._items), self._text
        at = {"item_id": self._item["id"], "output_index": index}
        if self._kind == "tool_calls":
            yield self._event(
                {
                    "arguments": text,
                    "item_id": at["item_id"],
                    "output_index": index,
                    "type": "response.function_call_arguments.done",
                    "name": self._item["name"],
                }
            )
            item = {**self._item, "arguments": text, "status": "completed"}
        else:
            reasoning = self._kind == "reasoning"
            part = (
                {"text": text, "type": "reasoning_text"}
                if reasoning
                else {"annotations": [], "text": text, "type": "output_text", "logprobs": None}
            )
            if reasoning:
                yield self._event({"content_index": 0, **at, "text": text, "type": "response.reasoning_text.done"})
            else:
                yield self._event(
                    {
                        "content_index": 0,
                        "item_id": at["item_id"],
                        "logprobs": [],
                        "output_index": index,
                        "text": text,
                        "type": "response.output_text.done",
                    }
                )
            yield self._event({"content_index": 0, **at, "part": part, "type": "response.content_part.done"})
            item = {**self._item, "content": [part] if text or reasoning else [], "status": "completed"}
        yield self._event({"item": item, "output_index": index, "type": "response.output_item.done"})
        self._items.append(item)
        self._kind = ""

    def _response(self, status: str, output: list[dict[str, Any]], said: int | None) -> dict[str, Any]:
        body = self.body
        turns = {"input_tokens_per_turn": [], "cached_tokens_per_turn": []}
        usage = said is not None and {
            "input_tokens": self.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, **turns},
            "output_tokens": said,
            "output_tokens_details": {
                "reasoning_tokens": 0,
                "tool_output_tokens": 0,
                "output_tokens_per_turn": [],
                "tool_output_tokens_per_turn": [],
            },
            "total_tokens": self.prompt_tokens + said,
        }
        return {
            "id": "resp_953a08e46f93b724",
            "created_at": 1795248380,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": body.get("instructions"),
            "metadata": None,
            "model": self.model,
            "object": "response",
            "output": output,
            "parallel_tool_calls": True,
            "temperature": float(body.get("temperature") or 1.0),
            "tool_choice": body.get("tool_choice") or ("auto" if body.get("tools") else "none"),
            "tools": body.get("tools") or [],
            "top_p": 1.0,
            "background": False,
            "max_output_tokens": body.get("max_output_tokens") or 100,
            "max_tool_calls": None,
            "previous_response_id": None,
            "prompt": None,
            "reasoning": None,
            "service_tier": "auto",
            "status": status,
            "text": body.get("text"),
            "top_logprobs": None,
            "truncation": "disabled",
            "usage": usage or None,
            "user": None,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "input_messages": None,
            "output_messages": None,
        }


class MessagesShape(TypedShape):
    """`/v1/messages`."""

    REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}  # noqa: RUF012 - never changed

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body)
        self._index = 0
        self._kind = ""
        self._call = ""

    def stream(self, script: Script) -> Iterator[Any]:
        """What is sent for a script, in pieces, and what comes between."""
        head = {
            **self._head(),
            "content": [],
            "model": self.model,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(),
        }
        yield self.event({"type": "message_start", "message": head})
        for kind, what in spans_of(script):
            if kind == "step":
                match what:
                    case Fail(message):
                        error = {"type": "internal_error", "message": message}
                        yield self.event({"type": "error", "error": error})
                        return
                    case Raw(data):
                        yield data
                    case _:
                        yield what
                continue
            yield from self._piece(kind, what)
        yield from self._close()
        delta = {"stop_reason": self.REASONS[script.finish], "stop_sequence": None}
        yield self.event({"type": "message_delta", "delta": delta, "usage": self._usage()})
        yield self.event({"type": "message_stop"})

    def whole(self, script: Script) -> dict[str, Any]:
        """The same as one answer."""
        content: list[dict[str, Any]] = []
        for kind, what in spans_of(script):
            if kind == "step":
                continue
            self.said += 1
            if kind == "tool_calls":
                for call in what:
                    if call.get("id"):
                        block = {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": ""}
                        content.append(block)
                    content[-1]["input"] += call["function"].get("arguments", "")
                continue
            name = "thinking" if kind == "reasoning" else "text"
            if not content or content[-1]["type"] != name:
                content.append({"type": name, name: ""} | ({"signature": "5f" * 16} if name == "thinking" else {}))
            content[-1][name] += str(what)
        for block in content:
            if block["type"] == "tool_use":
                block["input"] = json.loads(block["input"])
        return {
            **self._head(),
            "content": content or [{"type": "text", "text": ""}],
            "model": self.model,
            "stop_reason": self.REASONS[script.finish],
            "usage": self._usage(),
        }

    @staticmethod
    def _head() -> dict[str, Any]:
        return {"id": "chatcmpl-b9a015e4784b159d", "type": "message", "role": "assistant"}

    def _usage(self) -> dict[str, int]:
        return {"input_tokens": self.prompt_tokens, "output_tokens": self.said}

    def _piece(self, kind: str, what: Any) -> Iterator[bytes]:
        if kind == "tool_calls":
            for call in what:
                if call.get("id") and call["id"] != self._call:
                    yield from self._close()
                    self._kind, self._call = kind, call["id"]
                    block = {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": {}}
                    yield self._start(block)
                self.said += 1
                written = call["function"].get("arguments")
                if written:
                    yield self._delta({"type": "input_json_delta", "partial_json": written})
            return
        name = "thinking" if kind == "reasoning" else "text"
        if self._kind != name:
            yield from self._close()
            self._kind = name
            yield self._start({"type": name, name: ""})
        self.said += 1
        yield self._delta({"type": f"{name}_delta", name: str(what)})

    def _start(self, block: dict[str, Any]) -> bytes:
        return self.event({"type": "content_block_start", "content_block": block, "index": self._index})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self.event({"type": "content_block_delta", "delta": delta, "index": self._index})

    def _close(self) -> Iterator[bytes]:
        if not self._kind:
            return
        if self._kind == "thinking":
            yield self._delta({"type": "signature_delta", "signature": "5f" * 16})
        yield self.event({"type": "content_block_stop", "index": self._index})
        self._index += 1
        self._kind = ""


def prompt_tokens_of(body: dict[str, Any]) -> int:
    """Tokens of a prompt as this engine counts them, of either route."""
    messages = []
    system = body.get("instructions") or body.get("system")
    if system:
        messages.append({"content": _plain(system)})
    given = body.get("messages") or body.get("input")
    items = [{"content": given}] if isinstance(given, str) else given
    texts = (item.get("content") or item.get("output") or item.get("arguments") or "" for item in items)
    return tokens_of({"messages": [*messages, *({"content": _plain(text)} for text in texts)]})


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text") or _plain(part.get("content") or "")) for part in content)
