"""The gate: is a request near a forget set? One guard per set, with the set's policy."""

from dataclasses import dataclass

from guards.model import Allow, Amend, Refuse, Signals, Verdict
from guards.policy import Policy, Rung
from indexes.entries import State
from indexes.matches import Match


@dataclass(frozen=True, slots=True)
class Gate:
    """Judges the matches of one forget set."""

    set_id: str
    policy: Policy

    @property
    def name(self) -> str:
        return f"gate:{self.set_id}"

    def hits(self, signals: Signals) -> tuple[Match, ...]:
        """The matches that count: near enough, and nearer to the entry than to what must be kept."""
        return tuple(
            match
            for match in signals.matches
            if match.set_id == self.set_id
            and match.score >= (match.threshold or self.policy.threshold)
            and match.margin >= self.policy.margin
        )

    def judge(self, hits: tuple[Match, ...]) -> Verdict:
        """The first rung of the set's ladder if any hit acts."""
        if not any(match.state is State.ACTIVE for match in hits):
            return Allow()
        acting = [rung for rung in self.policy.on_match if rung is not Rung.OBSERVE]
        match acting:
            case [Rung.INSTRUCT, *rest]:
                return Amend(self.policy, tuple(rest))
            case [Rung.REFUSE, *_]:
                return Refuse(self.policy)
            case _:
                return Allow()
