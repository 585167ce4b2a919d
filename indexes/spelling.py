"""Spelling: what a text says when slips of the hand are mended.

An embedder knows common words whole and reads a misspelt one in pieces that mean nothing: "the cpaital of Egdpt" is
near nothing. So in windows that are near an entry all the same, words that it does not know are read as the commonest
word that it knows one slip away. The window is compared in both spellings: mending hides nothing.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from indexes.names.slips import one_slip_away

SHORTEST = 4  # letters of a word that is mended; what is shorter is one slip away from too many
LONGEST = 24  # letters; what is longer is no word

_WORD = re.compile(rf"(?<!\w)[A-Za-z]{{{SHORTEST},{LONGEST}}}(?!\w)")


class Spelling:
    """Words that are right as they are, and what others were meant to be."""

    def __init__(self, words: Iterable[str]) -> None:
        """`words` in small Latin letters, the commonest first."""
        self._ranks = {word: rank for rank, word in reversed(list(enumerate(words)))}
        self._mended = lru_cache(4096)(self._nearest)

    def doubts(self, text: str) -> bool:
        """True where a text has words that may be misspelt; cheap."""
        return bool(self._ranks) and any(word[0].lower() not in self._ranks for word in _WORD.finditer(text))

    def mended(self, text: str) -> str:
        """The text with every unknown word that is one slip away from a known one read as that."""
        return _WORD.sub(lambda match: self._read(match[0]), text)

    def _read(self, word: str) -> str:
        meant = self._mended(word.lower())
        return meant.capitalize() if word[0].isupper() else meant

    def _nearest(self, word: str) -> str:
        if word in self._ranks:
            return word
        near = self._ranks.keys() & set(one_slip_away(word))
        return min(near, key=self._ranks.__getitem__, default=word)
