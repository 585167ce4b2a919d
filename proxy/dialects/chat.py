"""`/v1/chat/completions`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guards.context.note import Note
from guards.prompt.fields import texts_in
from guards.prompt.tables import CHAT
from proxy.dialects.base import Call, Json, Leaf, Text, Usage, common, nested, string_leaves
from proxy.dialects.sse import BrokenStream
from proxy.errors import BadRequest

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MESSAGE_FIELDS = ("name", "tool_calls", "tool_call_id", "function_call", "reasoning", "reasoning_content", "refusal")
_STRUCTURAL = frozenset({"role", "id", "type"})


class Chat:
    """Chat completions, streaming and not."""

    name = "chat"
    path = "/v1/chat/completions"
    table = CHAT
    choice_fields = frozenset({"index", "delta", "message", "finish_reason", "stop_reason"})

    def parse(self, body: Json) -> Call:
        model, stream, choices, include_usage = common(body)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise BadRequest("'messages' is a list with at least one message", param="messages")
        texts = [text for place, message in enumerate(messages) for text in _message_texts(message, place)]
        for name in ("tools", "response_format", "structured_outputs"):
            if body.get(name) is not None:
                texts += [Text(name, path, text) for path, text in texts_in(body[name], name)]
        asked = [text.text for text in texts if text.role == "user"]
        return Call(body, model, stream, choices, include_usage, tuple(texts), asked[-1] if asked else "")

    def amend(self, body: Json, note: Note) -> Json:
        messages = list(body["messages"])
        instruction = note.instruction
        if messages[0].get("role") in ("system", "developer"):
            # Templates allow one system message: ours comes first in it, so that it is not taken for the client's.
            clients = [text.text for text in _content_texts(messages.pop(0).get("content"), "system", "messages[0]")]
            instruction = "\n\n".join((instruction, *clients))
        shown = [{"role": r, "content": c} for q, a in note.demonstrations for r, c in (("user", q), ("assistant", a))]
        return {**body, "messages": [{"role": "system", "content": instruction}, *shown, *messages]}

    def tokenize_request(self, body: Json) -> Json:
        return {
            "model": body["model"],
            "messages": body["messages"],
            **({"tools": t} if (t := body.get("tools")) else {}),
        }

    def leaves(self, choice: Json) -> Iterator[Leaf]:
        for part in ("delta", "message"):
            if not isinstance(choice.get(part, {}), dict | None):
                raise BrokenStream("an event of the engine has an unknown shape")
            for path, holder, key in string_leaves(choice.get(part), _STRUCTURAL, ()):
                yield Leaf(choice.get("index", 0), path, holder, key)

    def is_json(self, channel: tuple[str | int, ...]) -> bool:
        return channel[-1:] == ("arguments",)

    def answer(self, head: Json, texts: Sequence[str], usage: Usage, finish_reason: str) -> Json:
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
            for index, text in enumerate(texts)
        ]
        return {**head, "object": "chat.completion", "choices": choices, "usage": usage.as_json()}

    def opening(self, head: Json, choice: int) -> Json | None:
        return self._event(head, choice, {"role": "assistant", "content": ""}, None)

    def delta(self, head: Json, choice: int, channel: tuple[str | int, ...], text: str) -> Json:
        return self._event(head, choice, nested(channel or ("content",), text), None)

    def finish(self, head: Json, choice: int, reason: str) -> Json:
        return self._event(head, choice, {}, reason)

    @staticmethod
    def _event(head: Json, choice: int, delta: Json, reason: str | None) -> Json:
        item = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**head, "object": "chat.completion.chunk", "choices": [item]}


def _message_texts(message: Any, place: int) -> Iterator[Text]:
    """Every text of a message: content and parts, names, tool calls, reasoning. Raises BadRequest for media."""
    at = f"messages[{place}]"
    if not isinstance(message, Mapping):
        raise BadRequest(f"'{at}' is not an object", param=at)
    role = message.get("role")
    if role not in _ROLES:
        raise BadRequest(f"'{at}.role' is one of {', '.join(_ROLES)}", param=f"{at}.role")
    for name, value in message.items():
        if name == "content":
            yield from _content_texts(value, role, f"{at}.content")
        elif name != "role":
            if name not in _MESSAGE_FIELDS:
                yield Text(role, at, name)
            yield from (Text(role, path, text) for path, text in texts_in(value, f"{at}.{name}"))


def _content_texts(content: Any, role: str, at: str) -> Iterator[Text]:
    if isinstance(content, str):
        yield Text(role, at, content)
    elif isinstance(content, list):
        for place, part in enumerate(content):
            kind = part.get("type") if isinstance(part, Mapping) else None
            if kind not in ("text", "refusal") or not isinstance(part.get(kind), str):
                raise BadRequest(f"'{at}[{place}]': only text can be checked, so only text is accepted", param=at)
            yield Text(role, f"{at}[{place}].{kind}", part[kind])
    elif content is not None:
        raise BadRequest(f"'{at}' is a text or a list of parts", param=at)
