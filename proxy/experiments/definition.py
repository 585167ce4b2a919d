"""What an experiment is: arms with weights, a unit that sticks to its arm, limits that stop it."""

import hashlib
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from proxy.admin.models import Name
from proxy.exchange import GUARDED


class Unit(StrEnum):
    """What keeps its arm for as long as the experiment runs."""

    KEY = "key"
    USER = "user"
    SESSION = "session"


class Metric(StrEnum):
    """What is observed of each request: every one is a number from 0 to 1, so that one rule makes all intervals."""

    REFUSED = "refused"
    """1 where the answer was ours, as of one who does not know."""
    CUT = "cut"
    """1 where the answer was cut after something was shown."""
    FAILED = "failed"
    """1 where the client got an error or a broken stream."""
    LEFT = "left"
    """1 where the client went away before its answer was complete."""
    SLOW = "slow"
    """1 where the request took longer than `slow_after_s`, until its answer was complete or the client left."""
    LENGTH = "length"
    """Tokens of the answer as a share of `long_answer_tokens`, at most 1."""


class ShadowMetric(StrEnum):
    """What is observed of a guarded answer beside the raw arm's answer to the same request; from 0 to 1."""

    RAW_LEAK = "raw_leak"
    """1 where the raw answer holds a forbidden phrase."""
    SIMILARITY = "similarity"
    """Cosine similarity of the two answers, at least 0."""
    SAME = "same"
    """1 where the two answers are equal to the letter."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GuardRail(_Body):
    """A limit on the mean of a metric in one arm. Crossed with confidence, it stops the experiment."""

    arm: Name
    metric: Metric
    at_most: float = Field(ge=0, lt=1)


class Shadow(_Body):
    """A share of guarded requests that the raw arm answers too, after the client has its answer and unseen by it."""

    share: float = Field(gt=0, le=1)
    timeout_s: float = Field(60.0, gt=0, le=600)
    at_once: int = Field(2, ge=1, le=64, description="shadow requests side by side; beyond it they are left out")


def _weights(arms: dict[str, float]) -> dict[str, float]:
    if not 1 <= len(arms) <= 8:  # intervals of more arms than that tell nothing for a long time
        raise ValueError("an experiment has 1 to 8 arms")
    if any(not 0 < weight < float("inf") for weight in arms.values()):
        raise ValueError("the weight of an arm is a number above 0")
    return arms


class Experiment(_Body):
    """One experiment. Frozen: a change is another experiment, or its figures would mean two things."""

    id: Name
    arms: Annotated[dict[Name, float], AfterValidator(_weights)]
    control: Name = GUARDED
    unit: Unit = Unit.KEY
    shadow: Shadow | None = None
    guard_rails: tuple[GuardRail, ...] = Field((), max_length=16)
    slow_after_s: float = Field(10.0, gt=0)
    long_answer_tokens: int = Field(1024, ge=1)

    @model_validator(mode="after")
    def _known_arms(self) -> Self:
        for name in (self.control, *(rail.arm for rail in self.guard_rails)):
            if name not in self.arms:
                raise ValueError(f"'{name}' is not one of the arms: {', '.join(self.arms)}")
        return self

    def arm_of(self, unit: str) -> str:
        """The arm of a unit: always the same, by weight, and independent of other experiments."""
        digest = hashlib.blake2b(f"{self.id}\0{unit}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        place = int.from_bytes(digest, "big") / 2**64 * sum(self.arms.values())
        for arm, weight in self.arms.items():
            place -= weight
            if place < 0:
                return arm
        return next(reversed(self.arms))
