"""What entries tell is read and embedded once, in pieces that a deadline can be kept for."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from indexes.entries import Entry, ForgetSet, Kind
from indexes.forget_index import ForgetIndex
from indexes.ledger.records import LedgerError
from indexes.matches import Match, Via
from indexes.told import cues
from indexes.vectors import Vectors
from proxy import told as told_module
from proxy.catalogue.catalogue import Catalogue
from proxy.config import EmbedderSettings
from proxy.errors import GuardUnavailable
from proxy.metrics import Metrics
from proxy.reading import Reading, Served
from proxy.signals import SignalMeter
from proxy.told import AT_ONCE, Told
from tests.fakes.embedder import BagEmbedder


class Counting(BagEmbedder):
    """Remembers how many texts each call brought."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.fails_at: int | None = None

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(len(texts))
        if len(self.calls) == self.fails_at:
            raise RuntimeError
        return super().embed(texts)


class Ledger:
    """As much of a catalogue as is asked."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = {entry.id: entry for entry in entries}
        self.calls = self.read = 0
        self.broken = False

    async def entries_of(self, ids: Sequence[str]) -> list[Entry]:
        self.calls += 1
        self.read += len(ids)
        if self.broken:
            raise LedgerError
        return [self.entries[one] for one in ids if one in self.entries]


def fact(number: int) -> Entry:
    answers = tuple(f"This is what she did on day {day} of year {number}." for day in range(32))
    return Entry(f"e{number}", "s", Kind.FACT, (f"What did Ilse Varga do in year {number}?",), (), answers)


class Bench:
    def __init__(self, entries: Sequence[Entry], meter: SignalMeter, embedder: Counting) -> None:
        index = ForgetIndex(embedder.dimensions)
        index.put_set(ForgetSet("s"), None, 1)
        for entry in entries:
            index.put_entry(entry, embedder.embed(cues(entry)), 1)
        embedder.calls.clear()
        self.embedder = embedder
        self.generation = Served.of(index.publish(1), Reading(embedder))
        self.ledger = Ledger(entries)
        self.told = Told(cast(Catalogue, self.ledger), meter)

    async def asked(self, slot: int = 0) -> list[str]:
        one = self.generation.slot(slot)
        match = Match(one.id, "s", one.kind, one.state, 0.9, 0.0, 0, (0, 1), Via.EMBEDDING, slot=slot)
        return [match.entry_id for match, _ in await self.told.compared([match], self.generation, dict)]


@pytest.fixture
async def meter() -> AsyncIterator[SignalMeter]:
    one = SignalMeter(EmbedderSettings(), Metrics())
    yield one
    one.close()


async def test_it_is_read_once_and_all_together(meter: SignalMeter) -> None:
    """What was matched, then those about the same: each read waits for the changes that are being committed."""
    bench = Bench([fact(n) for n in range(3)], meter, Counting())
    assert await bench.asked() == ["e0", "e1", "e2"]
    assert await bench.asked(1) == ["e1", "e0", "e2"]
    assert (bench.ledger.calls, bench.ledger.read) == (2, 3)


async def test_what_was_embedded_before_a_deadline_is_kept(meter: SignalMeter) -> None:
    bench = Bench([fact(n) for n in range(9)], meter, Counting())
    bench.embedder.fails_at = 3
    with pytest.raises(GuardUnavailable):
        await bench.asked()
    assert max(bench.embedder.calls) <= AT_ONCE
    before = sum(bench.embedder.calls[:2])
    bench.embedder.calls.clear()
    assert len(await bench.asked()) == 9
    assert sum(bench.embedder.calls) == 9 * 32 - before


async def test_entries_that_left_meanwhile_tell_nothing_and_a_ledger_that_fails_closes(meter: SignalMeter) -> None:
    bench = Bench([fact(n) for n in range(3)], meter, Counting())
    del bench.ledger.entries["e1"]
    assert await bench.asked() == ["e0", "e2"]
    bench.ledger.broken = True
    with pytest.raises(GuardUnavailable):
        await bench.asked(1)


async def test_no_more_than_some_is_kept(meter: SignalMeter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_module, "KEPT", 2)
    bench = Bench([fact(n) for n in range(4)], meter, Counting())
    assert len(await bench.asked()) == 4  # of what one answer needs nothing is missing
    assert len(await bench.asked()) == 4
    assert bench.ledger.read > 4


async def test_answers_side_by_side_get_the_same(meter: SignalMeter) -> None:
    bench = Bench([fact(n) for n in range(4)], meter, Counting())
    found: list[Any] = await asyncio.gather(*(bench.asked() for _ in range(4)))
    assert found == [["e0", "e1", "e2", "e3"]] * 4
