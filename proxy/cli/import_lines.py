"""Forget entries as JSON lines: all checked before one is sent, then sent in portions, however many there are."""

import codecs
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from indexes.entries import EntryError, check
from proxy.admin.models import EntryBody
from proxy.errors import BadRequest
from proxy.validation import parsed

BATCH_ENTRIES = 256  # sent in one call, which is applied whole: this is what an interruption repeats
BATCH_BYTES = 1024**2  # and so much text at most, below the server's limit for one call
SHOWN_PROBLEMS = 5

EXAMPLE = 'each line is one entry, such as {"question": "...", "answer": "..."}'
_OTHERS = {  # what files that are none of lines begin with
    codecs.BOM_UTF16_LE: "the file is UTF-16: save it as UTF-8",
    codecs.BOM_UTF16_BE: "the file is UTF-16: save it as UTF-8",
    b"\x1f\x8b": "the file is compressed: unpack it first, for example with 'gunzip -c FILE | lethe forget import -'",
    b"PK\x03\x04": "the file is an archive or a spreadsheet: save its rows as JSON lines",
    b"[": f"the file is a JSON list, not lines: {EXAMPLE}; \"jq -c '.[]' FILE\" writes them",
}


class BadLines(Exception):
    """Lines that are no entries. The message names each with its reason, and repeats no text."""


@dataclass(frozen=True, repr=False)
class Line:
    """One entry as it is sent, and where it stands in the file."""

    number: int
    body: dict[str, Any]
    size: int


@contextmanager
def rewindable(file: BinaryIO) -> Iterator[BinaryIO]:
    """What a file holds, to be read twice. A copy of what comes from a pipe has no name: it holds forget text."""
    if file.seekable():
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        yield copy


def check_lines(file: Iterable[bytes], set_id: str) -> Iterator[int]:
    """Checks all lines; empty ones are passed over. Gives the number of entries so far. Raises BadLines at the end."""
    count = bad = 0
    told: list[str] = []
    seen: dict[str, int] = {}
    for number, raw in _filled(file):
        if not count:
            _refuse_others(raw)
        try:
            line = _read(number, raw)
            check(parsed(EntryBody, line.body).record(set_id, ""))
            _only_once(line, seen)
        except (orjson.JSONDecodeError, BadRequest, EntryError) as error:
            bad += 1
            if bad <= SHOWN_PROBLEMS:
                told.append(f"line {number}: {_reason(error)}")
        count += 1
        yield count
    if bad:
        more = [f"and {bad - SHOWN_PROBLEMS} more"] if bad > SHOWN_PROBLEMS else []
        raise BadLines("\n".join(told + more))
    if not count:
        raise BadLines("the file holds no entries")


def lines_of(file: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a file that was checked. Raises BadLines where it has changed since."""
    for number, raw in _filled(file):
        try:
            yield _read(number, raw)
        except (orjson.JSONDecodeError, EntryError) as error:
            raise BadLines(f"line {number}: {_reason(error)}; the file has changed since it was checked") from None


def read_lines(file: Iterable[bytes], set_id: str) -> list[Line]:
    """All lines of a small file, checked. Raises BadLines."""
    raw = list(file)
    for _ in check_lines(raw, set_id):
        pass
    return list(lines_of(raw))


def batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lines in the portions that are sent."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH_ENTRIES or size + line.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += line.size
    if batch:
        yield batch


def _filled(file: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers."""
    for number, raw in enumerate(file, 1):
        if stripped := raw.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").strip():
            yield number, stripped


def _refuse_others(first: bytes) -> None:
    """Raises BadLines where a file is something else as a whole: its lines would be named one by one."""
    for begins, told in _OTHERS.items():
        if first.startswith(begins):
            raise BadLines(told)
    if first == b"{":
        raise BadLines(f"the file is one JSON object over several lines: {EXAMPLE}")
    if not first.startswith((b"{", b'"')):
        raise BadLines(f"the file is not JSON: {EXAMPLE}")


def _only_once(line: Line, seen: dict[str, int]) -> None:
    given = line.body.get("id")
    if given is not None and seen.setdefault(given, line.number) != line.number:
        raise EntryError(f"the id '{given}' is that of line {seen[given]} too")


def _read(number: int, raw: bytes) -> Line:
    body = orjson.loads(raw)
    if not isinstance(body, dict):
        raise EntryError(f"not a JSON object: {EXAMPLE}")
    return Line(number, body, len(raw))


def _reason(error: Exception) -> str:
    if isinstance(error, orjson.JSONDecodeError) and "UTF-8" in error.msg:
        return "not valid JSON (it is not UTF-8: save the file so)"
    if isinstance(error, orjson.JSONDecodeError):
        return f"not valid JSON ({error.msg}, column {error.colno})"
    return str(error)
