"""Windows of a text: the pieces whose embeddings are compared with the forget index.

A whole text hides a short question among others: measured on TOFU, a forget question between two other questions is
found in 7 % of cases by the embedding of the whole and in all cases by windows. So a text is compared as a whole, by
sentence, and in sliding windows of 10, 16 and 24 words every 4 words. Long texts get one size and a wider step: every
word is still inside two windows, and the cost per word stays bounded. Where words are not written apart, two characters
count as one, and a run longer than any word counts as several.
"""

import re
from dataclasses import dataclass, field

from indexes.words import UNSPACED

SHORT_WORDS = 12  # up to here the text is one question: windows would only repeat it
WHOLE_WORDS = 64  # beyond, the mean of a whole text says nothing about any part of it
DENSE_WORDS = 256  # beyond, one size of window and a wide step: cost per word stays bounded
DENSE_SIZES, DENSE_STEP = (10, 16, 24), 4
COARSE_SIZE, COARSE_STEP = 24, 12
WIDE_SIZE, WIDE_STEP = 24, 12
PART_WORDS = 4  # a question has as many; what is shorter, between colons and quotation marks, is a label
LONG_WORD = 40  # characters; a longer run without spaces is no word

_WORD = re.compile(rf"[{UNSPACED}]{{1,2}}|[^\s{UNSPACED}]{{1,{LONG_WORD}}}")
_PART_END = re.compile(r"[.!?。！？؟।]+\s+|[:：]\s+|[\"“”„«»{}\[\]|;\n。！？]+")
_SENTENCE_END = re.compile(r"[.!?。！？؟।]+[\"'”’)\]]*\s+|[。！？]|\n+")


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a text, and the characters of the raw text that it covers."""

    text: str = field(repr=False)
    start: int
    end: int
    coarse: bool = True
    """One of the few by which it is first looked whether anything is near; the others lie between them."""


def windows_of(text: str) -> list[Window]:
    """Windows of a text, each character span once, longest look first; empty for a text without words."""
    words = [m.span() for m in _WORD.finditer(text)]
    if not words:
        return []
    first, last = words[0][0], words[-1][1]
    count = len(words)
    spans: dict[tuple[int, int], None] = {}
    if count <= WHOLE_WORDS:
        spans[first, last] = None
        spans.update(dict.fromkeys(_parts(text, first, last)))
    if count > SHORT_WORDS:
        spans.update(dict.fromkeys(_sentences(text, first, last)))
    if SHORT_WORDS < count <= DENSE_WORDS:
        coarse = {*spans, *_slide(words, COARSE_SIZE, COARSE_STEP)}
        for size in DENSE_SIZES:
            spans.update(dict.fromkeys(_slide(words, size, DENSE_STEP)))
        return [Window(text[a:b], a, b, (a, b) in coarse) for a, b in spans]
    if count > DENSE_WORDS:
        spans.update(dict.fromkeys(_slide(words, WIDE_SIZE, WIDE_STEP)))
        # The slide covers the words at either end once only, and a question stands there more often than elsewhere.
        spans[first, words[WIDE_STEP - 1][1]] = spans[words[-WIDE_STEP][0], last] = None
    return [Window(text[a:b], a, b) for a, b in spans]


def _sentences(text: str, first: int, last: int) -> list[tuple[int, int]]:
    bounds, start = [], first
    for match in _SENTENCE_END.finditer(text, first, last):
        bounds.append((start, match.end()))
        start = match.end()
    bounds.append((start, last))
    trimmed = []
    for a, b in bounds:
        piece = text[a:b]
        if 2 <= len(_WORD.findall(piece)) <= WHOLE_WORDS:  # a single word carries no question
            trimmed.append((a + len(piece) - len(piece.lstrip()), a + len(piece.rstrip())))
    return trimmed


def _parts(text: str, first: int, last: int) -> list[tuple[int, int]]:
    """What stands between colons, quotation marks and braces: "Answer in Korean: …", "{"question": "…"}".

    A few foreign words before a short question change the embedding of the whole more than those of a long one.
    """
    bounds, start = [], first
    for match in _PART_END.finditer(text, first, last):
        bounds.append((start, match.start() + len(match[0].rstrip().rstrip(':："“”„«»{}[]|;'))))
        start = match.end()
    bounds.append((start, last))
    found = []
    for a, b in bounds:
        piece = text[a:b]
        if (a, b) != (first, last) and len(_WORD.findall(piece)) >= PART_WORDS:
            found.append((a + len(piece) - len(piece.lstrip()), a + len(piece.rstrip())))
    return found


def _slide(words: list[tuple[int, int]], size: int, step: int) -> list[tuple[int, int]]:
    if len(words) <= size:
        return []
    starts = [*range(0, len(words) - size, step), len(words) - size]
    return [(words[i][0], words[i + size - 1][1]) for i in starts]
