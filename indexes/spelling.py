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
from math import log

from indexes.names.slips import one_slip_away

SHORTEST = 4  # letters of a word that is mended; what is shorter is one slip away from too many
LONGEST = 24  # letters; what is longer is no word

RUN = 20  # letters written together that are no word; most German compounds are shorter
LONGEST_RUN = 400  # letters of a run that is parted: a question has some hundred
MOST_PARTED = 4000  # letters of one text that are parted: each costs some 15 µs
WORD_COST, LETTER_COST = 8.0, 2.0  # of an unknown word; a known one costs the logarithm of its rank, at most 11
PART = 5  # letters of a part of a name: no word that is known says that it is one

_BETWEEN = r"(?:[-.*_|/~·•`]{1,2}|</?[A-Za-z]{1,6}>)"
_PARTED = re.compile(rf"(?<![^\W_])[A-Za-z]{{1,{LONGEST}}}(?:{_BETWEEN}[A-Za-z]{{1,{LONGEST}}})++")
_RUN = re.compile(rf"[A-Za-z]{{{RUN}}}")
_PART_OF_RUN = re.compile(rf"[A-Za-z]{{{RUN // 2},{LONGEST_RUN}}}")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
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

    def parted(self, text: str) -> str:
        """The text with words that are written together set apart, in its first MOST_PARTED such letters."""
        if not self._ranks or not _RUN.search(text):
            return text
        left = MOST_PARTED

        def apart(match: re.Match[str]) -> str:
            nonlocal left
            left -= len(match[0])
            return self._apart(match[0]) if left >= 0 else match[0]

        return _PART_OF_RUN.sub(apart, text)

    def _apart(self, run: str) -> str:
        """A run in the likeliest words: by its capitals, then so that its words are as common and as few as can be."""
        return " ".join(word for hump in _HUMP.split(run) for word in self._likeliest(hump))

    def _likeliest(self, run: str) -> list[str]:
        low = run.lower()
        best: list[tuple[float, int]] = [(0.0, 0)]
        for end in range(1, len(low) + 1):
            starts = range(max(0, end - LONGEST), end)
            best.append(min((best[start][0] + self._cost(low[start:end]), start) for start in starts))
        words, end = [], len(run)
        while end:
            start = best[end][1]
            words.append(run[start:end])
            end = start
        return words[::-1]

    def _cost(self, word: str) -> float:
        rank = None if len(word) == 1 and word not in "ai" else self._ranks.get(word)  # an embedder knows all letters
        return WORD_COST + LETTER_COST * len(word) if rank is None else log(rank + 2)

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
