"""MUSE: verbatim memorisation and knowledge of a corpus.

A folder with `forget_verbmem` or `verbmem` (prompt, gt: the text goes on how?), `forget_knowmem`, `retain_knowmem` or
`knowmem_f`, `knowmem_r` (question, answer), as published in muse-bench/MUSE-News and -Books.
"""

from pathlib import Path

from evals.gate.rows import RowsError
from evals.suites.items import Item, Reader, Role, Suite, Task, question_item, text_of
from evals.suites.tofu import find

_KNOWN = {
    "knowledge_forget": (("forget_knowmem", "knowmem_f", "forget_qa"), Role.FORGET),
    "knowledge_retain": (("retain_knowmem", "knowmem_r", "retain_qa"), Role.KEEP),
}


def muse(folder: Path, split: str | None = None) -> Suite:
    """Raises RowsError. `split` is not used: each corpus is a folder of its own."""
    del split
    reader = Reader()
    items: list[Item] = []
    verbatim = find(folder, ("forget_verbmem", "verbmem_f", "verbmem"))
    if verbatim is not None:
        for place, row in enumerate(reader.rows(verbatim)):
            where = f"{verbatim}, row {place + 1}"
            prompt, truth = text_of(row, "prompt", where=where), text_of(row, "gt", "answer", where=where)
            items.append(Item(f"verbatim/{place}", "verbatim", Role.FORGET, prompt, truth, Task.CONTINUE))
    for subset, (stems, role) in _KNOWN.items():
        path = find(folder, stems)
        for place, row in enumerate(reader.rows(path) if path else ()):
            items.append(question_item(row, subset=subset, role=role, place=place, where=f"{path}, row {place + 1}"))
    if not items:
        raise RowsError(f"{folder} is not a MUSE folder: there is no verbmem.json or forget_knowmem.json")
    return reader.suite("muse", items)
