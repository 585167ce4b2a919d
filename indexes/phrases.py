"""Word sequences that must be recognised: names in requests, answers and passages in what the model says.

A `PhraseTable` is an append-only trie whose edges are words. Adding costs the phrase's length and disturbs no reader;
a walk costs a few dictionary look-ups per word however many phrases there are. Which phrases a reader sees is decided
by the reader's generation, not by the table (see `generation`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from indexes.words import Word, words_of

ROOT = 0

PASSAGE_WORDS = 8
"""A text longer than this is recognised by any run of this many of its words (as MemFree does with n-grams)."""

LONGEST_SHOWN = 4.0
"""Characters a phrase may take in a text, as a multiple of its own length: room for markup between its words."""

_SLACK = 64  # characters of markup that even a short phrase may hold


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase found: the slot it belongs to, and its characters in the raw text."""

    slot: int
    start: int
    end: int


def pieces(text: str) -> list[tuple[str, ...]]:
    """Word sequences by which a text is recognised: itself, or every run of PASSAGE_WORDS of its words."""
    words = tuple(word.text for word in words_of(text))
    if len(words) <= PASSAGE_WORDS:
        return [words] if words else []
    return [words[i : i + PASSAGE_WORDS] for i in range(len(words) - PASSAGE_WORDS + 1)]


def bounds_of(phrase: Sequence[str]) -> tuple[int, int]:
    """The length of a phrase's longest word, and an upper bound of the characters of raw text that it may cover."""
    length = sum(map(len, phrase)) + len(phrase)
    return max(map(len, phrase)), int(length * LONGEST_SHOWN) + _SLACK


class PhraseTable:
    """Append-only trie over words. One writer; readers need no lock (a phrase's end is marked last).

    A node is a hash of the words that lead to it, salted by the process: 64 bits tell some hundred million nodes apart,
    and a set of them takes a third of what links between numbered nodes would.
    """

    def __init__(self) -> None:
        self._reached: set[int] = set()
        self._ends: dict[int, tuple[int, ...]] = {}
        self.longest_word = 0
        self.longest_span = _SLACK
        """Upper bound, in characters of raw text, of what a match may cover."""

    def add(self, phrase: Sequence[str], slot: int) -> None:
        """Adds a phrase (normal forms of its words, as `pieces` gives them) for a slot."""
        if not 0 < len(phrase) <= PASSAGE_WORDS:  # readers remember this many words and no more
            raise ValueError(f"a phrase has 1 to {PASSAGE_WORDS} words")
        longest_word, longest_span = bounds_of(phrase)
        self.longest_word = max(self.longest_word, longest_word)
        self.longest_span = max(self.longest_span, longest_span)
        node = ROOT
        for word in phrase:
            node = hash((node, word))
            self._reached.add(node)
        ends = self._ends.get(node, ())
        if slot not in ends:  # a passage may repeat itself
            self._ends[node] = (*ends, slot)

    def child(self, node: int, word: str) -> int | None:
        """The node reached from `node` by a word; None where no phrase goes on so."""
        child = hash((node, word))
        return child if child in self._reached else None

    def ends(self, node: int) -> tuple[int, ...]:
        """Slots whose phrase ends at a node."""
        return self._ends.get(node, ())


class PhraseWalk:
    """Follows every phrase that may be under way in a text, word by word."""

    def __init__(self, table: PhraseTable, visible: Callable[[int], bool]) -> None:
        self._table = table
        self._visible = visible
        self._active: list[tuple[int, int]] = []

    @property
    def start(self) -> int | None:
        """Offset of the earliest phrase still under way; None when none is."""
        return self._active[0][0] if self._active else None

    def advance(self, words: Iterable[Word]) -> list[Hit]:
        """Takes the next words; returns the phrases that they complete."""
        hits: list[Hit] = []
        table = self._table
        for word in words:
            reached = []
            for start, node in (*self._active, (word.start, ROOT)):
                child = table.child(node, word.text)
                if child is not None:
                    reached.append((start, child))
                    hits += [Hit(slot, start, word.end) for slot in table.ends(child) if self._visible(slot)]
            self._active = reached
        return hits
