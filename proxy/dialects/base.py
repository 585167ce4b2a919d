"""What the dialects share: a parsed request, the strings of an answer, and the contract each dialect fulfils.

A `Dialect` reads requests and writes whole answers; it has no state. An `AnswerStream` is one answer as it comes: it
reads the engine's events into `Event`s, whose strings the filters may shorten, and writes what a client of the dialect
expects in their place, be it a cut. It remembers what it wrote: numbers of events, items that are open.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from guards.context.note import Note
from guards.prompt.fields import Field, texts_in
from guards.turns import SHORT_ANSWER, Turns, seams
from proxy.errors import BadRequest, RequestError

MAX_CHOICES = 16  # more draws of an answer are more chances of a leak, and each holds its own filter state

CUT_REASON = "content_filter"

_FIELD = re.compile(r"[A-Za-z_]{1,24}")

Json = dict[str, Any]
Channel = tuple[str | int, ...]
"""Path of a string below its choice; the same in every event of a stream."""


@dataclass(frozen=True, slots=True, repr=False)
class Text:
    """One text of a request: who said it, and where in the body it stands."""

    role: str
    path: str
    text: str
    turn: int | None = None
    """Which message or item it stands in; None outside the conversation."""


@dataclass(frozen=True, repr=False)
class Call:
    """A request, read: its body as the client sent it, and what the proxy needs of it."""

    body: Json
    model: str
    stream: bool
    choices: int
    include_usage: bool
    texts: tuple[Text, ...]
    """Those that join others come last (`seams_last`)."""
    question: str
    """What the client asks last: it shapes the wording of a refusal."""
    leads: tuple[str, ...] = ()
    """What the answers go on from: a prefilled answer, or plain prompts. Filters read it as the start of the answer."""
    in_words: Json = field(default_factory=dict)
    """Fields of the body as text, where the client sent token ids."""

    def lead(self, choice: int) -> str:
        """What the answer of a choice goes on from; may be empty."""
        return self.leads[choice * len(self.leads) // self.choices] if self.leads else ""


@dataclass(slots=True)
class Leaf:
    """A string that a client can read, in a parsed answer or event. It can be replaced in place."""

    choice: int
    channel: Channel
    holder: Any
    key: str | int
    whole: bool = False
    """The string stands for itself: it repeats what came in pieces, or is a name. It leaves as it is, or not at all."""

    @property
    def text(self) -> str:
        return str(self.holder[self.key])

    @text.setter
    def text(self, value: str) -> None:
        self.holder[self.key] = value


@dataclass(slots=True, repr=False)
class Event:
    """One event of the engine, or a whole answer, read."""

    raw: bytes
    """As it came, without its closing blank line."""
    payload: Json
    leaves: list[Leaf] = field(default_factory=list)
    closes: list[tuple[int, Channel]] = field(default_factory=list)
    """Choice and start of the channels that are complete with it."""
    ends: tuple[int, ...] = ()
    """Choices that are complete with it."""
    final: bool = False
    """Nothing comes after it."""
    changed: bool = False
    """It does not leave as the bytes that came."""
    whole: bool = False
    """It is a whole answer, whose payload leaves as one."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of an exchange, of the client's own prompt."""

    prompt: int
    completion: int

    def as_json(self) -> Json:
        """As chat and completions report it."""
        total = self.prompt + self.completion
        return {"prompt_tokens": self.prompt, "completion_tokens": self.completion, "total_tokens": total}


@dataclass(frozen=True, slots=True)
class Head:
    """What identifies an answer of our own."""

    id: str
    """Without the dialect's prefix."""
    created: int
    model: str


class AnswerStream(Protocol):
    """One answer, from its first event to its last. Its methods are called in the order of what leaves."""

    def read(self, raw: bytes, data: bytes, still_open: Collection[int], prompt_tokens: int | None) -> Event | None:
        """Reads an event; None when nothing of it is for the client.

        `still_open` are the choices that were not cut or ended; `prompt_tokens` replaces the engine's count of them.
        What is not known does not stay in it. Raises BrokenStream for what is no event of this dialect, UpstreamFailed
        for an error that the engine reports.
        """
        ...

    def read_whole(self, payload: Json, prompt_tokens: int | None) -> Event:
        """Reads an answer that came in one piece. Raises BrokenStream."""
        ...

    def write(self, event: Event, cut: Collection[int]) -> bytes:
        """What leaves of an event whose strings were filtered; `cut` are the choices that end with it, by us."""
        ...

    def seen(self, event: Event) -> None:
        """Takes note of an event that left as it came."""
        ...

    def piece(self, choice: int, channel: Channel, text: str) -> bytes:
        """An event that carries one more piece of a string."""
        ...

    def cut(self, choice: int) -> bytes:
        """What is left to write to end a choice before its time."""
        ...

    def end_cut(self, usage: Usage | None) -> bytes:
        """The end of a stream of which a choice was cut."""
        ...

    def answers(self, leaf: Leaf) -> bool:
        """True for a string of the answer itself, which goes on from what the client began: no reasoning, no call."""
        ...

    def is_json(self, channel: Channel) -> bool:
        """True for a string that is itself JSON, which the client will decode."""
        ...


class Route(Protocol):
    """One route that is passed on: how its requests are read, and its errors written."""

    name: str
    path: str
    table: Mapping[str, Field]

    def parse(self, body: Json) -> Call:
        """Reads a request. Raises BadRequest with the field that is wrong."""
        ...

    def error(self, error: RequestError) -> bytes:
        """The body of a failed request."""
        ...


class Dialect(Route, Protocol):
    """One shape of the API that generates."""

    always: Mapping[str, Any]
    """Fields that every request to the engine carries, whatever the client sent."""

    def amend(self, body: Json, note: Note) -> Json:
        """The body with a note before the conversation."""
        ...

    def tokenize_request(self, body: Json) -> Json:
        """The body of a `/tokenize` call that counts the client's own prompt."""
        ...

    def stream(self, call: Call) -> AnswerStream:
        """Begins to read an answer to a request."""
        ...

    def is_answer(self, payload: Any) -> bool:
        """True for the JSON of a whole answer."""
        ...

    def ends_stream(self, whole: bytes) -> bool:
        """True when the last of some whole events ends the stream."""
        ...

    def keeps(self, event: bytes) -> bool:
        """True for events without which the end of a long stream cannot be written."""
        ...

    def answer(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Json:
        """A whole answer of our own, a text for each choice."""
        ...

    def spoken(self, call: Call, head: Head, texts: Sequence[str], usage: Usage) -> Iterator[bytes]:
        """The same as a stream, word by word as a model's would come, to its end."""
        ...

    def error_event(self, error: RequestError) -> bytes:
        """An error in mid-stream."""
        ...


JOINED = "joined"
"""Begins the path of the texts that join others."""


def seams_last(texts: Iterable[Text]) -> tuple[Text, ...]:
    """Texts, those behind that join others."""
    return tuple(sorted(texts, key=lambda text: text.path.startswith(JOINED)))


def conversation(turns: Iterable[Iterable[Text]], before: Sequence[Text] = ()) -> Iterator[Text]:
    """The texts of all turns of a conversation, with their places, and what they say where they meet.

    `before` are texts that stand before the first turn.
    """
    said = [replace(text, turn=place) for place, texts in enumerate(turns) for text in texts]
    yield from said
    asked = [text for text in said if text.role == "user"]
    pieces = [text for text in (*before, *said) if not _parts(text)]
    yield from _joined(asked)
    if len(pieces) > len(asked):
        yield from _joined(pieces)


def _parts(text: Text) -> bool:
    """True for what the model itself has said: at some length, it parts what stands on either side."""
    return text.role == "assistant" and len(text.text.split()) > SHORT_ANSWER


def _joined(texts: Sequence[Text]) -> Iterator[Text]:
    for place, text in seams([text.text for text in texts]):
        yield Text("user", JOINED, text, turn=texts[place].turn)


def turns_of(texts: Sequence[Text]) -> Turns:
    """Which texts were said before the user's last turn, and which join several."""
    asked = (text for text in texts if text.role == "user" and text.path != JOINED)
    last = max((text.turn for text in asked if text.turn is not None), default=0)
    said = ("user", "assistant", "tool", "function")
    earlier = frozenset(i for i, t in enumerate(texts) if t.turn is not None and t.turn < last and t.role in said)
    joined = frozenset(i for i, text in enumerate(texts) if text.path == JOINED)
    beside = earlier | {i for i, text in enumerate(texts) if text.role not in ("user", "assistant")}
    return Turns(earlier, joined, beside)


def texts_beside(body: Json, *names: str) -> list[Text]:
    """The texts of fields beside the conversation, each a source of its own, and what they say where they meet."""
    found: list[Text] = []
    for name in names:
        texts = [Text(name, path, text) for path, text in texts_in(body.get(name), name)]
        found += [*texts, *(Text(name, f"{JOINED}.{name}", text) for _, text in seams([text.text for text in texts]))]
    return found


def odd_names(names: Iterable[str], role: str, at: str) -> Iterator[Text]:
    """Names of fields that could be a text: they are none that a program would use."""
    return (Text(role, at, name) for name in names if not _FIELD.fullmatch(name))


def question_of(texts: Sequence[Text]) -> str:
    """What the user asks last."""
    return next((text.text for text in reversed(texts) if text.role == "user" and text.path != JOINED), "")


def model_of(body: Json) -> str:
    """The model of a request. Raises BadRequest."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("'model' is missing: name one of GET /v1/models", param="model")
    return model


def flag(body: Json, name: str) -> bool:
    """A field that is true or false, false where it is missing. Raises BadRequest."""
    value = body.get(name) or False
    if not isinstance(value, bool):
        raise BadRequest(f"'{name}' is true or false", param=name)
    return value


def common(body: Json) -> tuple[str, bool, int, bool]:
    """Model, stream, number of choices and include_usage of a chat or completion. Raises BadRequest."""
    model, stream = model_of(body), flag(body, "stream")
    choices = 1 if body.get("n") is None else body["n"]
    if not isinstance(choices, int) or isinstance(choices, bool) or not 1 <= choices <= MAX_CHOICES:
        raise BadRequest(f"'n' is a number from 1 to {MAX_CHOICES}", param="n")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise BadRequest("'stream_options' is an object", param="stream_options")
    return model, stream, choices, bool((options or {}).get("include_usage"))


def string_leaves(value: Any, structural: frozenset[str], path: Channel) -> Iterator[tuple[Channel, Any, str | int]]:
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


def nested(channel: Channel, text: str) -> Any:
    """A JSON value that holds one string at a path, as `string_leaves` names it."""
    if not channel:
        return text
    first, rest = channel[0], channel[1:]
    inner = nested(rest, text)
    if isinstance(first, int):
        return [{"index": first, **inner}] if isinstance(inner, dict) else [inner]
    return {first: inner}


def keep_only(known: frozenset[str], holder: Json) -> bool:
    """Empties what is not known; returns whether there was any."""
    changed = False
    for name in holder.keys() - known:
        if holder[name] is not None:
            holder[name], changed = None, True
    return changed


def words_of(text: str) -> Iterator[str]:
    """A text in pieces, as a model would say it."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or (text[place].isspace() and not text[place - 1].isspace()):
            yield text[start:place]
            start = place
