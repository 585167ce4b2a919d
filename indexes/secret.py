"""The words that tell what an entry holds: those of its answers that neither its questions nor every text has.

Kept as keys, 32 bits for each word's stem: two words share one once in four billion, and no text is kept.
"""

import zlib
from collections.abc import Iterable

import numpy as np

from indexes.entries import Entry
from indexes.names.common import FUNCTION_WORDS
from indexes.words import words_of

STEM = 5  # letters: "paints", "painter" and "painting" tell the same


def key_of(word: str) -> int:
    """The key of a word's normal form, without what grammar puts at its end; crude, for comparison only."""
    stem = word[:STEM] if len(word) > STEM else word.removesuffix("s") if len(word) > 3 else word
    return zlib.crc32(stem.encode("utf-8", "surrogatepass"))


def keys_of(texts: Iterable[str]) -> set[int]:
    """The keys of all words of some texts that say something: no function words, no single letters of an alphabet."""
    return {
        key_of(word.text)
        for text in texts
        for word in words_of(text)
        if word.text not in FUNCTION_WORDS and (len(word.text) > 1 or not word.text.isascii() or word.text.isdigit())
    }


def packed_secret(entry: Entry) -> bytes:
    """The keys of an entry in clear, in order, four bytes each."""
    secret = keys_of(entry.answers) - keys_of(entry.texts) - keys_of(entry.names)
    return np.array(sorted(secret), np.uint32).tobytes()


def unpacked_secret(packed: bytes) -> frozenset[int]:
    """The keys of `packed_secret`."""
    return frozenset(np.frombuffer(packed, np.uint32).tolist())
