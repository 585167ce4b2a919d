"""Escapes in a text: `%20`, `%u0049`, `&#73;`, `&nbsp;`, `\\u0049`, `\\u{49}`, `\\x49`, `\\111`.

What is none stands for itself.
"""

import html
import re
from collections.abc import Callable

from guards.stream.codes import Utf8
from guards.stream.stretches import Stretch
from indexes.phrases import Hit, PhraseTable

_FIRST = re.compile(r"[%&\\]")
_WHOLE = re.compile(
    r"%[0-9a-fA-F]{2}|%u[0-9a-fA-F]{4}|&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});"
    r"|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\u\{[0-9a-fA-F]{1,6}\}|\\[0-3][0-7]{2}"
)
_PART = re.compile(
    r"%(?:[0-9a-fA-F]|u[0-9a-fA-F]{0,3})?|&(?:#(?:\d{0,7}|[xX][0-9a-fA-F]{0,6})|[A-Za-z]{0,8})"
    r"|\\(?:x[0-9a-fA-F]?|u(?:[0-9a-fA-F]{0,3}|\{[0-9a-fA-F]{0,6})|[0-3][0-7]?)?"
)
_NO_CHARACTER = "\ufffd"


class Escapes(Stretch):
    """A stretch of text with escapes."""

    FIRST = _FIRST

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool], before: str, place: int) -> None:
        self._open = ""
        """What could become an escape."""
        self._open_at = place
        self._utf8 = Utf8()
        self._bytes_at = place
        super().__init__(table, forbidden, before, place)

    def pending(self) -> int | None:
        return self._bytes_at if self._utf8.wanted else self._open_at if self._open else None

    def take(self, char: str, place: int) -> list[Hit]:
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
        return self._plain(end) + super().finish(end)

    def _escape(self, whole: str, end: int) -> list[Hit]:
        at, self._last = self._open_at, end
        if whole[0] == "%" and whole[1] != "u":
            if not self._utf8.wanted:
                self._bytes_at = at
            char = self._utf8.feed(int(whole[1:], 16))
            if char == "":
                return []
            return self._decoded(char or _NO_CHARACTER, [self._bytes_at], end)
        if whole[0] == "&":
            text = html.unescape(whole)
            return self._character(text, at, end) if text != whole else self._raw(whole, at, end)
        code = int(whole[1:], 8) if whole[1].isdigit() else int(whole[2:].strip("{}"), 16)
        shown = code < 0xD800 or 0xE000 <= code <= 0x10FFFF
        return self._character(chr(code) if shown else _NO_CHARACTER, at, end)

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
