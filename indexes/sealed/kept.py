"""What is kept of a sealed entry: nodes of its phrases, hashed details, and how much there was."""

import json
import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from indexes.phrases import ROOT, bounds_of
from indexes.sealed.keys import NODE_BYTES, SealingKeys, laid_over

_COARSE = 16  # lengths are stored rounded up to this many characters: they need not tell which word is the longest


@dataclass(frozen=True, repr=False)
class Phrases:
    """Word sequences as sorted nodes: all of them, and those at which one ends; with bounds of their lengths."""

    nodes: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    longest_word: int = 0
    longest_span: int = 0

    @classmethod
    def of(cls, phrases: Iterable[Sequence[str]], keys: SealingKeys) -> "Phrases":
        nodes: set[int] = set()
        ends: set[int] = set()
        word = span = 0
        for phrase in phrases:
            node = ROOT
            for part in phrase:
                node = keys.step(node, part)
                nodes.add(keys.stored(node))
            ends.add(keys.stored(node))
            longest, wide = bounds_of(phrase)
            word, span = max(word, longest), max(span, wide)
        return cls(tuple(sorted(nodes)), tuple(sorted(ends)), _coarse(word), _coarse(span))


def rehashed(details: bytes, number: Callable[[int], int]) -> bytes:
    """Packed details (`indexes.names.details.packed`) with every hash in them replaced."""
    if not details:
        return b""
    count, *hashes = struct.unpack(f"<{len(details) // 4}I", details)
    return struct.pack(f"<{len(hashes) + 1}I", count, *map(number, hashes))


def _coarse(length: int) -> int:
    return -(-length // _COARSE) * _COARSE


@dataclass(frozen=True, repr=False)
class Sealed:
    """What is kept of an entry: see the head of this folder. `texts` and the like only count."""

    names: Phrases
    found: Phrases
    phrases: Phrases
    details: tuple[bytes, ...]
    texts: int
    stated: int
    answers: int

    @property
    def rows(self) -> int:
        """How many vectors the entry has."""
        return len(self.details)

    def packed(self) -> bytes:
        """As it is stored."""
        parts = [self.names, self.found, self.phrases]
        head = {
            "sizes": [[len(p.nodes), len(p.ends), p.longest_word, p.longest_span] for p in parts],
            "details": [len(detail) for detail in self.details],
            "counts": [self.texts, self.stated, self.answers],
        }
        told = json.dumps(head).encode()
        numbers = array("Q", [number for p in parts for number in (*p.nodes, *p.ends)]).tobytes()
        return struct.pack("<I", len(told)) + told + numbers + b"".join(self.details)

    @classmethod
    def unpacked(cls, content: bytes) -> "Sealed":
        """The inverse of `packed`."""
        (size,) = struct.unpack_from("<I", content)
        head = json.loads(content[4 : 4 + size])
        place = 4 + size
        parts = []
        for nodes, ends, word, span in head["sizes"]:
            numbers = array("Q")
            numbers.frombytes(content[place : place + 8 * (nodes + ends)])
            place += 8 * (nodes + ends)
            parts.append(Phrases(tuple(numbers[:nodes]), tuple(numbers[nodes:]), word, span))
        details = []
        for length in head["details"]:
            details.append(content[place : place + length])
            place += length
        names, found, phrases = parts
        texts, stated, answers = head["counts"]
        return cls(names, found, phrases, tuple(details), texts, stated, answers)

    def rekeyed(self, key: str) -> "Sealed":
        """The same under one more key."""
        raw = key.encode()

        def laid(phrases: Phrases) -> Phrases:
            nodes, ends = (
                tuple(sorted(laid_over(raw, b"node", n, NODE_BYTES) for n in numbers))
                for numbers in (phrases.nodes, phrases.ends)
            )
            return Phrases(nodes, ends, phrases.longest_word, phrases.longest_span)

        def hidden(detail: bytes) -> bytes:
            return rehashed(detail, lambda n: laid_over(raw, b"detail", n, 4) if n else 0)

        return Sealed(
            laid(self.names),
            laid(self.found),
            laid(self.phrases),
            tuple(map(hidden, self.details)),
            self.texts,
            self.stated,
            self.answers,
        )
