"""What a ledger stores and answers with, and how it fails.

LedgerError          the storage refuses: no space, no permission
├── LedgerBusy       another server has it open
├── LedgerCorrupt    the file is damaged, or is not a ledger of this version
├── Missing          no such set, entry or key
└── Conflict         it is there already, or an idempotency key came back with another request
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from indexes.entries import Entry, ForgetSet
from indexes.vectors import Vectors


class LedgerError(Exception):
    """Base of all ledger failures; itself: the storage refuses, and the message says why."""


class LedgerBusy(LedgerError):
    """Another server has the ledger open."""


class LedgerCorrupt(LedgerError):
    """The ledger cannot be read; the message names the file and the cure."""


class Missing(LedgerError):
    """No such set, entry or key."""


class Conflict(LedgerError):
    """The thing exists already, or an idempotency key was used for another request."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be stored, with the vectors of its cues, [cues, dimensions]."""

    entry: Entry
    vectors: Vectors


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


class Ledger(Protocol):
    """Durable storage. Every write is one transaction, committed and synced when the call returns, and answers with
    the generation that it made. A write that raises has changed nothing. Calls come from one thread at a time.

    `changes` never parts a generation: the last one is whole, even where that makes more lines than `limit`.
    """

    def generation(self) -> int: ...
    def sets(self) -> list[ForgetSet]: ...
    def put_set(
        self, forget_set: ForgetSet, vectors: Vectors | None, model: str, *, actor: str, create: bool
    ) -> int: ...
    def drop_set(self, set_id: str, *, actor: str) -> int: ...
    def add_entries(
        self, new: Sequence[NewEntry], model: str, *, actor: str, once: Once | None = None
    ) -> tuple[int, list[str]]: ...
    def replace_entry(self, new: NewEntry, model: str, *, actor: str) -> int: ...
    def drop_entry(self, set_id: str, entry_id: str, *, actor: str) -> int: ...
    def entry(self, set_id: str, entry_id: str) -> Entry: ...
    def entries(self, set_id: str | None, after: str, limit: int) -> list[Entry]: ...
    def due(self, moment: datetime) -> list[Entry]: ...
    def vectors(self, owner: str, model: str) -> Vectors | None: ...
    def keep_vectors(self, owners: Iterable[tuple[str, Vectors]], model: str) -> None: ...
    def changes(self, after: int, limit: int) -> list[Change]: ...
    def put_key(self, key: StoredKey) -> None: ...
    def drop_key(self, key_id: str) -> None: ...
    def keys(self) -> list[StoredKey]: ...
    def close(self) -> None: ...


def set_owner(set_id: str) -> str:
    """Under which name the vectors of a set's retain examples are stored."""
    return f"set:{set_id}"
