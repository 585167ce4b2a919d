"""Explains a decision to an admin: what was near, by how much, and what would happen."""

from collections.abc import Mapping
from typing import Any

from guards.model import Finding, Offset
from guards.policy import Policy
from indexes.matches import Match
from proxy.decide import Subject
from proxy.server import Server

NEAREST = 5  # matches shown beside those that decided


async def explained(server: Server, subject: Subject, arm: str) -> dict[str, Any]:
    """The decision on texts in an arm under the generation in force, with every match that led to it."""
    generation = server.catalogue.current
    plan = await server.decider.decide(subject, generation, arm)
    signals = await server.decider.signals(subject, generation)
    nearest = sorted(signals.matches, key=lambda match: -match.score)[:NEAREST]
    chain = server.catalogue.policies.chain(generation, arm)
    policies = {link.guard.set_id: link.guard.policy for link in chain.links}
    return {
        "generation": generation.number,
        "rung": plan.rung or "pass",
        "ladder": list(plan.rungs),
        "scan_output": plan.scan_output,
        "offset": plan.subtracted and _offset(plan.subtracted),
        "findings": [
            _finding(finding) | {"matches": [_match(m, subject) for m in finding.matches]} for finding in plan.findings
        ],
        "nearest": [_match(match, subject) | _limits(match, policies) for match in nearest],
    }


def _offset(offset: Offset) -> dict[str, Any]:
    return {"assistant": offset.assistant, "strength": round(offset.strength, 4)}


def _limits(match: Match, policies: Mapping[str, Policy]) -> dict[str, Any]:
    policy = policies[match.set_id]
    return {"threshold": match.threshold or policy.threshold, "margin": policy.margin}


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "guard": finding.guard,
        "verdict": type(finding.verdict).__name__.lower(),
        "enforced": finding.enforced,
        "fault": finding.fault,
        "lacked": finding.lacked,
    }


def _match(match: Match, subject: Subject) -> dict[str, Any]:
    return {
        "set": match.set_id,
        "entry": match.entry_id,
        "kind": match.kind,
        "state": match.state,
        "via": match.via,
        "score": round(match.score, 4),
        "retain": round(match.retain_score, 4),
        "terms": match.terms.shown() if match.terms else {},
        "view": list(match.view),
        "text": subject.texts[match.source][slice(*match.span)],
    }
