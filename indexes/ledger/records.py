"""What a ledger stores and answers with, and how it fails.

LedgerError          the storage refuses: no space, no permission, no connection
├── LedgerBusy       another server has it open
├── LedgerCorrupt    it is damaged, or is not a ledger of this version
├── LedgerOutdated   its schema is older than this version's: it must be migrated
├── Missing          no such set, entry or key
├── Conflict         it is there already, or an idempotency key came back with another request
└── Overtaken        it is not what it was when it was read
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from indexes.entries import Entry, ForgetSet
from indexes.vectors import Vectors


class LedgerError(Exception):
    """Base of all ledger failures; itself: the storage refuses, and the message says why."""


class LedgerBusy(LedgerError):
    """Another server has the ledger open."""


class LedgerCorrupt(LedgerError):
    """The ledger cannot be read; the message names the file and the cure."""


class LedgerOutdated(LedgerError):
    """The ledger was written by an earlier version; the message names the command that migrates it."""


class Missing(LedgerError):
    """No such set, entry or key."""


class Conflict(LedgerError):
    """The thing exists already, or an idempotency key was used for another request."""


class Overtaken(LedgerError):
    """Somebody else has changed the thing since it was read: read it again."""


NOTHING: Mapping[str, Vectors] = MappingProxyType({})

CHOICES, CHOICE = "embedder", "chosen"
"""The kind and the name of the document that says which embedder all processes are to use, as `embedder` in it."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be stored, with the vectors of its cues, [cues, dimensions].

    `digest` tells what it says apart from what others say (`indexes.entries.content_digest`); "" where nobody asks.
    """

    entry: Entry
    vectors: Vectors
    digest: str = ""
    also: Mapping[str, Vectors] = field(default_factory=dict)
    """What further embedders made of it, by their names, while the embedder is being changed."""


@dataclass(frozen=True, slots=True)
class Once:
    """Makes a write happen once: the client's key, and a digest of its request."""

    key: str
    digest: str


@dataclass(frozen=True, repr=False)
class StoredKey:
    """An API key as it is stored: SHA-256 of the secret, never the secret."""

    id: str
    digest: str
    scopes: frozenset[str]
    label: str
    created_at: str

    def __repr__(self) -> str:
        return f"StoredKey(id={self.id!r}, scopes={sorted(self.scopes)!r})"


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the change log."""

    generation: int
    at: str
    actor: str
    action: str
    set_id: str | None
    entry_id: str | None


@dataclass(frozen=True, slots=True)
class Heads:
    """How far a ledger has come. Whoever has seen both numbers has seen everything that is enforced."""

    generation: int
    keys: int
    """Counts the changes of API keys, which make no generation."""
    documents: int = 0
    """Counts the changes of documents, which make a generation each."""


Documents = Mapping[str, Mapping[str, str]]
"""What processes share beside entries, by kind and name: whoever keeps a kind there knows what its bodies say."""


class Per(StrEnum):
    """What a tally is per."""

    REQUEST = "request"
    UNIT = "unit"
    """The first request of each unit."""
    PAIR = "pair"
    """Two answers to one request."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one request, or of a pair of answers: numbers by the name of a metric."""

    arm: str
    values: Mapping[str, float]
    unit: str | None = None
    """Whose request it was, as a keyed hash; None for a pair of answers."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many observations, and their sum."""

    n: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None


@dataclass(frozen=True, slots=True)
class Member:
    """A process that enforces the ledger: which generation it serves, and how long ago it last said so.

    `holds` names what it still needs of what all share outside the ledger, such as adapters in the engine.
    """

    id: str
    generation: int
    seen_s: float = 0.0
    holds: frozenset[str] = frozenset()


class Ledger(Protocol):
    """Durable storage. Every write is one transaction, committed and synced when the call returns, and answers with
    the generation that it made. A write that raises LedgerError has changed nothing, but for one case: the storage may
    be lost while it confirms. Then the change is there or not, never a part of it. Calls come from one thread at a
    time; other processes may write too, and generations are numbered in the order in which they became visible.

    `changes` never parts a generation: the last one is whole, even where that makes more lines than `limit`.
    """

    def generation(self) -> int: ...
    def heads(self) -> Heads: ...
    def snapshot(self) -> AbstractContextManager[None]:
        """All reads inside see one state, whatever others write meanwhile."""
        ...

    def sets(self) -> list[ForgetSet]: ...
    def put_set(
        self,
        forget_set: ForgetSet,
        vectors: Vectors | None,
        model: str,
        *,
        actor: str,
        create: bool,
        also: Mapping[str, Vectors] = NOTHING,
        was: ForgetSet | None = None,
    ) -> int:
        """Creates or changes a set. `vectors` are those of its retain examples by `model`, `also` by further ones.

        `was`: what it was made of. Raises Overtaken where the set is not that any more.
        """
        ...

    def drop_set(self, set_id: str, *, actor: str) -> int: ...
    def add_entries(
        self,
        new: Sequence[NewEntry],
        model: str,
        *,
        actor: str,
        once: Once | None = None,
        skip_alike: bool = False,
    ) -> tuple[int, list[str]]:
        """The ids that stand for `new` from now on. With `skip_alike` what its set holds already, by digest, is left
        out, and the id is that of the entry that is there.
        """
        ...

    def change_entry(self, set_id: str, entry_id: str, change: Callable[[Entry], Entry], *, actor: str) -> Entry:
        """Makes an entry what `change` makes of it, in all but what it says: its vectors stay. Answers with the entry.

        Nobody else changes it meanwhile. What `change` raises is raised, and nothing has changed; what changes nothing
        makes no generation.
        """
        ...

    def drop_entry(self, set_id: str, entry_id: str, *, actor: str) -> int: ...
    def entry(self, set_id: str, entry_id: str) -> Entry: ...
    def entries(self, set_id: str | None, after: str, limit: int) -> list[Entry]: ...
    def entries_of(self, ids: Iterable[str]) -> list[Entry]:
        """Those that are there, by id."""
        ...

    def entry_count(self) -> int: ...
    def page_ends(self, size: int) -> list[str]:
        """The ids that end pages of so many entries; what follows the last is the last page."""
        ...

    def entries_between(self, after: str, until: str | None) -> list[Entry]:
        """Entries by id, after one id up to another, or to the end."""
        ...

    def alike(self, set_id: str, digests: Iterable[str]) -> dict[str, str]:
        """The ids of entries of a set, by the digest of what they say."""
        ...

    def due(self, moment: datetime) -> list[Entry]: ...
    def vectors(self, owner: str, model: str) -> Vectors | None: ...
    def vectors_of(self, owners: Iterable[str], model: str) -> dict[str, Vectors]:
        """Those that are stored, by owner."""
        ...

    def keep_vectors(self, owners: Iterable[tuple[str, Vectors]], model: str, as_of: int | None = None) -> None:
        """Keeps what was made of texts read at the generation `as_of`; not for owners that were changed since, or are
        gone. None: nobody can have changed them.
        """
        ...

    def sealed_without(self, model: str) -> int:
        """How many sealed entries have vectors, but none of this embedder."""
        ...

    def changes(self, after: int, limit: int) -> list[Change]: ...
    def put_key(self, key: StoredKey) -> None: ...
    def drop_key(self, key_id: str) -> None: ...
    def keys(self) -> list[StoredKey]: ...
    def mark(self, name: str, first: str) -> str:
        """A value that all processes share: the one that is stored, or `first`, which is stored then."""
        ...

    def documents(self) -> Documents: ...
    def change_documents(
        self, kind: str, change: Callable[[dict[str, str]], Mapping[str, str]], *, actor: str, action: str
    ) -> int:
        """Makes the documents of a kind what `change` makes of them; nobody else writes meanwhile. `action` is what the
        change log says. What `change` raises is raised, and nothing has changed. Nor is there a new generation where
        it changes nothing.
        """
        ...

    def observe(self, kind: str, name: str, seen: Sequence[Observation]) -> bool:
        """Adds to the tallies of a document, all or nothing; False where it is gone. Makes no generation."""
        ...

    def tallies(self, kind: str, name: str) -> dict[tuple[str, str, str], Tally]:
        """What all processes have observed, by arm, `Per` and metric. They go with the document."""
        ...

    def beat(self, member: Member) -> None:
        """Tells all others that a process lives, and which generation it serves."""
        ...

    def living(self, within_s: float) -> list[Member]:
        """The processes that were seen within so many seconds, by id."""
        ...

    def leave(self, member_id: str) -> None: ...
    def beside(self) -> "Ledger":
        """The same ledger once more, for another thread of this process. Raises LedgerError."""
        ...

    def close(self) -> None: ...


def set_owner(set_id: str) -> str:
    """Under which name the vectors of a set's retain examples are stored."""
    return f"set:{set_id}"
