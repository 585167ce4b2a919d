"""Compares what the engine has with what the project decided, and names what nobody has decided yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from guards.prompt.fields import Field, Treatment
from guards.prompt.kinds import KINDS
from guards.prompt.routes import ROUTES
from guards.prompt.tables import TABLES

NOT_FORWARDED = (Treatment.REFUSE, Treatment.DROP, Treatment.OURS)


@dataclass(frozen=True)
class Census:
    """What was found, and what of it is in no table."""

    version: str
    routes: int
    fields: int
    nested: int
    kinds: int
    undecided: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        found = {"routes": self.routes, "fields": self.fields, "nested_fields": self.nested, "kinds": self.kinds}
        total = sum(found.values())
        return {
            "vllm": self.version,
            "found": found,
            "decided": total - len(self.undecided),
            "undecided": list(self.undecided),
        }


def compared(surface: Mapping[str, Any]) -> Census:
    """The census of a surface as `introspect.py` lists it."""
    paths = sorted({call.split(" ", 1)[1] for call in surface["routes"]})
    undecided = [f"route {path}" for path in paths if path not in ROUTES]
    top = nested = kinds = 0
    for route, fields in surface["fields"].items():
        table = TABLES.get(route, {})
        top += sum("." not in path for path in fields)
        nested += sum("." in path for path in fields)
        undecided += [f"field {route} {path}" for path in _open_fields(fields, table)]
    for route, found in surface["kinds"].items():
        for path, names in found.items():
            known = KINDS.get((route, path))
            if known is not None:
                kinds += len(names)
                undecided += [f"kind {route} {path} {name}" for name in names if name not in known]
    return Census(surface["vllm"], len(paths), top, nested, kinds, tuple(undecided))


def _open_fields(fields: Mapping[str, str], table: Mapping[str, Field]) -> Iterator[str]:
    """Fields that are in no row, and those inside a field that is passed on without being named there.

    Below a field that is scanned every string is read, whatever it is called; one that is not forwarded holds nothing.
    """
    for path in fields:
        name, _, inside = path.partition(".")
        row = table.get(name.removesuffix("[]"))
        if row is None:
            if not inside:
                yield path
        elif inside and row.treatment not in (*NOT_FORWARDED, Treatment.SCAN):
            first = inside.split(".")[0].removesuffix("[]")
            if row.treatment is Treatment.PASS and first not in row.nested:
                yield path
