"""An entry, or a process, as one row of a table."""

import json
from datetime import UTC, datetime
from typing import Any

from indexes.entries import Entry, Kind, State, Storage
from indexes.ledger.records import Member
from indexes.sealed.kept import Sealed

ENTRY_COLUMNS = (
    "id, set_id, kind, body, label, threshold, state, reference, created_by, created_at, expires_at, generation, "
    "digest, raised, storage, sealed"
)


def row_of(entry: Entry, digest: str, generation: int) -> tuple[Any, ...]:
    """An entry in the order of ENTRY_COLUMNS."""
    return (
        entry.id,
        entry.set_id,
        entry.kind.value,
        # As JSON in ASCII: a database takes it whatever characters the texts hold.
        json.dumps({"texts": entry.texts, "names": entry.names, "answers": entry.answers}),
        entry.label,
        entry.threshold,
        entry.state.value,
        entry.reference,
        entry.created_by,
        (entry.created_at or datetime.now(UTC)).isoformat(),
        entry.expires_at.astimezone(UTC).isoformat() if entry.expires_at else None,
        generation,
        digest,
        entry.raised,
        entry.storage.value,
        entry.sealed.packed() if entry.sealed is not None else None,
    )


def entry_of(row: tuple[Any, ...]) -> Entry:
    """The entry of a row; of one of version 1, which had no storage, as well."""
    i, set_id, kind, body, label, threshold, state, reference, created_by, created_at, expires_at, generation = row[:12]
    raised = row[13]
    storage, sealed = row[14:16] if len(row) > 14 else (Storage.CLEAR, None)
    texts = json.loads(body)
    return Entry(
        id=i,
        set_id=set_id,
        kind=Kind(kind),
        texts=tuple(texts["texts"]),
        names=tuple(texts["names"]),
        answers=tuple(texts["answers"]),
        raised=int(raised),
        label=label,
        threshold=float(threshold) if threshold is not None else None,
        state=State(state),
        reference=reference,
        created_by=created_by,
        created_at=datetime.fromisoformat(created_at),
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
        generation=int(generation),
        storage=Storage(storage),
        sealed=Sealed.unpacked(sealed) if sealed is not None else None,
    )


def holds_of(member: Member) -> str:
    """What a process holds, as it is stored with its heartbeat."""
    return json.dumps(sorted(member.holds))


def member_of(member_id: str, generation: int, seen_s: float, holds: str) -> Member:
    """A process of a heartbeat that is `seen_s` old."""
    return Member(member_id, generation, max(0.0, seen_s), frozenset(map(str, json.loads(holds))))
