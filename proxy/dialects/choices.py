"""Answers that come as numbered choices: those of chat and of plain completions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from proxy.dialects.answers import checked, empty_unknown, payload_of, recounted, words_of
from proxy.dialects.base import AnswerStream, Call, Channel, Event, Head, Json, Leaf, Usage
from proxy.dialects.sse import DONE, DONE_EVENT, UNKNOWN_SHAPE, BrokenStream, ends_with_done, error_event, event_bytes
from proxy.errors import RequestError

CUT_REASON = "content_filter"

EVENT_FIELDS = frozenset(("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"))


class ChoiceShape(Protocol):
    """What tells the two apart."""

    id_prefix: str
    whole: str
    """The kind of a whole answer."""

    def trim(self, choice: Json) -> bool:
        """Takes what is not known out of a choice; returns whether there was any. Raises BrokenStream."""
        ...

    def leaves(self, choice: Json) -> Iterator[Leaf]:
        """Every string of one choice that a client can read."""
        ...

    def event(self, head: Json, choice: int, said: tuple[Channel, str] | None, reason: str | None) -> Json:
        """A stream event that carries one piece of a string, or ends a choice."""
        ...

    def opening(self, head: Json, choice: int) -> Json | None:
        """The event that opens a choice, where there is one."""
        ...

    def said(self, text: str) -> Json:
        """What a choice of a whole answer holds beside its number and its end."""
        ...

    def answers(self, leaf: Leaf) -> bool: ...

    def is_json(self, channel: Channel) -> bool: ...


class ChoiceDialect(ChoiceShape):
    """The part of `Dialect` in which the two do not differ."""

    always: Mapping[str, Any] = {}

    def stream(self, call: Call) -> AnswerStream:
        return ChoiceStream(self, call)

    def is_answer(self, payload: Any) -> bool:
        return isinstance(payload, dict) and isinstance(payload.get("choices"), list)

    def ends_stream(self, whole: bytes) -> bool:
        return ends_with_done(whole)

    def keeps(self, event: bytes) -> bool:
        return b'"finish_reason":"' in event

    def answer(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Json:
        choices = [
            {"index": index, **self.said(text), "logprobs": None, "finish_reason": "stop"}
            for index, text in enumerate(texts)
        ]
        return {**head_of(self, head), "object": self.whole, "choices": choices, "usage": usage.as_json()}

    def spoken(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Iterator[bytes]:
        return spoken(self, call, head, texts, usage)

    def error(self, error: RequestError) -> bytes:
        return error.body()

    def error_event(self, error: RequestError) -> bytes:
        return error_event(error.body())


class ChoiceStream:
    """Implements `AnswerStream`."""

    def __init__(self, shape: ChoiceShape, call: Call) -> None:
        self._shape = shape
        self._call = call
        self._last: Json = {}
        """The last event, whose head is that of events of our own."""
        self._ended: set[int] = set()
        """Choices whose cut left with the event that was cut."""

    def read(self, raw: bytes, data: bytes, still_open: Collection[int], prompt_tokens: int | None) -> Event | None:
        if data == DONE:
            return Event(raw, {}, final=True)
        payload = _numbered(payload_of(data))
        self._last = payload
        # Comments and other fields beside the data stay here.
        event = Event(raw, payload, changed=raw != b"data: " + data)
        event.changed |= empty_unknown(payload, EVENT_FIELDS)
        kept = [choice for choice in payload["choices"] if choice.get("index", 0) in still_open]
        if len(kept) != len(payload["choices"]):
            if not kept:
                return None
            payload["choices"], event.changed = kept, True
        self._read_choices(event, prompt_tokens)
        return event

    def read_whole(self, payload: Json, prompt_tokens: int | None) -> Event:
        choices = _numbered(checked(payload))["choices"]
        if sorted(choice.get("index", 0) for choice in choices) != list(range(len(choices))):
            raise BrokenStream("the choices of the engine's answer are not numbered")
        if not all(choice.get("finish_reason") for choice in choices):
            raise BrokenStream("the engine's answer is not finished")
        event = Event(b"", payload, whole=True)
        empty_unknown(payload, EVENT_FIELDS)
        self._read_choices(event, prompt_tokens)
        return event

    def write(self, event: Event, cut: Collection[int]) -> bytes:
        if event.final:
            return DONE_EVENT
        for choice in event.payload["choices"]:
            if choice.get("index", 0) in cut:
                choice["finish_reason"] = CUT_REASON
                self._ended.add(choice.get("index", 0))
        return event_bytes(event.payload) if event.changed else event.raw + b"\n\n"

    def seen(self, event: Event) -> None:
        pass

    def piece(self, choice: int, channel: Channel, text: str) -> bytes:
        return event_bytes(self._shape.event(self._head, choice, (channel, text), None))

    def cut(self, choice: int) -> bytes:
        if choice in self._ended:
            return b""
        return event_bytes(self._shape.event(self._head, choice, None, CUT_REASON))

    def end_cut(self, usage: Usage | None) -> bytes:
        if usage is None or not self._call.include_usage:
            return DONE_EVENT
        return event_bytes(usage_event(self._shape, self._head, usage)) + DONE_EVENT

    def answers(self, leaf: Leaf) -> bool:
        return self._shape.answers(leaf)

    def is_json(self, channel: Channel) -> bool:
        return self._shape.is_json(channel)

    @property
    def _head(self) -> Json:
        return {name: self._last[name] for name in ("id", "created", "model") if name in self._last}

    def _read_choices(self, event: Event, prompt_tokens: int | None) -> None:
        for choice in event.payload["choices"]:
            event.changed |= self._shape.trim(choice)
            event.leaves += self._shape.leaves(choice)
        event.ends = tuple(c.get("index", 0) for c in event.payload["choices"] if c.get("finish_reason"))
        if usage := recounted(event.payload, "completion_tokens", prompt_tokens):
            event.payload["usage"], event.changed = usage.as_json(), True


def head_of(shape: ChoiceShape, head: Head) -> Json:
    """Id, time and model of an answer of our own."""
    return {"id": f"{shape.id_prefix}-{head.id}", "created": head.created, "model": head.model}


def usage_event(shape: ChoiceShape, head: Json, usage: Usage) -> Json:
    """The event that reports usage at the end of a stream."""
    return {**shape.event(head, 0, None, None), "choices": [], "usage": usage.as_json()}


def spoken(shape: ChoiceShape, call: Call, given: Head, texts: Sequence[str], usage: Usage) -> Iterator[bytes]:
    """An answer of our own as a stream."""
    head = head_of(shape, given)
    for choice, text in enumerate(texts):
        opening = shape.opening(head, choice)
        if opening:
            yield event_bytes(opening)
        for piece in words_of(text):
            yield event_bytes(shape.event(head, choice, ((), piece), None))
        yield event_bytes(shape.event(head, choice, None, "stop"))
    if call.include_usage:
        yield event_bytes(usage_event(shape, head, usage))
    yield DONE_EVENT


def _numbered(payload: Json) -> Json:
    """An answer, or an event of one, whose choices say which they are. Raises BrokenStream."""
    choices = payload.get("choices")
    if not isinstance(choices, list):
        raise BrokenStream(UNKNOWN_SHAPE)
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get("index", 0), int):
            raise BrokenStream(UNKNOWN_SHAPE)
    return payload
