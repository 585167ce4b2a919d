"""What an unguarded stream has shown, for the moment when it must be guarded."""

from collections import deque
from collections.abc import Callable, Iterator

from proxy.dialects.sse import events_of

HISTORY_BYTES = 128 * 1024
"""Remembered for each choice. An event with one token has about 250 bytes, so these are some 500 tokens: far more words
than the longest phrase has, and little enough to be read again in a few milliseconds."""


class History:
    """The last events of a stream, and those that its end cannot be written without, however long ago they came."""

    def __init__(self, choices: int, keeps: Callable[[bytes], bool]) -> None:
        self._keeps = keeps
        self._recent: deque[bytes] = deque()
        self._size = 0
        self._room = HISTORY_BYTES * choices
        self._kept: list[bytes] = []

    def add(self, whole: bytes) -> None:
        """Takes bytes that hold whole events and have left."""
        self._recent.append(whole)
        self._size += len(whole)
        while self._size > self._room and len(self._recent) > 1:
            oldest = self._recent.popleft()
            self._size -= len(oldest)
            self._kept += [event + b"\n\n" for event in events_of(oldest) if self._keeps(event)]

    def events(self) -> Iterator[bytes]:
        """The events that are remembered, in order."""
        for whole in (*self._kept, *self._recent):
            yield from events_of(whole)
