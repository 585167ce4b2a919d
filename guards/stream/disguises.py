"""What a text says in disguise: other spellings of its words, letters set apart, codes. Followed as it streams.

A model that must not say a phrase can be asked to write it in rot13, with digits for letters, turned round, letter by
letter, in base64, in hexadecimal or in escapes. Each disguise is read beside the text itself, word by word or character
by character, and answers two questions: does what it reads complete a forbidden phrase, and from which character of the
raw text on could what it reads still become one. So a disguised phrase is held back like a plain one, and nothing else
is. Codes of bytes are in `codes`, escapes in `escapes`.

Written backwards as a whole a phrase begins with its end: it is recognised when its first word comes, and that word
and what follows stay; what came before it has left.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from guards.stream.base64_code import Base64
from guards.stream.codes import Coded, HexReader
from guards.stream.drawn import Signs
from guards.stream.escapes import Escapes
from guards.stream.stretches import Stretches
from guards.stream.together import Together
from indexes.drawn import LETTERS
from indexes.phrases import PASSAGE_WORDS, ROOT, Hit, PhraseTable, PhraseWalk
from indexes.words import Word

MAX_SPELLINGS = 512  # ways to part letters that are set apart into words, followed at once; real names have few
_LEET = {**str.maketrans("0134578", "oieastb"), **{code: ord(letter) for code, letter in LETTERS.items()}}
_ROT13 = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")  # normal forms are lower case


class Disguise(Protocol):
    """One way to read a text."""

    by_words: bool
    """It reads the words of the text, not its characters."""

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        """Takes the next piece, which begins at `offset`, and the words that it completed; what it says in disguise."""
        ...

    def finish(self) -> list[Hit]:
        """Ends the text; what its last characters complete."""
        ...

    def start(self, *, in_word: bool) -> int | None:
        """Offset from which on the text could still become a phrase in this disguise; None when it could not.

        `in_word`: a word of several letters is under way.
        """
        ...


def disguises(table: PhraseTable, forbidden: Callable[[int], bool]) -> list[Disguise]:
    """All of them, for one text."""
    return [
        Retouched(table, forbidden, lambda word: word.translate(_LEET)),
        Respelled(table, forbidden, lambda word: word.translate(_ROT13)),
        Respelled(table, forbidden, lambda word: word[::-1]),
        Backwards(table, forbidden),
        SetApart(table, forbidden),
        Base64(table, forbidden),
        Coded(table, forbidden, HexReader()),
        Stretches(table, forbidden, Escapes),
        Stretches(table, forbidden, Signs),
        Together(table, forbidden),
    ]


class Respelled:
    """Each word in another spelling: rot13, its letters turned round."""

    by_words = True

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool], spelling: Callable[[str], str]) -> None:
        self._table = table
        self._walk = PhraseWalk(table, forbidden)
        self._spelling = spelling

    def start(self, *, in_word: bool) -> int | None:
        return self._walk.start

    def finish(self) -> list[Hit]:
        return []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        for word in words:
            spelled = self._spelling(word.text)
            if self._walk.start is None and self._table.child(ROOT, spelled) is None:
                continue  # most words: nothing is under way, and nothing begins
            hits += self._walk.advance((Word(spelled, word.start, word.end),))
        return hits


class Retouched:
    """Words in a spelling that leaves most as they are: digits and look-alikes for letters.

    It reads from the first word that it changes, with those before it in which a phrase may have begun, until all that
    is under way began after the last such word: elsewhere the phrase filter reads the same.
    """

    by_words = True

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool], spelling: Callable[[str], str]) -> None:
        self._table = table
        self._forbidden = forbidden
        self._walk = PhraseWalk(table, forbidden)
        self._spelling = spelling
        self._before: deque[Word] = deque(maxlen=PASSAGE_WORDS)
        self._changed = -1
        """Where the last word began that was changed; -1 where nothing is read."""

    def start(self, *, in_word: bool) -> int | None:
        return self._walk.start if self._changed >= 0 else None

    def finish(self) -> list[Hit]:
        return []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        for word in words:
            spelled = self._spelling(word.text)
            one = word if spelled == word.text else Word(spelled, word.start, word.end)
            if one is not word:
                if self._changed < 0:
                    self._walk = PhraseWalk(self._table, self._forbidden)
                    self._walk.advance(self._before)
                self._changed = word.start
            self._before.append(one)
            if self._changed >= 0:
                hits += self._walk.advance((one,))
                start = self._walk.start
                if start is None or start > self._changed:
                    self._changed = -1
        return hits


class Backwards:
    """The whole written from its end: the letters of the words and their order."""

    by_words = True

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> None:
        self._table = table
        self._forbidden = forbidden
        self._last: deque[Word] = deque(maxlen=PASSAGE_WORDS)

    def start(self, *, in_word: bool) -> int | None:
        return None

    def finish(self) -> list[Hit]:
        return []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        for word in words:
            self._last.append(word)
            node: int | None = ROOT
            for place, earlier in enumerate(reversed(self._last)):
                node = self._table.child(node or ROOT, earlier.text[::-1])
                if node is None:
                    break
                if place:  # one word alone may be a word of its own
                    hits += [
                        Hit(slot, word.start, word.end) for slot in self._table.ends(node) if self._forbidden(slot)
                    ]
        return hits


class SetApart:
    """Letters that stand alone, read as words in every way that they can be joined."""

    by_words = True

    def __init__(self, table: PhraseTable, forbidden: Callable[[int], bool]) -> None:
        self._table = table
        self._forbidden = forbidden
        self._ways: list[tuple[int, int, str]] = []
        """Where each begins, the node it has reached, and the letters of the word under way."""

    def start(self, *, in_word: bool) -> int | None:
        return self._ways[0][0] if self._ways and not in_word else None

    def finish(self) -> list[Hit]:
        return []

    def feed(self, text: str, offset: int, words: Sequence[Word]) -> list[Hit]:
        hits: list[Hit] = []
        for word in words:
            if len(word.text) != 1:
                if self._ways:
                    self._ways = []
                continue
            ways: list[tuple[int, int, str]] = []
            for start, node, letters in (*self._ways, (word.start, ROOT, "")):
                joined = letters + word.text
                if len(joined) < self._table.longest_word:
                    ways.append((start, node, joined))
                child = self._table.child(node, joined)
                if child is not None:
                    ways.append((start, child, ""))
                    if word.start > start:  # a letter alone is not set apart from anything
                        ends = self._table.ends(child)
                        hits += [Hit(slot, start, word.end) for slot in ends if self._forbidden(slot)]
            self._ways = ways[-MAX_SPELLINGS:]
        return hits
