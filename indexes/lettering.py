"""Letters that are drawn otherwise, set apart, or replaced by digits to hide what they spell: undone in place."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import pairwise

from anyascii import anyascii

from indexes.drawn import LOOK_ALIKES

FEW_LATIN, MOSTLY_LATIN = 1 / 3, 3 / 5  # shares of letters, below and above which a text is of another script, or not
MIN_SPACED = 5  # single letters in a row from which they are read as spaced out
LONGEST_NAME = 24  # characters of a word of another script: what is longer is written without spaces
LONGEST_LEET = 24  # characters: what is longer is a code, not a word

# -- drawn otherwise

_LATIN = re.compile(r"[A-Za-z]")
_WORD = re.compile(r"\w+")


def _latin_share(text: str) -> float:
    """Of the letters of a text; 1 where there are none."""
    letters = sum(map(str.isalpha, text))
    return len(_LATIN.findall(text)) / letters if letters else 1.0


def undo_look_alikes(text: str) -> str:
    """Nothing that does not show, and letters of another script among Latin ones as those that they look like."""
    if text.isascii():
        return text
    shown = "".join(c for c in unicodedata.normalize("NFKC", text) if c in "\n\r\t" or not _hidden(c))
    if _latin_share(shown) < FEW_LATIN:
        return shown if shown != unicodedata.normalize("NFKC", text) else text  # another script is no disguise
    mostly_latin = _latin_share(shown) > MOSTLY_LATIN
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


# -- in another script

_LETTERED = ("CYRILLIC", "GREEK")  # scripts that write every sound with a letter


def undo_script(text: str) -> str:
    """Words of another script among Latin ones, in Latin letters: so an embedder of one language reads names in it."""
    if text.isascii() or _latin_share(text) < FEW_LATIN:
        return text
    return _WORD.sub(lambda m: _in_latin(m[0]) if 1 < len(m[0]) <= LONGEST_NAME else m[0], text)


@lru_cache(4096)
def _in_latin(word: str) -> str:
    spelt = not _LATIN.search(word) and any(unicodedata.name(char, "").startswith(_LETTERED) for char in word)
    return anyascii(word) if spelt else word


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
