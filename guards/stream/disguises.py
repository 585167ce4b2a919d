"""What a text says in disguise: other spellings of its words, letters set apart, codes. Followed as it streams.

A model that must not say a phrase can be asked to write it in rot13, with digits for letters, turned round, letter by
letter, in base64 or in hexadecimal. Each disguise is read beside the text itself, word by word or character by
character, and answers two questions: does what it reads complete a forbidden phrase, and from which character of the
raw text on could what it reads still become one. So a disguised phrase is held back like a plain one, and nothing else
is. What is no code breaks off within a few characters: random bytes are no text.

Written backwards as a whole a phrase begins with its end: it is recognised when its first word comes, and that word
and what follows stay; what came before it has left.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from indexes.phrases import PASSAGE_WORDS, ROOT, Hit, PhraseTable, PhraseWalk
from indexes.words import Word, WordStream, words_of

Forbidden = Callable[[int], bool]

LOOKED_INTO = 3  # characters of a code that are decoded before their words are followed
MAX_SPELLINGS = 512  # ways to part letters that are set apart into words, followed at once; real names have few
_LEET = str.maketrans("0134578", "oieastb")
_ROT13 = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")  # normal forms are lower case
_BASE64 = {char: value for value, char in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
_BASE64 |= {"-": 62, "_": 63}
_HEX = {char: int(char, 16) for char in "0123456789abcdefABCDEF"}
_SHIFTS = (0, 4, 2, 0)  # bits of base64 that belong to the next byte, by how many characters of four came before
_PLAIN = tuple(chr(byte) if 0x20 <= byte < 0x7F or byte in (9, 10, 13) else None for byte in range(0x80))
"""The characters of text that are one byte; None for what no text holds."""
_BETWEEN_HEX = frozenset(" :,\n\t")


class Disguise(Protocol):
    """One way to read a text."""

    by_words: bool
    """It reads the words of the text, not its characters."""

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        """Takes the next piece, which begins at `offset`, and the words that it completed; what it says in disguise."""
        ...

    def finish(self) -> list[Hit]:
        """Ends the text; what its last characters complete."""
        ...

    def start(self, *, in_word: bool) -> int | None:
        """Offset from which on the text could still become a phrase in this disguise; None when it could not.

        `in_word`: a word of several letters is under way.
        """
        ...


def disguises(table: PhraseTable, forbidden: Forbidden) -> list[Disguise]:
    """All of them, for one text."""
    return [
        Respelled(table, forbidden, lambda word: word.translate(_LEET)),
        Respelled(table, forbidden, lambda word: word.translate(_ROT13)),
        Respelled(table, forbidden, lambda word: word[::-1]),
        Backwards(table, forbidden),
        SetApart(table, forbidden),
        Coded(table, forbidden, Base64Reader()),
        Coded(table, forbidden, HexReader()),
    ]


class Respelled:
    """Each word in another spelling: digits for letters, rot13, its letters turned round."""

    by_words = True

    def __init__(self, table: PhraseTable, forbidden: Forbidden, spelling: Callable[[str], str]) -> None:
        self._table = table
        self._walk = PhraseWalk(table, forbidden)
        self._spelling = spelling

    def start(self, *, in_word: bool) -> int | None:
        return self._walk.start

    def finish(self) -> list[Hit]:
        return []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        for word in words:
            spelled = self._spelling(word.text)
            if self._walk.start is None and self._table.child(ROOT, spelled) is None:
                continue  # most words: nothing is under way, and nothing begins
            hits += self._walk.advance((Word(spelled, word.start, word.end),))
        return hits


class Backwards:
    """The whole written from its end: the letters of the words and their order."""

    by_words = True

    def __init__(self, table: PhraseTable, forbidden: Forbidden) -> None:
        self._table = table
        self._forbidden = forbidden
        self._last: deque[Word] = deque(maxlen=PASSAGE_WORDS)

    def start(self, *, in_word: bool) -> int | None:
        return None

    def finish(self) -> list[Hit]:
        return []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        for word in words:
            self._last.append(word)
            node: int | None = ROOT
            for place, earlier in enumerate(reversed(self._last)):
                node = self._table.child(node or ROOT, earlier.text[::-1])
                if node is None:
                    break
                if place:  # one word alone may be a word of its own
                    hits += [
                        Hit(slot, word.start, word.end) for slot in self._table.ends(node) if self._forbidden(slot)
                    ]
        return hits


class SetApart:
    """Letters that stand alone, read as words in every way that they can be joined."""

    by_words = True

    def __init__(self, table: PhraseTable, forbidden: Forbidden) -> None:
        self._table = table
        self._forbidden = forbidden
        self._ways: list[tuple[int, int, str]] = []
        """Where each begins, the node it has reached, and the letters of the word under way."""

    def start(self, *, in_word: bool) -> int | None:
        return self._ways[0][0] if self._ways and not in_word else None

    def finish(self) -> list[Hit]:
        return []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        for word in words:
            if len(word.text) != 1:
                if self._ways:
                    self._ways = []
                continue
            ways: list[tuple[int, int, str]] = []
            for start, node, letters in (*self._ways, (word.start, ROOT, "")):
                joined = letters + word.text
                if len(joined) < self._table.longest_word:
                    ways.append((start, node, joined))
                child = self._table.child(node, joined)
                if child is not None:
                    ways.append((start, child, ""))
                    if word.start > start:  # a letter alone is not set apart from anything
                        ends = self._table.ends(child)
                        hits += [Hit(slot, start, word.end) for slot in ends if self._forbidden(slot)]
            self._ways = ways[-MAX_SPELLINGS:]
        return hits


class Reader(Protocol):
    """Decodes a code character by character."""

    @property
    def pending(self) -> bool:
        """Whether the last character is part of something that is not decoded yet."""
        ...

    def feed(self, char: str) -> str | None:
        """What the next character completes, "" for nothing yet; None when the text here is not in this code."""
        ...


class Coded:
    """A code of bytes that are text."""

    by_words = False

    def __init__(self, table: PhraseTable, forbidden: Forbidden, reader: Reader) -> None:
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


class Base64Reader:
    """Base64 in either alphabet. Padding and line ends part words and end nothing. What ends it begins it anew."""

    def __init__(self) -> None:
        self._text = Utf8()
        self._bits = self._count = 0

    @property
    def pending(self) -> bool:
        return self._count != 0 or self._text.wanted > 0

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
        decoded = _PLAIN[byte] if byte < 0x80 and not self._text.wanted else self._text.feed(byte)
        if decoded is None:
            self._bits = self._count = 0
        return decoded


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

    def feed(self, char: str) -> str | None:
        value = _HEX.get(char)
        if value is None:
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
                return _PLAIN[byte]
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
