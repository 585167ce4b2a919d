"""How much of what it must not tell an answer tells in words of its own.

Phrases are met as they are written. A model that was told to forget may still say "she grew up in Taipei, her father
cut hair" where the entry says "born in Taipei to a hairdresser". For a request that matched, the entries are known: of
each, the words that only its answer holds are counted as they come, and the answer is cut before the word with which it
has told too much.

Invariants are those of the phrase filter, whose released text this one reads: where text is cut does not matter, and no
text leaves that is still in doubt.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from guards.stream.phrase import Cut, PhraseFilter, Release, Step
from indexes.entries import State
from indexes.matches import Match
from indexes.phrases import PhraseTable
from indexes.secret import key_of, keys_of
from indexes.words import Word, WordStream

TOLD = 0.25
"""Share of an answer's own words that is too much: of eight it is two, of twelve three."""

FEW = 2
"""Of so few words one is too much. Of more it takes two: one that is said by chance is no secret."""

MATCHED = 16  # entries whose secrets one answer is followed by: more are near only by the way
LONGEST = 48  # letters of a word that is judged: what is held of a word that goes on and on is bounded


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """Keys of the words that tell what one entry holds (see `indexes.secret`); `enough` of them give it away."""

    keys: frozenset[int]
    enough: int


def secrets_of(matches: Iterable[Match], secret: Callable[[int], frozenset[int]], said: Iterable[str]) -> list[Secret]:
    """The secrets of the entries that a request matched, nearest first and `MATCHED` at most.

    `secret` gives the keys of a slot, `said` is what the client wrote itself: repeating it tells nothing.
    """
    best: dict[int, float] = {}
    for match in matches:
        if match.state is State.ACTIVE:
            best[match.slot] = max(match.score, best.get(match.slot, match.score))
    nearest = sorted(best, key=lambda slot: -best[slot])[:MATCHED]
    known = keys_of(said) if nearest else set()
    found = [secret(slot) - known for slot in nearest]
    return [Secret(keys, 1 if len(keys) <= FEW else max(2, math.ceil(TOLD * len(keys)))) for keys in found if keys]


class TellingFilter:
    """A phrase filter, and behind it a count of the words that tell. Same calls as `PhraseFilter`."""

    def __init__(self, inner: PhraseFilter, secrets: Callable[[], Sequence[Secret]]) -> None:
        """`secrets` gives those in force; it is asked again when the filter moves to a newer generation."""
        self._inner = inner
        self._in_force = secrets
        self._secrets = secrets()
        self._told: list[set[int]] = [set() for _ in self._secrets]
        self._said: set[int] = set()
        """Keys of all words so far: what they tell of a secret that comes later is told."""
        self._words = WordStream()
        self._held = ""
        self._held_from = 0

    @property
    def holding(self) -> int:
        """Characters held back by either."""
        return self._inner.holding + len(self._held)

    def on_delta(self, text: str) -> Step:
        """Takes the next piece of the text."""
        return self._after(self._inner.on_delta(text))

    def on_finish(self) -> Step:
        """Ends the text."""
        step = self._after(self._inner.on_finish())
        if isinstance(step, Cut):
            return step
        if (word := self._tells(self._words.finish())) is not None:
            return Cut(step.text + self._release(word.start), None)
        return Release(step.text + self._release(self._words.position))

    def shown_before(self, text: str) -> None:
        """Tells the filter of text that left before it was there. What it told is told: only more of it is too much."""
        self._inner.shown_before(text)
        self._tells(self._words.feed(text))
        self._held_from = self._words.position

    def renew(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> Step:
        """Moves to a newer generation. Of secrets that it adds, too, only more than was told is too much."""
        self._secrets = self._in_force()
        self._told = [self._said & secret.keys for secret in self._secrets]
        return self._after(self._inner.renew(table, forbidden))

    def _after(self, step: Step) -> Step:
        self._held += step.text
        words = self._words.feed(step.text)
        if isinstance(step, Cut):
            words += self._words.finish()
        if (word := self._tells(words)) is not None:
            return Cut(self._release(word.start), None)
        if isinstance(step, Cut):
            return Cut(self._release(self._words.position), step.slot)
        start = self._words.open_start
        in_doubt = start is not None and not self._words.open_longer_than(LONGEST)
        return Release(self._release(start if start is not None and in_doubt else self._words.position))

    def _tells(self, words: Iterable[Word]) -> Word | None:
        """The first word with which too much is told, not counting what has left."""
        for word in words:
            if len(word.text) > LONGEST:
                continue
            key = key_of(word.text)
            self._said.add(key)
            for secret, told in zip(self._secrets, self._told, strict=True):
                if key not in secret.keys or key in told:
                    continue
                told.add(key)
                if len(told) >= secret.enough and word.end > self._held_from:
                    return word
        return None

    def _release(self, until: int) -> str:
        size = max(0, until - self._held_from)
        text, self._held = self._held[:size], self._held[size:]
        self._held_from += size
        return text
