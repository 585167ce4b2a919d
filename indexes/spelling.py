"""Spelling: what a text says when slips of the hand are mended, and words that were parted are put together.

An embedder knows common words whole and reads a misspelt one in pieces that mean nothing: "the cpaital of Egdpt" is
near nothing. So in windows that are near an entry all the same, words that it does not know are read as the commonest
word that it knows one slip away. The window is compared in both spellings: mending hides nothing.

"The cap-ital of Eg.ypt" is read in pieces, too. What is parted by punctuation or markup is put together where that is a
word that is known, or where the parts are not; what is parted by a space, where that makes known words of unknown ones.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from indexes.names.slips import one_slip_away

SHORTEST = 4  # letters of a word that is mended; what is shorter is one slip away from too many
LONGEST = 24  # letters; what is longer is no word

PART = 5  # letters of a part of a name: no word that is known says that it is one

_BETWEEN = r"(?:[-.*_|/~·•`]{1,2}|</?[A-Za-z]{1,6}>)"
_PARTED = re.compile(rf"(?<![^\W_])[A-Za-z]{{1,{LONGEST}}}(?:{_BETWEEN}[A-Za-z]{{1,{LONGEST}}})++")
_APART = re.compile(_BETWEEN)
_SPACED = re.compile(rf"(?<!\w)([A-Za-z]{{1,{LONGEST}}}) (?=([A-Za-z]{{1,{LONGEST}}})(?!\w))")
_WORD = re.compile(rf"(?<!\w)[A-Za-z]{{{SHORTEST},{LONGEST}}}(?!\w)")


class Spelling:
    """Words that are right as they are, and what others were meant to be."""

    def __init__(self, words: Iterable[str]) -> None:
        """`words` in small Latin letters, the commonest first."""
        self._ranks = {word: rank for rank, word in reversed(list(enumerate(words)))}
        self._mended = lru_cache(4096)(self._nearest)

    def doubts(self, text: str) -> bool:
        """True where a text has words that may be misspelt; cheap."""
        if not self._ranks:
            return False
        return any(word[0].lower() not in self._ranks for word in _WORD.finditer(text)) or self._together(text) != text

    def mended(self, text: str) -> str:
        """The text with its parted words put together, and unknown ones that are one slip from a known one read so."""
        return _WORD.sub(lambda match: self._read(match[0]), self._together(text)) if self._ranks else text

    def _together(self, text: str) -> str:
        whole = _PARTED.sub(lambda match: self._whole(match[0]), text)
        return _SPACED.sub(lambda match: match[1] if self._belong(match[1], match[2]) else match[0], whole)

    def _whole(self, parted: str) -> str:
        parts = _APART.split(parted)
        whole = "".join(parts)
        unknown = any(part.lower() not in self._ranks for part in parts)
        names = unknown and len(whole) > PART and max(map(len, parts)) <= PART
        return whole if whole.lower() in self._ranks or names else parted

    def _belong(self, first: str, second: str) -> bool:
        known = [word.lower() in self._ranks for word in (first, second, first + second)]
        return known[2] and not (known[0] and known[1])

    def _read(self, word: str) -> str:
        meant = self._mended(word.lower())
        return meant.capitalize() if word[0].isupper() else meant

    def _nearest(self, word: str) -> str:
        if word in self._ranks:
            return word
        near = self._ranks.keys() & set(one_slip_away(word))
        return min(near, key=self._ranks.__getitem__, default=word)
