"""Forget entries as JSON lines: read and checked before one is sent, and told apart from those that are there."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from indexes.entries import EntryError, check
from proxy.admin_models import EntryBody, entry_json
from proxy.errors import BadRequest
from proxy.validation import parsed

BATCH_ENTRIES = 256  # sent in one call, which is applied whole: this is what an interruption repeats
BATCH_BYTES = 1024**2  # and so much text at most, below the server's limit for one call
SHOWN_PROBLEMS = 5

_CONTENT = ("kind", "texts", "names", "answers", "label", "threshold", "reference", "expires_at")


class BadLines(Exception):
    """Lines that are no entries. The message names each with its reason, and repeats no text."""


@dataclass(frozen=True, repr=False)
class Line:
    """One entry as it is sent, and the id that was given for it."""

    body: dict[str, Any]
    given_id: str | None
    content: bytes
    size: int

    def is_in(self, there: Counter[bytes]) -> bool:
        """Whether `there` holds the entry, as `known` made it. Takes it out: each stands for one line."""
        found = self._named(self.given_id) if self.given_id is not None else self.content
        if not there[found]:
            return False
        there[found] -= 1
        return True

    def _named(self, entry_id: str) -> bytes:
        return entry_id.encode() + b":" + self.content


def known(entries: Iterable[dict[str, Any]]) -> Counter[bytes]:
    """What a set holds, by content and by id: entries as the server lists them."""
    there: Counter[bytes] = Counter()
    for entry in entries:
        content = _content(entry)
        there.update((content, entry["id"].encode() + b":" + content))
    return there


def read_lines(file: Iterable[bytes], set_id: str) -> list[Line]:
    """Reads and checks all lines; empty ones are passed over. Raises BadLines."""
    lines: list[Line] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, raw in enumerate(file, 1):
        if not raw.strip():
            continue
        try:
            line = _checked(raw.strip(), set_id)
            if line.given_id is not None and seen.setdefault(line.given_id, number) != number:
                problems.append(f"line {number}: the id '{line.given_id}' is that of line {seen[line.given_id]} too")
            lines.append(line)
        except orjson.JSONDecodeError as error:
            problems.append(f"line {number}: not valid JSON ({error.msg}, column {error.colno})")
        except (BadRequest, EntryError) as error:
            problems.append(f"line {number}: {error}")
    if problems:
        more = [f"and {len(problems) - SHOWN_PROBLEMS} more"] if len(problems) > SHOWN_PROBLEMS else []
        raise BadLines("\n".join(problems[:SHOWN_PROBLEMS] + more))
    if not lines:
        raise BadLines("the file holds no entries")
    return lines


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


def digest(lines: Iterable[Line], *more: str) -> str:
    """Tells one batch from another."""
    text = b"\n".join([*(line.content + (line.given_id or "").encode() for line in lines), *map(str.encode, more)])
    return hashlib.sha256(text).hexdigest()


def _checked(raw: bytes, set_id: str) -> Line:
    """One line. Raises what is wrong with it."""
    body = orjson.loads(raw)
    if not isinstance(body, dict):
        raise EntryError("not a JSON object")
    entry = parsed(EntryBody, body).record(set_id, "")
    check(entry)
    return Line(body, body.get("id"), _content(entry_json(entry)), len(raw))


def _content(entry: dict[str, Any]) -> bytes:
    return orjson.dumps([entry[name] for name in _CONTENT])
