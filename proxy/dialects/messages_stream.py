"""The events of `/v1/messages`: an answer of numbered blocks, one open at a time, whose texts come in pieces."""

from collections.abc import Collection, Iterator
from typing import Any

import orjson

from proxy.dialects.answers import drop_unknown, empty_unknown, payload_of, recounted, string_leaves
from proxy.dialects.base import Channel, Event, Json, Leaf, Usage
from proxy.dialects.sse import UNKNOWN_SHAPE, BrokenStream, typed_event

_MESSAGE_FIELDS = frozenset(
    ("id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "usage"),
)
_SIGNATURE = "signature"  # of a thinking block, all in one piece
_DELTAS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
    "signature_delta": _SIGNATURE,
}
"""Kind of a delta, and the field that carries its text."""
_EVENTS = frozenset(
    (
        *("message_start", "message_delta", "message_stop", "ping"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
    )
)


class MessageStream:
    """Implements `AnswerStream`. One choice, made of numbered blocks; a channel is a block's number and its field."""

    def __init__(self) -> None:
        self._reading: int | None = None
        """The block of the engine that is open."""
        self._blocks = 0
        """How many blocks the engine has begun."""
        self._open_block: int | None = None
        """The block that the client was shown the start of, but not the end."""
        self._prompt_tokens = 0

    def read(self, raw: bytes, data: bytes, still_open: Collection[int], prompt_tokens: int | None) -> Event | None:
        payload = _payload(data)
        kind = payload["type"]
        event = Event(raw, payload, changed=raw != b"event: " + kind.encode() + b"\ndata: " + data)
        if kind in ("message_stop", "ping"):
            event.final = kind == "message_stop"
            event.changed |= drop_unknown(payload, "type")
        elif kind == "message_start":
            event.changed |= drop_unknown(payload, "type", "message")
            self._read_message(event, payload.get("message"), prompt_tokens)
        elif kind == "message_delta":
            event.changed |= drop_unknown(payload, "type", "delta", "usage")
            self._read_end(event, prompt_tokens)
        else:
            self._read_block(event, kind)
        return event

    def read_whole(self, payload: Json, prompt_tokens: int | None) -> Event:
        event = Event(b"", payload, whole=True)
        self._read_message(event, payload, prompt_tokens)
        if not payload.get("stop_reason"):
            raise BrokenStream("the engine's answer is not finished")
        event.ends = (0,)
        return event

    def write(self, event: Event, cut: Collection[int]) -> bytes:
        payload = event.payload
        self.seen(event)
        if cut and payload["type"] == "message_delta":
            return b""  # another end takes its place
        if payload["type"] == "content_block_delta" and event.changed and not any(leaf.text for leaf in event.leaves):
            return b""  # all of it is held
        return typed_event(payload) if event.changed else event.raw + b"\n\n"

    def seen(self, event: Event) -> None:
        match event.payload["type"]:
            case "content_block_start":
                self._open_block = event.payload["index"]
            case "content_block_stop":
                self._open_block = None

    def piece(self, choice: int, channel: Channel, text: str) -> bytes:
        index, field = channel
        kind = next(kind for kind, name in _DELTAS.items() if name == field)
        return typed_event({"type": "content_block_delta", "delta": {"type": kind, field: text}, "index": index})

    def cut(self, choice: int) -> bytes:
        if self._open_block is None:
            return b""
        index, self._open_block = self._open_block, None
        return typed_event({"type": "content_block_stop", "index": index})

    def end_cut(self, usage: Usage | None) -> bytes:
        return b"".join(ending("refusal", usage or Usage(self._prompt_tokens, 0)))

    def answers(self, leaf: Leaf) -> bool:
        return leaf.channel[1:] == ("text",)

    def is_json(self, channel: Channel) -> bool:
        return channel[-1] in ("partial_json", "input")

    # -- inside

    def _read_message(self, event: Event, message: Any, prompt_tokens: int | None) -> None:
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            raise BrokenStream(UNKNOWN_SHAPE)
        event.changed |= empty_unknown(message, _MESSAGE_FIELDS)
        for index, block in enumerate(message["content"]):
            event.leaves += _block_leaves(index, _known_block(block))
        _read_stop(event, message)
        _recount(event, message, prompt_tokens)
        self._prompt_tokens = _input_tokens(message)

    def _read_end(self, event: Event, prompt_tokens: int | None) -> None:
        delta = event.payload.get("delta")
        if not isinstance(delta, dict):
            raise BrokenStream(UNKNOWN_SHAPE)
        event.changed |= drop_unknown(delta, "stop_reason", "stop_sequence")
        _read_stop(event, delta)
        _recount(event, event.payload, prompt_tokens)
        if delta.get("stop_reason"):
            event.ends = (0,)

    def _read_block(self, event: Event, kind: str) -> None:
        payload = event.payload
        index = payload.get("index")
        if not isinstance(index, int):
            raise BrokenStream(UNKNOWN_SHAPE)
        event.changed |= drop_unknown(payload, "type", "index", "content_block", "delta")
        if index != (self._blocks if kind == "content_block_start" else self._reading):
            raise BrokenStream("a block of the engine's answer comes out of turn")
        if kind == "content_block_stop":
            self._reading = None
            event.closes = [(0, (index,))]
        elif kind == "content_block_start":
            self._reading, self._blocks = index, self._blocks + 1
            event.leaves += _block_leaves(index, _known_block(payload.get("content_block")))
        else:
            delta = payload.get("delta")
            field = _DELTAS.get(str(delta.get("type"))) if isinstance(delta, dict) else None
            if not isinstance(delta, dict) or field is None or not isinstance(delta.get(field), str):
                raise BrokenStream(UNKNOWN_SHAPE)
            event.changed |= drop_unknown(delta, "type", field)
            event.leaves.append(Leaf(0, (index, field), delta, field, whole=field == _SIGNATURE))


def _payload(data: bytes) -> Json:
    payload = payload_of(data)
    kind = payload.get("type")
    if not isinstance(kind, str) or kind not in _EVENTS:
        raise BrokenStream("the engine sent an event of an unknown kind")
    return payload


def _block_leaves(index: int, block: Json) -> Iterator[Leaf]:
    """Strings of a block: those that go on in deltas, and those that stand for themselves."""
    for name, value in block.items():
        if name in ("type", "id"):
            continue
        if name in ("text", "thinking") and isinstance(value, str):
            yield Leaf(0, (index, name), block, name)
        elif name == "input":  # as its text comes in a stream: words of two fields may stand beside each other
            written = {"input": orjson.dumps(value).decode()}
            yield Leaf(0, (index, "input"), written, "input", whole=True)
        else:
            for path, holder, key in string_leaves({name: value}, frozenset(), ()):
                yield Leaf(0, (index, *path), holder, key, whole=True)


def _known_block(block: Any) -> Json:
    if not isinstance(block, dict) or block.get("type") not in ("text", "thinking", "tool_use"):
        raise BrokenStream("a block of the engine's answer is of an unknown kind")
    return block


def _read_stop(event: Event, holder: Json) -> None:
    if isinstance(holder.get("stop_sequence"), str):
        event.leaves.append(Leaf(0, ("stop_sequence",), holder, "stop_sequence", whole=True))


def _recount(event: Event, holder: Json, prompt_tokens: int | None) -> None:
    if usage := recounted(holder, "output_tokens", prompt_tokens):
        holder["usage"], event.changed = usage_json(usage), True


def _input_tokens(message: Json) -> int:
    usage = message.get("usage")
    tokens = usage.get("input_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else 0


def usage_json(usage: Usage) -> Json:
    """Usage as a message reports it."""
    return {"input_tokens": usage.prompt, "output_tokens": usage.completion}


def ending(reason: str, usage: Usage) -> Iterator[bytes]:
    """The events that end a message."""
    yield typed_event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": usage_json(usage),
        }
    )
    yield typed_event({"type": "message_stop"})
