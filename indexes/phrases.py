"""Word sequences that must be recognised: names in requests, answers and passages in what the model says.

A `PhraseTable` is an append-only trie whose edges are words. Adding costs the phrase's length and disturbs no reader;
a walk costs a few look-ups per word however many phrases there are. Which phrases a reader sees is decided
by the reader's generation, not by the table (see `generation`).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from indexes.columns import Array, Columns, Found, Keys, hashed, mixed, part, under
from indexes.words import Word, words_of

ROOT = 0

PASSAGE_WORDS = 8
"""A text longer than this is recognised by any run of this many of its words (as MemFree does with n-grams)."""

LONGEST_SHOWN = 4.0
"""Characters a phrase may take in a text, as a multiple of its own length: room for markup between its words."""

ENOUGH = 64
"""Slots of one phrase that are told: very many entries may have the same answer, and any of them is a reason to act."""

Chosen = Callable[[Sequence[int]], Iterable[int]]

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


class FrozenPhrases:
    """The phrases of a table in arrays: nodes reached, and the slots whose phrase ends at some of them."""

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self._columns = dict(columns)
        self._reached = Keys(part("reached", columns))
        self._place = self._reached.place
        self._ends = Found(part("ends", columns))
        self.longest_word, self.longest_span = columns["longest"].tolist()

    @classmethod
    def of(
        cls, reached: Iterable[int], ends: Mapping[int, Sequence[int]], longest: tuple[int, int] = (0, 0)
    ) -> "FrozenPhrases":
        """Of nodes; `longest` are the bounds of a word and of a span."""
        nodes = reached if isinstance(reached, set) else set(reached)
        found = Found.of_pairs((node, slot) for node, slots in ends.items() for slot in slots)
        return cls(
            under("reached", Keys.of(np.fromiter(nodes, np.uint64, len(nodes))).columns())
            | under("ends", found.columns())
            | {"longest": np.array(longest, np.int64)}
        )

    def and_then(self, others: "FrozenPhrases") -> "FrozenPhrases":
        """With what was added later."""
        reached = Keys.of(np.concatenate([self._reached.numbers(), others._reached.numbers()]))
        longest = np.maximum(self._columns["longest"], others._columns["longest"])
        return FrozenPhrases(
            under("reached", reached.columns())
            | under("ends", self._ends.and_then(others._ends).columns())
            | {"longest": longest}
        )

    def __len__(self) -> int:
        return len(self._reached)

    def __contains__(self, node: int) -> bool:
        return self._place(node) >= 0

    def ends(self, node: int) -> Sequence[int]:
        return self._ends.get(node)

    def columns(self) -> Columns:
        return self._columns


class PhraseTable:
    """A trie over words: a base that does not change, and what was added since.

    One writer; readers need no lock (a phrase's end is marked last). A node is a hash of the words that lead to it: 64
    bits tell some hundred million nodes apart, and a set of them takes a third of what links between numbered nodes
    would.
    """

    def __init__(self, base: FrozenPhrases | None = None) -> None:
        self._base = base if base is not None else FrozenPhrases.of((), {})
        self._reached_before = self._base.__contains__ if len(self._base) else _never
        self._reached: set[int] = set()
        self._ends: dict[int, list[int]] = {}
        self.longest_word = self._base.longest_word
        self.longest_span = max(_SLACK, self._base.longest_span)
        """Upper bound, in characters of raw text, of what a match may cover."""

    def add(self, phrase: Sequence[str], slot: int) -> None:
        """Adds a phrase (normal forms of its words, as `pieces` gives them) for a slot."""
        if not 0 < len(phrase) <= PASSAGE_WORDS:  # readers remember this many words and no more
            raise ValueError(f"a phrase has 1 to {PASSAGE_WORDS} words")
        self._widen(*bounds_of(phrase))
        node = ROOT
        for word in phrase:
            node = mixed(node, hashed(word))
            self._reached.add(node)
        self._end(node, slot)

    def child(self, node: int, word: str) -> int | None:
        """The node reached from `node` by a word; None where no phrase goes on so."""
        child = mixed(node, hashed(word))
        return child if child in self._reached or self._reached_before(child) else None

    def ends(self, node: int) -> Sequence[int]:
        """Slots whose phrase ends at a node."""
        before, after = self._base.ends(node), self._ends.get(node, ())
        return (*before, *after) if before and after else before or after

    def frozen(self) -> FrozenPhrases:
        """Base and tail as one."""
        tail = FrozenPhrases.of(self._reached, self._ends, (self.longest_word, self.longest_span))
        return self._base.and_then(tail)

    def _widen(self, word: int, span: int) -> None:
        self.longest_word = max(self.longest_word, word)
        self.longest_span = max(self.longest_span, span)

    def _end(self, node: int, slot: int) -> None:
        ends = self._ends.setdefault(node, [])
        place = bisect_left(ends, slot)  # slots come in order, so that this is the end of the list
        if ends[place : place + 1] != [slot]:  # a passage may repeat itself
            ends.insert(place, slot)


_never = frozenset[int]().__contains__


class PhraseWalk:
    """Follows every phrase that may be under way in a text, word by word."""

    def __init__(self, table: PhraseTable, visible: Callable[[int], bool], chosen: Chosen | None = None) -> None:
        """`chosen` says which slots of a phrase are told, in place of the first ENOUGH that are visible."""
        self._table = table
        self._chosen: Chosen = chosen or (lambda slots: islice(filter(visible, slots), ENOUGH))
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
                    hits += [Hit(slot, start, word.end) for slot in self._chosen(table.ends(child))]
            self._active = reached
        return hits
