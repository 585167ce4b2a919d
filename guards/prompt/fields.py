"""What a request field is allowed to do, and the two functions that see to it. The rows are in `tables.py`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any


class Treatment(Enum):
    """What happens to a field. *Armed*: the request is near the forget set."""

    PASS = "passed on"  # noqa: S105 - not a password
    SCAN = "passed on; every text in it is scanned"
    REFUSE = "refused unless switched off"
    REFUSE_ARMED = "refused when armed"
    STRIP_ARMED = "removed when armed"
    DROP = "removed"
    OURS = "the client's value is removed, the proxy sets its own"


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a table."""

    name: str
    treatment: Treatment
    reason: str
    off: tuple[Any, ...] = (None, False)
    """Values with which the field asks for nothing; an empty list or object never does."""
    nested: frozenset[str] = frozenset()
    """For a field that is passed on and holds an object: the names that may stand in it."""

    def asks(self, value: Any) -> bool:
        """True when the field asks for something. Types count: 0 equals False, but 0 logprobs are one per token."""
        if value in ([], {}):
            return False
        return not any(type(value) is type(off) and value == off for off in self.off)


class FieldRefused(Exception):
    """A field that this request must not carry."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def check_fields(body: Mapping[str, Any], table: Mapping[str, Field], *, strict: bool) -> None:
    """Raises FieldRefused for the first field that no request may carry, or that is unknown in strict mode."""
    for name, value in body.items():
        row = table.get(name)
        if row is None:
            if strict:
                raise FieldRefused(name, _unknown(name, table))
        elif row.treatment is Treatment.REFUSE and row.asks(value):
            raise FieldRefused(name, f"'{name}' is not available here: {row.reason}")
        elif row.nested and strict and isinstance(value, Mapping):
            for inner in value:
                if inner not in row.nested:
                    raise FieldRefused(f"{name}.{inner}", _unknown(f"{name}.{inner}", row.nested))


def _unknown(name: str, known: Mapping[str, Any] | frozenset[str]) -> str:
    near = get_close_matches(name.rpartition(".")[2], known, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"'{name}' is not a field this server knows{hint}"


def forwarded(body: Mapping[str, Any], table: Mapping[str, Field], *, armed: bool, raw: bool = False) -> dict[str, Any]:
    """The fields that go to the engine. Raises FieldRefused for one that an armed request must not carry.

    The raw arm keeps what only suppressed requests must not have, but none of the switches inside the engine.
    """
    kept = {}
    for name, value in body.items():
        row = table.get(name)
        treatment = row.treatment if row else Treatment.PASS
        if row and treatment is Treatment.REFUSE_ARMED and armed and row.asks(value):
            raise FieldRefused(name, f"'{name}' is not available for this request: {row.reason}")
        dropped = treatment in (Treatment.DROP, Treatment.OURS) or (treatment is Treatment.REFUSE and not raw)
        if not dropped and not (armed and treatment is Treatment.STRIP_ARMED):
            kept[name] = value
    if armed:
        _refuse_forced_answers(kept)
    return kept


def _refuse_forced_answers(body: Mapping[str, Any]) -> None:
    if body.get("structured_outputs"):
        raise FieldRefused(
            "structured_outputs", "'structured_outputs' forces the answer: not available for this request"
        )
    for name, shape in (
        ("response_format", body.get("response_format")),
        ("text.format", _inner(body.get("text"), "format")),
        ("output_config.format", _inner(body.get("output_config"), "format")),
    ):
        if isinstance(shape, Mapping) and shape.get("type") not in ("text", "json_object"):
            raise FieldRefused(name, "a schema is not available for this request: it forces the answer")
    if _forces_call(body.get("tool_choice")):
        raise FieldRefused(
            "tool_choice",
            "'tool_choice' forces a call, and the tool's schema its arguments: not available for this request; "
            "send 'auto' or 'none'",
        )
    items = body.get("input")
    if isinstance(items, list) and _inner(items[-1] if items else None, "status") in ("in_progress", "incomplete"):
        raise FieldRefused("input", "an unfinished last item pulls the rest out: not available for this request")


def _forces_call(choice: Any) -> bool:
    """True unless the model may answer in words. The arguments of a call that must be made are decoded by a schema."""
    if isinstance(choice, Mapping):
        kind = choice.get("type")  # vLLM takes one without a kind for a function's
        if kind == "allowed_tools":
            kind = _inner(choice.get("allowed_tools", choice), "mode")
        return bool(choice) and kind not in ("auto", "none")
    return choice not in (None, "auto", "none")


def _inner(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def texts_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every string inside a JSON value with its path, keys of objects included, in the order of the text."""
    waiting = [(path, value)]  # not recursive: the client says how deep its JSON is
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, Mapping):
            for key, item in reversed(list(value.items())):
                waiting += [(f"{path}.{key}", item), (f"{path}.{key}", str(key))]
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", value[index]) for index in reversed(range(len(value)))]
