"""Stretches of a text that are read otherwise than they are written, as they stream.

A disguise (see `disguises`) that reads a text character by character, but only where something in it calls for that:
from the first such character, with the text before it in which a phrase may have begun, until nothing is under way that
holds one. Elsewhere it would read what the phrase filter reads itself.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from indexes.phrases import Hit, PhraseTable, PhraseWalk
from indexes.words import Word, WordStream


class Stretch(ABC):
    """One stretch, begun at a place of the raw text, with the text before it. Subclasses say how it reads."""

    FIRST: re.Pattern[str]
    """What begins a stretch."""

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool], before: str, place: int) -> None:
        self._table = table
        self._words = WordStream()
        self._walk = PhraseWalk(table, forbidden)
        self._origin: list[int] = []
        """For each character that was read, where in the raw text it begins."""
        self._last = place
        """Where the last character ended that is read otherwise, or what could be one began."""
        self._decoded(before, range(place - len(before), place), place)

    @abstractmethod
    def take(self, char: str, place: int) -> list[Hit]:
        """Takes the next character; the phrases that it completes."""

    def pending(self) -> int | None:
        """Where something begins that is not read yet."""
        return None

    def start(self) -> int | None:
        """Offset from which on the text could still become a phrase; None when it could not."""
        pending = self.pending()
        if self._words.open_longer_than(self._table.longest_word):
            return pending
        places = [place for place in (self._walk.start, self._words.open_start) if place is not None]
        return self._origin[min(places)] if places else pending

    def over(self) -> bool:
        """True where all that is under way is plain."""
        start = self.start()
        return self.pending() is None and (start is None or start >= self._last)

    def finish(self, end: int) -> list[Hit]:
        """Ends the text."""
        return self._found(self._words.finish(), end)

    def _decoded(self, text: str, origin: Sequence[int], end: int) -> list[Hit]:
        self._origin += origin
        return self._found(self._words.feed(text), end)

    def _found(self, words: list[Word], end: int) -> list[Hit]:
        return [Hit(hit.slot, self._origin[hit.start], end) for hit in self._walk.advance(words)] if words else []


class Stretches:
    """Implements `Disguise`: the stretches of one kind in a text."""

    by_words = False

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool], kind: type[Stretch]) -> None:
        self._table = table
        self._forbidden = forbidden
        self._kind = kind
        self._tail = ""
        """The end of the text so far, as much as a phrase can reach back."""
        self._end = 0
        self._reading: Stretch | None = None

    def start(self, *, in_word: bool) -> int | None:
        return self._reading.start() if self._reading else None

    def finish(self) -> list[Hit]:
        return self._reading.finish(self._end) if self._reading else []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        place = 0
        while place < len(text):
            began = place
            if self._reading is None:
                first = self._kind.FIRST.search(text, place)
                place = first.start() if first else len(text)
                self._remember(text[began:place])
                if first:
                    self._reading = self._begun(offset + place)
                continue
            while self._reading is not None and place < len(text):
                hits += self._reading.take(text[place], offset + place)
                place += 1
                if self._reading.over():
                    self._reading = None
            self._remember(text[began:place])
        if text:
            self._end = offset + len(text)
        return hits

    def _remember(self, text: str) -> None:
        self._tail += text
        if len(self._tail) > 4 * self._table.longest_span:  # not for every piece
            self._tail = self._tail[-self._table.longest_span - 1 :]

    def _begun(self, place: int) -> Stretch:
        """A stretch that has read the words before a place; the first of the tail may have lost its beginning."""
        before = self._tail[-self._table.longest_span - 1 :]
        if len(before) > self._table.longest_span:
            parts = before.split(maxsplit=1)
            before = before[len(before) - len(parts[1]) :] if len(parts) > 1 else ""
        return self._kind(self._table, self._forbidden, before, place)
