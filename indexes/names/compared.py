"""Whether two words of a text are a name: letter by letter, however they are spelt."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from indexes.names.common import NICKNAMES
from indexes.names.frozen import Name
from indexes.names.slips import SLIP_LENGTH, slips_between
from indexes.names.sound import likeness, skeletons

GARBLED_LENGTH = 6  # letters of a name's word that may have more than one slip, beside a word of the name that has none
GARBLED_SLIPS = 2
GARBLED = 0.8  # likeness of such a word
LIKE_EACH = 0.55  # likeness that each of two words must have to be taken for a name's
LIKE = 0.72  # and both together, where their skeletons have LONG letters or more
LONG = 6
LIKE_SHORTER = 0.1  # how much liker they must be for each letter less: what is short is met by chance


@dataclass(frozen=True, slots=True)
class NameHit:
    """A name that stands in a text, and how surely: 1 as it is written, less by sound, typo or in part."""

    name: Name
    start: int
    end: int
    likeness: float
    exact: bool
    whole: bool
    """All significant words of the name, not two of three."""


Form = tuple[str, str, int]
"""Letters of a word, a skeleton of them, and its number."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A significant word of a text, with the forms under which it is looked up."""

    text: str
    start: int
    end: int
    forms: tuple[Form, ...]
    few_vowels: bool
    typo: frozenset[str]
    """Words of names that this one may be a misspelling of."""


def compared(name: Name, a: Heard, a_letters: str, b: Heard, b_letters: str, *, next_to: bool) -> NameHit | None:
    """The hit of a name in two words of a text, if they are like two words of it."""
    best: tuple[float, bool] | None = None
    for i, j in pairs(len(name.letters)):
        for one, other in ((i, j), (j, i)):
            if len(b.text) == 1 or (len(a.text) == 1 and (one, other) != (0, len(name.letters) - 1)):
                continue  # an initial stands for the first name, before the last one
            if not next_to and (one > other or len(name.letters) > 2):
                continue  # apart and turned, or apart and in part: two words that happen to be there
            first, second = name.letters[one], name.letters[other]
            if (like_a := _like(a, a_letters, first)) < LIKE_EACH:
                continue
            if (like_b := _like(b, b_letters, second)) < LIKE_EACH or (len(a.text) == 1 and like_b < 1.0):
                continue
            if (like_a < 1.0 and _guessed(b, b_letters, second)) or (like_b < 1.0 and _guessed(a, a_letters, first)):
                continue  # looked up by its first letter alone, and nothing beside it is sure
            mean = (like_a * len(first) + like_b * len(second)) / (len(first) + len(second))
            exact = one < other and next_to and (a.text, b.text) == (name.spelt[one], name.spelt[other])
            if exact or mean >= LIKE + LIKE_SHORTER * max(0.0, LONG - _weight(first) - _weight(second)):
                best = max(best or (0.0, False), (mean, exact))
    if best is None:
        return None
    return NameHit(name, a.start, b.end, best[0], best[1], whole=len(name.letters) == 2)


def _like(heard: Heard, letters: str, word: str) -> float:
    if len(heard.text) == 1:
        return 0.9 if word.startswith(heard.text) and len(word) > 1 else float(word == heard.text)
    if letters in heard.typo:
        return 0.9 if letters == word else 0.0
    if NICKNAMES.get(letters) == word:
        return 0.9
    like = likeness(letters, word, heard.few_vowels)
    return GARBLED if like < GARBLED and _garbled(heard.text, word) else like


def _guessed(heard: Heard, letters: str, word: str) -> bool:
    """True where nothing but its first letter led from a word to a name's: it neither sounds like it nor is a slip."""
    if len(heard.text) == 1 or letters in heard.typo or letters in NICKNAMES:
        return False
    return not set(skeletons(letters)) & set(skeletons(word))


@lru_cache(4096)
def _garbled(text: str, word: str) -> bool:
    long = len(word) >= GARBLED_LENGTH and len(text) >= SLIP_LENGTH and text[0] == word[0]
    return long and slips_between(text, word, GARBLED_SLIPS) <= GARBLED_SLIPS


def _weight(word: str) -> float:
    """How much of a word its consonants are, and a vowel at the start."""
    skeleton = skeletons(word)
    return len(skeleton[0]) - 0.5 * skeleton[0].startswith("A") if skeleton else 0.0


def pairs(words: int) -> Iterator[tuple[int, int]]:
    """Neighbours, and the first with the last."""
    yield from pairwise(range(words))
    if words > 2:
        yield 0, words - 1
