"""Codes in which a text can be written, read as they stream: bytes of text, in hexadecimal here, in base64 beside.

Each is a disguise (see `disguises`) that reads a text character by character. What is no code breaks off within a few
characters: random bytes are no text.
"""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from indexes.phrases import Hit, PhraseTable, PhraseWalk
from indexes.words import Word, WordStream, words_of

LOOKED_INTO = 3  # characters of a code that are decoded before their words are followed
_HEX = {char: int(char, 16) for char in "0123456789abcdefABCDEF"}
PLAIN = tuple(chr(byte) if 0x20 <= byte < 0x7F or byte in (9, 10, 13) else None for byte in range(0x80))
"""The characters of text that are one byte; None for what no text holds."""
_HEX_BEGINS = re.compile(r"[0-9a-fA-F]{2}|0x|[0-9a-fA-F]\Z")
_BETWEEN_HEX = frozenset(" :,\n\t")


class Reader(Protocol):
    """Decodes a code character by character."""

    @property
    def pending(self) -> bool:
        """Whether the last character is part of something that is not decoded yet."""
        ...

    def begins_in(self, text: str) -> bool:
        """Whether a code may begin in a text, where none is under way; False leaves the reader as it is."""
        ...

    def feed(self, char: str) -> str | None:
        """What the next character completes, "" for nothing yet; None when the text here is not in this code."""
        ...


class Coded:
    """A code of bytes that are text."""

    by_words = False

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool], reader: Reader) -> None:
        self._table = table
        self._forbidden = forbidden
        self._reader = reader
        self._end = 0
        """How many characters of the raw text were read."""
        self._since: int | None = None
        """Where the code of the next character begins."""
        self._begin()

    def _begin(self) -> None:
        self._first = ""
        """What was decoded so far, while it is too little to be looked into: most of what is no code ends here."""
        self._words: WordStream | None = None
        self._walk = PhraseWalk(self._table, self._forbidden)
        self._origin: list[int] = []
        """For each decoded character, where in the raw text its code begins."""

    def start(self, *, in_word: bool) -> int | None:
        if not self._origin:
            return None
        if self._words is None:
            return self._origin[0]
        if self._words.open_longer_than(self._table.longest_word):
            return self._since  # no phrase has a word this long, but one may begin with the next
        places = [place for place in (self._walk.start, self._words.open_start) if place is not None]
        return self._origin[min(places)] if places else self._since

    def finish(self) -> list[Hit]:
        return self._ended(self._end)

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        if self._since is None and not self._origin and not self._reader.begins_in(text):
            self._end = offset + len(text) if text else self._end
            return []
        hits: list[Hit] = []
        reader, since = self._reader, self._since
        decode = reader.feed
        for place, char in enumerate(text, offset):
            decoded = decode(char)
            if decoded is None:
                since = None
                if self._origin:
                    hits += self._ended(place)
                    self._begin()
                continue
            begins = place if since is None else since
            if decoded:
                self._origin += [begins] * len(decoded)
                begins = place
                hits += self._decoded(decoded, place)
            since = begins if reader.pending else None
        self._since = since
        if text:
            self._end = offset + len(text)
        return hits

    def _decoded(self, text: str, place: int) -> list[Hit]:
        if self._words is None:
            self._first += text
            if len(self._first) < LOOKED_INTO:
                return []
            text, self._words = self._first, WordStream()
        return self._found(self._words.feed(text), place)

    def _ended(self, place: int) -> list[Hit]:
        if self._words is None:
            return self._found(words_of(self._first), place)
        return self._found(self._words.finish(), place)

    def _found(self, words: list[Word], place: int) -> list[Hit]:
        return [Hit(hit.slot, self._origin[hit.start], place) for hit in self._walk.advance(words)] if words else []


class HexReader:
    """Pairs of hexadecimal digits, with or without something between them. What ends it begins it anew."""

    def __init__(self) -> None:
        self._text = Utf8()
        self._reset()

    def _reset(self) -> None:
        self._begun = False
        self._first: int | None = None
        self._together = 0
        """Bytes since something stood between them."""
        self._text.reset()

    @property
    def pending(self) -> bool:
        return self._first is not None or self._text.wanted > 0

    def begins_in(self, text: str) -> bool:
        return self._begun or _HEX_BEGINS.search(text) is not None

    def feed(self, char: str) -> str | None:
        value = _HEX.get(char)
        if value is None:
            if char == "x" and self._first == 0 and not self._together:  # "0x" before each code
                self._first = None
                return ""
            if self._first is not None or char not in _BETWEEN_HEX:
                if self._begun:
                    self._reset()
                return None
            parts, self._together = self._together > 1, 0  # what stands between whole codes parts their texts
            return " " if parts else ""
        if self._first is None:
            self._first, self._begun = value, True
            return ""
        byte, self._first = self._first << 4 | value, None
        self._together += 1
        decoded = self._text.feed(byte)
        if decoded is None:
            self._reset()
        return decoded


class Utf8:
    """Characters from bytes, one by one."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets a character that is not complete."""
        self._bytes = b""
        self.wanted = 0
        """Bytes that the character lacks which is not complete yet."""

    def feed(self, byte: int) -> str | None:
        """The character that a byte completes, "" for none yet; None when this is no text that can be shown."""
        if not self.wanted:
            if byte < 0x80:
                return PLAIN[byte]
            self.wanted = 1 if 0xC2 <= byte < 0xE0 else 2 if 0xE0 <= byte < 0xF0 else 3 if 0xF0 <= byte < 0xF5 else 0
            self._bytes = bytes((byte,))
            return "" if self.wanted else None
        self._bytes += bytes((byte,))
        self.wanted -= 1
        if byte & 0xC0 != 0x80:
            self.reset()
            return None
        if self.wanted:
            return ""
        try:
            char = self._bytes.decode()
        except UnicodeDecodeError:
            return None
        return char if char.isprintable() else None
