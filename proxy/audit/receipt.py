"""Forgetting receipts: a signed record of what is forgotten of a set, since when, by whom, and what probes found."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from indexes.entries import Entry, ForgetSet
from proxy.audit.chain import Head, Record, canonical, standing
from proxy.audit.key import AuditKeyError, PublicKey
from proxy.audit.log import AuditLog

KIND, VERSION = "lethe-forgetting-receipt", 1

MEANING = (
    "Suppression at inference time, not erasure: the model's weights are unchanged. Entries are named by id, the "
    "operator's reference and a keyed hash of their content."
)


def receipt(
    log: AuditLog,
    forget_set: ForgetSet,
    entries: list[Entry],
    history: list[Record],
    head: Head,
    *,
    server: Mapping[str, Any],
    evidence: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A receipt of a set as it is now. Holds no forget text."""
    of_entry: dict[str | None, list[Record]] = {}
    for one in standing(history):
        of_entry.setdefault(one["entry"], []).append(one)
    acts = log.acting_set(forget_set)
    enforced = _since(acts, of_entry.get(None, ()))
    made: dict[str, Any] = {
        "kind": KIND,
        "version": VERSION,
        "meaning": MEANING,
        "made_at": datetime.now(UTC).isoformat(),
        "server": dict(server),
        "set": {
            "id": forget_set.id,
            "label": forget_set.label,
            "policy": forget_set.policy,
            "content": log.of_set(forget_set),
        },
        "entries": [
            {
                "id": entry.id,
                "kind": entry.kind.value,
                "state": entry.state.value,
                "reference": entry.reference,
                "created_by": entry.created_by,
                "in_force_since": _later(_since(log.acting(entry), of_entry.get(entry.id, ())), enforced)
                if acts
                else None,
                "expires_at": entry.expires_at.isoformat() if entry.expires_at else None,
                "generation": entry.generation,
                "content": log.of_entry(entry),
            }
            for entry in entries
        ],
        "history": history,
        "evidence": evidence,
        "log": {"number": head.number, "hash": head.hash},
        "key": str(log.key.public),
    }
    made = orjson.loads(orjson.dumps(made))
    return {**made, "signature": log.key.sign(canonical(made))}


def _later(entry: str | None, of_set: str | None) -> str | None:
    """Since when an entry is in force whose set is: never before its set. Of a set there may be no record."""
    if entry is None or of_set is None:
        return entry
    return max(entry, of_set, key=datetime.fromisoformat)


def _since(acts: str | None, records: Sequence[Record]) -> str | None:
    """Since when an entry, or a set, acts as it does now; None for one that does not, or of which there is no record.

    Changes of what does not act (a label, a rung) do not begin anew. Where a record does not say what acted, because it
    is of an earlier version or was followed at once by another change, the time after it is given: never too early.
    """
    if acts is None or not records:
        return None
    since = records[-1]
    for one in reversed(records[:-1]):
        if one.get("acts") != acts or since.get("acts") != acts:
            break
        since = one
    return str(since["at"])


def receipt_problems(found: Mapping[str, Any], expected: PublicKey | None = None) -> list[str]:
    """What is wrong with a receipt; nothing when it is as it was signed. `expected`: the key that must have signed."""
    if found.get("kind") != KIND or found.get("version") != VERSION:
        return [f"it is no {KIND} of version {VERSION}"]
    try:
        key = PublicKey.parse(str(found.get("key")))
    except AuditKeyError:
        return ["it names no key"]
    if expected is not None and str(expected) != str(key):
        return ["it was signed with another key than the one that is expected"]
    signed = {name: value for name, value in found.items() if name != "signature"}
    if not key.signed(canonical(signed), str(found.get("signature"))):
        return ["it was changed: the signature does not fit"]
    return []


def head_of(found: Mapping[str, Any]) -> Head:
    """The last record of the log when a receipt was made."""
    return Head(int(found["log"]["number"]), str(found["log"]["hash"]))
