"""Question and answer rows from files: JSON lists or JSON lines, with the field that is wanted."""

import codecs
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUESTION, ANSWER = "question", "answer"
EXAMPLE = 'write one JSON object a line, for example {"question": "...", "answer": "..."}'
LONGEST_TEXT = 200_000  # characters, as of a text of an entry: more is a file that lost its line ends

_OTHER_CODINGS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Row = dict[str, Any]


class RowsError(Exception):
    """A file that cannot be read as rows; the message names the file, the row and what was expected, never a text."""


@dataclass(frozen=True, slots=True)
class Source:
    """`NAME=FILE#field`: a named set of texts; the field defaults to `question`, the name to the file's stem."""

    name: str
    path: Path
    field: str = QUESTION

    @classmethod
    def parse(cls, argument: str) -> "Source":
        """A file that is there is taken by its whole name, whatever signs it holds. Raises RowsError."""
        if Path(argument).is_file():
            return cls(Path(argument).stem, Path(argument))
        name, equals, place = argument.partition("=")
        place, _, field = (place if equals else argument).partition("#")
        if not place or (equals and not name):
            raise RowsError(f"'{argument}' is not a source: write NAME=FILE or NAME=FILE#field")
        return cls(name if equals else Path(place).stem, Path(place), field or QUESTION)

    def texts(self) -> list[str]:
        """The field of every row. Raises RowsError."""
        return [_field(row, self.field, f"{self.path}, row {number}") for number, row in enumerate(rows(self.path), 1)]

    def facts(self) -> list[tuple[str, str]]:
        """The field of every row, and its answer; "" where it has none. Raises RowsError."""
        found = enumerate(rows(self.path), 1)
        return [
            (_field(row, self.field, where), _answer(row, where))
            for number, row in found
            for where in [f"{self.path}, row {number}"]
        ]


def rows(path: Path) -> list[Row]:
    """The rows of a file: a JSON list of objects, or one object a line. Raises RowsError."""
    text = _read(path)
    found = _listed(path, text) if text.lstrip().startswith("[") else _lines(path, text)
    if not found:
        raise RowsError(f"{path} holds no rows: {EXAMPLE}")
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise RowsError(f"{path}, row {number} is no JSON object: {EXAMPLE}")
    return found


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RowsError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = "UTF-16" if raw.startswith(_OTHER_CODINGS) else f"not UTF-8 (byte {error.start + 1})"
        raise RowsError(f"{path} is {found}: rows are read from text in UTF-8, save it so") from None


def _listed(path: Path, text: str) -> list[Any]:
    try:
        return list(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise RowsError(f"{path} is no whole JSON list: {_reason(error)}") from None


def _lines(path: Path, text: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):  # and at no other sign that ends a line: JSON may hold those
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            if (held := _held(text)) is not None:
                raise RowsError(f"{path} is one JSON object, not rows: save the list in {held} alone") from None
            if not found and not line.lstrip().startswith("{"):
                raise RowsError(f"{path} is not JSON: {EXAMPLE}") from None
            raise RowsError(f"{path}, line {number} is no JSON: {_reason(error)}") from None
    return found


def _held(text: str) -> str | None:
    """Which fields of a file that is one object hold lists."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return None
    lists = [f"'{name}'" for name, value in held.items() if isinstance(value, list)] if isinstance(held, dict) else []
    return " or ".join(lists) or None


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (column {error.colno})"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number too long to be read"


def _field(row: Row, name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        known = ", ".join(f"'{key}'" for key, held in row.items() if isinstance(held, str) and held.strip())
        hint = f"it has {known}: name the field as FILE#field" if known else "it has no text at all"
        raise RowsError(f"{where} has no text in '{name}'; {hint}")
    return _sound(value, name, where)


def _answer(row: Row, where: str) -> str:
    value = row.get(ANSWER)
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise RowsError(f"{where} has no text in '{ANSWER}' but {type(value).__name__}: give one answer, or none")
    return _sound(value, ANSWER, where)


def _sound(text: str, name: str, where: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise RowsError(f"{where} has {len(text):,} characters in '{name}'; {LONGEST_TEXT:,} are read at the most")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise RowsError(f"{where} has half of a character in '{name}' (a lone surrogate)")
    return text
