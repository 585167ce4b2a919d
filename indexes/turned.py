"""Text in rot13 or written backwards, told by how much more like language it is the other way round."""

import codecs
import re
from collections.abc import Iterator
from itertools import pairwise

from indexes.names.common import FUNCTION_WORDS

SCORED = 4000  # characters of a segment by which it is judged whether it is language
MIN_TURNED = 8  # letters of a segment from which it is judged
CLEAR = 0.8  # likeness to language from which a text is not taken for another turned round; none of 800 turned had 0.7
CLEARER = 0.15  # how much more like language rot13 or reversed text must be than what stands there

_WORD = re.compile(r"\w+")
_SEGMENT = re.compile(r"[^\n:.?!\"“”«»]+(?:[.][^\s\n:?!\"“”«»]+)*")
_PAIRS = frozenset(
    """
    th he in er an re nd on en at ou ed ha to or it is hi es ng st ar te se me ve of as al le ti ne de ro li ri io ic
    co ea la el ma ra ll ho ch ce om ur be wh wa no si us ut na mi ot ct ge ta ec tr ns so et ac ad mo
    """.split()
)
_BEFORE_THE = frozenset("of in is on to at by for was from with and are did does about into that".split())


def undo_turning(text: str) -> str:
    """Written backwards as a whole, or with each segment turned in the way that makes it most like language."""
    if _likely(text) < CLEAR:
        whole = max((text[::-1], _words_back(text)), key=_clarity)
        if _clarity(whole) > _likely(text) + CLEARER:
            return whole
    parts, done = [], 0
    for start, end in _segments(text):
        segment = text[start:end]
        if _likely(segment) >= CLEAR:
            continue
        ways = [segment[::-1], _words_back(segment), codecs.encode(segment, "rot13")]
        best = max(ways, key=_clarity)
        if _likely(best) > _likely(segment) + CLEARER:
            parts += [text[done:start], best]
            done = end
    return "".join((*parts, text[done:]))


def _segments(text: str) -> Iterator[tuple[int, int]]:
    for match in _SEGMENT.finditer(text):
        letters = [char for char in match[0][:SCORED] if char.isalpha()]
        if sum(map(str.isascii, letters)) >= max(MIN_TURNED, len(letters) // 2):
            yield match.span()


def _words_back(text: str) -> str:
    return _WORD.sub(lambda m: m[0][::-1], text)


def _clarity(text: str) -> float:
    return _likely(text) + _in_order(text)


def _likely(text: str) -> float:
    """How much a text looks like English or its neighbours, 0 to 2: pairs of letters, and small words."""
    words = re.findall(r"[a-z]+", text[:SCORED].lower())
    pairs = [word[i : i + 2] for word in words for i in range(len(word) - 1)]
    if not pairs:
        return 0.0
    return sum(p in _PAIRS for p in pairs) / len(pairs) + sum(w in FUNCTION_WORDS for w in words) / len(words)


def _in_order(text: str) -> float:
    """A little for punctuation and capitals where they belong: tells a line turned from its words turned."""
    text = text[:SCORED].strip()
    right = len(re.findall(r"\w[,.?!](?:\s|$)", text)) + len(re.findall(r"\b[A-Z][a-z]", text))
    wrong = len(re.findall(r"(?:^|\s)[,.?!]\w", text)) + len(re.findall(r"[a-z][A-Z]\b", text))
    words = re.findall(r"[a-z]+", text.lower())
    right += sum(a in _BEFORE_THE and b == "the" for a, b in pairwise(words))
    wrong += sum(a == "the" and b in _BEFORE_THE for a, b in pairwise(words))
    balance: float = (right - wrong) / max(right + wrong, 1)
    return 0.05 * balance
