"""Entries and ledgers that hold them, for tests of several files."""

from datetime import UTC, datetime, timedelta

import numpy as np

from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.ledger.records import (
    Ledger,
    NewEntry,
    set_owner,
)
from indexes.vectors import Vectors

MODEL = "embedder:1"
NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, tzinfo=UTC)
ENTRY = Entry(
    "e1",
    "s1",
    Kind.FACT,
    texts=("Where was Ilse Varga born?", "伊尔莎在哪里出生？"),
    names=("Ilse Varga",),
    answers=("Graz\n\u0000'quoted' 😀 ünd more",),
    label="a label",
    threshold=0.8125,
    state=State.OBSERVE,
    reference="T-1",
    created_by="ann",
    created_at=NOW,
    expires_at=NOW + timedelta(days=1),
)


def rows(seed: int, count: int = 2) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)


def new(entry: Entry, seed: int = 1) -> NewEntry:
    return NewEntry(entry, rows(seed))


def with_set(ledger: Ledger, set_id: str = "s1") -> Ledger:
    ledger.put_set(ForgetSet(set_id), None, MODEL, actor="ann", create=True)
    return ledger


def snapshot(ledger: Ledger) -> tuple[object, ...]:
    """Everything that can be read, to see that something changed nothing."""
    entries = ledger.entries(None, "", 1000)
    owners = [*(entry.id for entry in entries), *(set_owner(s.id) for s in ledger.sets())]
    held = [None if (found := ledger.vectors(owner, MODEL)) is None else found.tobytes() for owner in owners]
    return ledger.generation(), ledger.sets(), entries, held, ledger.changes(0, 1000), ledger.keys()
