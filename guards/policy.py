"""Policies: what happens when a request is near a forget set. Frozen, parsed once, with errors that name the cure."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

E = TypeVar("E", bound=StrEnum)


class Rung(StrEnum):
    """What to do with a matching request, mildest first."""

    OBSERVE = "observe"
    INSTRUCT = "instruct"
    REFUSE = "refuse"

    @property
    def severity(self) -> int:
        """0 for observe, rising with how much is suppressed."""
        return list(Rung).index(self)


class Style(StrEnum):
    """How a refusal reads: `unknown` as of one who does not know, `refusal` as of one who will not say."""

    UNKNOWN = "unknown"
    REFUSAL = "refusal"


class ScanOutput(StrEnum):
    """Which answers are checked against what must not be said."""

    ARMED = "armed"
    ALWAYS = "always"


class OnFault(StrEnum):
    """What a failing guard does to a request."""

    REFUSE = "refuse"
    ALLOW = "allow"


class PolicyError(ValueError):
    """A setting that is not understood; the message names it and what would be."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings of a forget set.

    `on_match` is the ladder: the first rung is taken on a match, the next ones when the output shows that a rung was
    not enough; `refuse` always ends it. `threshold` is the cosine similarity in (0, 1] from which a text matches,
    `margin` how much nearer, in [0, 1], it must be to an entry than to a retain example of the set.
    `demonstrations` (0 to 8) and `reasoning` shape the `instruct` rung.
    """

    on_match: tuple[Rung, ...] = (Rung.INSTRUCT, Rung.REFUSE)
    threshold: float = 0.75
    margin: float = 0.02
    style: Style = Style.UNKNOWN
    scan_output: ScanOutput = ScanOutput.ARMED
    on_fault: OnFault = OnFault.REFUSE
    demonstrations: int = 2
    reasoning: bool = False

    def with_changes(self, changes: Mapping[str, Any]) -> "Policy":
        """This policy with some settings replaced, as they come from JSON or YAML. Raises PolicyError."""
        known = {f.name for f in fields(self)}
        for name in changes:
            if name not in known:
                near = get_close_matches(str(name), known, 1)
                raise PolicyError(f"unknown policy setting '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        return replace(self, **{name: _parse(name, value) for name, value in changes.items()})


DEFAULT_POLICY = Policy()


def _parse(name: str, value: Any) -> Any:
    match name:
        case "on_match":
            return _ladder(value)
        case "style":
            return _member(Style, name, value)
        case "scan_output":
            return _member(ScanOutput, name, value)
        case "on_fault":
            return _member(OnFault, name, value)
        case "threshold":
            return _number(name, value, above=0.0)
        case "margin":
            return _number(name, value)
        case "demonstrations":
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 8:
                raise PolicyError("'demonstrations' is a number from 0 to 8")
            return value
        case _:
            if not isinstance(value, bool):
                raise PolicyError(f"'{name}' is true or false")
            return value


def _ladder(value: Any) -> tuple[Rung, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not value:
        raise PolicyError("'on_match' is a list of rungs: observe, instruct, refuse")
    rungs = [_member(Rung, "on_match", item) for item in value]
    if [r.severity for r in rungs] != sorted({r.severity for r in rungs}):
        raise PolicyError(
            "'on_match' climbs: each rung must be stricter than the one before (observe, instruct, refuse)"
        )
    return tuple(rungs)


def _member(kind: type[E], name: str, value: Any) -> E:
    try:
        return kind(value)
    except ValueError:
        raise PolicyError(f"'{name}' is one of {', '.join(kind)}") from None


def _number(name: str, value: Any, above: float | None = None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise PolicyError(f"'{name}' is a number from 0 to 1")
    if above is not None and value <= above:
        raise PolicyError(f"'{name}' must be above {above:g}")
    return float(value)
