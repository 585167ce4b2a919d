"""The phrase filter: holds back what could become a forbidden phrase, cuts when one is complete.

Invariants
1. No character of a forbidden phrase leaves, however the text is cut into deltas: `Release` ends before the earliest
   phrase still under way, and before a word that is still growing.
2. The verdict, and where a cut falls, depend on the text and not on how it was cut into deltas.
3. What is held is bounded by the longest span that can match. At the bound the stream is cut, not released.
4. What cannot match leaves at once.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from guards.stream.disguises import disguises
from indexes.phrases import PASSAGE_WORDS, Hit, PhraseTable, PhraseWalk
from indexes.words import Word, WordStream


@dataclass(frozen=True, slots=True, repr=False)
class Release:
    """Text that may leave now; may be empty."""

    text: str


@dataclass(frozen=True, slots=True, repr=False)
class Cut:
    """The stream must end. `text` may still leave; what follows it must not. `slot` is None for a cut at the bound."""

    text: str
    slot: int | None


Step = Release | Cut


class PhraseFilter:
    """Filters one text of one choice. After a `Cut` it must not be fed any more."""

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool], *, disguised: bool = False) -> None:
        """`forbidden` tells which slots of the table act (see `Generation.forbidden`).

        `disguised`: phrases are also recognised in other spellings and codes (see `disguises`).
        """
        self._disguised = disguised
        self._disguise(table, forbidden)
        self._table = table
        self._walk = PhraseWalk(table, forbidden)
        self._words = WordStream()
        self._recent: deque[Word] = deque(maxlen=PASSAGE_WORDS)  # no phrase has more words
        self._held = ""
        self._held_from = 0

    @property
    def holding(self) -> int:
        """Characters held back."""
        return len(self._held)

    @property
    def shown(self) -> int:
        """Characters released so far."""
        return self._held_from

    def on_delta(self, text: str) -> Step:
        """Takes the next piece of the text."""
        if len(self._held) + len(text) <= self._table.longest_span:  # as nearly every delta: no bound is near
            self._held += text
            at = self._words.position
            return self._take(self._words.feed(text), text, at)
        released: list[str] = []
        start = 0
        while start < len(text):
            # The bound is checked wherever it could be crossed, so that a long delta is judged as its characters are.
            room = max(1, self._table.longest_span - len(self._held))
            piece = text[start : start + room]
            start += room
            self._held += piece
            at = self._words.position
            step = self._take(self._words.feed(piece), piece, at)
            released.append(step.text)
            if isinstance(step, Cut):
                return Cut("".join(released), step.slot)
            if len(self._held) > self._table.longest_span:
                return Cut("".join(released), None)
        return Release("".join(released))

    def on_finish(self) -> Step:
        """Ends the text: releases what is held, unless its last word completes a phrase."""
        step = self._take(self._words.finish(), ended=True)
        if isinstance(step, Cut):
            return step
        return Release(step.text + self._release(self._words.position))

    def shown_before(self, text: str) -> None:
        """Tells the filter of text that left before it was there. A phrase that it begins is followed from there."""
        words = self._words.feed(text)
        self._walk.advance(words)
        self._recent.extend(words)
        self._held_from = self._words.position

    def renew(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> Step:
        """Moves to a newer generation: phrases added since are also found where they began in what was already shown.

        One that was shown to its end is past: only its next occurrence is cut.
        """
        self._table = table
        self._walk = PhraseWalk(table, forbidden)
        self._disguise(table, forbidden)
        replayed, self._recent = list(self._recent), deque(maxlen=PASSAGE_WORDS)
        return self._take(replayed)

    def _disguise(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> None:
        every = disguises(table, forbidden) if self._disguised else []
        self._by_words = [one for one in every if one.by_words]
        self._by_characters = [one for one in every if not one.by_words]
        self._in_word: bool | None = None
        self._disguised_from: int | None = None
        """Where the earliest phrase begins that may be under way in a disguise of words."""

    def _take(self, words: list[Word], piece: str = "", at: int = 0, *, ended: bool = False) -> Step:
        found: list[Hit] = []
        for word in words:
            self._recent.append(word)
            found += [hit for hit in self._walk.advance((word,)) if hit.end > self._held_from]
            if found:  # the first word that completes a phrase decides, whatever else came in the same delta
                break
        if words:
            for disguise in self._by_words:
                found += disguise.feed(piece, at, words)
        for disguise in self._by_characters:
            found += disguise.feed(piece, at, words)
        if ended:
            for disguise in (*self._by_words, *self._by_characters):
                found += disguise.finish()
        if found:
            found = [hit for hit in found if hit.end > self._held_from]
        if found:
            first = min(found, key=lambda hit: (hit.end, hit.start))
            return Cut(self._release(first.start), first.slot)
        return Release(self._release(self._safe(words)))

    def _safe(self, words: list[Word]) -> int:
        """Offset before which nothing can be part of a phrase still to come; `words` are those that came last."""
        safe = self._words.position
        in_word = False
        if not self._words.open_longer_than(self._table.longest_word):  # no phrase has a word longer than that
            if (start := self._words.open_start) is not None:
                safe = start
                in_word = self._words.open_longer_than(1)
            if (start := self._walk.start) is not None and start < safe:
                safe = start
            if words or in_word is not self._in_word:  # else they say what they said before
                self._in_word = in_word
                starts = [disguise.start(in_word=in_word) for disguise in self._by_words]
                self._disguised_from = min((start for start in starts if start is not None), default=None)
            if (start := self._disguised_from) is not None and start < safe:
                safe = start
        for disguise in self._by_characters:
            if (start := disguise.start(in_word=in_word)) is not None and start < safe:
                safe = start
        return safe

    def _release(self, until: int) -> str:
        size = max(0, until - self._held_from)
        text, self._held = self._held[:size], self._held[size:]
        self._held_from += size
        return text
