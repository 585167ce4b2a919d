"""Sealing an entry: what is kept of it takes the place of its text."""

from dataclasses import replace

from indexes.entries import Entry, Storage
from indexes.sealed.kept import Phrases, Sealed, rehashed
from indexes.sealed.keys import SealingKeys
from indexes.told import told_by


def sealed(entry: Entry, keys: SealingKeys) -> Entry:
    """An entry without its text. What it is recognised by must be stored beside it: `cues` are of the text."""
    told = told_by(entry)
    kept = Sealed(
        names=Phrases.of(told.names, keys),
        # Of several, one may be known to all; which, only the whole index could tell.
        found=Phrases.of((*(told.found if len(told.found) == 1 else ()), *told.titles, *told.dated), keys),
        phrases=Phrases.of(told.phrases, keys),
        details=tuple(rehashed(detail, keys.number) for detail in told.details),
        texts=len(entry.texts),
        stated=len(entry.names),
        answers=len(entry.answers),
    )
    return replace(entry, texts=(), names=(), answers=(), storage=Storage.SEALED, sealed=kept)
