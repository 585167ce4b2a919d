"""TOFU: a folder with `forget01|05|10`, `retain`, `real_authors` and `world_facts`, each plain or `_perturbed`.

The perturbed file is taken where there is one: it holds the paraphrases and wrong answers of the probability metrics.
Subsets: forget, forget_reworded (the same facts asked in other words), retain, real_authors, world_facts, and unseen
(a `holdout` file, else those rows of the forget file that `--rows unseen=FROM-TO` names).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from evals.gate.rows import RowsError
from evals.suites.items import Item, Reader, Role, Suite, question_item

SPLITS = ("forget01", "forget05", "forget10")
KEPT = {
    "retain": ("retain_perturbed", "retain99", "retain95", "retain90", "retain"),
    "real_authors": ("real_authors_perturbed", "real_authors"),
    "world_facts": ("world_facts_perturbed", "world_facts"),
}
SUFFIXES = (".json", ".jsonl")


def tofu(folder: Path, split: str | None = None) -> Suite:
    """`split`: which forget file; the smallest that is there by default. Raises RowsError."""
    reader = Reader()
    forget = list(_read(reader, _forget_file(folder, split), "forget", Role.FORGET))
    items = forget + [
        replace(item, id=f"forget_reworded/{place}", subset="forget_reworded", question=item.reworded)
        for place, item in enumerate(forget)
        if item.reworded
    ]
    for subset, stems in KEPT.items():
        path = find(folder, stems)
        if path is not None:
            items += _read(reader, path, subset, Role.KEEP)
    holdout = find(folder, ("holdout01", "holdout05", "holdout10", "holdout"))
    if holdout is not None:
        items += _read(reader, holdout, "unseen", Role.UNSEEN)
    else:
        items += [
            replace(item, id=f"unseen/{place}", subset="unseen", role=Role.UNSEEN) for place, item in enumerate(forget)
        ]
    return reader.suite("tofu", items)


def find(folder: Path, stems: tuple[str, ...]) -> Path | None:
    """The first of several files that exists."""
    return next((p for stem in stems for suffix in SUFFIXES if (p := folder / f"{stem}{suffix}").exists()), None)


def _forget_file(folder: Path, split: str | None) -> Path:
    for name in (split,) if split else SPLITS:
        path = find(folder, (f"{name}_perturbed", name))
        if path is not None:
            return path
    wanted = f"{split}.json" if split else "forget01.json, forget05.json or forget10.json"
    raise RowsError(f"{folder} is not a TOFU folder: there is no {wanted}")


def _read(reader: Reader, path: Path, subset: str, role: Role) -> Iterator[Item]:
    for place, row in enumerate(reader.rows(path)):
        yield question_item(row, subset=subset, role=role, place=place, where=f"{path}, row {place + 1}")
