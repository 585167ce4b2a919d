"""Sealed entries: what is kept of an entry whose text is not kept.

- *Phrases and names* become the nodes of the trie in which they are looked up: a node is the keyed hash (HMAC-SHA256,
  8 bytes) of the node before it and a word, so the same word hashes differently in every phrase but at its beginning.
  They are stored sorted: neither their order nor which belong together can be seen.
- *Details* (four-byte hashes of words and sounds) are hashed again with the key.
- *Embeddings* are kept as they are; `docs/threat-model.md` says what they tell.

Rotation without the text: the value under keys 1..n is the hash, with key n, of the value under keys 1..n-1. A new key
is therefore laid over what is stored, and from then on the former keys alone open nothing. All keys stay needed, oldest
first, until the entries of their time have been imported again.
"""

import hmac
import json
import re
import secrets
import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from indexes.entries import Entry, Storage
from indexes.names.details import Held
from indexes.phrases import ROOT, FrozenPhrases, PhraseTable, bounds_of
from indexes.told import Told, told_by

NODE_BYTES = 8  # the chance that any of a million entries' nodes is met by accident in a text is about 1e-12 a word
KEY_LETTERS = 32  # of a key at least; `new_key` makes 64

NO_KEY = (
    "there are sealed entries, and no key to recognise them by: set ledger.sealing_key_file to the keys that they were "
    "sealed with"
)

_COARSE = 16  # lengths are stored rounded up to this many characters: they need not tell which word is the longest


class SealError(ValueError):
    """Keys that cannot be used. The message names the cure, never a key."""


def new_key() -> str:
    """256 random bits as text."""
    return secrets.token_hex(32)


class SealingKeys:
    """The keys that sealed entries are hashed with, oldest first. Never shown."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises SealError."""
        if not keys or any(len(key) < KEY_LETTERS for key in keys):
            raise SealError(
                f"a sealing key has at least {KEY_LETTERS} characters: make one with 'lethe ledger new-key'"
            )
        if len(set(keys)) < len(keys):
            raise SealError("a sealing key stands there twice: each is laid over the former ones once")
        self._keys = tuple(key.encode() for key in keys)
        self._wrapped = lru_cache(65536)(self._wrap)

    @classmethod
    def read(cls, text: str) -> "SealingKeys":
        """Keys as a file or a variable holds them: one a line, or with commas between. Raises SealError."""
        return cls([key for key in re.split(r"[\s,]+", text) if key])

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"SealingKeys({len(self)})"

    @property
    def fingerprint(self) -> str:
        """Tells keys apart without telling anything of them."""
        return self._over(b"fingerprint", b"lethe", 8).hex()

    @property
    def newest(self) -> str:
        """The key that was laid over last."""
        return self._keys[-1].decode()

    def plain(self) -> list[str]:
        """The keys themselves, for a process of this server: never on a command line."""
        return [key.decode() for key in self._keys]

    def first(self, count: int) -> "SealingKeys":
        """The oldest of the keys."""
        return SealingKeys(self.plain()[:count])

    # -- what is looked up while a text is read

    def step(self, node: int, word: str) -> int:
        """The node after a node and a word, under the first key: how a walk goes on."""
        told = b"node" + node.to_bytes(NODE_BYTES, "little") + word.encode("utf-8", "surrogatepass")
        return int.from_bytes(hmac.digest(self._keys[0], told, "sha256")[:NODE_BYTES], "little") or 1

    def stored(self, node: int) -> int:
        """A node as it is stored: under all keys."""
        return node if len(self._keys) == 1 else self._wrapped(node)

    @lru_cache(65536)  # noqa: B019 - there is one object of this kind in a process
    def number(self, plain: int) -> int:
        """A detail's hash under all keys; 0 stays 0, which stands for none."""
        return int.from_bytes(self._over(b"detail", plain.to_bytes(4, "little"), 4), "little") if plain else 0

    def text(self, plain: str) -> str:
        """A text that is only compared, such as a digest."""
        return self._over(b"text", plain.encode(), 16).hex()

    def laid_over(self, told: str) -> str:
        """What `text` gives under all keys, from what it gave under all but the newest."""
        return hmac.digest(self._keys[-1], b"text" + bytes.fromhex(told), "sha256")[:16].hex()

    def _wrap(self, node: int) -> int:
        for key in self._keys[1:]:
            node = _laid_over(key, b"node", node, NODE_BYTES)
        return node

    def _over(self, domain: bytes, plain: bytes, size: int) -> bytes:
        for key in self._keys:
            plain = hmac.digest(key, domain + plain, "sha256")[:size]
        return plain


def _laid_over(key: bytes, domain: bytes, number: int, size: int) -> int:
    told = domain + number.to_bytes(size, "little")
    return int.from_bytes(hmac.digest(key, told, "sha256")[:size], "little")


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


def mapped(details: bytes, number: Callable[[int], int]) -> bytes:
    """Packed details (`indexes.names.details.packed`) with every hash in them replaced."""
    if not details:
        return b""
    count, *hashes = struct.unpack(f"<{len(details) // 4}I", details)
    return struct.pack(f"<{len(hashes) + 1}I", count, *map(number, hashes))


def hidden_words(held: Iterable[Held], keys: SealingKeys | None) -> tuple[Held, ...]:
    """The words of a text as the details of sealed entries are compared with them: by hash alone, misspelt by none.

    Raises SealError.
    """
    if keys is None:
        raise SealError(NO_KEY)
    return tuple(
        replace(word, text="", key=keys.number(word.key), sounds=tuple(map(keys.number, word.sounds))) for word in held
    )


def _coarse(length: int) -> int:
    return -(-length // _COARSE) * _COARSE


@dataclass(frozen=True, repr=False)
class Sealed:
    """What is kept of an entry: see the head of this file. `texts` and the like only count."""

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
    def of(cls, told: Told, keys: SealingKeys, *, texts: int, stated: int, answers: int) -> "Sealed":
        """What is kept of what an entry tells."""
        return cls(
            Phrases.of(told.names, keys),
            # Of several, one may be known to all; which, only the whole index could tell.
            Phrases.of(told.found if len(told.found) == 1 else (), keys),
            Phrases.of(told.phrases, keys),
            tuple(mapped(detail, keys.number) for detail in told.details),
            texts,
            stated,
            answers,
        )

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
                tuple(sorted(_laid_over(raw, b"node", n, NODE_BYTES) for n in numbers))
                for numbers in (phrases.nodes, phrases.ends)
            )
            return Phrases(nodes, ends, phrases.longest_word, phrases.longest_span)

        def hidden(detail: bytes) -> bytes:
            return mapped(detail, lambda n: _laid_over(raw, b"detail", n, 4) if n else 0)

        return Sealed(
            laid(self.names),
            laid(self.found),
            laid(self.phrases),
            tuple(map(hidden, self.details)),
            self.texts,
            self.stated,
            self.answers,
        )


class SealedPhraseTable(PhraseTable):
    """A trie that knows words by their keyed hashes only: for sealed phrases, and beside them for clear ones."""

    def __init__(self, keys: SealingKeys, base: FrozenPhrases | None = None) -> None:
        super().__init__(base)
        self._keys = keys

    def add(self, phrase: Sequence[str], slot: int) -> None:
        self.add_sealed(Phrases.of([phrase], self._keys), slot)

    def add_sealed(self, phrases: Phrases, slot: int) -> None:
        """Adds what was made of phrases under the same keys."""
        self._widen(phrases.longest_word, phrases.longest_span)
        self._reached.update(phrases.nodes)
        for end in phrases.ends:
            self._end(end, slot)

    def child(self, node: int, word: str) -> int | None:
        reached = self._keys.step(node, word)
        stored = self._keys.stored(reached)
        return reached if stored in self._reached or self._reached_before(stored) else None

    def ends(self, node: int) -> Sequence[int]:
        return super().ends(self._keys.stored(node))


def sealed(entry: Entry, keys: SealingKeys) -> Entry:
    """An entry without its text. What it is recognised by must be stored beside it: `cues` are of the text."""
    kept = Sealed.of(told_by(entry), keys, texts=len(entry.texts), stated=len(entry.names), answers=len(entry.answers))
    return replace(entry, texts=(), names=(), answers=(), storage=Storage.SEALED, sealed=kept)
