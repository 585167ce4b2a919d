"""Words of a text, normalised, with their places in the raw text.

Invariants
1. *Where text is cut does not matter*: feeding a text in any pieces and finishing gives the same words as feeding it
   whole.
2. A word is only reported once it is complete: its normal form depends on nothing that follows.
3. Offsets are in characters of the raw text fed so far and never decrease.
4. *How letters are encoded does not matter*: composed, decomposed, wide, narrow, circled and ligated forms of the same
   letters are the same word. (A symbol that stands for several letters, as the trade mark sign does, parts words.)

A word is a run of letters, marks and digits; every character of a script written without spaces is a word of its own.
A character that stands for several (a ligature with a space in it, a syllable with its mark) is read as those, all at
its place. What shows nothing or only decorates (format characters, selectors, accents, points, overlays) is passed
over. The normal form is compatibility-decomposed, case-folded, and composed again for what is left.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cache

_SEPARATOR, _LETTER, _SPELLED, _IGNORED = range(4)

# Scripts written without spaces: the ranges that occur in running text.
_ALONE_RANGES = (
    (0x0E00, 0x0E7F),  # Thai
    (0x0E80, 0x0EFF),  # Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Han: repetition, closing mark, zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana, small
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0x20000, 0x323AF),  # Han, extensions B to H
)

UNSPACED = "".join(f"{chr(low)}-{chr(high)}" for low, high in _ALONE_RANGES)
"""The same ranges as the inside of a regular expression's character class."""

# Characters that show nothing although their category does not say so (Default_Ignorable_Code_Point), and tatweel,
# which only stretches an Arabic word.
_SHOW_NOTHING = frozenset(
    chr(code)
    for low, high in (
        (0x034F, 0x034F),  # grapheme joiner
        (0x0640, 0x0640),  # tatweel
        (0x115F, 0x1160),  # Hangul fillers
        (0x17B4, 0x17B5),  # Khmer inherent vowels
        (0x180B, 0x180F),  # Mongolian selectors
        (0x2065, 0x2065),
        (0x3164, 0x3164),  # Hangul filler
        (0xFE00, 0xFE0F),  # variation selectors
        (0xFFA0, 0xFFA0),  # Hangul filler, half width
        (0xFFF0, 0xFFF8),
        (0xE0000, 0xE0FFF),  # tags and more selectors
    )
    for code in range(low, high + 1)
)

_ASCII_WORD = re.compile("[A-Za-z0-9]+")

# Marks of other combining classes are accents, points, tones, overlays: a word is the same without them.
_SPELLING_CLASSES = frozenset(
    (
        0,  # most vowel signs
        8,  # kana voicing
        9,  # viramas
        *(84, 91, 103, 118, 129, 130, 132),  # vowel signs of Telugu, Thai, Lao, Tibetan
    )
)


@cache
def _shows_nothing(char: str) -> bool:
    category = unicodedata.category(char)
    return (
        category in ("Cf", "Me")
        or char in _SHOW_NOTHING
        or (category[0] == "M" and unicodedata.combining(char) not in _SPELLING_CLASSES)
    )


# Letters that Unicode does not decompose, but that keyboards without them write so.
_PLAIN = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "þ": "th", "ı": "i"}
)


def _folded(raw: str) -> str:
    """Decomposed, without what shows nothing, case-folded."""
    bare = _bare(unicodedata.normalize("NFKD", raw))  # before folding, which turns some accents into letters
    return _bare(unicodedata.normalize("NFKD", bare.casefold())).translate(_PLAIN)


def _bare(decomposed: str) -> str:
    return "".join(c for c in decomposed if not _shows_nothing(c))


class _Classes(dict[str, int]):
    """Class of each character, worked out when it is first seen (at most one item per code point)."""

    def __missing__(self, char: str) -> int:
        self[char] = found = self._find(char)
        return found

    def _find(self, char: str) -> int:
        spelled = "" if _shows_nothing(char) else _folded(char)
        if not spelled:
            return _IGNORED
        if unicodedata.category(char)[0] not in "LMN":
            # A symbol that is one letter in another dress (circled, squared, a Han radical) is that letter.
            dressed = len(spelled) == 1 and spelled != char
            return self[spelled] if dressed else _SEPARATOR
        if any(low <= ord(char) <= high for low, high in _ALONE_RANGES):
            return _SPELLED
        if spelled == char or all(self[part] == _LETTER for part in spelled):
            return _LETTER
        return _SPELLED


_CLASS = _Classes()


@cache
def _spelling(char: str) -> str:
    """What a character is read as."""
    return _folded(char)


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `text` is its normal form; `start` and `end` are character offsets in the raw text."""

    text: str = field(repr=False)
    start: int
    end: int


def normal_form(raw: str) -> str:
    """Normal form of a run of letters."""
    return raw.lower() if raw.isascii() else unicodedata.normalize("NFC", _folded(raw))


class WordStream:
    """Finds the words of a text that arrives in pieces."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._open_start = 0
        self._open_length = 0  # of the normal form, when last looked at; it only grows
        self.position = 0
        """Number of characters fed so far."""

    @property
    def open_start(self) -> int | None:
        """Offset at which the word that is still growing starts; None when there is none."""
        return self._open_start if self._open else None

    def open_longer_than(self, length: int) -> bool:
        """True when the growing word's normal form, as far as it is known, has more than `length` characters."""
        if self._open and self._open_length <= length:
            self._open_length = len(normal_form("".join(self._open)))
        return self._open_length > length

    def feed(self, text: str) -> list[Word]:
        """Takes the next piece; returns the words that it completed."""
        found: list[Word] = []
        offset = self.position
        for char in text:
            kind = _CLASS[char]
            if kind == _LETTER:
                if not self._open:
                    self._open_start = offset
                self._open.append(char)
            elif kind == _SEPARATOR:
                if self._open:
                    self._close(found, offset)
            elif kind == _SPELLED:
                self._spell(char, offset, found)
            offset += 1
        self.position = offset
        return found

    def finish(self) -> list[Word]:
        """Ends the text; returns the last word, if one was still open."""
        found: list[Word] = []
        if self._open:
            self._close(found, self.position)
        return found

    def _spell(self, char: str, offset: int, found: list[Word]) -> None:
        """Reads one character as the several that it stands for."""
        end = offset
        for part in _spelling(char):
            kind = _CLASS[part]
            if kind == _LETTER:
                if not self._open:
                    self._open_start = offset
                self._open.append(part)
                end = offset + 1
                continue
            if self._open:
                self._close(found, end)
            if kind == _SPELLED:
                found.append(Word(part, offset, offset + 1))

    def _close(self, found: list[Word], end: int) -> None:
        found.append(Word(normal_form("".join(self._open)), self._open_start, end))
        self._open, self._open_length = [], 0


def words_of(text: str) -> list[Word]:
    """All words of a whole text."""
    if text.isascii():  # what the stream finds, several times faster
        return [Word(match[0].lower(), match.start(), match.end()) for match in _ASCII_WORD.finditer(text)]
    stream = WordStream()
    return stream.feed(text) + stream.finish()
