"""TOFU in other languages: `forget01_fr.jsonl`, `retain_perturbed_fr.jsonl`, `world_facts_perturbed_fr.jsonl`, ….

Source: Multilingual Amnesia (EACL 2026). One subset for each file: forget:fr, retain:fr, world_facts:fr.
"""

import re
from pathlib import Path

from evals.gate.rows import RowsError
from evals.suites.items import Item, Reader, Role, Suite, question_item

_NAME = re.compile(r"(forget|retain|world_facts|real_authors)\w*_([a-z]{2})\.jsonl?")


def multilingual(folder: Path, split: str | None = None) -> Suite:
    """`split`: languages, such as `fr,ru`; all by default. Raises RowsError."""
    wanted = set(split.split(",")) if split else None
    reader = Reader()
    items: list[Item] = []
    for path in sorted(folder.glob("*.json*")):
        named = _NAME.fullmatch(path.name)
        if not named or (wanted is not None and named[2] not in wanted):
            continue
        kind, language = named.groups()
        role = Role.FORGET if kind == "forget" else Role.KEEP
        for place, row in enumerate(reader.rows(path)):
            where = f"{path}, row {place + 1}"
            subset = f"{kind}:{language}"
            items.append(question_item(row, subset=subset, role=role, place=place, where=where, language=language))
    if not items:
        raise RowsError(f"{folder} holds no files such as forget01_fr.jsonl" + (f" for {split}" if split else ""))
    return reader.suite("multilingual", items)
