"""The record of one request, from its arrival to its findings."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from guards.model import Finding, Plan
from guards.stream.telling import Secret, secrets_of
from proxy.decide import Subject
from proxy.dialects.base import Call, Dialect
from proxy.keys import Caller
from proxy.metrics import Metrics
from proxy.reading import Served

_log = structlog.get_logger("lethe.request")

RAW, GUARDED = "raw", "guarded"
FINDINGS_HEADER = "x-lethe-findings"


@dataclass(repr=False)
class Exchange:
    """One request. Holds prompt text, so it is never logged as a whole; `log` writes ids and scores only."""

    caller: Caller
    dialect: Dialect
    call: Call
    arm: str
    model: str
    """The engine's name of the model."""
    generation: Served
    subject: Subject
    arm_chosen: bool = False
    """The client named the arm; else the running experiment gave it, or nobody did."""
    tokens: int = 0
    """Of the answer; in a stream its events, which have one each."""
    kept: bytearray | None = None
    """What the client got, while it may be compared with the raw arm's answer."""
    allowance: Mapping[str, str] = field(default_factory=dict)
    """What the key may still ask, as reply headers."""
    show_findings: bool = False
    """An admin asked to see why the request was treated as it was."""
    id: str = field(default_factory=lambda: f"req_{uuid.uuid4().hex}")
    plan: Plan = field(default_factory=Plan)
    started: float = field(default_factory=time.perf_counter)
    asked_upstream: float | None = None
    """When the request first went to the engine."""
    seconds: float = 0.0
    """From arrival to end; 0 until then."""
    outcome: str = "failed"
    """How it ended: answered, refused, cut, broken (in mid-stream), left (by the client), failed (with an error)."""

    @property
    def overhead_ms(self) -> float:
        """Time before the request went to the engine, or until now where it did not."""
        return ((self.asked_upstream or time.perf_counter()) - self.started) * 1000

    def secrets(self) -> list[Secret] | None:
        """What the entries that the request matched must not be told of; None where it is not armed."""
        if not self.plan.armed:
            return None
        matches = [match for finding in self.plan.findings if finding.enforced for match in finding.matches]
        return secrets_of(matches, self.generation.secret, [text.text for text in self.call.texts])

    def headers(self) -> dict[str, str]:
        """Reply headers known when the reply starts."""
        findings = [finding_json(finding) for finding in self.plan.findings]
        shown = {FINDINGS_HEADER: orjson.dumps(findings).decode()} if self.show_findings else {}
        return shown | {
            "x-request-id": self.id,
            "openai-processing-ms": str(round((time.perf_counter() - self.started) * 1000)),
            "x-lethe-arm": self.arm,
            "x-lethe-generation": str(self.generation.number),
            "x-lethe-overhead-ms": f"{self.overhead_ms:.2f}",
            **self.allowance,
        }

    def close(self, metrics: Metrics) -> None:
        """Counts and logs the request."""
        seconds = self.seconds = time.perf_counter() - self.started
        rung = self.plan.rung.value if self.plan.rung else "none"
        offset = self.plan.subtracted
        metrics.requests.labels(self.dialect.name, self.arm, rung, self.outcome).inc()
        metrics.request_seconds.labels(self.arm).observe(seconds)
        _log.info(
            "request",
            id=self.id,
            key=self.caller.key_id,
            dialect=self.dialect.name,
            arm=self.arm,
            stream=self.call.stream,
            generation=self.generation.number,
            rung=rung,
            outcome=self.outcome,
            offset=offset and [offset.assistant, round(offset.strength, 4)],
            seconds=round(seconds, 4),
            overhead_ms=round(self.overhead_ms, 2),
            findings=[finding_json(finding) for finding in self.plan.findings],
        )


def finding_json(finding: Finding) -> dict[str, Any]:
    """A finding for logs and for admins: ids and scores, no text."""
    best = max(finding.matches, key=lambda match: match.margin, default=None)
    return {
        "guard": finding.guard,
        "verdict": type(finding.verdict).__name__.lower(),
        "enforced": finding.enforced,
        "fault": finding.fault,
        "lacked": finding.lacked,
        "matches": len(finding.matches),
        "best": best
        and {
            "entry": best.entry_id,
            "via": best.via.value,
            "score": round(best.score, 4),
            "retain": round(best.retain_score, 4),
            "span": list(best.span),
            "source": best.source,
        },
    }
