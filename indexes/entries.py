"""Forget entries and forget sets: what must be forgotten, as plain records.

Forget text is the most sensitive thing in the system, so a record's `repr` shows ids, kinds and counts, never text.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from indexes.sealed.kept import Sealed
from indexes.words import words_of


class Kind(StrEnum):
    """What an entry describes."""

    FACT = "fact"
    PASSAGE = "passage"
    ENTITY = "entity"
    TOPIC = "topic"


class State(StrEnum):
    """Whether an entry acts: `observe` is matched and reported, never enforced; `disabled` is kept but not matched."""

    ACTIVE = "active"
    OBSERVE = "observe"
    DISABLED = "disabled"


class Storage(StrEnum):
    """What is kept of an entry: its texts, or only vectors and keyed hashes (`indexes.sealed`)."""

    CLEAR = "clear"
    SEALED = "sealed"


@dataclass(frozen=True, repr=False)
class Entry:
    """One forget entry.

    `texts` are what the gate compares requests with (questions of a fact, the words of a passage, description and
    examples of a topic); `names` are full names and aliases, matched as whole words; `answers` are what must not be
    said, matched on the output. `threshold` is a cosine similarity in (0, 1] that overrides the set's. `raised`, 0 to
    `MAX_RAISED`, is by how many rungs the ladder of the set begins higher for this entry: it leaked on lower ones. Of a
    sealed entry the three are empty, and `sealed` is what is kept instead.
    """

    id: str
    set_id: str
    kind: Kind
    texts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    label: str = ""
    raised: int = 0
    threshold: float | None = None
    state: State = State.ACTIVE
    reference: str = ""
    created_by: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    generation: int = 0
    storage: Storage = Storage.CLEAR
    sealed: Sealed | None = None

    def __repr__(self) -> str:
        return (
            f"Entry(id={self.id!r}, set_id={self.set_id!r}, kind={self.kind.value}, state={self.state.value}, "
            f"texts={len(self.texts)}, names={len(self.names)}, answers={len(self.answers)})"
        )


@dataclass(frozen=True, repr=False)
class ForgetSet:
    """A named group of entries with one policy.

    `policy` holds the settings that differ from the global policy (checked where policies are parsed);
    `retain` are texts that must pass although they are near the set.
    """

    id: str
    label: str = ""
    policy: dict[str, Any] = field(default_factory=dict)
    retain: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ForgetSet(id={self.id!r}, retain={len(self.retain)})"


MAX_RAISED = 3  # the last rung of any ladder is reached by then


class EntryError(ValueError):
    """An entry that cannot act. The message names the field and the cure, never the text."""


def check(entry: Entry) -> None:
    """Raises EntryError unless the entry holds what its kind needs to act on anything."""
    if entry.threshold is not None and not 0 < entry.threshold <= 1:
        raise EntryError("'threshold' is a cosine similarity: it must be above 0 and at most 1")
    for name, shown in (("label", entry.label), ("reference", entry.reference)):
        if "\0" in shown:
            raise EntryError(f"'{name}' holds a NUL character, which not every ledger can store")
    if entry.sealed is not None:  # it was checked when it had texts
        return
    needs = {
        Kind.FACT: (entry.texts, "texts", "at least one question"),
        Kind.PASSAGE: (entry.texts, "texts", "the passage itself"),
        Kind.ENTITY: (entry.names, "names", "at least one full name"),
        Kind.TOPIC: (entry.texts, "texts", "a description or examples"),
    }
    held, name, what = needs[entry.kind]
    if not held:
        raise EntryError(f"an entry of kind '{entry.kind.value}' needs {what} in '{name}'")
    for name, held in (("texts", entry.texts), ("names", entry.names), ("answers", entry.answers)):
        if any(not text.strip() for text in held):
            raise EntryError(f"'{name}' holds an empty text")
    for name, held in (("names", entry.names), ("answers", entry.answers)):
        if any(not words_of(text) for text in held):
            raise EntryError(f"'{name}' holds a text without a word in it: it could never be recognised")


def content_digest(entry: Entry) -> str:
    """What an entry says, however it is spelt and in whatever order: entries of one digest are duplicates."""
    said = [
        sorted({" ".join(word.text for word in words_of(text)) for text in texts})
        for texts in (entry.texts, entry.names, entry.answers)
    ]
    return hashlib.sha256(json.dumps([entry.kind.value, *said]).encode()).hexdigest()[:32]
