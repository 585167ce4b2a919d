"""Rows of one's own: a file, or a folder of files, with `question` and `answer`.

Optional fields: `role` (forget, keep, unseen; forget by default), `subset` (the file's stem by default), `language`,
`task` (answer, continue), `paraphrased_question`, `paraphrased_answer`, `perturbed_answer` (a list).
"""

from pathlib import Path

from evals.gate.rows import RowsError
from evals.suites.items import Item, Reader, Role, Suite, Task, question_item


def lines(folder: Path, split: str | None = None) -> Suite:
    """`split`: stems of files, comma-separated. Raises RowsError."""
    wanted = set(split.split(",")) if split else None
    reader = Reader()
    items: list[Item] = []
    counted: dict[str, int] = {}
    for path in [folder] if folder.is_file() else sorted(folder.glob("*.json*")):
        if wanted is not None and path.stem not in wanted:
            continue
        for number, row in enumerate(reader.rows(path), 1):
            where = f"{path}, row {number}"
            subset = str(row.get("subset") or path.stem)
            place = counted[subset] = counted.get(subset, -1) + 1
            try:
                role, task = Role(row.get("role") or Role.FORGET), Task(row.get("task") or Task.ANSWER)
            except ValueError as error:
                raise RowsError(f"{where}: {error}") from None
            if task is Task.CHOOSE:
                raise RowsError(f"{where}: for choices use --suite choices")
            language = str(row.get("language") or "en")
            items.append(
                question_item(row, subset=subset, role=role, place=place, where=where, task=task, language=language)
            )
    if not items:
        raise RowsError(f"{folder} holds no row files" + (f" named {split}" if split else ""))
    return reader.suite("lines", items)
