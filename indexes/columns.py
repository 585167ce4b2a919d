"""Tables that do not change, as numpy arrays: they can be mapped from a file and shared by processes.

What is looked up is a number of 64 bits, made of words by `hashed` and `mixed`, which give the same in every process.
Two different things share a number once in some 10^19 pairs; whoever cannot bear that compares what was found.

A table names its arrays (`columns`), and is made of arrays of these names again.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Columns = dict[str, Array]
"""Arrays of one dimension by name; "phrases/nodes" is the array `nodes` of the table `phrases`."""

Numbers = npt.NDArray[np.uint64]

_BITS = 64
_MASK = (1 << _BITS) - 1
_SHARED = 2  # numbers that share a bucket, as a power of two: 4 to 8, which two or three steps tell apart


@lru_cache(65536)
def hashed(text: str) -> int:
    """A number of 64 bits for a text, the same in every process."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def mixed(a: int, b: int) -> int:
    """A number of 64 bits for two of them in this order. Python salts the hashes of texts, not those of numbers."""
    return hash((a, b)) & _MASK


def paired(a: int, b: int) -> int:
    """The same for two in any order."""
    return hash((a, b) if a <= b else (b, a)) & _MASK


def under(name: str, columns: Mapping[str, Array]) -> Columns:
    """The arrays of a table as those of a part called `name`."""
    return {f"{name}/{column}": array for column, array in columns.items()}


def part(name: str, columns: Mapping[str, Array]) -> Columns:
    """The arrays of the part called `name`."""
    return {column[len(name) + 1 :]: array for column, array in columns.items() if column.startswith(f"{name}/")}


class Keys:
    """A set of numbers of 64 bits, sorted, with a directory by their first bits."""

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self._columns = dict(columns)
        numbers, starts = columns["numbers"], columns["starts"]
        self._shift = _BITS - (len(starts) - 1).bit_length() + 1
        self._numbers, self._starts = numbers.data, starts.data  # one by one, three times as fast

    @classmethod
    def of(cls, numbers: Numbers) -> "Keys":
        """Of numbers in any order, some of them twice perhaps."""
        numbers = np.sort(numbers)
        if len(numbers) > 1:
            numbers = numbers[np.concatenate([[True], numbers[1:] != numbers[:-1]])]
        bits = max(1, len(numbers).bit_length() - _SHARED)
        held = np.bincount((numbers >> np.uint64(_BITS - bits)).astype(np.int64), minlength=1 << bits)
        starts = np.concatenate([[0], np.cumsum(held)]).astype(np.uint32)
        return cls({"numbers": numbers, "starts": starts})

    def __len__(self) -> int:
        return len(self._numbers)

    def place(self, number: int) -> int:
        """Where a number stands in the order; -1 where it is none of these."""
        bucket = number >> self._shift
        first, end = self._starts[bucket : bucket + 2]
        if first == end:
            return -1
        place = bisect_left(self._numbers, number, first, end)
        return place if place < end and self._numbers[place] == number else -1

    def __contains__(self, number: int) -> bool:
        return self.place(number) >= 0

    def numbers(self) -> Numbers:
        """All of them, in order."""
        return self._columns["numbers"]

    def columns(self) -> Columns:
        return self._columns


class Lists:
    """For each of the places 0, 1, 2, ... some numbers below 2^32."""

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self._columns = dict(columns)
        self._starts, self._values = columns["starts"].data, columns["values"].data

    @classmethod
    def of(cls, lengths: npt.ArrayLike, values: npt.ArrayLike) -> "Lists":
        """Of the values of all places one after the other, and how many each has."""
        starts = np.concatenate([[0], np.cumsum(np.asarray(lengths, np.int64))])
        return cls({"starts": starts.astype(np.uint32), "values": np.asarray(values, np.uint32)})

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, place: int) -> Sequence[int]:
        return self._values[self._starts[place] : self._starts[place + 1]]

    def lengths(self) -> Array:
        """How many numbers each place has."""
        return np.diff(self._columns["starts"])

    def values(self) -> Array:
        """The numbers of all places, one after the other."""
        return self._columns["values"]

    def columns(self) -> Columns:
        return self._columns


class Found:
    """For each of some numbers of 64 bits the values that were said of it, in the order in which they were."""

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self._keys, self._lists = Keys(part("keys", columns)), Lists(part("lists", columns))
        self._place = self._keys.place

    @classmethod
    def of(cls, keys: Numbers, values: Array) -> "Found":
        """Of pairs of a number and a value."""
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        made = Keys.of(ordered)
        lengths = np.diff(np.concatenate([np.searchsorted(ordered, made.numbers()), [len(ordered)]]))
        lists = Lists.of(lengths, np.asarray(values)[order])
        return cls(under("keys", made.columns()) | under("lists", lists.columns()))

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[int, int]]) -> "Found":
        """Of pairs one by one."""
        keys, values = [], []
        for key, value in pairs:
            keys.append(key)
            values.append(value)
        return cls.of(np.array(keys, np.uint64), np.array(values, np.uint32))

    def and_then(self, others: "Found") -> "Found":
        """With what was said later."""
        if not len(others):
            return self
        (a, b), (c, d) = self.pairs(), others.pairs()
        return Found.of(np.concatenate([a, c]), np.concatenate([b, d]))

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: int) -> bool:
        return self._keys.place(key) >= 0

    def get(self, key: int) -> Sequence[int]:
        """What was said of a number; nothing where it is unknown."""
        place = self._place(key)
        return self._lists[place] if place >= 0 else ()

    def pairs(self) -> tuple[Numbers, Array]:
        """Numbers and values side by side, sorted by number."""
        return np.repeat(self._keys.numbers(), self._lists.lengths()), self._lists.values()

    def columns(self) -> Columns:
        return under("keys", self._keys.columns()) | under("lists", self._lists.columns())


class Blobs:
    """For each of the places 0, 1, 2, ... some bytes."""

    def __init__(self, columns: Mapping[str, Array]) -> None:
        self._columns = dict(columns)
        self._starts, self._content = columns["starts"].data, columns["content"].data

    @classmethod
    def of(cls, blobs: Iterable[bytes]) -> "Blobs":
        every = list(blobs)
        starts = np.concatenate([[0], np.cumsum([len(blob) for blob in every], dtype=np.int64)]).astype(np.uint64)
        return cls({"starts": starts, "content": np.frombuffer(b"".join(every), np.uint8)})

    def and_then(self, others: "Blobs") -> "Blobs":
        """With others behind."""
        mine, more = self._columns, others.columns()
        starts = np.concatenate([mine["starts"], more["starts"][1:] + mine["starts"][-1]])
        return Blobs({"starts": starts, "content": np.concatenate([mine["content"], more["content"]])})

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, place: int) -> bytes:
        return bytes(self._content[self._starts[place] : self._starts[place + 1]])

    def __iter__(self) -> Iterator[bytes]:
        return (self[place] for place in range(len(self)))

    def columns(self) -> Columns:
        return self._columns


def texts_of(texts: Iterable[str]) -> Blobs:
    """Texts as bytes."""
    return Blobs.of(text.encode("utf-8", "surrogatepass") for text in texts)


def text_of(blob: bytes) -> str:
    """The inverse, of one."""
    return blob.decode("utf-8", "surrogatepass")


class Appended:
    """Numbers that one writer appends while others read: who knows of the first ones has them as an array, uncopied."""

    def __init__(self, kind: npt.DTypeLike) -> None:
        self._array = np.empty(64, kind)
        self._numbers = self._array.data  # one by one, three times as fast
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def __getitem__(self, place: int) -> int:
        return self._numbers[place]

    def extend(self, numbers: Sequence[int]) -> None:
        used = self._used + len(numbers)
        if used > len(self._array):
            # Readers keep the array they hold; only the writer moves to the larger one.
            grown = np.empty(max(2 * len(self._array), used), self._array.dtype)
            grown[: self._used] = self._array[: self._used]
            self._array, self._numbers = grown, grown.data
        self._array[self._used : used] = numbers
        self._used = used

    def first(self, count: int) -> Array:
        """The first of them, [count]."""
        return self._array[:count]
