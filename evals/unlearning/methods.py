"""The methods compared, how their assistants are trained, and which strengths are tried.

All of it was decided with the author CHOICE (see `sets`); REPORT was not looked at for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Training:
    """Arguments of `python -m guards.engine.training`, and which of the sets it is given besides forget and retain."""

    objective: str
    arguments: Sequence[str]
    perturbed: bool = False


@dataclass(frozen=True, slots=True)
class Method:
    """A training and how its parts are subtracted; `strengths` are swept, for `rank` in units of `k` tokens."""

    training: str
    combine: str
    filter_rate: float
    strengths: Sequence[float]
    k: int | None = None

    def point(self, strength: float) -> dict[str, float | int | str | None]:
        """What `answer` and vLLM are told."""
        return {"strength": strength, "combine": self.combine, "k": self.k, "filter_rate": self.filter_rate}


_COMMON = ("--layers", "8", "--rank", "16", "--rows", "16", "--max-tokens", "160", "--precision", "bfloat16")
TRAININGS: Mapping[str, Training] = MappingProxyType(
    {
        "uld": Training("uld", (*_COMMON, "--steps", "240", "--learning-rate", "2e-3"), perturbed=True),
        "divergence": Training("divergence", (*_COMMON, "--steps", "retain=220", "--steps", "forget=80")),
    }
)
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "ULD": Method("uld", "linear", 0.001, (0.25, 0.5, 0.75, 1.0, 1.5)),
        "Divergence, linear": Method("divergence", "linear", 0.001, (0.5, 1.0, 1.5, 2.0, 3.0)),
        "Divergence, rank": Method("divergence", "rank", 0.0, (0.1, 0.25, 0.5, 1.0, 2.0), k=20),
    }
)
