"""Signals to plan: the one place where measuring and deciding meet."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import structlog

from guards.chain import GuardFault
from guards.model import Allow, Finding, Plan, Signals
from guards.policy import OnFault
from guards.turns import ONE_TURN, Turns
from indexes.scan import Scan
from proxy.assistants.offsets import Offsets
from proxy.catalogue.catalogue import Catalogue
from proxy.errors import GuardUnavailable
from proxy.metrics import Metrics
from proxy.reading import Scans, Served
from proxy.signals import SignalMeter

PLAIN_ARM = ""  # no arm of that name: the policies as they are, without changes of an arm

PIECE_LOSS = 0.35
"""How much further from an entry than a question all its pieces may be: of 100 questions in two to four pieces none had
all of them more than .22 below the default threshold, and prompts about other things lie lower still."""

_log = structlog.get_logger("lethe.decide")


@dataclass(repr=False)
class Subject:
    """The texts of a request, embedded once, when they are first compared with anything."""

    texts: Sequence[str]
    scans: Scans | None = field(default=None)
    turns: Turns = ONE_TURN
    seams: int = 0
    """How many of the texts, the last ones, only repeat what others say where they meet."""

    @property
    def last_turn(self) -> list[str]:
        """What the client says last, without what stands beside it."""
        alone = range(len(self.texts) - self.seams)
        return [self.texts[place] for place in alone if place not in self.turns.beside]


class Decider:
    """Decides what to do with the texts of a request under a generation of the index."""

    def __init__(self, catalogue: Catalogue, meter: SignalMeter, offsets: Offsets, metrics: Metrics) -> None:
        self._catalogue = catalogue
        self._meter = meter
        self._offsets = offsets
        self._metrics = metrics

    @property
    def current(self) -> Served:
        """The generation in force."""
        return self._catalogue.current

    async def signals(self, subject: Subject, generation: Served) -> Signals:
        """What in the texts is near an entry, and what could be subtracted.

        Nothing is embedded while there is nothing to compare with.
        """
        if not generation.entry_count:
            return Signals()
        threshold = self._threshold(generation)
        scans = await self._scans(subject, generation, threshold)
        texts = subject.texts[: len(scans.texts)]
        measured, subject.scans = await self._meter.measure(texts, scans, generation, threshold)
        return replace(measured, assistants=self._offsets.facts, turns=subject.turns)

    async def _scans(self, subject: Subject, generation: Served, threshold: float) -> Scans:
        """The texts, read; the seams between them only where pieces of a question may lie on both sides."""
        alone = len(subject.texts) - subject.seams
        scans = subject.scans
        if scans is None or scans.reading is not generation.reading:
            scans = await self._meter.scan(subject.texts[:alone], generation.reading)
        if len(scans.texts) == alone < len(subject.texts):
            seams = subject.texts[alone:]
            if await self._meter.reaches(scans, seams, generation, threshold - PIECE_LOSS):
                scans = await self._meter.scan(subject.texts, generation.reading)
        return scans

    async def pieces(self, texts: Sequence[str], generation: Served) -> tuple[Sequence[Scan], list[bool]]:
        """Some texts, read, and which are so near to an entry that they may be a piece of a question about it."""
        scans = await self._meter.scan(texts, generation.reading)
        level = self._threshold(generation) - PIECE_LOSS
        alone = [Scans(scans.reading, (scan,)) for scan in scans.texts]
        near = [
            await self._meter.reaches(scan, (text,), generation, level) for text, scan in zip(texts, alone, strict=True)
        ]
        return scans.texts, near

    def _threshold(self, generation: Served) -> float:
        """The lowest score that any arm, set or entry acts on."""
        policies = self._catalogue.policies
        chains = (policies.chain(generation, arm) for arm in (PLAIN_ARM, *policies.arms))
        thresholds = [link.guard.policy.threshold for chain in chains for link in chain.links]
        return min(generation.lowest_threshold, *thresholds)

    async def decide(self, subject: Subject, generation: Served, arm: str) -> Plan:
        """The plan for a request under the policy of an arm. Raises GuardUnavailable when a guard fails closed."""
        if self._catalogue.broken:
            raise GuardUnavailable(self._catalogue.broken)
        chain = self._catalogue.policies.chain(generation, arm)
        started = time.perf_counter()
        try:
            plan = chain.decide(await self.signals(subject, generation))
        except GuardUnavailable as fault:
            # What was not measured was measured for no set: each of them must allow it.
            if any(link.enforce and link.on_fault is OnFault.REFUSE for link in chain.links):
                raise
            _log.warning("guard_fault_allowed", guard="embedder", fault=str(fault))
            self._metrics.guard_faults.labels("embedder", "true").inc()
            finding = Finding("embedder", Allow(), enforced=False, fault=type(fault).__name__)
            return chain.unmeasured(Plan(policy=chain.default, findings=(finding,)))
        except GuardFault as fault:
            self._metrics.guard_faults.labels("gate", "false").inc()
            _log.error("guard_fault", guard=fault.guard, fault=fault.fault)
            raise GuardUnavailable("a guard failed; the request was not passed on") from fault
        finally:
            self._metrics.gate_seconds.observe(time.perf_counter() - started)
        for finding in plan.findings:
            if finding.fault:
                _log.warning("guard_fault_allowed", guard=finding.guard, fault=finding.fault)
                self._metrics.guard_faults.labels("gate", "true").inc()
            if finding.lacked and finding.enforced:
                _log.warning("offset_lacked", guard=finding.guard, assistant=finding.lacked)
                self._metrics.offsets_lacked.labels("decided").inc()
        return plan
