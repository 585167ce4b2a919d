"""Letters that are drawn otherwise, set apart, or replaced by digits to hide what they spell: undone in place."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import pairwise

from indexes.drawn import LOOK_ALIKES

MIN_SPACED = 5  # single letters in a row from which they are read as spaced out
LONGEST_LEET = 24  # characters: what is longer is a code, not a word

# -- drawn otherwise

_LATIN = re.compile(r"[A-Za-z]")
_WORD = re.compile(r"\w+")


def undo_look_alikes(text: str) -> str:
    """Nothing that does not show, and letters of another script among Latin ones as those that they look like."""
    if text.isascii():
        return text
    shown = "".join(c for c in unicodedata.normalize("NFKC", text) if c in "\n\r\t" or not _hidden(c))
    if len(_LATIN.findall(shown)) * 3 < sum(map(str.isalpha, shown)):
        return shown if shown != unicodedata.normalize("NFKC", text) else text  # another script is no disguise
    mostly_latin = len(_LATIN.findall(shown)) * 5 > 3 * sum(map(str.isalpha, shown))
    rewritten = _WORD.sub(lambda m: _undisguised(m[0], alone=mostly_latin), shown)
    return rewritten if rewritten != unicodedata.normalize("NFC", text) else text


@lru_cache(4096)
def _hidden(char: str) -> bool:
    return unicodedata.category(char) in {"Cf", "Me", "Cc"} or char in "\u034f\u115f\u1160\u3164\uffa0\ufe0f\ufe0e"


def _undisguised(word: str, *, alone: bool) -> str:
    """A word with look-alikes read as Latin; one without any Latin letter only among Latin words."""
    if word.isascii() or not (alone or _LATIN.search(word)):
        return word
    drawn = word.translate(LOOK_ALIKES)
    return drawn if drawn.isascii() else word


# -- set apart

_GAP = r"[ \t.,_*|/~·•+=-]{1,5}"
_SPACED = re.compile(rf"(?<!\w)\w(?:{_GAP}\w(?!\w)){{{MIN_SPACED - 1},}}")


def undo_spacing(text: str) -> str:
    """Letters set apart, closed up to words."""
    return _SPACED.sub(_closed_up, text)


def _closed_up(match: re.Match[str]) -> str:
    letters = [m.span() for m in re.finditer(r"\w", match[0])]
    gaps = [match[0][a[1] : b[0]] for a, b in pairwise(letters)]
    usual = Counter(gaps).most_common(1)[0][0]
    joined = match[0][letters[0][0] : letters[0][1]]
    for (start, end), gap in zip(letters[1:], gaps, strict=True):
        parted = gap != usual and (len(gap) > len(usual) or " " in gap)
        joined += (" " if parted else "") + match[0][start:end]
    return joined


# -- digits and signs for letters

_LEET = str.maketrans("0134578$@!9", "oieastbsaig")
_LEET_WORD = re.compile(r"[\w@$!]+")
_LEET_MIXED = re.compile(r"[A-Za-z][\d@$!]|[\d@$!][A-Za-z]")
_LEET_INSIDE = re.compile(r"[A-Za-z][\d@$!]+[A-Za-z]|[\d@$][A-Za-z]+[\d@$!]")
_ORDINAL = re.compile(r"^\d+(?:st|nd|rd|th|s)$")
_SHORT_NUMBER = re.compile(r"(?<![\w/.:-])\d{1,3}(?![\w/.:%-])")


def undo_leet(text: str) -> str:
    """Digits and signs that stand for letters."""
    mixed = [
        m[0].rstrip("!") for m in _LEET_WORD.finditer(text) if len(m[0]) <= LONGEST_LEET and _LEET_MIXED.search(m[0])
    ]
    clear = {word for word in mixed if _LEET_INSIDE.search(word)}
    if not clear:
        return text
    every = len(clear) > 1 or len(clear) * 4 > len(mixed)  # one such word may be a name of a thing; two are a manner

    def plain(match: re.Match[str]) -> str:
        word = match[0].rstrip("!")
        changes = word in clear or (every and len(word) <= LONGEST_LEET and not _ORDINAL.match(word))
        return word.translate(_LEET) + match[0][len(word) :] if changes and _LEET_MIXED.search(word) else match[0]

    changed = _LEET_WORD.sub(plain, text)
    if len(clear) * 6 >= len(text.split()):  # then short numbers are words as well
        changed = _SHORT_NUMBER.sub(lambda m: m[0].translate(_LEET), changed)
    return changed
