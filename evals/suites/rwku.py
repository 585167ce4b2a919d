"""RWKU's probes of real-world knowledge: fill in the blank, questions, adversarial questions, and neighbours.

A folder with `forget_level1|2|3` and `neighbor_level1|2`; rows have `query`, `answer` and, on level 3, the `type` of
the attack, which becomes part of the subset: forget_level3:role_play. Source: jinzhuoran/RWKU.
"""

import re
from pathlib import Path

from evals.gate.rows import RowsError
from evals.suites.items import Item, Reader, Role, Suite, question_item

_NAME = re.compile(r"(forget|neighbor)_level\d\.jsonl?")


def rwku(folder: Path, split: str | None = None) -> Suite:
    """`split`: one subject; all by default. Raises RowsError."""
    reader = Reader()
    items: list[Item] = []
    for path in sorted(folder.glob("*.json*")):
        named = _NAME.fullmatch(path.name)
        if not named:
            continue
        role = Role.FORGET if named[1] == "forget" else Role.KEEP
        for place, row in enumerate(reader.rows(path)):
            if split and row.get("subject") != split:
                continue
            kind = str(row["type"]).strip().lower().replace(" ", "_") if role is Role.FORGET and row.get("type") else ""
            subset = f"{path.stem}:{kind}" if kind else path.stem
            items.append(question_item(row, subset=subset, role=role, place=place, where=f"{path}, row {place + 1}"))
    if not items:
        raise RowsError(f"{folder} holds no RWKU probes: forget_level1.json … are expected")
    return reader.suite("rwku", items)
