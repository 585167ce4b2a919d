"""How texts are read for an index: by its own embedder, the only one whose vectors may be compared with its own.

A server may change its embedder while it runs. So a generation that is served carries its reading, a scan remembers by
which reading it was made, and where the two differ the text is read anew (`proxy.decide`).
"""

from dataclasses import dataclass, fields

from indexes.embedder import Embedder
from indexes.generation import Generation
from indexes.reading import Reader
from indexes.scan import Scan


class Reading:
    """An embedder, and the reader that it makes."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.reader = Reader(embedder)


@dataclass(frozen=True, repr=False)
class Served(Generation):
    """A generation, with the reading of the texts that are compared with it."""

    reading: Reading

    @classmethod
    def of(cls, generation: Generation, reading: Reading) -> "Served":
        """The same generation, read so."""
        return cls(**{one.name: getattr(generation, one.name) for one in fields(Generation)}, reading=reading)


@dataclass(frozen=True, slots=True, repr=False)
class Scans:
    """The texts of a request, read."""

    reading: Reading
    texts: tuple[Scan, ...]
