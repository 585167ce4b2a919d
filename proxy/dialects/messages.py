"""`/v1/messages`, Anthropic's API."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson

from guards.context.note import Note
from guards.prompt.fields import texts_in
from guards.prompt.kinds import MESSAGES_BLOCKS, refusal_of
from guards.prompt.tables import MESSAGES
from proxy.dialects.base import (
    AnswerStream,
    Call,
    Channel,
    Event,
    Head,
    Json,
    Leaf,
    Text,
    Usage,
    conversation,
    flag,
    keep_only,
    model_of,
    odd_names,
    question_of,
    seams_last,
    string_leaves,
    texts_beside,
    words_of,
)
from proxy.dialects.sse import BrokenStream, last_type, typed_event
from proxy.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    RateLimited,
    RequestError,
    TooLarge,
    Unauthenticated,
    UpstreamFailed,
)

_ROLES = ("user", "assistant", "system")
_STRUCTURAL = frozenset({"type", "signature"})
"""Names whose strings no template puts before a model. Ids are not among them: some do."""
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
_ERRORS = {
    BadRequest: "invalid_request_error",
    Unauthenticated: "authentication_error",
    Forbidden: "permission_error",
    NotFound: "not_found_error",
    TooLarge: "request_too_large",
    RateLimited: "rate_limit_error",
}
_OVERLOADED = (429, 503)


class Messages:
    """Messages, streaming and not."""

    name = "messages"
    path = "/v1/messages"
    table = MESSAGES
    always: Mapping[str, Any] = {}

    def parse(self, body: Json) -> Call:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise BadRequest("'messages' is a list with at least one message", param="messages")
        model, stream = model_of(body), flag(body, "stream")
        texts = list(_blocks(body["system"], "system", "system")) if body.get("system") is not None else []
        turns = (_message(message, f"messages[{place}]") for place, message in enumerate(messages))
        texts += conversation(turns, before=tuple(texts))
        last = f"messages[{len(messages) - 1}]"
        said = [t.text for t in texts if t.role == "assistant" and t.path.startswith(last) and _is_said(t.path)]
        texts += texts_beside(body, "tools", "tool_choice", "output_config")
        lead = ("".join(said),) if said else ()
        return Call(body, model, stream, 1, True, seams_last(texts), question_of(texts), lead)

    def amend(self, body: Json, note: Note) -> Json:
        system = body.get("system")
        if isinstance(system, list):
            before: Any = [{"type": "text", "text": note.instruction}, *system]
        else:
            before = "\n\n".join((note.instruction, *([system] if system else ())))
        shown = [{"role": r, "content": c} for q, a in note.demonstrations for r, c in (("user", q), ("assistant", a))]
        return {**body, "system": before, "messages": [*shown, *body["messages"]]}

    def tokenize_request(self, body: Json) -> Json:
        messages = [{"role": m["role"], "content": _as_text(m.get("content"))} for m in body["messages"]]
        if body.get("system"):
            messages.insert(0, {"role": "system", "content": _as_text(body["system"])})
        return {"model": body["model"], "messages": messages}

    def stream(self, call: Call) -> AnswerStream:
        return MessageStream()

    def is_answer(self, payload: Any) -> bool:
        return isinstance(payload, dict) and isinstance(payload.get("content"), list)

    def ends_stream(self, whole: bytes) -> bool:
        return last_type(whole) == b"message_stop"

    def keeps(self, event: bytes) -> bool:
        return not event.startswith(b"event: content_block_delta\n")

    def answer(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Json:
        content = [{"type": "text", "text": texts[0]}]
        return {**_empty(head), "content": content, "stop_reason": "end_turn", "usage": _usage(usage)}

    def spoken(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Iterator[bytes]:
        begun = {**_empty(head), "usage": _usage(Usage(usage.prompt, 0))}
        yield typed_event({"type": "message_start", "message": begun})
        block = {"type": "text", "text": ""}
        yield typed_event({"type": "content_block_start", "content_block": block, "index": 0})
        for piece in words_of(texts[0]):
            yield typed_event(
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": piece}, "index": 0}
            )
        yield typed_event({"type": "content_block_stop", "index": 0})
        yield from _ending("end_turn", usage)

    def error(self, error: RequestError) -> bytes:
        kind = _ERRORS.get(type(error), "overloaded_error" if error.reply_status in _OVERLOADED else None)
        if kind is None:
            kind = "invalid_request_error" if error.reply_status < 500 else "api_error"
        return orjson.dumps({"type": "error", "error": {"type": kind, "message": error.message}})

    def error_event(self, error: RequestError) -> bytes:
        return b"event: error\ndata: " + self.error(error) + b"\n\n"


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
        if kind == "message_stop":
            event.final = True
            event.changed |= _only(payload, "type")
        elif kind == "message_start":
            event.changed |= _only(payload, "type", "message")
            self._read_message(event, payload.get("message"), prompt_tokens)
        elif kind == "message_delta":
            event.changed |= _only(payload, "type", "delta", "usage")
            self._read_end(event, prompt_tokens)
        elif kind != "ping":
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
        return b"".join(_ending("refusal", usage or Usage(self._prompt_tokens, 0)))

    def answers(self, leaf: Leaf) -> bool:
        return leaf.channel[1:] == ("text",)

    def is_json(self, channel: Channel) -> bool:
        return channel[-1] in ("partial_json", "input")

    # -- inside

    def _read_message(self, event: Event, message: Any, prompt_tokens: int | None) -> None:
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            raise BrokenStream("an event of the engine has an unknown shape")
        event.changed |= keep_only(_MESSAGE_FIELDS, message)
        for index, block in enumerate(message["content"]):
            event.leaves += _block_leaves(index, _known_block(block))
        _read_stop(event, message)
        _recount(event, message, prompt_tokens)
        self._prompt_tokens = _input_tokens(message)

    def _read_end(self, event: Event, prompt_tokens: int | None) -> None:
        delta = event.payload.get("delta")
        if not isinstance(delta, dict):
            raise BrokenStream("an event of the engine has an unknown shape")
        event.changed |= _only(delta, "stop_reason", "stop_sequence")
        _read_stop(event, delta)
        _recount(event, event.payload, prompt_tokens)
        if delta.get("stop_reason"):
            event.ends = (0,)

    def _read_block(self, event: Event, kind: str) -> None:
        payload = event.payload
        index = payload.get("index")
        if not isinstance(index, int):
            raise BrokenStream("an event of the engine has an unknown shape")
        event.changed |= _only(payload, "type", "index", "content_block", "delta")
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
                raise BrokenStream("an event of the engine has an unknown shape")
            event.changed |= _only(delta, "type", field)
            event.leaves.append(Leaf(0, (index, field), delta, field, whole=field == _SIGNATURE))


# -- requests


def _message(message: Any, at: str) -> Iterator[Text]:
    if not isinstance(message, Mapping):
        raise BadRequest(f"'{at}' is not an object", param=at)
    role = message.get("role")
    if role not in _ROLES:
        raise BadRequest(f"'{at}.role' is one of {', '.join(_ROLES)}", param=f"{at}.role")
    yield from _blocks(message.get("content"), role, f"{at}.content")
    yield from odd_names(message, role, at)
    for name in message:
        if name not in ("role", "content"):
            yield from (Text(role, path, text) for path, text in texts_in(message[name], f"{at}.{name}"))


def _blocks(content: Any, role: str, at: str) -> Iterator[Text]:
    """Every text of a message's content. Raises BadRequest for what cannot be checked."""
    if isinstance(content, str):
        yield Text(role, at, content)
        return
    if not isinstance(content, list):
        raise BadRequest(f"'{at}' is a text or a list of blocks", param=at)
    for place, block in enumerate(content):
        here = f"{at}[{place}]"
        kind = block.get("type") if isinstance(block, Mapping) else None
        refused = refusal_of(kind, MESSAGES_BLOCKS)
        if refused is not None:
            raise BadRequest(f"'{here}': {refused}", param=at)
        yield from odd_names(block, role, here)
        for name, value in block.items():
            if name == "content" and kind == "tool_result":
                yield from _blocks(value, "tool", f"{here}.content") if value is not None else ()
            elif name not in _STRUCTURAL or not isinstance(value, str):
                yield from (Text(role, path, text) for path, text in texts_in(value, f"{here}.{name}"))


def _is_said(path: str) -> bool:
    return path.endswith((".content", ".text"))


def _as_text(content: Any) -> str:
    return "\n".join(text.text for text in _blocks(content, "", "")) if content is not None else ""


# -- answers


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


def _only(holder: Json, *known: str) -> bool:
    """Removes what is not known; returns whether there was any."""
    unknown = [name for name in holder if name not in known]
    for name in unknown:
        del holder[name]
    return bool(unknown)


def _recount(event: Event, holder: Json, prompt_tokens: int | None) -> None:
    if prompt_tokens is None or not isinstance(holder.get("usage"), dict):
        return
    said = holder["usage"].get("output_tokens")
    holder["usage"] = _usage(Usage(prompt_tokens, said if isinstance(said, int) else 0))
    event.changed = True


def _input_tokens(message: Json) -> int:
    usage = message.get("usage")
    tokens = usage.get("input_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else 0


def _usage(usage: Usage) -> Json:
    return {"input_tokens": usage.prompt, "output_tokens": usage.completion}


def _empty(head: Head) -> Json:
    return {
        "id": f"msg_{head.id}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": head.model,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _ending(reason: str, usage: Usage) -> Iterator[bytes]:
    yield typed_event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": _usage(usage),
        }
    )
    yield typed_event({"type": "message_stop"})


def _payload(data: bytes) -> Json:
    try:
        payload = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BrokenStream("an event of the engine is not JSON") from None
    kind = payload.get("type") if isinstance(payload, dict) else None
    if kind == "error" or (isinstance(payload, dict) and payload.get("error")):
        raise UpstreamFailed("the engine reported an error in mid-stream")
    if not isinstance(kind, str) or kind not in _EVENTS:
        raise BrokenStream("the engine sent an event of an unknown kind")
    found: Json = payload
    return found
