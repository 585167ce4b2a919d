"""`/v1/responses`: requests, and answers of our own. The engine's events are read in `responses_stream.py`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guards.context.note import Note
from guards.prompt.fields import texts_in
from guards.prompt.kinds import RESPONSES_ITEMS, RESPONSES_PARTS, RESPONSES_TOOLS, refusal_of
from guards.prompt.tables import RESPONSES
from proxy.dialects.answers import words_of
from proxy.dialects.base import AnswerStream, Call, Head, Json, Text, Usage
from proxy.dialects.requests import conversation, flag, model_of, odd_names, question_of, seams_last, texts_beside
from proxy.dialects.responses_events import TERMINAL, usage_json
from proxy.dialects.responses_stream import ResponseStream
from proxy.dialects.sse import last_type, typed_event
from proxy.errors import BadRequest, RequestError

_ROLES = ("user", "assistant", "system", "developer")
_STRUCTURAL = frozenset({"type", "role", "status"})
"""Names whose strings no template puts before a model. Ids are not among them: some do."""
_PARTS = ("content", "summary", "output")
"""Fields of an item that hold a text or a list of parts."""


class Responses:
    """Responses, streaming and not."""

    name = "responses"
    path = "/v1/responses"
    table = RESPONSES
    always: Mapping[str, Any] = {"store": False}

    def parse(self, body: Json) -> Call:
        model, stream = model_of(body), flag(body, "stream")
        texts: list[Text] = []
        instructions = body.get("instructions")
        if instructions is not None:
            if not isinstance(instructions, str):
                raise BadRequest("'instructions' is a text", param="instructions")
            texts.append(Text("system", "instructions", instructions))
        texts += _input(body.get("input"), tuple(texts))
        lead = _lead(body["input"])
        tools = body.get("tools") or []
        if not isinstance(tools, list):
            raise BadRequest("'tools' is a list", param="tools")
        for place, tool in enumerate(tools):
            refused = refusal_of(tool.get("type") if isinstance(tool, Mapping) else None, RESPONSES_TOOLS)
            if refused is not None:
                raise BadRequest(f"'tools[{place}]': {refused}", param="tools")
        texts += texts_beside(body, "tools", "tool_choice", "text", "structured_outputs")
        return Call(body, model, stream, 1, True, seams_last(texts), question_of(texts), (lead,) if lead else ())

    def amend(self, body: Json, note: Note) -> Json:
        items = body["input"]
        items = [{"role": "user", "content": items}] if isinstance(items, str) else list(items)
        instructions = [note.instruction, *([body["instructions"]] if body.get("instructions") else ())]
        if isinstance(items[0], Mapping) and items[0].get("role") in ("system", "developer"):
            # Templates allow one system message: the client's goes behind ours in it.
            instructions += [text.text for text in _parts(items.pop(0).get("content"), "system", "input[0]")]
        return {**body, "instructions": "\n\n".join(instructions), "input": [*note.as_turns(), *items]}

    def tokenize_request(self, body: Json) -> Json:
        messages = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
        items = body["input"]
        for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
            text = "\n".join(text.text for text in _item(item, ""))
            messages.append({"role": item.get("role", "user"), "content": text})
        return {"model": body["model"], "messages": messages}

    def stream(self, call: Call) -> AnswerStream:
        return ResponseStream(call)

    def is_answer(self, payload: Any) -> bool:
        return isinstance(payload, dict) and payload.get("object") == "response"

    def ends_stream(self, whole: bytes) -> bool:
        return last_type(whole) in TERMINAL

    def keeps(self, event: bytes) -> bool:
        return not event.partition(b"\n")[0].endswith(b".delta")

    def answer(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Json:
        item = _message_item(head, texts[0])
        return {**_response(call, head, "completed"), "output": [item], "usage": usage_json(usage)}

    def spoken(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Iterator[bytes]:
        begun = _response(call, head, "in_progress")
        for number, payload in enumerate(self._spoken(call, head, texts[0], usage, begun)):
            yield typed_event({**payload, "sequence_number": number})

    def _spoken(self, call: Call, head: Head, text: str, usage: Usage, begun: Json) -> Iterator[Json]:
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        done = _message_item(head, text)
        part = done["content"][0]
        item = {"output_index": 0}
        place = {"item_id": done["id"], **item, "content_index": 0}
        yield {"type": "response.output_item.added", **item, "item": {**done, "content": [], "status": "in_progress"}}
        yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
        for piece in words_of(text):
            yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **place, "text": text, "logprobs": []}
        yield {"type": "response.content_part.done", **place, "part": part}
        yield {"type": "response.output_item.done", **item, "item": done}
        yield {"type": "response.completed", "response": self.answer(call, head, [text], usage)}

    def error(self, error: RequestError) -> bytes:
        return error.body()

    def error_event(self, error: RequestError) -> bytes:
        event = {"type": "error", "code": error.reply_code, "message": error.message, "param": error.param}
        return typed_event({**event, "sequence_number": 0})


# -- requests


def _input(given: Any, before: Sequence[Text]) -> Iterator[Text]:
    """Every text of the input. Raises BadRequest for what cannot be checked."""
    if isinstance(given, str):
        yield from conversation([[Text("user", "input", given)]], before)
        return
    if not isinstance(given, list) or not given:
        raise BadRequest("'input' is a text or a list with at least one item", param="input")
    yield from conversation((_item(item, f"input[{place}]") for place, item in enumerate(given)), before)


def _item(item: Any, at: str) -> Iterator[Text]:
    if not isinstance(item, Mapping):
        raise BadRequest(f"'{at}' is not an object", param=at)
    kind = item.get("type", "message")
    refused = refusal_of(kind, RESPONSES_ITEMS)
    if refused is not None:
        raise BadRequest(f"'{at}': {refused}", param="input")
    role = item.get("role") if kind == "message" else "tool" if kind.endswith("_output") else "assistant"
    if role not in (*_ROLES, "tool"):
        raise BadRequest(f"'{at}.role' is one of {', '.join(_ROLES)}", param=f"{at}.role")
    yield from odd_names(item, role, at)
    for name, value in item.items():
        if name == "encrypted_content" and value:
            raise BadRequest(f"'{at}.{name}' cannot be read here, so it is not accepted", param="input")
        if name in _PARTS:
            yield from _parts(value, role, f"{at}.{name}")
        elif name not in _STRUCTURAL or not isinstance(value, str):
            yield from (Text(role, path, text) for path, text in texts_in(value, f"{at}.{name}"))


def _parts(content: Any, role: str, at: str) -> Iterator[Text]:
    if isinstance(content, str):
        yield Text(role, at, content)
        return
    if content is not None and not isinstance(content, list):
        raise BadRequest(f"'{at}' is a text or a list of parts", param="input")
    for place, part in enumerate(content or ()):
        here = f"{at}[{place}]"
        refused = refusal_of(part.get("type") if isinstance(part, Mapping) else None, RESPONSES_PARTS)
        if refused is not None:
            raise BadRequest(f"'{here}': {refused}", param="input")
        yield from odd_names(part, role, here)
        for name, value in part.items():
            if name != "type":
                yield from (Text(role, path, text) for path, text in texts_in(value, f"{here}.{name}"))


def _lead(given: Any) -> str:
    """What the client has the answer begin with."""
    last = given[-1] if isinstance(given, list) else None
    if not isinstance(last, Mapping) or last.get("role") != "assistant":
        return ""
    return "".join(text.text for text in _parts(last.get("content"), "", ""))


# -- answers of our own


def _message_item(head: Head, text: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_{head.id}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def _response(call: Call, head: Head, status: str) -> Json:
    """A response without output, with what the client asked for, as the engine repeats it."""
    body = call.body

    def asked(name: str, default: Any) -> Any:
        value = body.get(name)
        return default if value is None else value

    return {
        "id": f"resp_{head.id}",
        "created_at": head.created,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": None,
        "model": head.model,
        "object": "response",
        "output": [],
        "parallel_tool_calls": asked("parallel_tool_calls", True),
        "temperature": asked("temperature", 1.0),
        "tool_choice": asked("tool_choice", "auto" if body.get("tools") else "none"),
        "tools": asked("tools", []),
        "top_p": asked("top_p", 1.0),
        "background": False,
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "previous_response_id": None,
        "prompt": None,
        "reasoning": body.get("reasoning"),
        "service_tier": "auto",
        "status": status,
        "text": body.get("text"),
        "top_logprobs": None,
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
    }
