"""Base64 in a text, read as it streams."""

import re
from binascii import a2b_base64
from collections.abc import Callable, Sequence

from guards.stream.codes import PLAIN, Coded, Utf8
from indexes.phrases import Hit, PhraseTable
from indexes.words import Word

_BASE64 = {char: value for value, char in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
_BASE64 |= {"-": 62, "_": 63}
_SHIFTS = (0, 4, 2, 0)  # bits of base64 that belong to the next byte, by how many characters of four came before
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_=\r\n-]+")
_OTHER_ALPHABET = str.maketrans("-_", "+/")
LONG_RUN = 10  # characters of base64 that are read as they come: seven letters
SHORT_RUN = 3  # two letters and more


class Base64:
    """A disguise that has runs of base64's characters read: long ones as they come, short ones if they are text.

    A short run is a word of ordinary text, nearly always, and is held like one.
    """

    by_words = False

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> None:
        self._coded = Coded(table, forbidden, Base64Reader())
        self._run = ""
        """The run that the text ends with, while it is short."""
        self._begins = 0
        self._read = False
        """The run that the text ends with is read."""

    def start(self, *, in_word: bool) -> int | None:
        return self._begins if self._run else self._coded.start(in_word=in_word)

    def finish(self) -> list[Hit]:
        return self._ended() + self._coded.finish()

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        end = 0
        for match in _BASE64_RUN.finditer(text):
            if match.start() > end or (match.start() and not end):
                hits += self._ended(text[end], offset + end)
            end = match.end()
            if self._read:
                hits += self._coded.feed(match[0], offset + match.start(), ())
                continue
            if not self._run:
                self._begins = offset + match.start()
            self._run += match[0]
            if len(self._run) >= LONG_RUN:
                hits += self._taken()
        if end < len(text):
            hits += self._ended(text[end], offset + end)
        return hits

    def _taken(self) -> list[Hit]:
        run, self._run, self._read = self._run, "", True
        return self._coded.feed(run, self._begins, ())

    def _ended(self, after: str = "", place: int = 0) -> list[Hit]:
        """Ends the run; `after` stands behind it."""
        hits = self._taken() if len(self._run) >= SHORT_RUN and _is_text(self._run) else []
        if self._read and after:
            hits += self._coded.feed(after, place, ())
        self._run, self._read = "", False
        return hits


def _is_text(run: str) -> bool:
    code = "".join(run.split()).rstrip("=").translate(_OTHER_ALPHABET)
    try:
        return a2b_base64(code + "=" * (-len(code) % 4)).decode().isprintable()
    except ValueError:
        return False


class Base64Reader:
    """Base64 in either alphabet. Padding and line ends part words and end nothing. What ends it begins it anew."""

    def __init__(self) -> None:
        self._text = Utf8()
        self._bits = self._count = 0

    @property
    def pending(self) -> bool:
        return self._count != 0 or self._text.wanted > 0

    def begins_in(self, text: str) -> bool:
        return True  # any letter may

    def feed(self, char: str) -> str | None:
        value = _BASE64.get(char)
        count = self._count
        if value is None:
            self._text.reset()
            self._bits = self._count = 0
            return " " if char in "=\r\n" and count != 1 else None
        bits = self._bits << 6 | value
        self._bits, self._count = bits & 0x3F, (count + 1) & 3
        if count == 0:
            return ""
        byte = bits >> _SHIFTS[count] & 0xFF
        decoded = PLAIN[byte] if byte < 0x80 and not self._text.wanted else self._text.feed(byte)
        if decoded is None:
            self._bits = self._count = 0
        return decoded
