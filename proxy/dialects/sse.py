"""Server-sent events: splitting a byte stream into whole events, and writing them."""

from collections.abc import Iterator
from typing import Any

import orjson

from proxy.errors import UpstreamFailed

DONE = b"[DONE]"
DONE_EVENT = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
MAX_EVENT_BYTES = 8 * 1024**2  # one event is one token, or one tool call of it; this is a runaway upstream

UNKNOWN_SHAPE = "an event of the engine has an unknown shape"

_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")


class BrokenStream(UpstreamFailed):
    """What the engine sent is not a stream of this dialect's events."""


class EventSplitter:
    """Passes bytes on in whole events, however they were cut on the way."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """The bytes up to the last event that is now whole; may be empty. Raises BrokenStream."""
        data = self._rest + chunk
        end = max(data.rfind(mark) + len(mark) if mark in data else 0 for mark in _ENDS)
        self._rest = data[end:]
        if len(self._rest) > MAX_EVENT_BYTES:
            raise BrokenStream("an event of the upstream does not end")
        return data[:end]

    @property
    def rest(self) -> bytes:
        """Bytes of an event that is not whole yet."""
        return self._rest


def events_of(whole: bytes) -> Iterator[bytes]:
    """The single events in bytes that hold whole events, each without its closing blank line."""
    if b"\r" in whole:
        whole = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return (event for event in whole.split(b"\n\n") if event.strip())


def data_of(event: bytes) -> bytes | None:
    """The data of an event; None for a comment or an event without data."""
    if event.startswith(b"data: ") and b"\n" not in event:  # nearly every one
        return event[6:]
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def ends_with_done(whole: bytes) -> bool:
    """True when the last of some whole events is OpenAI's mark of the end."""
    tail = whole.rstrip()
    return tail.endswith(DONE) and data_of(tail[max(tail.rfind(b"\n"), tail.rfind(b"\r")) + 1 :]) == DONE


def event_bytes(payload: dict[str, Any]) -> bytes:
    """A JSON payload as one event."""
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def typed_event(payload: dict[str, Any]) -> bytes:
    """A JSON payload as one event that is named by its `type`."""
    return b"event: " + str(payload["type"]).encode() + b"\ndata: " + orjson.dumps(payload) + b"\n\n"


def error_event(body: bytes) -> bytes:
    """An error in mid-stream as chat and completions write it."""
    return b"data: " + body + b"\n\n"


def last_type(whole: bytes) -> bytes:
    """The name of the last of some whole events; empty where it has none."""
    tail = whole.rstrip()
    start = max(tail.rfind(mark) + len(mark) if mark in tail else 0 for mark in _ENDS)
    for line in tail[start:].replace(b"\r", b"\n").split(b"\n"):
        if line.startswith(b"event:"):
            return line[6:].strip()
    return b""
