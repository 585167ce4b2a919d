"""What an unguarded stream has shown, for the moment when it must be guarded."""

from collections import deque
from collections.abc import Iterator

from proxy.dialects.sse import events_of

HISTORY_BYTES = 128 * 1024
"""Remembered for each choice. An event with one token has about 250 bytes, so these are some 500 tokens: far more words
than the longest phrase has, and little enough to be read again in a few milliseconds."""

_END = b'"finish_reason":"'


class History:
    """The last events of a stream, and those that ended a choice however long ago."""

    def __init__(self, choices: int) -> None:
        self._recent: deque[bytes] = deque()
        self._size = 0
        self._room = HISTORY_BYTES * choices
        self._ends: list[bytes] = []

    def add(self, whole: bytes) -> None:
        """Takes bytes that hold whole events and have left."""
        self._recent.append(whole)
        self._size += len(whole)
        while self._size > self._room and len(self._recent) > 1:
            oldest = self._recent.popleft()
            self._size -= len(oldest)
            if _END in oldest:
                self._ends.append(oldest)

    def events(self) -> Iterator[bytes]:
        """The events that are remembered, in order."""
        for whole in (*self._ends, *self._recent):
            yield from events_of(whole)
