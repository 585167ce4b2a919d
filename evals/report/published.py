"""Published results, as reference beside measured ones: other models and sets, so for orientation only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deviation:
    """A deviation score, `100·√(R_f² + (1 − R_r)²)`: an arc in the forget–retain plane."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class UtilityPoint:
    """Model utility and forget efficacy as in A Closer Look."""

    name: str
    utility: float
    efficacy: float


# DRAGON (ICLR 2026), TOFU: trained guard model at best, fixed template, without reasoning; guardrails (2024) there.
DEVIATIONS = (
    Deviation("DRAGON, trained guard", 21.0),
    Deviation("DRAGON, template", 31.0),
    Deviation("Guardrails", 38.7),
)

# A Closer Look at Machine Unlearning for LLMs, Llama-2-7B, TOFU forget01.
UTILITIES = (
    UtilityPoint("ME+GD", 0.727, 0.920),
    UtilityPoint("IDK+AP", 0.758, 0.763),
    UtilityPoint("NPO+GD", 0.641, 0.611),
)
