"""The events of `/v1/responses`: an answer of numbered items, whose texts come in pieces and then again as a whole.

Channels are `(output_index, content_index, kind of event)`. What repeats a text is checked again as a whole and leaves
only if all of it may, so no order or number of repetitions is relied on. Events are numbered anew, because held and
dropped ones would leave gaps.
"""

from collections.abc import Collection
from typing import Any

import orjson

from proxy.dialects.base import Call, Channel, Event, Json, Leaf, Usage, keep_only, string_leaves
from proxy.dialects.sse import BrokenStream, typed_event
from proxy.errors import UpstreamFailed

TERMINAL = frozenset((b"response.completed", b"response.incomplete", b"response.failed"))

RESPONSE_FIELDS = frozenset(
    (
        *("id", "created_at", "completed_at", "error", "incomplete_details", "instructions", "metadata", "model"),
        *("object", "output", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "background"),
        *("max_output_tokens", "max_tool_calls", "previous_response_id", "prompt", "reasoning", "service_tier"),
        *("status", "text", "top_logprobs", "truncation", "usage", "user", "presence_penalty", "frequency_penalty"),
    )
)
"""Fields of a response that a client may have of a checked answer."""

_DELTAS = {
    "response.output_text": "text",
    "response.reasoning_text": "text",
    "response.reasoning_summary_text": "text",
    "response.refusal": "refusal",
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.mcp_call_arguments": "arguments",
    "response.code_interpreter_call_code": "code",
}
"""Start of the names of events that carry pieces (`.delta`) and then all (`.done`) of a text, and the field of all."""

_STEMS = {"output_text": "response.output_text", "reasoning_text": "response.reasoning_text"}
"""Kinds of parts, and the start of the names of the events that carry their text."""

_PROGRESS = frozenset(
    (
        *("response.mcp_call.in_progress", "response.mcp_call.completed", "response.mcp_call.failed"),
        *("response.web_search_call.in_progress", "response.web_search_call.searching"),
        *("response.web_search_call.completed", "response.code_interpreter_call.in_progress"),
        *("response.code_interpreter_call.interpreting", "response.code_interpreter_call.completed"),
    )
)
"""Events that say how far a call is, and carry no text."""

_ITEMS = frozenset(("response.output_item.added", "response.output_item.done"))
_PARTS = frozenset(
    (
        *("response.content_part.added", "response.content_part.done"),
        *("response.reasoning_part.added", "response.reasoning_part.done"),
        *("response.reasoning_summary_part.added", "response.reasoning_summary_part.done"),
    )
)
_WHOLE = frozenset(name.decode() for name in TERMINAL) | {"response.created", "response.in_progress", "response.queued"}
_PLACE = ("type", "sequence_number", "item_id", "output_index", "content_index", "summary_index")
_STRUCTURAL = frozenset({"id", "type", "role", "status", "call_id", "object", "phase"})
_SPELLED = frozenset({"logprobs", "encrypted_content"})  # spell the text past the filters
_ITEM_FIELDS = frozenset(
    (
        *("id", "type", "role", "status", "content", "summary", "phase", "name", "namespace", "arguments", "input"),
        *("call_id", "code", "container_id", "outputs", "action", "server_label", "output", "error", "queries"),
        *("async", "caller"),
        "encrypted_content",  # emptied
    )
)


class ResponseStream:
    """Implements `AnswerStream`."""

    def __init__(self, call: Call) -> None:
        self._instructions = call.body.get("instructions")
        self._number = 0
        self._ended: set[Channel] = set()
        """Strings and items of the engine that are complete."""
        self._response: Json = {}
        self._items: dict[int, Json] = {}
        self._done: set[int] = set()
        self._places: dict[Channel, Json] = {}
        """For each string under way: an event of it without its piece."""

    def read(self, raw: bytes, data: bytes, still_open: Collection[int], prompt_tokens: int | None) -> Event | None:
        payload = _payload(data)
        kind = payload["type"]
        if kind not in _WHOLE:
            _check_place(payload)
        event = Event(raw, payload, changed=raw != b"event: " + kind.encode() + b"\ndata: " + data)
        stem, _, last = kind.rpartition(".")
        if kind in _WHOLE:
            event.changed |= _only(payload, "type", "sequence_number", "response")
            self._read_response(event, payload.get("response"), prompt_tokens)
            if kind.encode() in TERMINAL:
                event.ends, event.final = (0,), True
        elif kind in _ITEMS:
            event.changed |= _only(payload, *_PLACE, "item")
            self._read_item(event, payload.get("item"))
            index = payload["output_index"]
            if (index,) in self._ended or (last == "added" and index in self._items):
                raise BrokenStream("an item of the engine's answer comes out of turn")
            if last == "done":
                self._ended.add((index,))
                event.closes = [(0, (index,))]
        elif kind in _PARTS:
            event.changed |= _only(payload, *_PLACE, "part")
            _read_strings(event, payload.get("part"))
        elif stem in _DELTAS and last in ("delta", "done"):
            self._read_text(event, stem, last)
        elif kind in _PROGRESS:
            event.changed |= _only(payload, *_PLACE)
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
        self._note(event)
        if event.changed or event.payload.get("sequence_number") != self._number:
            return self._numbered(event.payload)
        self._number += 1
        return event.raw + b"\n\n"

    def seen(self, event: Event) -> None:
        number = event.payload.get("sequence_number")
        self._number = number + 1 if isinstance(number, int) else self._number
        self._note(event)

    def _note(self, event: Event) -> None:
        payload = event.payload
        kind = payload["type"]
        if kind in _WHOLE:
            self._response = payload["response"]
        elif kind in _ITEMS:
            index = payload["output_index"]
            self._items[index] = _copied(payload["item"])
            if kind.endswith(".done"):
                self._done.add(index)
        elif kind in _PARTS:
            self._put_part(payload)
        for leaf in event.leaves:
            if not leaf.whole:
                self._append(payload, leaf.text)

    def piece(self, choice: int, channel: Channel, text: str) -> bytes:
        payload = {**self._places[channel], "delta": text}
        self._append(payload, text)
        return self._numbered(payload)

    def cut(self, choice: int) -> bytes:
        return b"".join(self._closed(index) for index in sorted(set(self._items) - self._done))

    def end_cut(self, usage: Usage | None) -> bytes:
        response = {
            **self._response,
            "status": "incomplete",
            "incomplete_details": {"reason": "content_filter"},
            "output": [self._items[index] for index in sorted(self._items)],
            "usage": usage_json(usage) if usage else None,
        }
        return self._numbered({"type": "response.incomplete", "response": response})

    def answers(self, leaf: Leaf) -> bool:
        return leaf.channel[-1] == "response.output_text" or leaf.holder.get("type") == "output_text"

    def is_json(self, channel: Channel) -> bool:
        return channel[-1] in ("arguments", "response.function_call_arguments", "response.mcp_call_arguments")

    # -- reading

    def _read_response(self, event: Event, response: Any, prompt_tokens: int | None) -> None:
        if not isinstance(response, dict) or not isinstance(response.get("output"), list):
            raise BrokenStream("an event of the engine has an unknown shape")
        if response.get("error"):
            raise UpstreamFailed("the engine reported an error in mid-stream")
        event.changed |= keep_only(RESPONSE_FIELDS, response)
        if response.get("instructions") != self._instructions:  # the engine's copy begins with our note
            response["instructions"], event.changed = self._instructions, True
        for item in response["output"]:
            self._read_item(event, item)
        reported = response.get("usage")
        if prompt_tokens is not None and isinstance(reported, dict):
            said = reported.get("output_tokens")
            usage = Usage(prompt_tokens, said if isinstance(said, int) else 0)
            response["usage"], event.changed = usage_json(usage), True

    def _read_item(self, event: Event, item: Any) -> None:
        if not isinstance(item, dict) or not all(_is_parts(item.get(name)) for name in ("content", "summary")):
            raise BrokenStream("an event of the engine has an unknown shape")
        event.changed |= _only(item, *_ITEM_FIELDS)
        _read_strings(event, item)

    def _read_text(self, event: Event, stem: str, last: str) -> None:
        payload = event.payload
        field = "delta" if last == "delta" else _DELTAS[stem]
        if not isinstance(payload.get(field), str):
            raise BrokenStream("an event of the engine has an unknown shape")
        event.changed |= _only(payload, *_PLACE, field, "name", "logprobs")
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

    # -- what was written so far

    def _numbered(self, payload: Json) -> bytes:
        out = typed_event({**payload, "sequence_number": self._number})
        self._number += 1
        return out

    def _put_part(self, payload: Json) -> None:
        item = self._items.get(payload["output_index"])
        name = "summary" if "summary" in payload["type"] else "content"
        index = payload.get("content_index", payload.get("summary_index"))
        if item is None or not isinstance(index, int):
            return
        parts = item.get(name) or []
        item[name] = [*parts[:index], _copied(payload["part"]), *parts[index + 1 :]]

    def _append(self, payload: Json, text: str) -> None:
        """Adds a piece that left to the item it belongs to."""
        item = self._items.get(payload["output_index"])
        if item is None:
            return
        field = _DELTAS[payload["type"].rpartition(".")[0]]
        holder: Any = item
        parts = item.get("summary" if "summary" in payload["type"] else "content")
        index = payload.get("content_index", payload.get("summary_index"))
        if isinstance(index, int) and isinstance(parts, list) and index < len(parts):
            holder = parts[index]
        said = holder.get(field)
        holder[field] = (said if isinstance(said, str) else "") + text

    def _closed(self, index: int) -> bytes:
        """The events that end an item which is not complete."""
        item = self._items[index]
        self._done.add(index)
        out = b""
        for place, part in enumerate(item.get("content") or ()):
            stem = _STEMS.get(str(part.get("type")))
            at = {"item_id": item.get("id"), "output_index": index, "content_index": place}
            if stem:
                whole = {"type": f"{stem}.done", **at, "text": part.get("text", "")}
                out += self._numbered(whole | ({"logprobs": []} if stem == "response.output_text" else {}))
            out += self._numbered({"type": "response.content_part.done", **at, "part": part})
        item["status"] = "incomplete"
        return out + self._numbered({"type": "response.output_item.done", "output_index": index, "item": item})


def usage_json(usage: Usage) -> Json:
    """Usage as a response reports it."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.completion,
    }


def _check_place(payload: Json) -> None:
    """Raises BrokenStream unless an event says by numbers where in the answer it belongs."""
    indices = [payload.get(name, 0) for name in ("content_index", "summary_index")]
    if not all(type(index) is int and index >= 0 for index in (payload.get("output_index"), *indices)):
        raise BrokenStream("an event of the engine has an unknown shape")


def _is_parts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(part, dict) for part in value))


def _read_strings(event: Event, value: Any) -> None:
    """Every string of an item or part stands for itself; what spells the text beside it is taken away."""
    if not isinstance(value, dict):
        raise BrokenStream("an event of the engine has an unknown shape")
    event.changed |= _unspell(value)
    for path, holder, key in string_leaves(value, _STRUCTURAL, ()):
        event.leaves.append(Leaf(0, path, holder, key, whole=True))


def _unspell(value: Any) -> bool:
    """Empties what spells the text; returns whether there was any."""
    changed = False
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in _SPELLED:
                changed |= _unspell(item)
            elif item:
                value[name], changed = [] if isinstance(item, list) else None, True
    elif isinstance(value, list):
        changed = bool(sum(map(_unspell, value)))
    return changed


def _only(holder: Json, *known: str) -> bool:
    """Removes what is not known; returns whether there was any."""
    unknown = [name for name in holder if name not in known]
    for name in unknown:
        del holder[name]
    return bool(unknown)


def _copied(value: Json) -> Json:
    copied: Json = orjson.loads(orjson.dumps(value))
    return copied


def _payload(data: bytes) -> Json:
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BrokenStream("an event of the engine is not JSON") from None
    if isinstance(payload, dict) and (payload.get("type") == "error" or payload.get("error")):
        raise UpstreamFailed("the engine reported an error in mid-stream")
    if not isinstance(payload, dict) or not isinstance(payload.get("type"), str):
        raise BrokenStream("an event of the engine has an unknown shape")
    found: Json = payload
    return found
