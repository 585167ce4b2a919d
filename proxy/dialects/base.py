"""What a dialect is: a parsed request, the strings of an answer, and the contract that each dialect fulfils.

A `Dialect` reads requests and writes whole answers; it has no state. An `AnswerStream` is one answer as it comes: it
reads the engine's events into `Event`s, whose strings the filters may shorten, and writes what a client of the dialect
expects in their place, be it a cut. It remembers what it wrote: numbers of events, items that are open.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from guards.context.note import Note
from guards.prompt.fields import Field
from proxy.errors import RequestError

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
