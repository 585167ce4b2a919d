"""The names of a table in arrays, so that they can be mapped from a file: found as in the table that they came from.

Kept of a name are its words; what they are compared by follows from them. What leads to a name are numbers of 64 bits
made of its skeletons, and to a word of names those made of its letters with one of them left out (`names.table`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np

from indexes.columns import Array, Blobs, Columns, Found, Lists, hashed, part, text_of, texts_of, under
from indexes.names.found import significant
from indexes.names.slips import deletions
from indexes.names.sound import readings

MAX_WORDS = 6  # significant words of a name that are compared
READ = 8192  # names, and words of names, that are kept ready
_APART = "\0"  # between the words of a name: no word holds it


@dataclass(frozen=True, slots=True)
class Name:
    """A name as it is compared: `spelt` are its significant words, `letters` the same in Latin; `slots` may grow."""

    words: tuple[str, ...]
    spelt: tuple[str, ...]
    letters: tuple[str, ...]
    slots: list[int]
    given: set[int]
    """Slots of entries that state the name themselves, rather than it being found in their text."""


def spelt_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of a name that are compared."""
    return tuple(word for word in significant(words) if readings(word))[:MAX_WORDS]


class FrozenNames:
    """Names numbered from 0, in the order in which they were added."""

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self._columns = dict(columns)
        self._words, self._vocabulary = Blobs(part("words", columns)), Blobs(part("vocabulary", columns))
        self._slots, self._given = Lists(part("slots", columns)), Lists(part("given", columns))
        self._numbers, self._pairs, self._known, self._deleted, self._together = (
            Found(part(name, columns)) for name in ("numbers", "pairs", "known", "deleted", "together")
        )
        self._name, self._word = lru_cache(READ)(self._name_read), lru_cache(READ)(self._word_read)

    @classmethod
    def of(
        cls,
        names: Sequence[Name],
        pairs: Mapping[int, Iterable[Name]],
        vocabulary: Collection[str],
        together: Mapping[int, Iterable[Name]],
        numbers: Mapping[tuple[str, ...], int] | None = None,
    ) -> "FrozenNames":
        """Of what a `NameTable` holds. `numbers` are those of the names, where they are not from 0."""
        if numbers is None:
            numbers = {name.words: number for number, name in enumerate(names)}
        joined = [_APART.join(name.words) for name in names]
        words = list(vocabulary)
        return cls(
            under("words", texts_of(joined).columns())
            | under("vocabulary", texts_of(words).columns())
            | under("slots", _lists([name.slots for name in names]).columns())
            | under("given", _lists([sorted(name.given) for name in names]).columns())
            | under("numbers", Found.of_pairs((hashed(name), number) for number, name in enumerate(joined)).columns())
            | under("pairs", _led(pairs, numbers).columns())
            | under("known", Found.of_pairs((hashed(word), number) for number, word in enumerate(words)).columns())
            | under(
                "deleted",
                Found.of_pairs(
                    (_brief(form), number) for number, word in enumerate(words) for form in (word, *deletions(word))
                ).columns(),
            )
            | under("together", _led(together, numbers).columns())
        )

    def and_then(
        self,
        taken: Mapping[int, tuple[Sequence[int], Collection[int]]],
        names: Sequence[Name],
        pairs: Mapping[int, Iterable[Name]],
        vocabulary: Collection[str],
        together: Mapping[int, Iterable[Name]],
    ) -> "FrozenNames":
        """With what a table on top of this one holds; `taken` are slots and given slots of names that are in both."""
        first = len(self)
        numbers = {name.words: number for number, name in enumerate(names, first)}
        for several in together.values():
            numbers |= {name.words: known for name in several if (known := self.number(name.words)) is not None}
        others = FrozenNames.of(names, pairs, vocabulary, together, numbers)
        words = np.uint32(len(self._vocabulary))
        return FrozenNames(
            under("words", self._words.and_then(others._words).columns())
            | under("vocabulary", self._vocabulary.and_then(others._vocabulary).columns())
            | under("slots", _longer(self._slots, {n: slots for n, (slots, _) in taken.items()}, others._slots))
            | under("given", _longer(self._given, {n: sorted(g) for n, (_, g) in taken.items()}, others._given))
            | under("numbers", self._numbers.and_then(_moved(others._numbers, np.uint32(first))).columns())
            | under("pairs", self._pairs.and_then(others._pairs).columns())
            | under("known", self._known.and_then(_moved(others._known, words)).columns())
            | under("deleted", self._deleted.and_then(_moved(others._deleted, words)).columns())
            | under("together", self._together.and_then(others._together).columns())
        )

    def __len__(self) -> int:
        return len(self._words)

    def number(self, words: tuple[str, ...]) -> int | None:
        """The number of a name, by its words."""
        for number in self._numbers.get(hashed(_APART.join(words))):
            if self._name(number).words == words:
                return number
        return None

    def name(self, number: int) -> Name:
        return self._name(number)

    def under(self, key: int) -> Sequence[int]:
        """The numbers of the names that a key leads to."""
        return self._pairs.get(key)

    def together(self, slot: int) -> Sequence[int]:
        """The numbers of the names found in the text of a slot's entry, where there are several."""
        return self._together.get(slot)

    def knows(self, word: str) -> bool:
        """True for a word of a name, in Latin letters, that is long enough to be misspelt."""
        return hashed(word) in self._known

    def beside(self, form: str) -> Iterable[str]:
        """The words of names that are `form` or are it with one letter left out, and rarely another."""
        return map(self._word, self._deleted.get(_brief(form)))

    def columns(self) -> Columns:
        return self._columns

    def _name_read(self, number: int) -> Name:
        words = tuple(text_of(self._words[number]).split(_APART))
        spelt = spelt_of(words)
        letters = tuple(readings(word)[0] for word in spelt)
        return Name(words, spelt, letters, list(self._slots[number]), set(self._given[number]))

    def _word_read(self, number: int) -> str:
        return text_of(self._vocabulary[number])


def _brief(form: str) -> int:
    """A number that is made quickly, for there are many forms of a word; what it leads to is compared anyway."""
    return crc32(form.encode("utf-8", "surrogatepass")) << 32


def _lists(several: Sequence[Sequence[int]]) -> Lists:
    return Lists.of([len(some) for some in several], [number for some in several for number in some])


def _led(names: Mapping[int, Iterable[Name]], numbers: Mapping[tuple[str, ...], int]) -> Found:
    return Found.of_pairs((key, numbers[name.words]) for key, some in names.items() for name in some)


def _moved(found: Found, by: np.uint32) -> Found:
    keys, values = found.pairs()
    return Found.of(keys, values + by)


def _longer(before: Lists, instead: Mapping[int, Sequence[int]], behind: Lists) -> Columns:
    """Lists with some replaced, and others behind."""
    lengths, values = before.lengths().astype(np.int64), before.values()
    places = sorted(instead)
    pieces, read = [], 0
    starts = np.concatenate([[0], np.cumsum(lengths)])
    for place in places:
        pieces += [values[read : starts[place]], np.array(instead[place], np.uint32)]
        read = starts[place + 1]
        lengths[place] = len(instead[place])
    every = [*pieces, values[read:], behind.values()]
    return Lists.of(np.concatenate([lengths, behind.lengths()]), np.concatenate(every)).columns()


NO_NAMES = FrozenNames.of((), {}, (), {})
