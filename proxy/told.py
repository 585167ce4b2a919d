"""What entries tell: read from the ledger and embedded when an answer first needs it, and kept for the next.

It stands in the ledger, not in the index, which would nearly double for what armed requests alone need.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from guards.stream.kin import About, Named, kin, subjects
from guards.stream.meaning import Stated, stated, statements
from indexes.entries import Entry
from indexes.ledger.records import LedgerError
from indexes.matches import Match
from proxy.catalogue.catalogue import Catalogue
from proxy.errors import GuardUnavailable
from proxy.reading import Reading, Served
from proxy.signals import SignalMeter

KEPT = 4096  # entries of which is known what they tell: some 2 kB for each statement
AT_ONCE = 128  # statements embedded before their entries are kept: a deadline that is missed loses no more than these

Version = tuple[str, int]
"""An entry and the generation in which it came to stand as it does: what is added again can say something else."""


@dataclass(frozen=True, slots=True, repr=False)
class _Known:
    """Of one entry: what it tells, if anything, and whom it is about."""

    stated: Stated | None
    names: Named


class Told:
    """Owns what is kept. One for a server."""

    def __init__(self, catalogue: Catalogue, meter: SignalMeter) -> None:
        self._catalogue = catalogue
        self._meter = meter
        self._known: WeakKeyDictionary[Reading, OrderedDict[Version, _Known]] = WeakKeyDictionary()

    async def compared(
        self, matches: Sequence[Match], generation: Served, near: Callable[[], Mapping[int, float]]
    ) -> list[tuple[Match, Stated]]:
        """What matched entries tell, and those about the same (`kin`, with its `near`). Raises GuardUnavailable."""
        known = await self._of(matches, generation)
        about = [About(match, one.names) for match, one in known]
        known += await self._of(await asyncio.to_thread(kin, about, generation, near), generation)
        return [(match, one.stated) for match, one in known if one.stated is not None]

    async def _of(self, matches: Sequence[Match], generation: Served) -> list[tuple[Match, _Known]]:
        """What is known of the entries of some matches, but for those that were removed meanwhile."""
        kept = self._known.setdefault(generation.reading, OrderedDict())
        versions = [(match, (match.entry_id, generation.slot(match.slot).born)) for match in matches]
        found: dict[Version, _Known] = {}
        new: dict[str, Version] = {}
        for _, version in versions:
            if version in kept:
                found[version] = kept[version]
                kept.move_to_end(version)
            else:
                new[version[0]] = version
        texts: dict[Version, tuple[list[str], Named]] = {}
        for entry in await self._read(list(new)):
            texts[new[entry.id]] = statements(entry), subjects(entry)
            if sum(len(said) for said, _ in texts.values()) >= AT_ONCE:
                found |= await self._learn(texts, generation.reading)
                texts = {}
        found |= await self._learn(texts, generation.reading)
        return [(match, found[version]) for match, version in versions if version in found]

    async def _read(self, ids: Sequence[str]) -> list[Entry]:
        """Entries that still are there, in one read: each waits for the changes that are being committed."""
        if not ids:
            return []
        try:
            return await self._catalogue.entries_of(ids)
        except LedgerError as error:
            raise GuardUnavailable("the answer could not be checked", retry_after_s=1) from error

    async def _learn(self, texts: Mapping[Version, tuple[list[str], Named]], reading: Reading) -> dict[Version, _Known]:
        flat = [text for said, _ in texts.values() for text in said]
        vectors = await self._meter.embed(flat, reading) if flat else ()
        found: dict[Version, _Known] = {}
        start = 0
        for version, (said, names) in texts.items():
            rows = np.array(vectors[start : start + len(said)]) if said else None
            found[version] = _Known(None if rows is None else await asyncio.to_thread(stated, said, rows), names)
            start += len(said)
        kept = self._known.setdefault(reading, OrderedDict())
        kept.update(found)
        while len(kept) > KEPT:
            kept.popitem(last=False)
        return found
