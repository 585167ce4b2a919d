"""Names written in another script: by how they sound, since nobody spells them alike."""

import re
from difflib import SequenceMatcher

from anyascii import anyascii

LIKE = 0.8  # share of letters in common: Taipei and Taibei
SHORTEST = 4  # letters of a name, and of a word that may be one
SURE = 4  # consonants in the same order: Shakespeare and Shekspir

_FOREIGN = re.compile(r"[^\W\d_]+")
_SPELLINGS = (
    *(("dzh", "j"), ("tz", "z"), ("ts", "z"), ("ph", "f"), ("ck", "k"), ("x", "ks"), ("q", "k"), ("c", "k")),
    *(("w", "v"), ("y", "i"), ("j", "i")),
)
_ALIKE = str.maketrans("bdgv", "ptkf")


def heard(text: str) -> set[str]:
    """The words of a text that are not in Latin letters, as they sound."""
    words = {anyascii(word).lower() for word in _FOREIGN.findall(text) if not word.isascii()}
    return {_written(word) for word in words if len(word) >= SHORTEST}


def sounds_among(name: str, words: set[str]) -> bool:
    """True when one of the words sounds like a name in Latin letters."""
    own = _written(name.lower())
    return len(own) >= SHORTEST and any(_alike(own, word) for word in words)


def _written(word: str) -> str:
    for given, usual in _SPELLINGS:
        word = word.replace(given, usual)
    return word


def _alike(one: str, other: str) -> bool:
    bones = _bones(one)
    if len(bones) >= SURE and bones == _bones(other):
        return True
    return SequenceMatcher(None, one, other, autojunk=False).ratio() >= LIKE


def _bones(word: str) -> str:
    """Its consonants, each once in a row."""
    kept = re.sub(r"[aeiou]", "", word.translate(_ALIKE))
    return re.sub(r"(.)\1+", r"\1", kept)
