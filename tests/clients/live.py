"""A stream at its socket: what has arrived by a moment, and what comes after, told apart exactly."""

import json
import re
import select
import socket
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

READ_LIMIT_S = 200


class LiveStream:
    """A streaming request over a plain socket, read only when it is told to."""

    def __init__(self, base_url: str, body: dict[str, Any], key: str, path: str = "/chat/completions") -> None:
        at = urlsplit(base_url)
        data = json.dumps({**body, "stream": True}).encode()
        head = (
            f"POST {at.path}{path} HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        self._socket = socket.create_connection((at.hostname or "", at.port or 80), timeout=READ_LIMIT_S)
        self._socket.sendall(head.encode() + data)
        self._raw = b""
        self.ended = False
        """The server closed the connection, or ended the body."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave()

    def leave(self) -> None:
        """Closes the connection, as a client that goes away does."""
        self._socket.close()

    # -- reading

    def take_what_is_there(self) -> None:
        """Reads all that has arrived by now, and waits for nothing."""
        while not self.ended and select.select([self._socket], [], [], 0)[0]:
            self._read()

    def read_until_shown(self, pieces: int) -> None:
        """Reads until so many pieces of text have come."""
        deadline = time.monotonic() + READ_LIMIT_S
        while len(self.pieces) < pieces and not self.ended:
            assert time.monotonic() < deadline
            self._read()

    def read_to_end(self) -> None:
        """Reads until the answer has ended."""
        while not self.ended:
            self._read()

    def _read(self) -> None:
        data = self._socket.recv(65536)
        self._raw += data
        self.ended = not data or self._raw.endswith(b"\r\n0\r\n\r\n")

    # -- what was read

    @property
    def status(self) -> int:
        """0 before there is one."""
        return int(self._raw.split(b" ", 2)[1]) if self._raw else 0

    @property
    def ended_cleanly(self) -> bool:
        """The body ended as HTTP and the dialect want it; not a connection that broke."""
        return self._raw.endswith(b"\r\n0\r\n\r\n") and self.events[-1] == "[DONE]"

    @property
    def events(self) -> list[Any]:
        """The events so far: JSON, or the text [DONE]."""
        lines = re.findall(r"^data: (.*)$", self._body().decode(), re.MULTILINE)
        return [line if line == "[DONE]" else json.loads(line) for line in lines]

    @property
    def pieces(self) -> list[str]:
        """The pieces of text so far, of all choices."""
        return [text for event in self._choices() if (text := event.get("delta", event).get("content"))]

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def finish_reason(self) -> str | None:
        return next((choice["finish_reason"] for choice in self._choices() if choice["finish_reason"]), None)

    def _choices(self) -> list[dict[str, Any]]:
        return [choice for event in self.events if event != "[DONE]" for choice in event.get("choices", ())]

    def _body(self) -> bytes:
        """The body so far, whole events only."""
        _, _, rest = self._raw.partition(b"\r\n\r\n")
        body = b""
        while found := re.match(rb"([0-9a-fA-F]+)\r\n", rest):
            size = int(found[1], 16)
            body += rest[found.end() : found.end() + size]
            rest = rest[found.end() + size + 2 :]
        return body[: body.rfind(b"\n\n") + 2]
