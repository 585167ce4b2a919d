"""What is worked out of an entry before it is stored: whether it can act, what is embedded, what is kept of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from indexes.entries import Entry, EntryError, Storage, check, content_digest
from indexes.sealed.keys import SealingKeys
from indexes.sealed.sealing import sealed
from indexes.told import cues


@dataclass(frozen=True, slots=True, repr=False)
class Prepared:
    """An entry with what is worked out before anything is stored."""

    entry: Entry
    cues: list[str]
    digest: str

    @property
    def told(self) -> tuple[str, str]:
        return self.entry.set_id, self.digest


def prepare(entries: Sequence[Entry], sealing: SealingKeys | None) -> list[Prepared]:
    """Entries as they are stored, sealed where they ask for it. Raises EntryError."""
    for entry in entries:
        check(entry)
        if entry.storage is Storage.SEALED and sealing is None:
            raise EntryError("'storage: sealed' needs keys: set ledger.sealing_key_file (see 'lethe ledger new-key')")
    return [_made_ready(entry, sealing) for entry in entries]


def _made_ready(entry: Entry, sealing: SealingKeys | None) -> Prepared:
    digest = content_digest(entry)
    if entry.storage is Storage.CLEAR or sealing is None:
        return Prepared(entry, cues(entry), digest)
    return Prepared(sealed(entry, sealing), cues(entry), sealing.text(digest))
