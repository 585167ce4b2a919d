"""`/v1/chat/completions`."""

from collections.abc import Iterator, Mapping
from typing import Any

from guards.context.note import Note
from guards.prompt.fields import texts_in
from guards.prompt.kinds import CHAT_PARTS, refusal_of
from guards.prompt.tables import CHAT
from proxy.dialects.answers import empty_unknown, nested, string_leaves
from proxy.dialects.base import Call, Channel, Json, Leaf, Text
from proxy.dialects.choices import ChoiceDialect
from proxy.dialects.requests import common, conversation, odd_names, question_of, seams_last, texts_beside
from proxy.dialects.sse import UNKNOWN_SHAPE, BrokenStream
from proxy.errors import BadRequest

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_UNREADABLE = frozenset(("audio",))  # names something that was said elsewhere
_STRUCTURAL = frozenset({"role", "id", "type"})
_CHOICE_FIELDS = frozenset({"index", "delta", "message", "finish_reason", "stop_reason"})
_SAID = frozenset(
    (
        *("role", "content", "refusal", "reasoning", "reasoning_content"),
        *("tool_calls", "function_call", "annotations"),
    )
)
"""Fields of a message or delta that a client may have of a checked answer."""
_TEXTS = ("role", "content", "refusal", "reasoning", "reasoning_content")


class Chat(ChoiceDialect):
    """Chat completions, streaming and not."""

    name = "chat"
    path = "/v1/chat/completions"
    table = CHAT
    id_prefix = "chatcmpl"
    whole = "chat.completion"

    def parse(self, body: Json) -> Call:
        model, stream, choices, include_usage = common(body)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise BadRequest("'messages' is a list with at least one message", param="messages")
        texts = list(conversation(_message_texts(message, place) for place, message in enumerate(messages)))
        last = messages[-1]
        lead = "".join(t.text for t in _content_texts(last.get("content"), "", "")) if _answers(last) else ""
        texts += texts_beside(body, "tools", "tool_choice", "response_format", "structured_outputs")
        lead_in = (lead,) if lead else ()
        return Call(body, model, stream, choices, include_usage, seams_last(texts), question_of(texts), lead_in)

    def amend(self, body: Json, note: Note) -> Json:
        messages = list(body["messages"])
        instruction = note.instruction
        if messages[0].get("role") in ("system", "developer"):
            # Templates allow one system message: ours comes first in it, so that it is not taken for the client's.
            clients = [text.text for text in _content_texts(messages.pop(0).get("content"), "system", "messages[0]")]
            instruction = "\n\n".join((instruction, *clients))
        return {**body, "messages": [{"role": "system", "content": instruction}, *note.as_turns(), *messages]}

    def tokenize_request(self, body: Json) -> Json:
        return {
            "model": body["model"],
            "messages": body["messages"],
            **({"tools": t} if (t := body.get("tools")) else {}),
        }

    # -- the shape of its choices

    def said(self, text: str) -> Json:
        return {"message": {"role": "assistant", "content": text}}

    def trim(self, choice: Json) -> bool:
        changed = empty_unknown(choice, _CHOICE_FIELDS)
        for part in ("delta", "message"):
            said = choice.get(part)
            if said is None:
                continue
            if not isinstance(said, dict) or not _is_said(said):
                raise BrokenStream(UNKNOWN_SHAPE)
            if empty_unknown(said, _SAID):
                choice[part], changed = {name: value for name, value in said.items() if name in _SAID}, True
        return changed

    def leaves(self, choice: Json) -> Iterator[Leaf]:
        for part in ("delta", "message"):
            if said := choice.get(part):
                for path, holder, key in string_leaves(said, _STRUCTURAL, ()):
                    yield Leaf(choice.get("index", 0), path, holder, key)

    def event(self, head: Json, choice: int, said: tuple[Channel, str] | None, reason: str | None) -> Json:
        return self._event(head, choice, nested(said[0] or ("content",), said[1]) if said else {}, reason)

    def opening(self, head: Json, choice: int) -> Json | None:
        return self._event(head, choice, {"role": "assistant", "content": ""}, None)

    def answers(self, leaf: Leaf) -> bool:
        return leaf.channel == ("content",)

    def is_json(self, channel: Channel) -> bool:
        return channel[-1:] == ("arguments",)

    @staticmethod
    def _event(head: Json, choice: int, delta: Json, reason: str | None) -> Json:
        item = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**head, "object": "chat.completion.chunk", "choices": [item]}


def _is_said(said: Json) -> bool:
    """True when texts are texts and calls are lists of objects: a client puts nothing else together."""
    for name in said:  # it has few: this is done for every token
        value = said[name]
        if name in _TEXTS and not isinstance(value, str) and value is not None:
            return False
    calls = said.get("tool_calls")
    if calls and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        return False
    functions = [said.get("function_call"), *(call.get("function") for call in calls or ())]
    return all(map(_is_function, functions))


def _is_function(called: Any) -> bool:
    if called is None:
        return True
    return isinstance(called, dict) and all(isinstance(called.get(name), str | None) for name in ("name", "arguments"))


def _answers(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "assistant"


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
            yield from _beside_texts(value, role, f"{at}.content")
        elif name in _UNREADABLE and value is not None:
            raise BadRequest(f"'{at}.{name}' cannot be checked, so it is not accepted", param=f"{at}.{name}")
        elif name != "role":
            yield from odd_names((name,), role, at)
            yield from (Text(role, path, text) for path, text in texts_in(value, f"{at}.{name}"))


def _content_texts(content: Any, role: str, at: str) -> Iterator[Text]:
    if isinstance(content, str):
        yield Text(role, at, content)
    elif isinstance(content, list):
        for place, part in enumerate(content):
            kind = part.get("type") if isinstance(part, Mapping) else None
            refused = refusal_of(kind, CHAT_PARTS)
            if refused is not None or not isinstance(part.get(kind), str):
                raise BadRequest(f"'{at}[{place}]': {refused or 'its text is missing'}", param=at)
            yield Text(role, f"{at}[{place}].{kind}", part[kind])
    elif content is not None:
        raise BadRequest(f"'{at}' is a text or a list of parts", param=at)


def _beside_texts(content: Any, role: str, at: str) -> Iterator[Text]:
    """What else stands in the parts of a content: no template of today reads it."""
    for place, part in enumerate(content if isinstance(content, list) else ()):
        beside = {name: value for name, value in part.items() if name not in ("type", part["type"])}
        yield from (Text(role, path, text) for path, text in texts_in(beside, f"{at}[{place}]") if text not in beside)
        yield from odd_names(beside, role, at)
