"""Full dates in a text, whatever the language writes between day, month and year.

A date and one other word beside it ("born in Astana on 7 February 1952") tell somebody as surely as a name does, in any
script: numbers are the same everywhere, and the word is compared by how it sounds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from indexes.names.found import detail_of
from indexes.names.sound import joined, readings, skeletons
from indexes.words import Word

APART = 2  # words that may stand between two numbers of a date
YEARS = range(1000, 2200)
DAYS, MONTHS = 31, 12
SOUND_LETTERS = 2  # of a skeleton, from which a word is told by it
BEGINNING = 3  # letters of it that are compared: languages end the names of places as they like (Brussels, Брюссель)
NEARBY = 120  # characters before and after a date in which the word beside it is looked for


@dataclass(frozen=True, slots=True)
class Date:
    """A full date. `said` is the same however it is written; day and month are not told apart, as countries differ."""

    said: str
    start: int
    end: int


def dates_of(words: Sequence[Word]) -> list[Date]:
    """The full dates in a text."""
    numbers = [
        (place, int(detail))
        for place, word in enumerate(words)
        if (detail := detail_of(word.text)) is not None and detail.isdecimal()
    ]
    return list(_dates(words, numbers))


def beside(date: Date, words: Sequence[Word]) -> Iterator[str]:
    """How the words near a date may sound, in Latin letters behind a sign."""
    for word in joined(words):
        if date.start - NEARBY <= word.start < date.start or date.end <= word.start <= date.end + NEARBY:
            for form in readings(word.text):
                yield from (sound for skeleton in skeletons(form) if (sound := _told(skeleton)))


def dated(words: Sequence[Word], details: Sequence[str]) -> list[tuple[str, str]]:
    """What tells a text with full dates by one of them: each with each of its details, as it may sound."""
    sounds = [
        sound
        for detail in details
        if not detail[0].isdigit()
        for form in readings(detail)[:1]
        for skeleton in skeletons(form)
        if (sound := _told(skeleton))
    ]
    return [(date.said, sound) for date in dates_of(words) for sound in dict.fromkeys(sounds)]


def _told(skeleton: str) -> str:
    return "~" + skeleton[:BEGINNING] if len(skeleton) >= SOUND_LETTERS else ""


def _dates(words: Sequence[Word], numbers: Sequence[tuple[int, int]]) -> Iterator[Date]:
    for (first, a), (middle, b), (last, c) in zip(numbers, numbers[1:], numbers[2:], strict=False):
        if middle - first > APART + 1 or last - middle > APART + 1:
            continue
        year, one, other = (a, b, c) if a in YEARS else (c, a, b)
        if year in YEARS and 0 < min(one, other) <= MONTHS and max(one, other) <= DAYS:
            low, high = sorted((one, other))
            yield Date(f"={year}-{low}-{high}", words[first].start, words[last].end)
