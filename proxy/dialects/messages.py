"""`/v1/messages`, Anthropic's API: requests, and answers of our own.

The engine's events are read in `messages_stream.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from guards.context.note import Note
from guards.prompt.fields import texts_in
from guards.prompt.kinds import MESSAGES_BLOCKS, refusal_of
from guards.prompt.tables import MESSAGES
from proxy.dialects.answers import words_of
from proxy.dialects.base import AnswerStream, Call, Head, Json, Text, Usage
from proxy.dialects.messages_stream import MessageStream, ending, usage_json
from proxy.dialects.requests import conversation, flag, model_of, odd_names, question_of, seams_last, texts_beside
from proxy.dialects.sse import last_type, typed_event
from proxy.errors import BadRequest, Forbidden, NotFound, RateLimited, RequestError, TooLarge, Unauthenticated

_ROLES = ("user", "assistant", "system")
_STRUCTURAL = frozenset({"type", "signature"})
"""Names whose strings no template puts before a model. Ids are not among them: some do."""
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
        return {**body, "system": before, "messages": [*note.as_turns(), *body["messages"]]}

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
        return {**_empty(head), "content": content, "stop_reason": "end_turn", "usage": usage_json(usage)}

    def spoken(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Iterator[bytes]:
        begun = {**_empty(head), "usage": usage_json(Usage(usage.prompt, 0))}
        yield typed_event({"type": "message_start", "message": begun})
        block = {"type": "text", "text": ""}
        yield typed_event({"type": "content_block_start", "content_block": block, "index": 0})
        for piece in words_of(texts[0]):
            yield typed_event(
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": piece}, "index": 0}
            )
        yield typed_event({"type": "content_block_stop", "index": 0})
        yield from ending("end_turn", usage)

    def error(self, error: RequestError) -> bytes:
        kind = _ERRORS.get(type(error), "overloaded_error" if error.reply_status in _OVERLOADED else None)
        if kind is None:
            kind = "invalid_request_error" if error.reply_status < 500 else "api_error"
        return orjson.dumps({"type": "error", "error": {"type": kind, "message": error.message}})

    def error_event(self, error: RequestError) -> bytes:
        return b"event: error\ndata: " + self.error(error) + b"\n\n"


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


# -- answers of our own


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
