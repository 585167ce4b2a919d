"""The wire between proxy and engine: the fields of a request that arm it. What starts an engine is in `launch`.

Standard library only: the proxy imports this file, and its image has neither torch nor vllm.

Rules of this contract
1. Only the proxy writes the fields below; values that a client sent under these names never reach the engine.
2. An absent arming is the raw arm: its tokens are those of plain vLLM, bit for bit.
3. Half an arming is an error, never a guess: unknown, missing or out-of-range fields raise `ContractError`.
4. An armed request carries its own `cache_salt`. A step in which nobody is armed skips the auxiliaries, so the prefix
   blocks of unarmed requests hold no auxiliary keys and values, and an armed request must never find them.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

Combine = Literal["linear", "rank"]

FIELD_PREFIX = "lethe_"
FIELD_AUXILIARIES = "lethe_auxiliaries"  # list of names
FIELD_WEIGHTS = "lethe_weights"  # list of floats, one for each name
FIELD_COMBINE = "lethe_combine"  # "linear" or "rank"
FIELD_K = "lethe_k"  # int, with "rank" only
FIELD_FILTER_RATE = "lethe_filter_rate"  # float, absent = no filter
FIELD_DEAD_ZONE = "lethe_dead_zone"  # float, absent = none
FIELDS = frozenset({FIELD_AUXILIARIES, FIELD_WEIGHTS, FIELD_COMBINE, FIELD_K, FIELD_FILTER_RATE, FIELD_DEAD_ZONE})

ARMED_SALT = "lethe-armed"

MAX_AUXILIARIES = 8  # published methods use one or two; each costs a forward pass in every armed step
MAX_WEIGHT = 16.0  # published strengths end at 1.5; beyond this the text is noise and float32 loses the base logit
MAX_K = 1024  # published: 20; bounds the top-k over the vocabulary in every step
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ContractError(ValueError):
    """A field of the contract is missing, unknown or out of range. vLLM answers a request that raises it with 400."""


@dataclass(frozen=True, slots=True)
class Arming:
    """What one request subtracts.

    weights: name of an auxiliary → factor of its logits, finite, at most `MAX_WEIGHT` in size. The sign is part of it:
        ULD at α = .75 is `{"assistant": -0.75}`, Divergence Decoding `{"retain": 1.5, "forget": -1.5}`.
    combine: `linear` adds Σ wᵢ·auxᵢ to the base logits; `rank` removes the k tokens where that sum is most negative.
    k: 1 … `MAX_K` with `rank`; None with `linear`.
    filter_rate: ULD's plausibility filter, 0 ≤ rate < 1; 0 is off.
    dead_zone: a token at which the auxiliaries diverge by less (`offsets.divergence`, from 0 to 1) is left to the
        base; 0 ≤ dead_zone < 1; 0 is off, as published.
    """

    weights: Mapping[str, float]
    combine: Combine = "linear"
    k: int | None = None
    filter_rate: float = 0.0
    dead_zone: float = 0.0

    def __post_init__(self) -> None:
        if not self.weights or len(self.weights) > MAX_AUXILIARIES:
            raise ContractError(f"weights: between 1 and {MAX_AUXILIARIES} auxiliaries, got {len(self.weights)}")
        items = self.weights.items()
        weights = {auxiliary_name(name): _number("weight", value, -MAX_WEIGHT, MAX_WEIGHT) for name, value in items}
        object.__setattr__(self, "weights", MappingProxyType(weights))
        if self.combine not in get_args(Combine):
            raise ContractError(f"combine: one of {get_args(Combine)}, got {self.combine!r}")
        if self.combine == "rank":
            if type(self.k) is not int or not 1 <= self.k <= MAX_K:
                raise ContractError(f"k: an int from 1 to {MAX_K} with combine 'rank', got {self.k!r}")
        elif self.k is not None:
            raise ContractError("k: only with combine 'rank'")
        for field in ("filter_rate", "dead_zone"):
            share = _number(field, getattr(self, field), 0.0, 1.0)
            if share == 1.0:
                raise ContractError(f"{field}: must be below 1")
            object.__setattr__(self, field, share)

    @property
    def inert(self) -> bool:
        """True when every weight is 0: strength 0, which must leave the request untouched."""
        return not any(self.weights.values())


def encode(arming: Arming | None) -> dict[str, Any]:
    """The `vllm_xargs` of a request; empty when it is not armed or its strength is 0."""
    if arming is None or arming.inert:
        return {}
    fields: dict[str, Any] = {
        FIELD_AUXILIARIES: list(arming.weights),
        FIELD_WEIGHTS: list(arming.weights.values()),
        FIELD_COMBINE: arming.combine,
    }
    if arming.k is not None:
        fields[FIELD_K] = arming.k
    if arming.filter_rate:
        fields[FIELD_FILTER_RATE] = arming.filter_rate
    if arming.dead_zone:
        fields[FIELD_DEAD_ZONE] = arming.dead_zone
    return fields


def decode(fields: Mapping[str, Any] | None) -> Arming | None:
    """The arming inside `SamplingParams.extra_args`; None when there is none or its strength is 0.

    Fields of other plugins are passed over. Raises `ContractError`, with no value from the request in its text beyond
    the field at fault, when a field of ours is unknown, missing or out of range.
    """
    ours = {key: value for key, value in (fields or {}).items() if key.startswith(FIELD_PREFIX)}
    if not ours:
        return None
    if unknown := sorted(set(ours) - FIELDS):
        raise ContractError(f"unknown fields {unknown}; known are {sorted(FIELDS)}")
    if missing := sorted({FIELD_AUXILIARIES, FIELD_WEIGHTS, FIELD_COMBINE} - set(ours)):
        raise ContractError(f"missing fields {missing}")
    names, weights = ours[FIELD_AUXILIARIES], ours[FIELD_WEIGHTS]
    if not isinstance(names, list) or not isinstance(weights, list) or len(names) != len(weights):
        raise ContractError(f"{FIELD_AUXILIARIES} and {FIELD_WEIGHTS}: two lists of one length")
    if len({auxiliary_name(name) for name in names}) != len(names):
        raise ContractError(f"{FIELD_AUXILIARIES}: a name appears twice")
    arming = Arming(
        weights=dict(zip(names, weights, strict=True)),
        combine=ours[FIELD_COMBINE],
        k=ours.get(FIELD_K),
        filter_rate=ours.get(FIELD_FILTER_RATE, 0.0),
        dead_zone=ours.get(FIELD_DEAD_ZONE, 0.0),
    )
    return None if arming.inert else arming


def request_fields(arming: Arming | None, *, salt: str = "", adapter: str | None = None) -> dict[str, Any]:
    """Everything of an OpenAI-style request body that the arm decides: merge it over the body, last.

    salt: the deployment's own cache partition (a tenant, say); "" shares prefixes with everybody.
    adapter: served name of the LoRA adapter that the auxiliaries of kind `layers` wear; it replaces `model`.
    The three keys are always all there when they matter, so that a merge also removes what a client sent.
    """
    xargs = encode(arming)
    fields: dict[str, Any] = {"vllm_xargs": xargs or None, "cache_salt": salt or None}
    if xargs:
        fields["cache_salt"] = f"{ARMED_SALT}:{salt}"
        if adapter is not None:
            fields["model"] = adapter
    return fields


def auxiliary_name(value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ContractError("the name of an auxiliary is 1 to 64 letters, digits, '.', '_' or '-'")
    return value


def _number(field: str, value: object, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ContractError(f"{field}: a number, got {type(value).__name__}")
    number = float(cast(float, value))
    if not math.isfinite(number) or not low <= number <= high:
        raise ContractError(f"{field}: a finite number from {low:g} to {high:g}")
    return number
