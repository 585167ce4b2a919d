"""What the dialects share: a parsed request, the strings of an answer, and the contract each dialect fulfils."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from guards.context.note import Note
from guards.prompt.fields import Field
from proxy.errors import BadRequest

MAX_CHOICES = 16  # more draws of an answer are more chances of a leak, and each holds its own filter state

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Text:
    """One text of a request: who said it, and where in the body it stands."""

    role: str
    path: str
    text: str


@dataclass(frozen=True, repr=False)
class Call:
    """A request, read: its body as the client sent it, and what the proxy needs of it."""

    body: Json
    model: str
    stream: bool
    choices: int
    include_usage: bool
    texts: tuple[Text, ...]
    question: str
    """What the client asks last: it shapes the wording of a refusal."""


@dataclass(slots=True)
class Leaf:
    """A string that a client can read, in a parsed answer or event. It can be replaced in place."""

    choice: int
    channel: tuple[str | int, ...]
    """Path of the string below its choice; the same in every event of a stream."""
    holder: Any
    key: str | int

    @property
    def text(self) -> str:
        return str(self.holder[self.key])

    @text.setter
    def text(self, value: str) -> None:
        self.holder[self.key] = value


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of an exchange, of the client's own prompt."""

    prompt: int
    completion: int

    def as_json(self) -> Json:
        total = self.prompt + self.completion
        return {"prompt_tokens": self.prompt, "completion_tokens": self.completion, "total_tokens": total}


class Dialect(Protocol):
    """One shape of the API."""

    name: str
    path: str
    table: Mapping[str, Field]
    choice_fields: frozenset[str]
    """Fields of a choice that a client may have of a checked answer."""

    def parse(self, body: Json) -> Call:
        """Reads a request. Raises BadRequest with the field that is wrong."""
        ...

    def amend(self, body: Json, note: Note) -> Json:
        """The body with a note before the conversation."""
        ...

    def tokenize_request(self, body: Json) -> Json:
        """The body of a `/tokenize` call that counts the client's own prompt."""
        ...

    def leaves(self, choice: Json) -> Iterator[Leaf]:
        """Every string of one choice of an answer or event that a client can read."""
        ...

    def is_json(self, channel: tuple[str | int, ...]) -> bool:
        """True for a string that is itself JSON, which the client will decode."""
        ...

    def answer(self, head: Json, texts: Sequence[str], usage: Usage, finish_reason: str) -> Json:
        """A whole answer of our own. `head` holds id, created and model."""
        ...

    def delta(self, head: Json, choice: int, channel: tuple[str | int, ...], text: str) -> Json:
        """A stream event that carries one piece of text."""
        ...

    def opening(self, head: Json, choice: int) -> Json | None:
        """The event that opens a choice, where the dialect has one."""
        ...

    def finish(self, head: Json, choice: int, reason: str) -> Json:
        """The event that ends a choice."""
        ...


def common(body: Json) -> tuple[str, bool, int, bool]:
    """Model, stream, number of choices and include_usage of a request. Raises BadRequest."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("'model' is missing: name one of GET /v1/models", param="model")
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        raise BadRequest("'stream' is true or false", param="stream")
    choices = 1 if body.get("n") is None else body["n"]
    if not isinstance(choices, int) or isinstance(choices, bool) or not 1 <= choices <= MAX_CHOICES:
        raise BadRequest(f"'n' is a number from 1 to {MAX_CHOICES}", param="n")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise BadRequest("'stream_options' is an object", param="stream_options")
    return model, stream, choices, bool((options or {}).get("include_usage"))


def string_leaves(
    value: Any, structural: frozenset[str], path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], Any, str | int]]:
    """Path, holder and key of every string below a JSON value, but for structural keys such as `role` and `id`.

    An element of a list is addressed by its own `index` where it has one: tool calls arrive in pieces under it.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if key in structural:
                continue
            if isinstance(item, str):
                yield (*path, key), value, key
            else:
                yield from string_leaves(item, structural, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            given = item.get("index") if isinstance(item, dict) else None
            index = given if isinstance(given, int) else place
            if isinstance(item, str):
                yield (*path, index), value, place
            else:
                yield from string_leaves(item, structural, (*path, index))


def nested(channel: tuple[str | int, ...], text: str) -> Any:
    """A JSON value that holds one string at a path, as `string_leaves` names it."""
    if not channel:
        return text
    first, rest = channel[0], channel[1:]
    inner = nested(rest, text)
    if isinstance(first, int):
        return [{"index": first, **inner}] if isinstance(inner, dict) else [inner]
    return {first: inner}
