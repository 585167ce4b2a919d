"""Judges the sentences of answers: embedded off the event loop, in a queue of its own so that no prompt waits for them.

What a matched entry tells stands in the ledger, not in the index, so it is read and embedded when an answer to such a
request has its first sentence, and kept for the next. What cannot be judged in time is not shown: the request fails,
unless the policies of all sets in question allow it, and either is counted.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import structlog

from guards.policy import OnFault
from guards.stream.meaning import NAMELESS, Watched, names_somebody, statements, tells, watched
from guards.stream.sentences import Sentence
from indexes.entries import ForgetSet
from indexes.generation import ForgetIndex, cues
from indexes.ledger.records import LedgerError, Missing
from indexes.matches import Match
from proxy.assistants.offsets import Offsets
from proxy.catalogue.catalogue import Catalogue
from proxy.config import EmbedderSettings
from proxy.decide import Decider, Subject
from proxy.errors import GuardUnavailable
from proxy.exchange import Exchange
from proxy.metrics import Metrics
from proxy.reading import Reading, Served
from proxy.signals import SignalMeter

WAITING = 64  # answers whose sentences wait: each was held for some 10 ms by those before it
KEPT = 128  # indexes of what matched entries tell: conversations ask about the same again, and each takes some 100 kB

_log = structlog.get_logger("lethe.meaning")


class Meaning:
    """Owns the queue. One for a server."""

    def __init__(self, settings: EmbedderSettings, catalogue: Catalogue, offsets: Offsets, metrics: Metrics) -> None:
        own = settings.model_copy(update={"workers": 1, "queue": WAITING, "cache_mib": 1})
        self._meter = SignalMeter(own, metrics)
        self._decider = Decider(catalogue, self._meter, offsets, metrics)
        self._catalogue = catalogue
        self._metrics = metrics
        self._told: OrderedDict[tuple[Reading, tuple[tuple[str, float | None], ...]], Served] = OrderedDict()

    def close(self) -> None:
        self._meter.close()

    def judge_of(self, exchange: Exchange) -> "Judge | None":
        """Who judges the sentences of the answer under the exchange's plan; None where nobody has to."""
        by = watched(exchange.plan)
        return None if by is None else Judge(self, exchange, by)

    def failed(self, allowed: bool) -> None:
        """Counts sentences that could not be judged."""
        self._metrics.guard_faults.labels("meaning", str(allowed).lower()).inc()
        (_log.warning if allowed else _log.error)("sentences_not_judged", allowed=allowed)

    async def near_told(self, texts: Sequence[str], generation: Served, by: Watched) -> list[bool]:
        """Which of the texts tell what the entries of `by.matches` tell. Raises GuardUnavailable."""
        told = await self._statements(by.matches, generation.reading)
        scans = await self._meter.scan(texts, generation.reading)
        lowest = min(match.threshold or gate.policy.threshold for match in by.matches for gate in by.gates)
        found, sharp = await self._meter.measure(texts, scans, told, lowest)
        kept: tuple[Match, ...] = ()
        if any(generation.sets[gate.set_id].retain for gate in by.gates if gate.set_id in generation.sets):
            kept = (await self._meter.measure(texts, sharp, generation, 1.0))[0].matches
        return [tells(_of(found.matches, place), by.gates, _of(kept, place)) for place in range(len(texts))]

    async def near_any(self, texts: Sequence[str], generation: Served, arm: str) -> list[bool]:
        """Which of the texts the gate would act on, were they requests. Raises GuardUnavailable."""
        plan = await self._decider.decide(Subject(texts), generation, arm)
        if not plan.armed:
            return [False] * len(texts)
        return [(await self._decider.decide(Subject([text]), generation, arm)).armed for text in texts]

    async def _statements(self, matches: Sequence[Match], reading: Reading) -> Served:
        """An index of what the entries of some matches tell."""
        key = reading, tuple((match.entry_id, match.threshold) for match in matches)
        found = self._told.get(key)
        if found is None:
            found = await self._made(matches, reading)
            self._told[key] = found
            if len(self._told) > KEPT:
                self._told.popitem(last=False)
        self._told.move_to_end(key)
        return found

    async def _made(self, matches: Sequence[Match], reading: Reading) -> Served:
        entries = []
        for match in matches:
            try:
                entry = statements(await self._catalogue.entry(match.set_id, match.entry_id))
            except Missing:  # removed since the request was decided
                continue
            except LedgerError as error:
                raise GuardUnavailable("the answer could not be checked", retry_after_s=1) from error
            if entry is not None:
                entries.append(entry)
        texts = [cues(entry) for entry in entries]
        flat = [text for one in texts for text in one]
        dimensions = reading.embedder.dimensions
        vectors = await self._meter.embed(flat, reading) if flat else np.empty((0, dimensions), np.float32)
        rows = np.split(vectors, np.cumsum([len(one) for one in texts])[:-1]) if texts else []

        def build() -> Served:
            index = ForgetIndex(dimensions, NAMELESS)
            for name in {entry.set_id for entry in entries}:
                index.put_set(ForgetSet(name), None, 1)
            for entry, of in zip(entries, rows, strict=True):
                index.put_entry(entry, of, 1)
            return Served.of(index.publish(1), reading)

        return await asyncio.to_thread(build)


def _of(matches: Sequence[Match], place: int) -> list[Match]:
    return [match for match in matches if match.source == place]


class Judge:
    """Judges the sentences of one answer; what is said twice is judged once."""

    def __init__(self, meaning: Meaning, exchange: Exchange, by: Watched) -> None:
        self._meaning = meaning
        self._exchange = exchange
        self._by = by
        self._known: dict[str, bool] = {}

    async def judge(self, sentences: Sequence[Sentence]) -> None:
        """Writes a verdict into each sentence. Raises GuardUnavailable."""
        new = list(dict.fromkeys(t for s in sentences for t in s.texts if t.strip() and t not in self._known))
        if new:
            try:
                self._known |= zip(new, await self._judged(new), strict=True)
            except GuardUnavailable:
                allowed = self._by.on_fault is OnFault.ALLOW
                self._meaning.failed(allowed)
                if not allowed:
                    raise
        for sentence in sentences:
            sentence.tells = any(self._known.get(text, False) for text in sentence.texts)

    async def _judged(self, texts: Sequence[str]) -> list[bool]:
        x = self._exchange
        if self._by.matches:
            return await self._meaning.near_told(texts, x.generation, self._by)
        nameless = [text for text in texts if not names_somebody(text)]
        joined = [f"{x.call.question} {text}" for text in nameless]
        verdicts = await self._meaning.near_any([*texts, *joined], x.generation, x.arm)
        behind = dict(zip(nameless, verdicts[len(texts) :], strict=True))
        return [alone or behind.get(text, False) for text, alone in zip(texts, verdicts, strict=False)]
