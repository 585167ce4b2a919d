"""The events of `/v1/responses`: an answer of numbered items, whose texts come in pieces and then again as a whole.

Channels are `(output_index, content_index, kind of event)`. What repeats a text is checked again as a whole and leaves
only if all of it may, so no order or number of repetitions is relied on. Events are numbered anew, because held and
dropped ones would leave gaps.
"""

from collections.abc import Collection
from typing import Any

from proxy.dialects.answers import drop_unknown, empty_unknown, payload_of, recounted, string_leaves
from proxy.dialects.base import Call, Channel, Event, Json, Leaf, Usage
from proxy.dialects.responses_events import (
    DELTAS,
    ITEM_FIELDS,
    ITEMS,
    PARTS,
    PLACE,
    PROGRESS,
    RESPONSE_FIELDS,
    SPELLED,
    STRUCTURAL,
    TERMINAL,
    WHOLE,
    usage_json,
)
from proxy.dialects.responses_written import Written
from proxy.dialects.sse import UNKNOWN_SHAPE, BrokenStream
from proxy.errors import UpstreamFailed


class ResponseStream:
    """Implements `AnswerStream`."""

    def __init__(self, call: Call) -> None:
        self._instructions = call.body.get("instructions")
        self._written = Written()
        self._ended: set[Channel] = set()
        """Strings and items of the engine that are complete."""
        self._places: dict[Channel, Json] = {}
        """For each string under way: an event of it without its piece."""

    def read(self, raw: bytes, data: bytes, still_open: Collection[int], prompt_tokens: int | None) -> Event | None:
        payload = _payload(data)
        kind = payload["type"]
        if kind not in WHOLE:
            _check_place(payload)
        event = Event(raw, payload, changed=raw != b"event: " + kind.encode() + b"\ndata: " + data)
        stem, _, last = kind.rpartition(".")
        if kind in WHOLE:
            event.changed |= drop_unknown(payload, "type", "sequence_number", "response")
            self._read_response(event, payload.get("response"), prompt_tokens)
            if kind.encode() in TERMINAL:
                event.ends, event.final = (0,), True
        elif kind in ITEMS:
            event.changed |= drop_unknown(payload, *PLACE, "item")
            self._read_item(event, payload.get("item"))
            index = payload["output_index"]
            if (index,) in self._ended or (last == "added" and self._written.has(index)):
                raise BrokenStream("an item of the engine's answer comes out of turn")
            if last == "done":
                self._ended.add((index,))
                event.closes = [(0, (index,))]
        elif kind in PARTS:
            event.changed |= drop_unknown(payload, *PLACE, "part")
            _read_strings(event, payload.get("part"))
        elif stem in DELTAS and last in ("delta", "done"):
            self._read_text(event, stem, last)
        elif kind in PROGRESS:
            event.changed |= drop_unknown(payload, *PLACE)
        else:
            raise BrokenStream("the engine sent an event of an unknown kind")
        return event

    def read_whole(self, payload: Json, prompt_tokens: int | None) -> Event:
        event = Event(b"", payload, whole=True)
        self._read_response(event, payload, prompt_tokens)
        if payload.get("status") not in ("completed", "incomplete"):
            raise BrokenStream("the engine's answer is not finished")
        event.ends = (0,)
        return event

    def write(self, event: Event, cut: Collection[int]) -> bytes:
        pieces = [leaf for leaf in event.leaves if not leaf.whole]
        if pieces and not any(leaf.text for leaf in pieces):
            return b""  # all of it is held
        return self._written.event(event)

    def seen(self, event: Event) -> None:
        self._written.seen(event)

    def piece(self, choice: int, channel: Channel, text: str) -> bytes:
        return self._written.piece(self._places[channel], text)

    def cut(self, choice: int) -> bytes:
        return self._written.cut()

    def end_cut(self, usage: Usage | None) -> bytes:
        return self._written.end_cut(usage)

    def answers(self, leaf: Leaf) -> bool:
        whole = isinstance(leaf.holder, dict) and leaf.holder.get("type") == "output_text"
        return whole or leaf.channel[-1] == "response.output_text"

    def is_json(self, channel: Channel) -> bool:
        return channel[-1] in ("arguments", "response.function_call_arguments", "response.mcp_call_arguments")

    # -- reading

    def _read_response(self, event: Event, response: Any, prompt_tokens: int | None) -> None:
        if not isinstance(response, dict) or not isinstance(response.get("output"), list):
            raise BrokenStream(UNKNOWN_SHAPE)
        if response.get("error"):
            raise UpstreamFailed("the engine reported an error in mid-stream")
        event.changed |= empty_unknown(response, RESPONSE_FIELDS)
        if response.get("instructions") != self._instructions:  # the engine's copy begins with our note
            response["instructions"], event.changed = self._instructions, True
        for item in response["output"]:
            self._read_item(event, item)
        if usage := recounted(response, "output_tokens", prompt_tokens):
            response["usage"], event.changed = usage_json(usage), True

    def _read_item(self, event: Event, item: Any) -> None:
        if not isinstance(item, dict) or not all(_is_parts(item.get(name)) for name in ("content", "summary")):
            raise BrokenStream(UNKNOWN_SHAPE)
        event.changed |= drop_unknown(item, *ITEM_FIELDS)
        _read_strings(event, item)

    def _read_text(self, event: Event, stem: str, last: str) -> None:
        payload = event.payload
        field = "delta" if last == "delta" else DELTAS[stem]
        if not isinstance(payload.get(field), str):
            raise BrokenStream(UNKNOWN_SHAPE)
        event.changed |= drop_unknown(payload, *PLACE, field, "name", "logprobs")
        event.changed |= _unspell(payload)
        part = payload.get("content_index", payload.get("summary_index"))
        channel: Channel = (payload["output_index"], part or 0, stem)
        if channel in self._ended or channel[:1] in self._ended:
            raise BrokenStream("a text of the engine's answer comes out of turn")
        if isinstance(payload.get("name"), str):
            event.leaves.append(Leaf(0, (*channel, "name"), payload, "name", whole=True))
        event.leaves.append(Leaf(0, channel, payload, field, whole=last == "done"))
        if last == "done":
            self._ended.add(channel)
            event.closes = [(0, channel)]
        else:
            self._places[channel] = {name: value for name, value in payload.items() if name != "delta"}


def _payload(data: bytes) -> Json:
    payload = payload_of(data)
    if not isinstance(payload.get("type"), str):
        raise BrokenStream(UNKNOWN_SHAPE)
    return payload


def _check_place(payload: Json) -> None:
    """Raises BrokenStream unless an event says by numbers where in the answer it belongs."""
    indices = [payload.get(name, 0) for name in ("content_index", "summary_index")]
    if not all(type(index) is int and index >= 0 for index in (payload.get("output_index"), *indices)):
        raise BrokenStream(UNKNOWN_SHAPE)


def _is_parts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(part, dict) for part in value))


def _read_strings(event: Event, value: Any) -> None:
    """Every string of an item or part stands for itself; what spells the text beside it is taken away."""
    if not isinstance(value, dict):
        raise BrokenStream(UNKNOWN_SHAPE)
    event.changed |= _unspell(value)
    for path, holder, key in string_leaves(value, STRUCTURAL, ()):
        event.leaves.append(Leaf(0, path, holder, key, whole=True))


def _unspell(value: Any) -> bool:
    """Empties what spells the text; returns whether there was any."""
    changed = False
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in SPELLED:
                changed |= _unspell(item)
            elif item:
                value[name], changed = [] if isinstance(item, list) else None, True
    elif isinstance(value, list):
        changed = bool(sum(map(_unspell, value)))
    return changed
