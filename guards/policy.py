"""Policies: what happens when a request is near a forget set. Frozen, parsed once, with errors that name the cure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from guards.strength import MAX_STRENGTH

E = TypeVar("E", bound=StrEnum)


ASSISTANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(@[1-9][0-9]{0,8})?")
"""A name, as `guards.engine.contract` allows it, and perhaps the one version that may be used."""


class Rung(StrEnum):
    """What to do with a matching request, mildest first.

    `offset` is milder than `instruct`: the prompt stays the client's own, and only what the assistant knows is
    subtracted. `offset_instruct` is both at once. A rung after an offset keeps it and adds to it.
    """

    OBSERVE = "observe"
    OFFSET = "offset"
    INSTRUCT = "instruct"
    OFFSET_INSTRUCT = "offset_instruct"
    REFUSE = "refuse"

    @property
    def severity(self) -> int:
        """0 for observe, rising with how much is suppressed."""
        return list(Rung).index(self)

    @property
    def subtracts(self) -> bool:
        """Whether what an assistant knows is subtracted from the model's logits."""
        return self in (Rung.OFFSET, Rung.OFFSET_INSTRUCT)

    @property
    def instructs(self) -> bool:
        """Whether the model is told, before the prompt, to answer as one that never knew."""
        return self in (Rung.INSTRUCT, Rung.OFFSET_INSTRUCT)


def keeping_offset(rungs: Iterable[Rung], *, subtracting: bool = False) -> tuple[Rung, ...]:
    """Rungs as they are carried out: what is subtracted once is subtracted on every rung after that asks the model.

    `subtracting`: it is from the first on.
    """
    found: dict[Rung, None] = {}  # in order, each once
    for rung in rungs:
        subtracting = subtracting or rung.subtracts
        found[Rung.OFFSET_INSTRUCT if subtracting and rung is Rung.INSTRUCT else rung] = None
    return tuple(found)


def lacking_offset(rungs: Sequence[Rung]) -> tuple[Rung, ...]:
    """What remains of rungs where nothing can be subtracted: never the base model's answer in place of one."""
    told = (Rung.INSTRUCT if rung is Rung.OFFSET_INSTRUCT else rung for rung in rungs if rung is not Rung.OFFSET)
    return tuple(dict.fromkeys(told)) or tuple(rungs and [Rung.REFUSE])


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
    `scan_meaning`: of answers that are checked, each sentence is also compared with what must not be said.
    `abstain`: an answer under the note must say that it does not know; any other takes the next rung.
    `demonstrations` (0 to 8) and `reasoning` shape the note of `instruct` and `offset_instruct`.
    `assistant` is what `offset` and `offset_instruct` subtract: a name, or `name@version` if no other version will do.
    `strength` is its strength for requests that are surely near, above 0; none: the one chosen when the assistant was
    trained.
    """

    on_match: tuple[Rung, ...] = (Rung.INSTRUCT, Rung.REFUSE)
    threshold: float = 0.75
    margin: float = 0.02
    style: Style = Style.UNKNOWN
    scan_output: ScanOutput = ScanOutput.ARMED
    scan_meaning: bool = True
    abstain: bool = True
    on_fault: OnFault = OnFault.REFUSE
    demonstrations: int = 2
    reasoning: bool = False
    assistant: str | None = None
    strength: float | None = None

    def with_changes(self, changes: Mapping[str, Any]) -> "Policy":
        """This policy with some settings replaced, as they come from JSON or YAML. Raises PolicyError."""
        known = {f.name for f in fields(self)}
        for name in changes:
            if name not in known:
                near = get_close_matches(str(name), known, 1)
                raise PolicyError(f"unknown policy setting '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        changed = replace(self, **{name: _parse(name, value) for name, value in changes.items()})
        wanting = next((rung for rung in changed.on_match if rung.subtracts), None)
        if wanting and changed.assistant is None:
            raise PolicyError(f"the rung '{wanting}' needs to know what to subtract: set 'assistant' to a name")
        return changed

    @property
    def ladder(self) -> tuple[Rung, ...]:
        """The rungs of `on_match` that act, as they are carried out."""
        return keeping_offset(rung for rung in self.on_match if rung is not Rung.OBSERVE)


DEFAULT_POLICY = Policy()

_CHOICES: Mapping[str, type[StrEnum]] = {"style": Style, "scan_output": ScanOutput, "on_fault": OnFault}


def _parse(name: str, value: Any) -> Any:
    match name:
        case "on_match":
            return _ladder(value)
        case "style" | "scan_output" | "on_fault":
            return _member(_CHOICES[name], name, value)
        case "assistant":
            return None if value is None else _assistant(value)
        case "strength":
            return None if value is None else _strength(value)
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
        raise PolicyError(f"'on_match' is a list of rungs: {', '.join(Rung)}")
    rungs = [_member(Rung, "on_match", item) for item in value]
    if [r.severity for r in rungs] != sorted({r.severity for r in rungs}):
        raise PolicyError(f"'on_match' climbs: each rung must be stricter than the one before ({', '.join(Rung)})")
    if {Rung.OFFSET, Rung.INSTRUCT, Rung.OFFSET_INSTRUCT} <= {*rungs}:
        raise PolicyError("'on_match' climbs: after 'offset', 'instruct' is 'offset_instruct': leave one of them out")
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


def _assistant(value: Any) -> str:
    if not isinstance(value, str) or not ASSISTANT.fullmatch(value):
        raise PolicyError("'assistant' is the name of an assistant, or name@version")
    return value


def _strength(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_STRENGTH:
        raise PolicyError(f"'strength' is a number above 0 and at most {MAX_STRENGTH:g}")
    return float(value)
