"""Question and answer rows from files: JSON lists or JSON lines, with the field that is wanted."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUESTION, ANSWER = "question", "answer"


class RowsError(Exception):
    """A file that cannot be read as rows; the message names the file, the row and what was expected."""


@dataclass(frozen=True, slots=True)
class Source:
    """`NAME=FILE#field`: a named set of texts; the field defaults to `question`, the name to the file's stem."""

    name: str
    path: Path
    field: str = QUESTION

    @classmethod
    def parse(cls, argument: str) -> "Source":
        """Raises RowsError."""
        name, equals, place = argument.partition("=")
        place, _, field = (place if equals else argument).partition("#")
        if not place or (equals and not name):
            raise RowsError(f"'{argument}' is not a source: write NAME=FILE or NAME=FILE#field")
        return cls(name if equals else Path(place).stem, Path(place), field or QUESTION)

    def texts(self) -> list[str]:
        """The field of every row. Raises RowsError."""
        return [_field(row, self.field, f"{self.path}, row {number}") for number, row in enumerate(rows(self.path), 1)]


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file: a JSON list of objects, or one object a line. Raises RowsError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RowsError(f"{path} cannot be read ({type(error).__name__})") from None
    try:
        if text.lstrip().startswith("["):
            found = json.loads(text)
        else:
            found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise RowsError(f"{path} is neither a JSON list nor JSON lines: {error}") from None
    if not found or not all(isinstance(row, dict) for row in found):
        raise RowsError(f"{path} holds no rows: a list of objects is expected")
    return list(found)


def _field(row: dict[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        known = ", ".join(key for key, held in row.items() if isinstance(held, str))
        raise RowsError(f"{where} has no text in '{name}'; it has {known or 'no text at all'}")
    return value


def question_of(row: dict[str, Any], where: str) -> str:
    """Raises RowsError."""
    return _field(row, QUESTION, where)
