"""The other questions of a request: what it asks beside what it matched, and whether a sentence answers that.

An answer must abstain from what the request matched, not from the rest: of "Who wrote that? And what is the capital of
Peru?" the second may be answered. What asks for something else is told by two signs, so that no order or list of
choices behind a question passes for another one: it ends with a question mark, and is far from every entry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from guards.stream.sentences import sentences_of
from indexes.scan import Scan
from indexes.vectors import Vectors

MOST_PARTS = 32  # sentences that are told apart: nobody asks more at once

_MARKS = frozenset("?؟？՞\u037e")
_CLOSERS = "\"'”’)]}»*_ \t\r\n"


def parts_of(texts: Iterable[str]) -> list[str]:
    """The sentences of what a client asks, each once; none where there are too many to be told apart."""
    found = dict.fromkeys(part for text in texts for part in sentences_of(text) if part)
    return list(found) if len(found) <= MOST_PARTS else []


def asks(part: str) -> bool:
    """True for a sentence that ends with a question mark."""
    end = part.rstrip(_CLOSERS)[-1:]
    return end in _MARKS


@dataclass(frozen=True, slots=True, repr=False)
class OtherQuestions:
    """The windows of all parts of a question, in all readings, and which are of parts that ask for something else."""

    vectors: Vectors
    apart: tuple[bool, ...]

    @classmethod
    def of(cls, parts: Sequence[str], scans: Sequence[Scan], near: Sequence[bool]) -> "OtherQuestions | None":
        """`near`: which parts may be a piece of a question about an entry. None where all of it is about entries.

        Where none is, what matched lies in how they stand together, and none of them can be told from it.
        """
        apart = [asks(part) and not is_near for part, is_near in zip(parts, near, strict=True)]
        if not any(apart) or not any(near):
            return None
        read = [(view.vectors, other) for scan, other in zip(scans, apart, strict=True) for view in (scan, *scan.views)]
        flags = tuple(other for vectors, other in read for _ in range(len(vectors)))
        return cls(np.concatenate([vectors for vectors, _ in read]), flags)

    def answered_by(self, sentence: Vectors) -> bool:
        """Whether a sentence, by its embedding of shape [1, dimensions], is nearest to what asks for something else."""
        return self.apart[int(np.argmax(self.vectors @ sentence[0]))]
