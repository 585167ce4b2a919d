"""What the dialects share in reading a request: the fields that all have, and the texts of a conversation."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from guards.prompt.fields import texts_in
from guards.turns import SHORT_ANSWER, Turns, seams
from proxy.dialects.base import Json, Text
from proxy.errors import BadRequest

MAX_CHOICES = 16  # more draws of an answer are more chances of a leak, and each holds its own filter state

_FIELD = re.compile(r"[A-Za-z_]{1,24}")

# -- fields


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


# -- texts

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
