"""The chain: runs the guards, owns what happens when one fails, and folds their verdicts into a plan.

Only the chain catches `Exception`, and it never loses one: a fault of an enforced guard closes the request, unless its
policy says otherwise; any other fault is a finding.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from guards.gate import Gate
from guards.model import Allow, Finding, Plan, Signals, Verdict, for_earlier_turns, plan_of
from guards.policy import OnFault, Policy, Rung, ScanOutput
from indexes.entries import ForgetSet


class GuardFault(Exception):
    """A guard failed and its policy is to refuse. Carries the guard's name and the type of the failure."""

    def __init__(self, guard: str, fault: str) -> None:
        super().__init__(f"{guard} failed ({fault})")
        self.guard = guard
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Link:
    """A guard in the chain: what its failure does, and whether its verdict is carried out or only recorded."""

    guard: Gate
    on_fault: OnFault = OnFault.REFUSE
    enforce: bool = True


@dataclass(frozen=True, slots=True)
class Chain:
    """The guards of one generation of sets, in order. `default` is the policy of requests that no set claims."""

    links: tuple[Link, ...]
    default: Policy

    @classmethod
    def of(cls, sets: Iterable[ForgetSet], default: Policy, arm: Mapping[str, Any] = MappingProxyType({})) -> "Chain":
        """One gate per forget set, each with the global policy as changed by the set, and then by the arm."""
        policies = [(s.id, default.with_changes(s.policy).with_changes(arm)) for s in sets]
        default = default.with_changes(arm)
        links = tuple(
            Link(Gate(set_id, policy), policy.on_fault, enforce=policy.on_match != (Rung.OBSERVE,))
            for set_id, policy in policies
        )
        return cls(links, _with_scans(default, [link.guard.policy for link in links if link.enforce]))

    def decide(self, signals: Signals) -> Plan:
        """Folds the verdicts of all guards into a plan. Raises GuardFault when a guard fails closed."""
        findings = tuple(finding for link in self.links if (finding := _run(link, signals)) is not None)
        enforced = [finding.verdict for finding in findings if finding.enforced]
        plan = plan_of(enforced, findings, self.default)
        return self.unmeasured(plan) if any(finding.fault and finding.enforced for finding in findings) else plan

    def unmeasured(self, plan: Plan) -> Plan:
        """A plan for a request that some set did not measure and lets pass: its answer is checked instead."""
        meaning = any(link.guard.policy.scan_meaning for link in self.links if link.enforce)
        return replace(plan, scan_output=True, reads_answer=meaning)


def _with_scans(default: Policy, policies: Iterable[Policy]) -> Policy:
    """The default policy, with the checks of every answer that any set asks for which acts."""
    always = [policy for policy in (default, *policies) if policy.scan_output is ScanOutput.ALWAYS]
    if not always:
        return default
    meaning = any(policy.scan_meaning for policy in always)
    return replace(default, scan_output=ScanOutput.ALWAYS, scan_meaning=meaning)


def _run(link: Link, signals: Signals) -> Finding | None:
    try:
        hits = link.guard.hits(signals)
        verdict: Verdict = link.guard.judge(hits, signals.assistants)
        if signals.turns.only_earlier(hits):
            verdict = for_earlier_turns(verdict)
        lacked = link.guard.lacks(hits, signals.assistants)
    except Exception as error:
        fault = type(error).__name__
        if link.on_fault is OnFault.REFUSE and link.enforce:  # one that only looks on can close nothing
            raise GuardFault(link.guard.name, fault) from error
        return Finding(link.guard.name, Allow(), enforced=link.enforce, fault=fault)
    if not hits:
        return None
    return Finding(link.guard.name, verdict, link.enforce, hits, lacked=lacked, asked=signals.turns.asked(hits))
