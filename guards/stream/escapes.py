"""Escapes in a text, read as they stream: `%20`, `&#73;`, `&nbsp;`, `\\u0049`, `\\x49`. What is none stands for itself.

A disguise (see `disguises`) that reads a text character by character, but only where escapes are: from the first
character that could begin one, with the text before it in which a phrase may have begun, until nothing is under way
that holds an escape. Elsewhere it would read what the phrase filter reads itself.
"""

import html
import re
from collections.abc import Callable, Sequence

from guards.stream.codes import Utf8
from indexes.phrases import Hit, PhraseTable, PhraseWalk
from indexes.words import Word, WordStream

_FIRST = re.compile(r"[%&\\]")
_WHOLE = re.compile(
    r"%[0-9a-fA-F]{2}|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}"
)
_PART = re.compile(
    r"%[0-9a-fA-F]?|&(?:#(?:\d{0,7}|[xX][0-9a-fA-F]{0,6})|[A-Za-z]{0,8})|\\(?:x[0-9a-fA-F]?|u[0-9a-fA-F]{0,3})?"
)
_NO_CHARACTER = "\ufffd"


class Escaped:
    """Implements `Disguise`."""

    by_words = False

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> None:
        self._table = table
        self._forbidden = forbidden
        self._tail = ""
        """The end of the text so far, as much as a phrase can reach back."""
        self._end = 0
        self._reading: _Reading | None = None

    def start(self, *, in_word: bool) -> int | None:
        return self._reading.start() if self._reading else None

    def finish(self) -> list[Hit]:
        return self._reading.finish(self._end) if self._reading else []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        place = 0
        while place < len(text):
            began = place
            if self._reading is None:
                first = _FIRST.search(text, place)
                place = first.start() if first else len(text)
                self._remember(text[began:place])
                if first:
                    self._reading = self._begun(offset + place)
                continue
            while self._reading is not None and place < len(text):
                hits += self._reading.take(text[place], offset + place)
                place += 1
                if self._reading.over():
                    self._reading = None
            self._remember(text[began:place])
        if text:
            self._end = offset + len(text)
        return hits

    def _remember(self, text: str) -> None:
        self._tail = (self._tail + text)[-self._table.longest_span - 1 :]

    def _begun(self, place: int) -> "_Reading":
        """A reading that has read the words before a place; the first of the tail may have lost its beginning."""
        before = self._tail
        if len(before) > self._table.longest_span:
            parts = before.split(maxsplit=1)
            before = before[len(before) - len(parts[1]) :] if len(parts) > 1 else ""
        return _Reading(self._table, self._forbidden, before, place)


class _Reading:
    """A stretch of text with escapes."""

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool], before: str, place: int) -> None:
        self._table = table
        self._words = WordStream()
        self._walk = PhraseWalk(table, forbidden)
        self._origin: list[int] = []
        """For each decoded character, where in the raw text it begins."""
        self._open = ""
        """What could become an escape."""
        self._open_at = place
        self._utf8 = Utf8()
        self._bytes_at = place
        self._last = place
        """Where the last escape ended, or what could be one began."""
        self._decoded(before, range(place - len(before), place), place)

    def start(self) -> int | None:
        pending = self._bytes_at if self._utf8.wanted else self._open_at if self._open else None
        if self._words.open_longer_than(self._table.longest_word):
            return pending
        places = [place for place in (self._walk.start, self._words.open_start) if place is not None]
        return self._origin[min(places)] if places else pending

    def over(self) -> bool:
        """True where all that is under way began after the last escape: it is plain."""
        if self._open or self._utf8.wanted:
            return False
        start = self.start()
        return start is None or start >= self._last

    def take(self, char: str, place: int) -> list[Hit]:
        """Takes the next character; the phrases that it completes."""
        hits: list[Hit] = []
        if self._open:
            whole = self._open + char
            if _WHOLE.fullmatch(whole):
                self._open = ""
                return self._escape(whole, place + 1)
            if _PART.fullmatch(whole):
                self._open = whole
                return []
            hits = self._plain(place)
        if _FIRST.match(char):
            self._open, self._open_at = char, place
            self._last = max(self._last, place)
            return hits
        return hits + self._character(char, place, place + 1)

    def finish(self, end: int) -> list[Hit]:
        """Ends the text."""
        return self._plain(end) + self._found(self._words.finish(), end)

    def _escape(self, whole: str, end: int) -> list[Hit]:
        at, self._last = self._open_at, end
        if whole[0] == "%":
            if not self._utf8.wanted:
                self._bytes_at = at
            char = self._utf8.feed(int(whole[1:], 16))
            if char == "":
                return []
            return self._decoded(char or _NO_CHARACTER, [self._bytes_at], end)
        if whole[0] == "&":
            text = html.unescape(whole)
            return self._character(text, at, end) if text != whole else self._raw(whole, at, end)
        code = int(whole[2:], 16)
        return self._character(_NO_CHARACTER if 0xD800 <= code < 0xE000 else chr(code), at, end)

    def _plain(self, end: int) -> list[Hit]:
        """What could have become an escape is none."""
        raw, self._open = self._open, ""
        return self._raw(raw, self._open_at, end) if raw else []

    def _raw(self, text: str, at: int, end: int) -> list[Hit]:
        self._utf8.reset()
        return self._decoded(text, range(at, at + len(text)), end)

    def _character(self, text: str, at: int, end: int) -> list[Hit]:
        self._utf8.reset()
        return self._decoded(text, [at] * len(text), end)

    def _decoded(self, text: str, origin: Sequence[int], end: int) -> list[Hit]:
        self._origin += origin
        return self._found(self._words.feed(text), end)

    def _found(self, words: list[Word], end: int) -> list[Hit]:
        return [Hit(hit.slot, self._origin[hit.start], end) for hit in self._walk.advance(words)] if words else []
