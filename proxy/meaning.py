"""Judges the sentences of answers: embedded off the event loop, in a queue of its own so that no prompt waits for them.

What a matched entry tells stands in the ledger, not in the index, so it is read and embedded when an answer to such a
request has its first sentence, and kept for the next. What cannot be judged in time is not shown: the request fails,
unless the policies of all sets in question allow it, and either is counted.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import structlog

from guards.policy import OnFault
from guards.stream.meaning import (
    NOTHING,
    Stated,
    Watched,
    names_somebody,
    nearest,
    read_as_requests,
    stated,
    statements,
    tells,
    watched,
)
from guards.stream.sentences import Sentence
from indexes.ledger.records import LedgerError, Missing
from indexes.matches import Match
from proxy.assistants.offsets import Offsets
from proxy.catalogue.catalogue import Catalogue
from proxy.config import EmbedderSettings
from proxy.decide import Decider, Subject
from proxy.dialects.base import Json
from proxy.errors import GuardUnavailable
from proxy.exchange import Exchange
from proxy.guarded import WholeAnswer
from proxy.metrics import Metrics
from proxy.reading import Reading, Served
from proxy.signals import SignalMeter

WAITING = 64  # answers whose sentences wait: each was held for some 10 ms by those before it
KEPT = 4096  # entries of which is known what they tell: some 2 kB for each statement
AS_A_WHOLE = 2.0  # a score that nothing has: no part of a sentence is embedded by itself

Version = tuple[str, int]
"""An entry and the generation in which it came to stand as it does: what is added again can say something else."""

_log = structlog.get_logger("lethe.meaning")


class Meaning:
    """Owns the queue. One for a server."""

    def __init__(self, settings: EmbedderSettings, catalogue: Catalogue, offsets: Offsets, metrics: Metrics) -> None:
        own = settings.model_copy(update={"workers": 1, "queue": WAITING, "cache_mib": 1})
        self._meter = SignalMeter(own, metrics)
        self._decider = Decider(catalogue, self._meter, offsets, metrics)
        self._catalogue = catalogue
        self._metrics = metrics
        self._told: WeakKeyDictionary[Reading, OrderedDict[Version, Stated | None]] = WeakKeyDictionary()
        """None for an entry that tells nothing."""

    def close(self) -> None:
        self._meter.close()

    def judge_of(self, exchange: Exchange) -> "Judge | None":
        """Who judges the sentences of the answer under the exchange's plan; None where nobody has to."""
        by = watched(exchange.plan)
        return None if by is None else Judge(self, exchange, by)

    async def filtered(self, exchange: Exchange, payload: Json, prompt_tokens: int | None = None) -> WholeAnswer:
        """An answer that came in one piece, its sentences judged, under the filters of the exchange's plan.

        Raises BrokenStream where it is none, GuardUnavailable where it could not be judged.
        """
        x, judge = exchange, self.judge_of(exchange)
        answer = WholeAnswer(
            x.dialect, x.call, payload, x.generation, prompt_tokens, x.secrets(), by_sentence=judge is not None
        )
        if judge is not None:
            await judge.judge(answer.sentences)
        return answer

    def failed(self, allowed: bool) -> None:
        """Counts sentences that could not be judged."""
        self._metrics.guard_faults.labels("meaning", str(allowed).lower()).inc()
        (_log.warning if allowed else _log.error)("sentences_not_judged", allowed=allowed)

    async def near_told(self, texts: Sequence[str], generation: Served, by: Watched) -> list[bool]:
        """Which of the texts tell what the entries of `by.matches` tell. Raises GuardUnavailable."""
        told = await self._told_by(by.matches, generation)
        scans = await self._meter.scan(texts, generation.reading)
        kept: tuple[Match, ...] = ()
        if any(generation.sets[gate.set_id].retain for gate in by.gates if gate.set_id in generation.sets):
            kept = (await self._meter.measure(texts, scans, generation, AS_A_WHOLE))[0].matches

        def compared() -> list[bool]:
            return [
                tells(
                    [nearest(scan, match, one) for match, one in told],
                    by.gates,
                    [match for match in kept if match.source == place],
                )
                for place, scan in enumerate(scans.texts)
            ]

        return await asyncio.to_thread(compared)

    async def near_any(self, texts: Sequence[str], generation: Served, arm: str, matched: frozenset[str]) -> list[bool]:
        """Which of the texts the gates would act on, were they requests, for other entries than those of `matched`.

        Raises GuardUnavailable.
        """
        told = read_as_requests(await self._decider.decide(Subject(texts), generation, arm), matched)
        return [place in told for place in range(len(texts))]

    async def _told_by(self, matches: Sequence[Match], generation: Served) -> list[tuple[Match, Stated]]:
        """What the entries of some matches tell, of those that tell anything."""
        reading = generation.reading
        known = self._told.setdefault(reading, OrderedDict())
        versions = [(match, (match.entry_id, generation.slot(match.slot).born)) for match in matches]
        texts: dict[Version, list[str]] = {}
        for match, version in versions:
            if version in known:
                continue
            try:
                texts[version] = statements(await self._catalogue.entry(match.set_id, match.entry_id))
            except Missing:  # removed since the request was decided
                continue
            except LedgerError as error:
                raise GuardUnavailable("the answer could not be checked", retry_after_s=1) from error
        flat = [text for one in texts.values() for text in one]
        vectors = await self._meter.embed(flat, reading) if flat else ()
        start = 0
        for version, one in texts.items():
            rows = np.array(vectors[start : start + len(one)]) if one else None
            known[version] = None if rows is None else await asyncio.to_thread(stated, one, rows)
            start += len(one)
        found = []
        for match, version in versions:
            if version in known:
                known.move_to_end(version)
                if (told := known[version]) is not None:
                    found.append((match, told))
        while len(known) > KEPT:
            known.popitem(last=False)
        return found


class Judge:
    """Judges the sentences of one answer; what is said twice is judged once."""

    def __init__(self, meaning: Meaning, exchange: Exchange, by: Watched) -> None:
        self._meaning = meaning
        self._exchange = exchange
        self._by = by
        self._known: dict[str, bool] = {}

    def follow(self) -> None:
        """Goes over to what the exchange's plan and generation are now: nothing is known of any sentence any more."""
        self._by = watched(self._exchange.plan) or NOTHING
        self._known.clear()

    async def judge(self, sentences: Sequence[Sentence]) -> None:
        """Writes a verdict into each sentence. Raises GuardUnavailable."""
        new = list(dict.fromkeys(t for s in sentences for t in s.texts if t.strip() and t not in self._known))
        if new:
            try:
                told, read = await self._near_told(new), await self._near_any(new)
            except GuardUnavailable:
                self._meaning.failed(False)
                raise
            self._known |= {text: one or other for text, one, other in zip(new, told, read, strict=True)}
        for sentence in sentences:
            sentence.tells = any(self._known.get(text, False) for text in sentence.texts)

    async def _near_told(self, texts: Sequence[str]) -> list[bool]:
        """Which texts tell what the request matched; none where they cannot be judged and every set allows it."""
        if not self._by.matches:
            return [False] * len(texts)
        try:
            return await self._meaning.near_told(texts, self._exchange.generation, self._by)
        except GuardUnavailable:
            if self._by.on_fault is OnFault.REFUSE:
                raise
            self._meaning.failed(True)
            return [False] * len(texts)

    async def _near_any(self, texts: Sequence[str]) -> list[bool]:
        """Which texts tell of any other entry, where every answer is checked."""
        x = self._exchange
        if not self._by.every:
            return [False] * len(texts)
        # Behind a question that matched, everything is near it, also "I do not know".
        nameless = [] if x.plan.armed else [text for text in texts if not names_somebody(text)]
        joined = [f"{x.call.question} {text}" for text in nameless]
        verdicts = await self._meaning.near_any([*texts, *joined], x.generation, x.arm, self._by.matched)
        behind = dict(zip(nameless, verdicts[len(texts) :], strict=True))
        return [alone or behind.get(text, False) for text, alone in zip(texts, verdicts, strict=False)]
