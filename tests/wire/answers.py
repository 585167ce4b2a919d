"""Reads the answers of `/v1/responses` and `/v1/messages` as a strict client does: what is out of order fails here."""

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from tests.fakes.vllm_shapes import MODEL
from tests.wire.harness import HARMLESS, Lethe, Reply

RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"


@dataclass
class Said:
    """What an answer says, all channels apart, and how it ends."""

    text: str = ""
    reasoning: str = ""
    arguments: str = ""
    finish: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    """Names of the tools that were called."""


def body_of(path: str, question: str, **fields: Any) -> dict[str, Any]:
    """A request with one question."""
    asked = {"input": question} if path == RESPONSES else _asked(question)
    return {"model": MODEL, **asked, **fields}


def _asked(question: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "max_tokens": 100}


async def ask(lethe: Lethe, path: str, question: str = HARMLESS, **fields: Any) -> Reply:
    """One question, on either route."""
    return await lethe.post(path, body_of(path, question, **fields))


def said(reply: Reply, path: str) -> Said:
    """What a good reply says."""
    assert reply.status == 200, reply.raw
    streamed = not reply.raw.startswith(b"{")
    if path == RESPONSES:
        return _streamed_response(reply.raw) if streamed else _response(reply.body)
    return _streamed_message(reply.raw) if streamed else _message(reply.body)


def events_of(raw: bytes) -> list[dict[str, Any]]:
    """The payloads of a stream, each named as its event; comments are skipped."""
    found = []
    for event in raw.decode().split("\n\n")[:-1]:
        if event.startswith(":"):
            continue
        name, data = event.split("\n")
        payload = json.loads(data.removeprefix("data: "))
        assert name == f"event: {payload['type']}", event
        found.append(payload)
    assert raw.endswith(b"\n\n")
    return found


async def until_broken(response: aiohttp.ClientResponse) -> bytes:
    """What a stream sends before its connection breaks; fails if it ends well."""
    raw = b""
    with pytest.raises(aiohttp.ClientPayloadError):
        while block := await response.content.readany():
            raw += block
    return raw


# -- responses


def _response(body: dict[str, Any]) -> Said:
    assert body["object"] == "response"
    assert body["status"] in ("completed", "incomplete")
    found = Said(usage=body["usage"] or {})
    for item in body["output"]:
        match item["type"]:
            case "message":
                found.text += "".join(part["text"] for part in item["content"])
            case "reasoning":
                found.reasoning += "".join(part["text"] for part in item["content"])
            case "function_call":
                found.arguments += item["arguments"]
                found.calls.append(item["name"])
            case kind:
                raise AssertionError(kind)
    details = body["incomplete_details"]
    found.finish = details["reason"] if details else body["status"]
    return found


def _streamed_response(raw: bytes) -> Said:
    events = events_of(raw)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    created, progress, *rest, last = events
    assert (created["type"], progress["type"]) == ("response.created", "response.in_progress")
    assert last["type"] in ("response.completed", "response.incomplete")
    items: dict[int, dict[str, Any]] = {}
    texts: dict[int, str] = {}
    for event in rest:
        index = event["output_index"]
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert index == len(items)
                items[index], texts[index] = {**event["item"], "open": True}, ""
            case "content_part.added":
                assert event["item_id"] == items[index]["id"]
                assert event["part"]["text"] == ""
            case "output_text.delta" | "reasoning_text.delta" | "function_call_arguments.delta":
                assert items[index]["open"]
                assert event["item_id"] == items[index]["id"]
                assert event["delta"]
                texts[index] += event["delta"]
            case "output_text.done" | "reasoning_text.done":
                assert event["text"] == texts[index]
            case "function_call_arguments.done":
                assert event["arguments"] == texts[index]
            case "content_part.done":
                assert event["part"]["text"] == texts[index]
            case "output_item.done":
                assert items[index]["open"]
                items[index] = {**event["item"], "open": False}
                parts = event["item"].get("content") or []
                assert event["item"].get("arguments", "".join(part["text"] for part in parts)) == texts[index]
            case kind:
                raise AssertionError(kind)
    assert not any(item.pop("open") for item in items.values())
    assert last["response"]["output"] == [items[index] for index in sorted(items)]
    assert last["response"]["id"] == created["response"]["id"]
    return _response(last["response"])


# -- messages


def _message(body: dict[str, Any]) -> Said:
    assert (body["type"], body["role"]) == ("message", "assistant")
    found = Said(finish=body["stop_reason"], usage=body["usage"])
    for block in body["content"]:
        match block["type"]:
            case "text":
                found.text += block["text"]
            case "thinking":
                found.reasoning += block["thinking"]
            case "tool_use":
                found.arguments += json.dumps(block["input"])
                found.calls.append(block["name"])
            case kind:
                raise AssertionError(kind)
    return found


def _streamed_message(raw: bytes) -> Said:
    start, *rest, delta, stop = events_of(raw)
    assert start["type"] == "message_start"
    assert start["message"]["content"] == []
    assert (delta["type"], stop) == ("message_delta", {"type": "message_stop"})
    found = Said(finish=delta["delta"]["stop_reason"], usage=delta["usage"])
    assert found.finish
    opened: int | None = None
    blocks = 0
    for event in rest:
        match event["type"]:
            case "content_block_start":
                assert opened is None
                assert event["index"] == blocks
                opened, blocks = event["index"], blocks + 1
                if event["content_block"]["type"] == "tool_use":
                    found.calls.append(event["content_block"]["name"])
            case "content_block_stop":
                assert event["index"] == opened
                opened = None
            case "content_block_delta":
                assert event["index"] == opened
                part = event["delta"]
                found.text += part.get("text", "")
                found.reasoning += part.get("thinking", "")
                found.arguments += part.get("partial_json", "")
            case kind:
                raise AssertionError(kind)
    assert opened is None
    return found
