"""The names of all entries, found in a text in a time that does not depend on how many there are.

A name is kept under *pairs* of its words, each word by its skeletons: a full name of two words under one pair, a longer
one under the pairs of neighbours and of first and last (people say Basil Al-Kuwaiti). Pairs are unordered, so that
"Ameen, Hina" is found, and a word may stand for its initial or its short form. Each two neighbouring words of a text
are looked up; what is found is then compared letter by letter (`sound.likeness`), and only that decides.

Among a million names very many sound alike. Of those that may be meant by two words the first ones are compared; a name
is kept under its letters as well, so that one that is written as it is, or with a slip, is found among all of them.

A misspelled word is first replaced by the words of names from which it differs by one letter left out, added, changed
or swapped (deletion neighbourhoods, as in SymSpell: a few look-ups per word).

Append-only, one writer; readers need no lock. Which slots a reader sees is the generation's business. What a table
began with does not change (`indexes.names.frozen`); of its names, those that get further slots are taken over.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice

from indexes.columns import hashed, paired
from indexes.names.common import FUNCTION_WORDS, NICKNAMES, PARTICLES
from indexes.names.compared import Form, Heard, NameHit, compared, pairs
from indexes.names.frozen import NO_NAMES, FrozenNames, Name, spelt_of
from indexes.names.slips import SLIP_LENGTH, deletions, one_slip
from indexes.names.sound import joined, likeness, readings, skeletons, writes_few_vowels
from indexes.words import Word

MAX_READINGS = 4  # skeletons by which one reading of a word of a text is looked up
MAX_FORMS = 24  # and of all its readings together
MAX_CANDIDATES = 64  # names compared letter by letter for two words of a text, and of the same letters as many again
REACH = 2  # a pair's second word is one of this many significant words after the first: a middle name may stand between
ALONE = 4  # consonants from which a single word is a name by its sound


class NameTable:
    """Append-only. `add` costs the name's own words; `find` a few look-ups per word of the text."""

    def __init__(self, base: FrozenNames = NO_NAMES) -> None:
        self._base = base
        self._has_base = bool(len(base))
        self._taken: dict[int, Name] = {}  # of the base, by its number there
        self._names: dict[tuple[str, ...], Name] = {}
        self._pairs: dict[int, list[Name]] = {}
        self._vocabulary: set[str] = set()
        self._deleted: dict[str, list[str]] = {}
        self._together: dict[int, tuple[Name, ...]] = {}

    def add(self, words: Sequence[str], slot: int, *, given: bool = False) -> Name | None:
        """Adds a name (normal forms of its words) for a slot; None where no letter of it can be compared."""
        key = tuple(words)
        name = self._names.get(key) or self._taken_over(key) or self._made(key)
        if name is None:
            return None
        if given:
            name.given.add(slot)
        if not name.slots or name.slots[-1] != slot:
            name.slots.append(slot)
        return name

    def add_found(self, names: Iterable[Sequence[str]], slot: int) -> None:
        """Adds names that were found in the text of a slot's entry."""
        known = tuple(added for words in names if (added := self.add(words, slot)) is not None)
        if len(known) > 1:
            self._together[slot] = known

    def found_with(self, slot: int) -> tuple[Name, ...]:
        """The names found in the text of a slot's entry, where there are several."""
        return self._together.get(slot) or tuple(map(self._of_base, self._base.together(slot)))

    def frozen(self) -> FrozenNames:
        """Base and tail as one."""
        return self._base.and_then(
            {number: (name.slots, name.given) for number, name in self._taken.items()},
            [name for name in self._names.values() if self._base.number(name.words) is None],
            self._pairs,
            self._vocabulary,
            self._together,
        )

    def _taken_over(self, key: tuple[str, ...]) -> Name | None:
        number = self._base.number(key)
        if number is None:
            return None
        known = self._base.name(number)
        self._taken[number] = self._names[key] = Name(
            known.words, known.spelt, known.letters, list(known.slots), set(known.given)
        )
        return self._names[key]

    def _made(self, key: tuple[str, ...]) -> Name | None:
        spelt = spelt_of(key)
        if not spelt or len(spelt) == 1 < len(key):  # of "The Who" nothing is left that is a name by itself
            return None
        letters = tuple(readings(word)[0] for word in spelt)
        name = Name(key, spelt, letters, [], set())
        for pair_key in dict.fromkeys(_keys(letters)):
            self._pairs.setdefault(pair_key, []).append(name)
        for word in letters:
            self._learn(word)
        self._names[key] = name
        return name

    def _of_base(self, number: int) -> Name:
        return self._taken.get(number) or self._base.name(number)

    def _under(self, key: int) -> tuple[int, Iterable[Name]]:
        """How many names are kept under a key, and which."""
        after = self._pairs.get(key, ())
        if not self._has_base or not (before := self._base.under(key)):
            return len(after), after
        return len(before) + len(after), chain(map(self._of_base, before), after)

    def _candidates(self, forms: Iterable[tuple[int, tuple[str, ...]]]) -> Iterator[tuple[Name, tuple[str, ...]]]:
        """Names that may be meant by any of some forms of words, each with the letters of the form.

        `forms` are keys of skeletons, the likeliest first, and the letters that they are of.
        """
        left = MAX_CANDIDATES
        looked_up = set[tuple[str, ...]]()
        for key, letters in forms:
            count, alike = self._under(key)
            if count > left and letters not in looked_up:
                looked_up.add(letters)
                _, same = self._under(_written(*letters))
                yield from ((name, letters) for name in islice(same, MAX_CANDIDATES))
            if count:
                yield from ((name, letters) for name in islice(alike, left))
                left = max(0, left - count)

    def find(self, words: Sequence[Word]) -> list[NameHit]:
        """The names that stand in a text: each with its surest place."""
        if not self._names and not self._has_base:
            return []
        heard = [self._hear(word) for word in joined(words) if word.text not in PARTICLES]
        found: dict[tuple[str, ...], NameHit] = {}
        for place, first in enumerate(heard):
            hits = [*self._alone(first)]
            for further, second in enumerate(heard[place + 1 : place + 1 + REACH]):
                hits += self._pair(first, second, next_to=not further)
            for hit in hits:
                known = found.get(hit.name.words)
                if known is None or (hit.exact, hit.likeness) > (known.exact, known.likeness):
                    found[hit.name.words] = hit
        return list(found.values())

    def _hear(self, word: Word) -> Heard:
        typo: frozenset[str] = frozenset()
        if word.text in FUNCTION_WORDS:
            return Heard(word.text, word.start, word.end, (), few_vowels=False, typo=typo)
        unknown = word.text.isascii() and len(word.text) >= SLIP_LENGTH - 1 and not self._knows(word.text)
        forms = _forms(word.text, unknown=unknown)
        if unknown:
            typo = frozenset(self._near(word.text))
            if typo:
                misspelt = [(near, skeletons(near)[0]) for near in typo if skeletons(near)]
                forms = tuple(dict.fromkeys((*(_form(*one) for one in misspelt), *forms)))
        return Heard(word.text, word.start, word.end, forms[:MAX_FORMS], writes_few_vowels(word.text), typo)

    def _alone(self, heard: Heard) -> Iterator[NameHit]:
        forms = ((number, (letters,)) for letters, skeleton, number in heard.forms)
        telling = {letters for letters, skeleton, _ in heard.forms if len(skeleton) >= ALONE}
        for name, (letters,) in self._candidates(forms):
            exact = heard.text == name.spelt[0]
            like = likeness(letters, name.letters[0], heard.few_vowels)
            if exact or (like >= 0.85 and letters in telling):
                yield NameHit(name, heard.start, heard.end, like, exact, whole=True)

    def _pair(self, a: Heard, b: Heard, *, next_to: bool) -> Iterator[NameHit]:
        forms = (
            (paired(a_number, b_number), (a_letters, b_letters))
            for a_letters, _, a_number in a.forms
            for b_letters, _, b_number in b.forms
        )
        for name, (a_letters, b_letters) in self._candidates(forms):
            hit = compared(name, a, a_letters, b, b_letters, next_to=next_to)
            if hit is not None:
                yield hit

    def _learn(self, word: str) -> None:
        if len(word) < SLIP_LENGTH or self._knows(word):
            return
        self._vocabulary.add(word)
        for form in (word, *deletions(word)):
            self._deleted.setdefault(form, []).append(word)

    def _knows(self, word: str) -> bool:
        return word in self._vocabulary or self._base.knows(word)

    def _near(self, word: str) -> Iterator[str]:
        seen: set[str] = set()
        for form in (word, *deletions(word)):
            for near in chain(self._base.beside(form), self._deleted.get(form, ())):
                if near not in seen and len(seen) < MAX_CANDIDATES and one_slip(word, near):
                    seen.add(near)
                    yield near


def _keys(letters: tuple[str, ...]) -> Iterator[int]:
    if len(letters) == 1:
        yield from map(hashed, skeletons(letters[0]))
        yield _written(letters[0])
        return
    for i, j in pairs(len(letters)):
        yield _written(letters[i], letters[j])
        for a in _entry_forms(letters[i]):
            for b in _entry_forms(letters[j]):
                if not (a.startswith(".") and b.startswith(".")):
                    yield paired(hashed(a), hashed(b))


def _written(first: str, second: str = "") -> int:
    """The key of words by their letters, in any order; no skeleton holds the sign before them."""
    return paired(hashed("=" + first), hashed("=" + second))


@lru_cache(16384)
def _entry_forms(word: str) -> tuple[str, ...]:
    shorts = (short for short, full in NICKNAMES.items() if full == word)
    heads = (skeletons(short)[0] for short in shorts if skeletons(short))
    return (*skeletons(word), _initial(word), *heads)


@lru_cache(16384)
def _forms(word: str, *, unknown: bool = False) -> tuple[Form, ...]:
    """Under what a word is looked up, the likeliest first; one that is `unknown` may be a first name's initial too."""
    forms: dict[Form, None] = {}
    if len(word) == 1 and word.isalpha():
        forms[_form(word, _initial(word))] = None
    for letters in readings(word):
        forms |= dict.fromkeys(_form(letters, skeleton) for skeleton in skeletons(letters)[:MAX_READINGS])
    if unknown and len(word) >= SLIP_LENGTH:
        forms[_form(word, _initial(word))] = None
    return tuple(forms)


def _form(letters: str, skeleton: str) -> Form:
    return letters, skeleton, hashed(skeleton)


def _initial(word: str) -> str:
    return "." + word[0]
