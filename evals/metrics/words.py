"""Words as ROUGE counts them: lower case, letters and digits only, Porter stems of words longer than three letters.

Source: google-research/rouge (`rouge_score.tokenize`), whose stemmer is NLTK's. Its tokenizer keeps `a-z0-9` and drops
all else, which leaves nothing of a text in another script; there the words are those of Unicode, unstemmed.
"""

import re
from functools import cache
from typing import Any

_LATIN = re.compile(r"[a-z0-9]+")
_ANY = re.compile(r"\w+")
_ASCII_SHARE = 0.5  # of the letters; below, the text is in another script and `a-z0-9` would drop most of it
SHORTEST_STEMMED = 4  # letters


def rouge_words(text: str) -> list[str]:
    """The words of a text, stemmed."""
    lowered = text.lower()
    letters = [char for char in lowered if char.isalpha()]
    if letters and sum(char.isascii() for char in letters) < _ASCII_SHARE * len(letters):
        return _ANY.findall(lowered)
    return [_stem(word) for word in _LATIN.findall(lowered)]


@cache
def _stem(word: str) -> str:
    return str(_porter().stem(word)) if len(word) >= SHORTEST_STEMMED else word


@cache
def _porter() -> Any:
    from nltk.stem.porter import PorterStemmer  # noqa: PLC0415 - takes half a second, which most commands need not wait

    return PorterStemmer()
