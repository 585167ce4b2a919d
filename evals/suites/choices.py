"""Multiple choice as WMDP and MMLU publish it, and as TOFU's `option1` … rows.

A file whose name begins with `wmdp` or `forget` is to be forgotten, every other one to be kept. The right option is a
number (`answer: 2`), a letter (`answer: "C"`) or the text itself.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.gate.rows import RowsError
from evals.suites.items import LETTERS, Item, Reader, Role, Suite, Task, text_of, texts_of


def choices(folder: Path, split: str | None = None) -> Suite:
    """`folder`: a folder of row files, or one file. `split`: stems of files, comma-separated. Raises RowsError."""
    paths = [folder] if folder.is_file() else sorted(folder.glob("*.json*"))
    wanted = set(split.split(",")) if split else None
    reader = Reader()
    items: list[Item] = []
    for path in paths:
        if wanted is not None and path.stem not in wanted:
            continue
        role = Role.FORGET if path.stem.lower().startswith(("wmdp", "forget")) else Role.KEEP
        for place, row in enumerate(reader.rows(path)):
            items.append(_item(row, path.stem, role, place, f"{path}, row {place + 1}"))
    if not items:
        raise RowsError(f"{folder} holds no row files" + (f" named {split}" if split else ""))
    return reader.suite("choices", items)


def _item(row: Mapping[str, Any], subset: str, role: Role, place: int, where: str) -> Item:
    options = _options(row)
    if not 2 <= len(options) <= len(LETTERS):
        raise RowsError(f"{where} needs 2 to {len(LETTERS)} options in 'choices' or 'option1', 'option2', …")
    right = _right(row.get("answer"), options, where)
    wrong = tuple(option for option in options if option != right)
    question = text_of(row, "question", where=where)
    return Item(f"{subset}/{place}", subset, role, question, right, Task.CHOOSE, wrong=wrong, options=options)


def _options(row: Mapping[str, Any]) -> tuple[str, ...]:
    listed = row.get("choices")
    if isinstance(listed, Mapping):
        listed = [listed[letter] for letter in sorted(listed)]
    numbered = [row[name] for name in sorted(row) if name.startswith("option")]
    return texts_of(listed if listed is not None else numbered)


def _right(answer: Any, options: tuple[str, ...], where: str) -> str:
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
        return options[answer]
    if isinstance(answer, str):
        if answer in options:
            return answer
        if len(answer) == 1 and answer.upper() in LETTERS[: len(options)]:
            return options[LETTERS.index(answer.upper())]
    raise RowsError(f"{where}: 'answer' is the number, the letter or the text of one of its {len(options)} options")
