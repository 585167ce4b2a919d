"""Phrases written together, with nothing between their words: `MaritSolvangQuist`, `maritsolvangquist`.

A disguise (see `disguises`). Runs of letters that are long enough are parted in every way that the phrases allow, from
where the run begins or a capital stands in it. Shorter ones are held by the phrase filter anyway, and read once they
are as long.
"""

import re
from collections.abc import Callable, Sequence

from indexes.phrases import ROOT, Hit, PhraseTable
from indexes.words import Word

LONG = 10  # letters from which a run is looked at; few words of English have as many
MAX_WAYS = 64  # to part one run, followed at once

_LETTERS = re.compile(r"[^\W_]+")
_KEPT = 256  # characters of the raw text that are kept: runs of letters are read long before they are so long

_Way = tuple[int, int, str, int]
"""Where it begins, the node it has reached, the letters of the word under way, and how many words it has read."""


class Together:
    """Implements `Disguise`."""

    by_words = False

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> None:
        self._table = table
        self._forbidden = forbidden
        self._tail = ""
        self._word_end = 0
        """Where the last word ended: a run that is under way begins behind it."""
        self._ways: list[_Way] = []
        self._before = ""
        """The letter of the run under way that was read last."""
        self._read_to = 0

    def start(self, *, in_word: bool) -> int | None:
        return min(way[0] for way in self._ways) if self._ways else None

    def finish(self) -> list[Hit]:
        return []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        self._tail += text
        end = offset + len(text)
        if not words and end - self._word_end < LONG:  # as nearly every piece: no run is long
            return []
        hits: list[Hit] = []
        for word in words:
            if word.end - word.start >= LONG:
                hits += self._run(word.start, word.end, end)
            self._word_end = word.end
            self._ways, self._before = [], ""
        if end - self._word_end >= LONG:
            hits += self._run(self._word_end, end, end)
        if len(self._tail) > 2 * _KEPT:
            self._tail = self._tail[-_KEPT:]
        return hits

    def _run(self, start: int, until: int, end: int) -> list[Hit]:
        """Reads what is new of a run between two places; the tail ends at `end`."""
        start = max(start, self._read_to, end - len(self._tail))
        raw = self._tail[len(self._tail) - (end - start) : len(self._tail) - (end - until)]
        hits: list[Hit] = []
        for match in _LETTERS.finditer(raw):
            place = start + match.start()
            goes_on = self._before and place == self._read_to
            if not goes_on:
                self._ways, self._before = [], ""
                if len(match[0]) < LONG:
                    continue
            for at, letter in enumerate(match[0], place):
                if self._ways or not self._before or letter.isupper():  # else nothing is under way, and nothing begins
                    hits += self._letter(letter, at)
                self._before = letter
            self._read_to = start + match.end()
        return hits

    def _letter(self, letter: str, place: int) -> list[Hit]:
        hits: list[Hit] = []
        ways: list[_Way] = []
        begins = not self._before or (letter.isupper() and self._before.islower())
        low = letter.lower()
        for start, node, read, count in (*self._ways, *([(place, ROOT, "", 0)] if begins else ())):
            joined = read + low
            if len(joined) < self._table.longest_word:
                ways.append((start, node, joined, count))
            child = self._table.child(node, joined)
            if child is not None:
                ways.append((start, child, "", count + 1))
                if count and place + 1 - start >= LONG:
                    ends = self._table.ends(child)
                    hits += [Hit(slot, start, place + 1) for slot in ends if self._forbidden(slot)]
        self._ways = ways[-MAX_WAYS:]
        return hits
