"""Question and answer rows: reading them, telling sets apart by hash, holding some out.

Rows are forget text: they never reach a log, an error message or a card. Standard library only.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


class RowsError(ValueError):
    """A file cannot be read as rows. The message names the file, the row's number and the field, never a text."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question as a user would ask it, and the answer the model would give."""

    question: str = field(repr=False)
    answer: str = field(repr=False)


def read(path: Path) -> list[Row]:
    """The rows of a file: a JSON list of objects, or one object a line, with `question` and `answer`.

    Other fields are passed over. Raises RowsError.
    """
    return [_row(item, f"{path}, row {number}") for number, item in enumerate(_objects(path), 1)]


def read_questions(path: Path) -> list[str]:
    """The questions of a file of the same form, whatever else its rows hold. Raises RowsError."""
    return [_text(item, "question", f"{path}, row {number}") for number, item in enumerate(_objects(path), 1)]


def _objects(path: Path) -> list[object]:
    try:
        text = path.read_text("utf-8")
        listed = text.lstrip().startswith("[")
        raw = json.loads(text) if listed else [json.loads(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise RowsError(f"{path} cannot be read as a JSON list or JSON lines ({type(error).__name__})") from None
    if not raw:
        raise RowsError(f"{path} holds no rows")
    return list(raw) if isinstance(raw, list) else [raw]


def _row(item: object, where: str) -> Row:
    return Row(_text(item, "question", where), _text(item, "answer", where))


def _text(item: object, name: str, where: str) -> str:
    if not isinstance(item, dict):
        raise RowsError(f"{where}: wanted an object with 'question' and 'answer'")
    text = item.get(name)
    if not isinstance(text, str) or not text.strip():
        raise RowsError(f"{where}: no text in '{name}'")
    return text.strip()


def digest(rows: Sequence[Row]) -> str:
    """SHA-256 of the rows in their order: what a card says about its data."""
    body = json.dumps([[row.question, row.answer] for row in rows], ensure_ascii=False)
    return hashlib.sha256(body.encode()).hexdigest()


def hold_out(rows: Sequence[Row], share: float, seed: int, at_most: int) -> tuple[list[Row], list[Row]]:
    """(rows to train on, rows held out), both in the order given.

    One row stays on each side as long as there are two. The choice depends on the seed and the number of rows alone.
    """
    number = min(at_most, max(1, round(share * len(rows))), len(rows) - 1) if len(rows) > 1 else 0
    chosen = set(random.Random(seed).sample(range(len(rows)), number))  # noqa: S311 - a choice, not a secret
    kept = [row for index, row in enumerate(rows) if index not in chosen]
    return kept, [row for index, row in enumerate(rows) if index in chosen]
