"""The methods compared: how their assistants are trained, and which strengths are tried.

All of it was decided with the author CHOICE (see `sets`); REPORT was not looked at for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Method:
    """Arguments of `python -m guards.engine.training`. Methods of one objective and settings share their stages.

    strengths: tried, for `rank` in units of `k` tokens. perturbed: whether it is given wrong answers. rest: share of
    the tokens of the model's own answers to general questions that its dead zone spares; 0 is as published.
    """

    objective: str
    training: Sequence[str]
    combine: str
    filter_rate: float
    strengths: Sequence[float]
    k: int | None = None
    perturbed: bool = False
    rest: float = 0.0

    @property
    def arguments(self) -> list[str]:
        found = ["--objective", self.objective, *self.training, "--combine", self.combine]
        found += ["--filter-rate", str(self.filter_rate), "--strengths", ",".join(map(str, self.strengths))]
        found += ["--k", str(self.k)] if self.k else []
        return [*found, *(["--rest", str(self.rest)] if self.rest else [])]

    def point(self, strength: float, dead_zone: float) -> dict[str, float | int | str | None]:
        """What `answer` is told."""
        found = {"strength": strength, "combine": self.combine, "k": self.k, "filter_rate": self.filter_rate}
        return found | ({"dead_zone": dead_zone} if dead_zone else {})


_COMMON = ("--layers", "8", "--rank", "16", "--rows", "16", "--max-tokens", "160", "--precision", "bfloat16")
_ULD = (*_COMMON, "--steps", "240", "--learning-rate", "2e-3")
_PAIR = (*_COMMON, "--steps", "retain=220", "--steps", "forget=80", "--anchor", "2")
_PUBLISHED = {
    "Divergence, linear": Method("divergence", _PAIR, "linear", 0.0005, (0.5, 0.75, 1.0, 1.5, 2.0)),
    "Divergence, rank": Method("divergence", _PAIR, "rank", 0.0, (0.2, 0.5, 1.0, 2.0, 5.0), k=10),
    "ULD": Method("uld", _ULD, "linear", 0.0005, (0.25, 0.5, 0.75, 1.0, 1.5), perturbed=True),
}
REST = 0.98  # where there is a dead zone; chosen with the general questions `choose_questions` alone
ZONED = ", dead zone"
_ZONED = {  # from the strength that each picks without a zone upwards: a zone forgets less
    "Divergence, linear": (1.0, 1.5, 2.0),
    "Divergence, rank": (5.0, 10.0),
    "ULD": (1.0, 1.25, 1.5),
}
METHODS: Mapping[str, Method] = MappingProxyType(
    _PUBLISHED
    | {f"{name}{ZONED}": replace(_PUBLISHED[name], rest=REST, strengths=tried) for name, tried in _ZONED.items()}
)
