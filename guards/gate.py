"""The gate: is a request near a forget set? One guard per set, with the set's policy."""

from collections.abc import Mapping
from dataclasses import dataclass

from guards.model import Allow, Assistant, Offset, Signals, Verdict, verdict_of
from guards.policy import Policy, Rung
from guards.strength import strength_of
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
            and match.score >= self._threshold(match)
            and match.margin >= self.policy.margin
        )

    def judge(self, hits: tuple[Match, ...], assistants: Mapping[str, Assistant]) -> Verdict:
        """The first rung of the set's ladder if any hit acts; what remains of it where an offset cannot be."""
        if not any(match.state is State.ACTIVE for match in hits):
            return Allow()
        offset = self._offset(hits, assistants)
        return verdict_of(self.policy, self._ladder(hits), offset)

    def lacks(self, hits: tuple[Match, ...], assistants: Mapping[str, Assistant]) -> str | None:
        """The assistant that the ladder asks for and that cannot be armed now."""
        acts = any(match.state is State.ACTIVE for match in hits)
        asked = acts and any(rung.subtracts for rung in self._ladder(hits))
        return self.policy.assistant if asked and self.policy.assistant not in assistants else None

    def _offset(self, hits: tuple[Match, ...], assistants: Mapping[str, Assistant]) -> Offset | None:
        """What to subtract, as strongly as the nearest hit wants it."""
        name = self.policy.assistant
        assistant = assistants.get(name) if name else None
        if name is None or assistant is None:
            return None
        full = self.policy.strength or assistant.strength
        acting = [match for match in hits if match.state is State.ACTIVE]
        strengths = [strength_of(m.score, self._threshold(m), full, assistant.max_strength) for m in acting]
        return Offset(name, max(strengths))

    def _ladder(self, hits: tuple[Match, ...]) -> tuple[Rung, ...]:
        """The set's ladder from the rung on which none of the acting entries has leaked; the last rung stays."""
        raised = max((match.raised for match in hits if match.state is State.ACTIVE), default=0)
        ladder = self.policy.ladder
        return ladder[raised:] or tuple(ladder and [Rung.REFUSE])

    def _threshold(self, match: Match) -> float:
        return match.threshold or self.policy.threshold
