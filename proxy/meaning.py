"""Judges the sentences of answers: embedded off the event loop, in a queue of its own so that no prompt waits for them.

What cannot be judged in time is not shown: the request fails, unless the policies of all sets in question allow it, and
either is counted.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from guards.policy import OnFault
from guards.stream.meaning import (
    NOTHING,
    Stated,
    Watched,
    names_somebody,
    nearest,
    read_as_requests,
    tells,
    watched,
)
from guards.stream.other_questions import OtherQuestions, asks, parts_of
from guards.stream.sentences import Sentence
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
from proxy.reading import Served
from proxy.signals import SignalMeter
from proxy.told import Told

WAITING = 64  # answers whose sentences wait: each was held for some 10 ms by those before it
AS_A_WHOLE = 2.0  # a score that nothing has: no part of a sentence is embedded by itself

Compared = Sequence[tuple[Match, Stated]]
"""Entries, and what they tell."""

_log = structlog.get_logger("lethe.meaning")


class Meaning:
    """Owns the queue. One for a server."""

    def __init__(self, settings: EmbedderSettings, catalogue: Catalogue, offsets: Offsets, metrics: Metrics) -> None:
        own = settings.model_copy(update={"workers": 1, "queue": WAITING, "cache_mib": 1})
        self._meter = SignalMeter(own, metrics)
        self._decider = Decider(catalogue, self._meter, offsets, metrics)
        self._told = Told(catalogue, self._meter)
        self._metrics = metrics

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

    async def compared(self, by: Watched, generation: Served, subject: Subject) -> Compared:
        """What the answer to a request must not tell. Raises GuardUnavailable."""

        def near() -> Mapping[int, float]:
            scans = subject.scans
            if scans is None or scans.reading is not generation.reading:
                return {}
            found = (m for source, scan in enumerate(scans.texts) for m in generation.matches(source, scan))
            return {match.slot: match.score for match in sorted(found, key=lambda match: match.score)}

        return await self._told.compared(by.matches, generation, near)

    async def near_told(self, texts: Sequence[str], generation: Served, by: Watched, told: Compared) -> list[bool]:
        """Which of the texts tell what `told` says. Raises GuardUnavailable."""
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

    async def other_questions(self, subject: Subject, generation: Served) -> OtherQuestions | None:
        """What the last turn of a request asks that is no matter of any entry, if it does. Raises GuardUnavailable."""
        parts = parts_of(subject.last_turn)
        if len(parts) < 2 or not any(map(asks, parts)):
            return None
        return OtherQuestions.of(parts, *await self._decider.pieces(parts, generation))

    async def answers_other(self, sentence: str, others: OtherQuestions, generation: Served) -> bool:
        """Whether a sentence answers one of the other questions. Raises GuardUnavailable."""
        return others.answered_by(await self._meter.embed([sentence], generation.reading))

    async def near_any(self, texts: Sequence[str], generation: Served, arm: str, matched: frozenset[str]) -> list[bool]:
        """Which of the texts the gates would act on, were they requests, for other entries than those of `matched`.

        Raises GuardUnavailable.
        """
        told = read_as_requests(await self._decider.decide(Subject(texts), generation, arm), matched)
        return [place in told for place in range(len(texts))]


class Judge:
    """Judges the sentences of one answer; what is said twice is judged once."""

    def __init__(self, meaning: Meaning, exchange: Exchange, by: Watched) -> None:
        self._meaning = meaning
        self._exchange = exchange
        self._by = by
        self._compared: Compared | None = None
        self._known: dict[str, bool] = {}
        self._others: OtherQuestions | None = None
        self._knows_others = False

    def follow(self) -> None:
        """Goes over to what the exchange's plan and generation are now: nothing is known of any sentence any more."""
        self._by = watched(self._exchange.plan) or NOTHING
        self._compared = None
        self._known.clear()
        self._knows_others = False

    async def judge(self, sentences: Sequence[Sentence]) -> None:
        """Writes a verdict into each sentence. Raises GuardUnavailable."""
        barred = {sentence for sentence in sentences if await self._should_abstain(sentence)}
        left = [sentence for sentence in sentences if sentence not in barred]
        new = list(dict.fromkeys(t for s in left for t in s.texts if t.strip() and t not in self._known))
        if new:
            try:
                told, read = await self._near_told(new), await self._near_any(new)
            except GuardUnavailable:
                self._meaning.failed(False)
                raise
            self._known |= {text: one or other for text, one, other in zip(new, told, read, strict=True)}
        for sentence in sentences:
            sentence.tells = sentence in barred or any(self._known.get(text, False) for text in sentence.texts)

    async def _should_abstain(self, sentence: Sentence) -> bool:
        """Whether a sentence asserts something of what the request matched, under a note that nothing is known of it.

        Where that cannot be told it does: the next rung says that it does not know.
        """
        if not self._by.abstain or not sentence.asserts:
            return False
        x = self._exchange
        try:
            if not self._knows_others:
                self._others = await self._meaning.other_questions(x.subject, x.generation)
                self._knows_others = True
            others = self._others
            return others is None or not await self._meaning.answers_other(sentence.texts[0], others, x.generation)
        except GuardUnavailable:
            self._meaning.failed(False)
            return True

    async def _near_told(self, texts: Sequence[str]) -> list[bool]:
        """Which texts tell what the request matched; none where they cannot be judged and every set allows it."""
        if not self._by.matches:
            return [False] * len(texts)
        by, x = self._by, self._exchange
        try:
            if self._compared is None:
                self._compared = await self._meaning.compared(by, x.generation, x.subject)
            return await self._meaning.near_told(texts, x.generation, by, self._compared)
        except GuardUnavailable:
            if by.on_fault is OnFault.REFUSE:
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
