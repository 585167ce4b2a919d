"""Everything that decides a training, as one frozen record, and the keys of its stages."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from guards.engine.contract import Combine
from guards.engine.training.loop import Schedule
from guards.engine.training.objectives import OBJECTIVES, Objective, Stage, Weights
from guards.engine.training.rows import Row, digest

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a training.

    layers: the first of the base that each part runs; None when the parts are a smaller model of their own.
    rows: of one step. steps: of each role; roles that are not named get `default_steps`.

    strengths: tried after training, in rising order; the largest is the card's `max_strength`.
    precision: of the matrix products while training; the adapter's own weights are float32 in any case.
    keep: share of its held-out retain score that a strength must leave to be chosen.
    rest: share of the tokens of the base's own answers to held-out questions that its dead zone spares; 0: no zone.
    """

    objective: str
    layers: int | None = 8
    rank: int = 16
    alpha: int = 32
    rows: int = 16
    learning_rate: float = 1e-3
    default_steps: int = 200
    steps: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    max_tokens: int = 256
    precision: Precision = "float32"
    weights: Weights = field(default_factory=Weights)
    combine: Combine = "linear"
    k: int | None = None
    filter_rate: float = 0.01
    strengths: Sequence[float] = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
    keep: float = 0.98
    rest: float = 0.0

    @property
    def trained(self) -> Objective:
        return OBJECTIVES[self.objective]

    def schedule(self, stage: Stage) -> Schedule:
        """Of one stage; its streams share the rows of a step evenly."""
        steps = self.steps.get(stage.role, self.default_steps)
        return Schedule(steps, max(1, self.rows // len(stage.streams)), self.learning_rate, self.seed)

    def key(self, stage: Stage, streams: Mapping[str, Sequence[Row]], base: str) -> str:
        """SHA-256 over all that decides the weights of a stage. base: fingerprint of the base model."""
        start = next((one for one in self.trained.stages if one.role == stage.start), None)
        schedule = asdict(self.schedule(stage))
        del schedule["save_every"]
        weights = asdict(self.weights)
        if not stage.anchored or not self.weights.anchor:
            del weights["anchor"]
        said: dict[str, Any] = {
            "role": stage.role,
            "start": self.key(start, streams, base) if start else None,
            "streams": {name: digest(streams[name]) for name in stage.streams},
            "loss": stage.loss.__name__,
            "weights": weights,
            "schedule": schedule,
            "model": [base, self.layers, self.rank, self.alpha, self.max_tokens, self.precision],
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
