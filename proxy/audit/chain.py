"""The audit log's chain: each record holds the hash of the one before it, and a signature of its own hash.

Rules
1. A record's hash is SHA-256 over its canonical JSON without `hash` and `signature`; `previous` is the hash of the
   record before it, and of nothing (64 zeros) in the first.
2. Numbers count from 1 without a gap.
3. A line is its record's compact JSON, byte for byte: nothing can stand in it that a reader sees and the hash does not,
   such as a second field of the same name.
4. Whoever changes, removes, adds or reorders a record breaks one of these, or needs the key. What is cut off the end
   shows beside a later receipt or the ledger, which both name the last record.
5. A record of the action `ledger.restored` says that the ledger has none of the changes after its generation any more,
   because it was restored from a backup or begun anew. What follows it are the changes of that ledger.

No I/O.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.audit.key import PublicKey

FIRST = "0" * 64

Record = dict[str, Any]

RESTORED = "ledger.restored"


@dataclass(frozen=True, slots=True)
class Head:
    """The last record of a chain: its number and hash. Number 0 is an empty chain."""

    number: int
    hash: str


EMPTY = Head(0, FIRST)


def canonical(value: Mapping[str, Any]) -> bytes:
    """The same bytes for the same value everywhere."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def hash_of(record: Mapping[str, Any]) -> str:
    """The hash that a record must have."""
    signed = {name: value for name, value in record.items() if name not in ("hash", "signature")}
    return hashlib.sha256(canonical(signed)).hexdigest()


def standing(records: Iterable[Record]) -> list[Record]:
    """The records of changes that the ledger still has, in order: without those that a restored ledger has lost."""
    found: list[Record] = []
    for record in records:
        if record["action"] != RESTORED:
            found.append(record)
            continue
        while found and found[-1]["generation"] > record["generation"]:
            found.pop()
    return found


def problems(lines: Iterable[bytes], key: PublicKey, *, ends: Head | None = None) -> list[str]:
    """What is wrong with a log, by line; nothing when it is whole. `ends`: a head that it must contain."""
    found: list[str] = []
    before = EMPTY
    reached = ends is None or ends == EMPTY
    for number, line in enumerate(lines, 1):
        record = read(line)
        if record is None:
            return [*found, f"line {number} is no record; what follows it was not read"]
        wrong = _wrong(record, before, key) or ("" if orjson.dumps(record) == line else "it is not as it was written")
        if wrong:
            found.append(f"line {number}: {wrong}")
        before = Head(number, str(record.get("hash")))
        reached = reached or before == ends
    if not reached and ends is not None:
        what = "ends too early" if before.number < ends.number else "has another record there"
        found.append(f"record {ends.number} is not the one that is known: the log {what}")
    return found


def _wrong(record: Record, before: Head, key: PublicKey) -> str:
    if record.get("number") != before.number + 1:
        return f"its number is {record.get('number')}, the one before it has {before.number}"
    if record.get("previous") != before.hash:
        return "it does not follow the record before it"
    if record.get("hash") != hash_of(record):
        return "it was changed: its hash is another"
    if not key.signed(str(record["hash"]).encode(), str(record.get("signature"))):
        return "its signature is not this key's"
    return ""


def read(line: bytes) -> Record | None:
    """The record of a line; None where it is none."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None
