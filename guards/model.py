"""The types of a decision: signals in, verdicts out, a plan that the proxy carries out, findings that stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from guards.policy import DEFAULT_POLICY, Policy, Rung, ScanOutput, Style, keeping_offset, lacking_offset
from guards.turns import ONE_TURN, Turns
from indexes.matches import Match


@dataclass(frozen=True, slots=True)
class Assistant:
    """What a gate must know of an assistant that the engine can subtract now."""

    name: str
    version: int
    strength: float
    """Chosen when it was trained."""
    max_strength: float


@dataclass(frozen=True, slots=True)
class Signals:
    """What was measured about one request: facts, no judgement.

    `assistants`: those that are loaded and proven alive, each by `name` and by `name@version`.
    `turns`: where in the conversation the texts stand whose matches these are.
    """

    matches: tuple[Match, ...] = ()
    assistants: Mapping[str, Assistant] = field(default_factory=lambda: MappingProxyType({}))
    turns: Turns = ONE_TURN


@dataclass(frozen=True, slots=True)
class Offset:
    """What to subtract: an assistant as the policy names it, and how strongly, above 0."""

    assistant: str
    strength: float


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Let the model answer without what an assistant knows; `rest` are the rungs after this one."""

    policy: Policy
    rest: tuple[Rung, ...]
    offset: Offset


@dataclass(frozen=True, slots=True)
class Amend:
    """Let the model answer, told to answer as one that never knew; `rest` are the rungs after this one.

    `offset`: what is subtracted as well, but only from `offset_instruct` on where that is still among `rest`.
    """

    policy: Policy
    rest: tuple[Rung, ...]
    offset: Offset | None = None

    @property
    def rung(self) -> Rung:
        later = self.offset is None or Rung.OFFSET_INSTRUCT in self.rest
        return Rung.INSTRUCT if later else Rung.OFFSET_INSTRUCT


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer in the model's place."""

    policy: Policy


Verdict = Allow | Arm | Amend | Refuse


@dataclass(frozen=True, slots=True)
class Finding:
    """One guard's verdict on one request, kept for audit and metrics.

    `fault` names the type of a guard's failure. `lacked` is the assistant that the ladder asked for and that could not
    be armed: the verdict is what remains of the ladder without it.
    """

    guard: str
    verdict: Verdict
    enforced: bool
    matches: tuple[Match, ...] = ()
    fault: str | None = None
    lacked: str | None = None
    asked: bool = True
    """The last turn itself asks for it; else only what stands beside it or before."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a request: the rung to act on first, then those that each escalation moves to.

    No rungs: pass the request on untouched. The rung alone says what is done; `offset` is what those that subtract
    subtract, and there is one where any of them does.
    """

    rungs: tuple[Rung, ...] = ()
    policy: Policy = DEFAULT_POLICY
    scan_output: bool = False
    reads_answer: bool = False
    """Sentences of the answer are compared with all entries, not only with those that the request matched."""
    findings: tuple[Finding, ...] = ()
    offset: Offset | None = None
    bare: Rung | None = None
    """The mildest rung that will do for all sets in question where nothing can be subtracted."""

    @property
    def rung(self) -> Rung | None:
        return self.rungs[0] if self.rungs else None

    @property
    def armed(self) -> bool:
        """True when the request is treated as near the forget set."""
        return bool(self.rungs)

    @property
    def subtracted(self) -> Offset | None:
        """What is subtracted on this rung."""
        return self.offset if self.rung and self.rung.subtracts else None

    @property
    def instructs(self) -> bool:
        """Whether the model is told, before the prompt, to answer as one that never knew."""
        return self.rung is not None and self.rung.instructs

    @property
    def style(self) -> Style:
        return self.policy.style

    def escalate(self) -> "Plan":
        """The plan one rung up: the last rung is always to refuse."""
        return replace(self, rungs=self.rungs[1:] or (Rung.REFUSE,), scan_output=True)

    def without_offset(self) -> "Plan":
        """The plan when the engine cannot subtract what this one wants: the note alone where both were wanted, and one
        rung up where nothing else was."""
        return replace(self, rungs=_without_offset(self.rungs, self.bare), offset=None)

    def covers(self, other: "Plan") -> bool:
        """Whether what this plan does is at least as strict as what `other` would do."""
        if _severity(self) != _severity(other):
            return _severity(self) > _severity(other)
        if self.subtracted is None or other.subtracted is None:
            return True
        return self.subtracted.assistant == other.subtracted.assistant  # another one subtracts other knowledge


def strictest(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that suppresses most; Allow for none. Of offsets by one assistant the strongest.

    One request carries one assistant. Where sets want different ones, an offset would leave one of them unserved, so
    each moves to its next rung.
    """
    if len({verdict.offset.assistant for verdict in verdicts if isinstance(verdict, Arm)}) > 1:
        verdicts = [_next_rung(verdict) if isinstance(verdict, Arm) else verdict for verdict in verdicts]
    return max(verdicts, key=_weight, default=Allow())


def plan_of(verdicts: Sequence[Verdict], findings: tuple[Finding, ...], default: Policy) -> Plan:
    """The plan that carries the strictest verdict out; `default` is the policy of requests that no set claims.

    An offset that one set wants stays beside the stricter rung of another.
    """
    always = default.scan_output is ScanOutput.ALWAYS
    plan = Plan((), default, always, always and default.scan_meaning, findings)
    match strictest(verdicts):
        case Allow():
            return plan
        case Arm(policy, rest):
            rungs: tuple[Rung, ...] = (Rung.OFFSET, *rest)
        case Amend(policy, rest) as amend:
            rungs = (amend.rung, *rest)
        case Refuse(policy):
            rungs = (Rung.REFUSE,)
    bare = _bare_rung(verdicts)
    rungs, offset = _carried(rungs, verdicts, bare)
    return replace(plan, rungs=rungs, policy=policy, scan_output=True, offset=offset, bare=bare)


def _bare_rung(verdicts: Sequence[Verdict]) -> Rung | None:
    """The first rung of what the verdicts come to where nothing can be subtracted."""
    match strictest([_bare(verdict) for verdict in verdicts]):
        case Amend():
            return Rung.INSTRUCT
        case Refuse():
            return Rung.REFUSE
        case _:
            return None


def _bare(verdict: Verdict) -> Verdict:
    match verdict:
        case Arm(policy, rest):
            return verdict_of(policy, (Rung.OFFSET, *rest))
        case Amend(policy, rest):
            return verdict_of(policy, (verdict.rung, *rest))
        case _:
            return verdict


def _without_offset(rungs: Sequence[Rung], bare: Rung | None) -> tuple[Rung, ...]:
    """What remains of a ladder where nothing can be subtracted: the note of one set is not enough for another that
    knows only to subtract.
    """
    left = [rung for rung in lacking_offset(rungs) if bare is None or rung.severity >= bare.severity]
    return tuple(left) or tuple(rungs and [Rung.REFUSE])


def _carried(
    rungs: tuple[Rung, ...], verdicts: Sequence[Verdict], bare: Rung | None
) -> tuple[tuple[Rung, ...], Offset | None]:
    """A ladder with what all verdicts want to be subtracted, of one assistant the strongest."""
    wanting = [verdict for verdict in verdicts if isinstance(verdict, Arm | Amend) and verdict.offset]
    offsets = [verdict.offset for verdict in wanting if verdict.offset]
    if len({offset.assistant for offset in offsets}) != 1:  # more than one a request cannot carry
        return _without_offset(rungs, bare), None
    carried = keeping_offset(rungs, subtracting=any(isinstance(v, Arm) or v.rung.subtracts for v in wanting))
    used = any(rung.subtracts for rung in carried)
    return carried, max(offsets, key=lambda found: found.strength) if used else None


def verdict_of(policy: Policy, rungs: Sequence[Rung], offset: Offset | None = None) -> Verdict:
    """The verdict that begins with the first of `rungs`, a policy's `ladder`.

    Where nothing can be subtracted, with what remains of them without that.
    """
    match rungs if offset else lacking_offset(rungs):
        case []:
            return Allow()
        case [Rung.OFFSET, *rest] if offset:
            return Arm(policy, tuple(rest), offset)
        case [(Rung.INSTRUCT | Rung.OFFSET_INSTRUCT) as first, *rest]:
            return Amend(policy, tuple(rest), offset if Rung.OFFSET_INSTRUCT in (first, *rest) else None)
        case _:
            return Refuse(policy)


def for_earlier_turns(verdict: Verdict) -> Verdict:
    """What remains of a verdict when only earlier turns call for it: the model is told, and its answer is checked."""
    return Amend(verdict.policy, (Rung.REFUSE,)) if isinstance(verdict, Refuse) else verdict


def _next_rung(verdict: Arm) -> Verdict:
    return verdict_of(verdict.policy, verdict.rest or (Rung.REFUSE,))


def _weight(verdict: Verdict) -> tuple[int, float]:
    match verdict:
        case Allow():
            return 0, 0.0
        case Arm(offset=offset):
            return Rung.OFFSET.severity, offset.strength
        case Amend():
            return verdict.rung.severity, 0.0
        case Refuse():
            return Rung.REFUSE.severity, 0.0


def _severity(plan: Plan) -> int:
    return plan.rung.severity if plan.rung else 0
