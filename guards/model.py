"""The types of a decision: signals in, verdicts out, a plan that the proxy carries out, findings that stay."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from guards.policy import DEFAULT_POLICY, Policy, Rung, ScanOutput, Style
from indexes.matches import Match


@dataclass(frozen=True, slots=True)
class Signals:
    """What was measured about one request: facts, no judgement."""

    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Amend:
    """Let the model answer, told to answer as one that never knew; `rest` are the rungs after this one."""

    policy: Policy
    rest: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer in the model's place."""

    policy: Policy


Verdict = Allow | Amend | Refuse


@dataclass(frozen=True, slots=True)
class Finding:
    """One guard's verdict on one request, kept for audit and metrics. `fault` names the type of a guard's failure."""

    guard: str
    verdict: Verdict
    enforced: bool
    matches: tuple[Match, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a request: the rung to act on first, then those that each escalation moves to.

    No rungs: pass the request on untouched.
    """

    rungs: tuple[Rung, ...] = ()
    policy: Policy = DEFAULT_POLICY
    scan_output: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def rung(self) -> Rung | None:
        return self.rungs[0] if self.rungs else None

    @property
    def armed(self) -> bool:
        """True when the request is treated as near the forget set."""
        return bool(self.rungs)

    @property
    def style(self) -> Style:
        return self.policy.style

    def escalate(self) -> "Plan":
        """The plan one rung up: the last rung is always to refuse."""
        return replace(self, rungs=self.rungs[1:] or (Rung.REFUSE,), scan_output=True)


def strictest(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that suppresses most; Allow for none."""
    order = {Allow: 0, Amend: 1, Refuse: 2}
    return max(verdicts, key=lambda verdict: order[type(verdict)], default=Allow())


def plan_of(verdict: Verdict, findings: tuple[Finding, ...], scan: ScanOutput, default: Policy) -> Plan:
    """The plan that carries a verdict out; `default` is the policy of requests that no set claims."""
    always = scan is ScanOutput.ALWAYS
    match verdict:
        case Allow():
            return Plan(policy=default, scan_output=always, findings=findings)
        case Amend(policy, rest):
            return Plan((Rung.INSTRUCT, *rest), policy, scan_output=True, findings=findings)
        case Refuse(policy):
            return Plan((Rung.REFUSE,), policy, scan_output=True, findings=findings)
