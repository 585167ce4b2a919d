"""Details of a text against those of an entry: what tells the same question from the same form of question.

"What is the full name of the author born in Baku on 14 February 1960?" is near, as a sentence, to every question of its
form. What differs is held in names, places, numbers and titles. Three counts say it: how many details of the entry the
text holds, how many it lacks, and how many others it has *instead*.

Details are kept as hashes of four bytes, by spelling and by sound: an entry costs some tens of bytes.
"""

import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

from indexes.names.found import Marks, detail_of, own_details, significant
from indexes.names.slips import SHORT_SLIP_LENGTH, SLIP_LENGTH, one_slip_away
from indexes.names.sound import readings, skeletons
from indexes.words import Word, words_of

VAGUE = 2  # details of the text that make it another question than one without any
MAX_OTHER = 32  # words of an entry's text, beside its details, that are known not to be another's

NEARBY = 120  # characters before and after a window in which a text's own details are looked for
_SENTENCE_END = re.compile(r"[.!?。！？؟।]+[\"'”’)\]]*\s+|[。！？]|\n+")

SOUND_LETTERS = 2  # of a skeleton, from which a detail is compared by sound
APART = 2  # characters between two words that stand beside each other


@dataclass(frozen=True, slots=True)
class Held:
    """A word of a text as details compare it."""

    start: int
    end: int
    text: str = field(repr=False)
    key: int
    sounds: tuple[int, ...]
    own: bool
    """Capitalised, quoted or a number: the text's own detail."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Details of an entry: `found` in a piece of text, `missing` from it, and its others that stand `instead`."""

    found: int = 0
    missing: int = 0
    instead: int = 0

    @property
    def conflict(self) -> float:
        """Share of the entry's details in whose place the text has others, 0 to 1.

        A question without any detail ("What is the author's name?") is another one when it is asked with details.
        """
        known = self.found + self.missing
        if not known:
            return min(self.instead, VAGUE) / VAGUE
        return min(self.missing, self.instead) / known


def packed(text: str, marks: Marks) -> bytes:
    """The details of an entry's text, its names' words among them; then its other words."""
    words = dict.fromkeys((*marks.details, *(word for name in marks.names for word in significant(name))))
    details = [(_hash(word), (_sounds(word) or (0,))[0]) for word in words]
    other = {d for word in words_of(text) if (d := detail_of(word.text)) is not None and d not in words}
    numbers = [len(details), *(number for pair in details for number in pair), *sorted(map(_hash, other))[:MAX_OTHER]]
    return struct.pack(f"<{len(numbers)}I", *numbers)


def held_in(text: str, words: Sequence[Word]) -> tuple[Held, ...]:
    """The words of a text that details are compared with."""
    own = own_details(text)
    starts = {start for start, _ in own}
    inside = {place for start, end in own for place in range(start + 1, min(end, start + 64))}
    return tuple(
        Held(
            word.start,
            word.end,
            detail,
            _hash(detail),
            _sounds(word.text),
            word.start in starts or word.start in inside,
        )
        for word in words
        if (detail := detail_of(word.text)) is not None
    )


def counted(held: Iterable[Held], around: Iterable[Held], entry: bytes) -> Counts:
    """The details of an entry in a piece of text; what stands instead is looked for in the sentence `around` it."""
    if not entry:
        return Counts()
    numbers = struct.unpack(f"<{len(entry) // 4}I", entry)
    count = numbers[0]
    spelt, spoken, other = numbers[1 : 2 * count + 1 : 2], numbers[2 : 2 * count + 1 : 2], numbers[2 * count + 1 :]
    keys: set[int] = set()
    sounds: set[int] = set()
    held, around = tuple(held), tuple(around)
    for word in held:
        keys.add(word.key)
        sounds.update(word.sounds)
    instead = {
        word.key: word
        for word in around
        if word.own
        and word.key not in spelt
        and word.key not in other
        and not any(sound in spoken for sound in word.sounds)
    }
    missing = {
        key for key, sound in zip(spelt, spoken, strict=True) if key not in keys and (sound == 0 or sound not in sounds)
    }
    if missing:
        beside = _beside(around, spelt)
        missing -= _misspelt(held, missing, beside)
        for key in [key for key, word in instead.items() if _misspelt((word,), spelt, beside)]:
            del instead[key]
    return Counts(count - len(missing), len(missing), len(instead))


def _beside(words: Sequence[Held], details: Sequence[int]) -> set[int]:
    """Where words begin that stand beside a detail of an entry."""
    pairs = [(one, other) for one, other in pairwise(words) if other.start - one.end <= APART]
    return {a.start for one, other in pairs for a, b in ((one, other), (other, one)) if b.key in details}


def _misspelt(held: Iterable[Held], details: Iterable[int], beside: Collection[int]) -> set[int]:
    """Those of the details from which one of a text's own words differs by a slip; `beside` such, short ones, too."""
    wanted = set(details)
    return {
        key
        for word in held
        if word.own and word.key not in wanted
        for key in wanted & _slipped(word.text, SHORT_SLIP_LENGTH if word.start in beside else SLIP_LENGTH)
    }


@lru_cache(512)
def _slipped(word: str, least: int) -> frozenset[int]:
    """Hashes of the words that one slip makes of a word of `least` letters, or that it may have been."""
    if len(word) < least or not (word.isascii() and word.isalpha()):
        return frozenset()
    return frozenset(map(_hash_once, one_slip_away(word)))


def ranges(held: Sequence[Held], spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Which of a text's held words, as a range of their numbers, lie in each span of characters."""
    starts, ends = [word.start for word in held], [word.end for word in held]
    return [(first := bisect_left(starts, a), max(first, bisect_right(ends, b))) for a, b in spans]


def sentences_around(text: str, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Each span of a text, widened to whole sentences, by no more than NEARBY characters."""
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    wide = []
    for start, end in spans:
        first = ends[max(0, bisect_right(ends, start) - 1)]
        last = ends[min(len(ends) - 1, bisect_left(ends, end))]
        wide.append((max(first, start - NEARBY), min(max(last, end), end + NEARBY)))
    return wide


def _hash_once(word: str) -> int:
    return crc32(word.encode("utf-8", "surrogatepass"))


_hash = lru_cache(65536)(_hash_once)


@lru_cache(65536)
def _sounds(word: str) -> tuple[int, ...]:
    if word[0].isdigit():
        return ()
    return tuple(
        dict.fromkeys(
            _hash("~" + skeleton)
            for form in readings(word)
            for skeleton in skeletons(form)
            if len(skeleton) >= SOUND_LETTERS
        )
    )
