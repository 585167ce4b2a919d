"""The card of an assistant: what was trained, from what, how to arm it, and what it was measured to do.

Standard library only: the proxy reads cards, and its environment has neither torch nor vllm.

Rules of an assistant's folder, `NAME/VERSION/`:

1. `card.json` is written last, so a folder that has one is complete.
2. Beside it lies either `adapter/`, a PEFT adapter whose tensors carry the names they have inside the composite
   (`launch.adapter_tensor_name`; one file holds all parts), or `checkpoints/ROLE/`, one model folder a part.
3. A card holds hashes and counts of the forget set, never a text of it.
4. Reading is strict: an unknown, missing or ill-typed field raises `CardError`, which names it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from guards.engine.contract import MAX_WEIGHT, Arming, Combine, ContractError, auxiliary_name
from guards.engine.launch import Kind

CARD = "card.json"
ADAPTER = "adapter"
CHECKPOINTS = "checkpoints"
FORMAT = 1
OBJECTIVES = ("uld", "divergence", "offset-me", "offset-idk")
LATER = {"dead_zone": 0.0}  # fields that the first cards of this format lack, and what such a card means
MOMENTS, SIDES = frozenset({"before", "after"}), frozenset({"forget", "retain"})


class CardError(ValueError):
    """A card cannot be read or contradicts itself. The message names the field, never a value of forget text."""


@dataclass(frozen=True, slots=True)
class Part:
    """One auxiliary of an assistant: position among the engine's auxiliaries, role, and its factor at strength 1."""

    slot: int
    role: str
    weight: float


@dataclass(frozen=True, slots=True)
class Card:
    """See the head of this file.

    base: `fingerprint.of` the checkpoint whose knowledge it subtracts; it fits no other.
    layers: first layers of the base that each part runs; rank: of the adapter. Both None with kind `checkpoint`.
    strength: chosen on held-out rows, by the rule that `settings` names; 0 < strength ≤ max_strength.
    dead_zone: as in `Arming`, of every strength; chosen on held-out rows, too.
    hashes: name of a data set → SHA-256 of its rows. settings: every option of the training.
    metrics: before|after → forget|retain → name of a metric → number. sweep: one row a strength tried.
    """

    name: str
    version: int
    objective: str
    kind: Kind
    base: str
    parts: Sequence[Part]
    strength: float
    max_strength: float
    combine: Combine = "linear"
    k: int | None = None
    filter_rate: float = 0.0
    dead_zone: float = 0.0
    layers: int | None = None
    rank: int | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    sweep: Sequence[Mapping[str, float]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        object.__setattr__(self, "sweep", tuple(self.sweep))
        _named(self.name, "name")
        _require(_whole(self.version) and self.version >= 1, "version", "an int from 1")
        _require(self.objective in OBJECTIVES, "objective", f"one of {', '.join(OBJECTIVES)}")
        _require(self.kind in get_args(Kind), "kind", f"one of {', '.join(get_args(Kind))}")
        _require(_sha256(self.base), "base", "a SHA-256 in lower-case hexadecimal")
        for name in ("layers", "rank"):
            value = getattr(self, name)
            fits = value is None if self.kind == "checkpoint" else _whole(value) and value >= 1
            _require(fits, name, "a positive int with kind 'layers', absent with 'checkpoint'")
        self._check_parts()
        _require(_finite(self.max_strength) and self.max_strength > 0, "max_strength", "a number above 0")
        _require(self.k is None or _whole(self.k), "k", "an int with combine 'rank', absent with 'linear'")
        fits = _finite(self.strength) and 0 < self.strength <= self.max_strength
        _require(fits, "strength", "a number above 0, at most max_strength")
        _require(all(isinstance(k, str) and _sha256(v) for k, v in self.hashes.items()), "hashes", "SHA-256 by name")
        self._check_figures()
        try:
            self.arming(self.max_strength, [part.role for part in sorted(self.parts, key=lambda part: part.slot)])
        except ContractError as error:
            raise CardError(f"card: at max_strength: {error}") from error

    def _check_parts(self) -> None:
        _require(bool(self.parts), "parts", "at least one")
        for part in self.parts:
            _require(_whole(part.slot), "parts.slot", "an int")
            _named(part.role, "parts.role")
            _require(_finite(part.weight) and 0 < abs(part.weight) <= MAX_WEIGHT, "parts.weight", "a number, not 0")
        slots = sorted(part.slot for part in self.parts)
        _require(slots == list(range(len(slots))), "parts.slot", "the positions 0, 1, … each once")
        _require(len({part.role for part in self.parts}) == len(slots), "parts.role", "different ones")

    def _check_figures(self) -> None:
        if self.metrics:
            _require(set(self.metrics) == MOMENTS, "metrics", "'before' and 'after'")
            for moment, sides in self.metrics.items():
                _require(set(sides) == SIDES, f"metrics.{moment}", "'forget' and 'retain'")
                _require(all(_figures(row) for row in sides.values()), f"metrics.{moment}", "numbers by name")
        _require(all(_figures(row) for row in self.sweep), "sweep", "rows of numbers by name")

    def arming(self, strength: float, names: Sequence[str]) -> Arming:
        """What a request carries at `strength`, for an engine whose auxiliaries are `names`, in their order.

        linear: the parts' weights times the strength. rank: the weights only say which difference is ranked; the
        strength scales how many tokens are removed, ⌈k·strength⌉.
        Raises ContractError when the engine has too few auxiliaries, or a bound of the contract is passed.
        """
        if len(names) < len(self.parts):
            raise ContractError(
                f"assistant {self.name} needs {len(self.parts)} auxiliaries, the engine has {len(names)}"
            )
        if self.combine == "rank":
            weights = {names[part.slot]: part.weight for part in self.parts}
            k = self.k if self.k is None or strength == 1 else math.ceil(self.k * strength)
            if strength == 0:
                weights, k = dict.fromkeys(weights, 0.0), self.k
            return Arming(weights, "rank", k, self.filter_rate, self.dead_zone)
        weights = {names[part.slot]: part.weight * strength for part in self.parts}
        return Arming(weights, self.combine, self.k, self.filter_rate, self.dead_zone)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back into an equal card."""
        raw: dict[str, Any] = {"format": FORMAT}
        raw |= {item.name: getattr(self, item.name) for item in fields(self)}
        raw["parts"] = [{"slot": part.slot, "role": part.role, "weight": part.weight} for part in self.parts]
        raw["sweep"] = [dict(row) for row in self.sweep]
        return raw

    @classmethod
    def from_json(cls, raw: object) -> "Card":
        """Raises CardError."""
        if isinstance(raw, dict):
            raw = {**LATER, **raw}
        values = _object(raw, "", {item.name for item in fields(cls)} | {"format"})
        _require(values.pop("format") == FORMAT, "format", f"{FORMAT}, which this version reads")
        _require(isinstance(values["parts"], list), "parts", "a list")
        names = {item.name for item in fields(Part)}
        values["parts"] = [Part(**_object(part, "parts", names)) for part in values["parts"]]
        for name in ("hashes", "settings", "metrics"):
            _require(isinstance(values[name], dict), name, "an object")
        for moment, sides in values["metrics"].items():
            _require(isinstance(sides, dict), f"metrics.{moment}", "an object")
        _require(isinstance(values["sweep"], list), "sweep", "a list")
        return cls(**values)

    @classmethod
    def read(cls, folder: Path) -> "Card":
        """The card of an assistant's folder. Raises CardError, with the path in its message."""
        path = folder / CARD
        try:
            return cls.from_json(json.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            reason = str(error) if isinstance(error, CardError) else type(error).__name__
            raise CardError(f"{path} cannot be read: {reason}") from error

    def write(self, folder: Path) -> None:
        """Write the card into the assistant's folder, whole or not at all. Everything else must be there already."""
        partial = folder / f".{CARD}.partial"
        partial.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        partial.replace(folder / CARD)


def _object(raw: object, where: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise CardError(f"card: {where or 'as a whole'}: wanted an object")
    values: dict[str, Any] = dict(raw)
    dot = f"{where}." if where else ""
    if unknown := sorted(set(map(str, values)) - names):
        raise CardError(f"card: {dot}{unknown[0]} is unknown; known are {', '.join(sorted(names))}")
    if missing := sorted(names - set(values)):
        raise CardError(f"card: {dot}{missing[0]} is missing")
    return values


def _require(holds: bool, name: str, wanted: str) -> None:
    if not holds:
        raise CardError(f"card: {name}: wanted {wanted}")


def _named(value: object, name: str) -> None:
    try:
        auxiliary_name(value)
    except ContractError:
        raise CardError(f"card: {name}: wanted 1 to 64 letters, digits, '.', '_' or '-'") from None


def _whole(value: object) -> bool:
    return type(value) is int


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _sha256(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _figures(row: object) -> bool:
    return isinstance(row, Mapping) and all(isinstance(name, str) and _finite(value) for name, value in row.items())
