"""The tables of a ledger and how they came to be: each step of the list is a schema version, for all dialects.

A step is never changed once it has been released; what must be different becomes the next step. `migrate` is called
inside one transaction, so a ledger is of one version or of the next, whatever happens in between.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from indexes.entries import content_digest
from indexes.ledger.rows import ENTRY_COLUMNS, entry_of

PAGE = 1000  # entries that are looked at together


@dataclass(frozen=True)
class Step:
    """From one schema version to the next: statements in words of no dialect, then what only code can do."""

    statements: str
    then: Callable[["Migrating"], None] | None = None


class Migrating(Protocol):
    """A ledger inside the transaction of its migration."""

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """Runs one statement; its rows, if it has any."""
        ...


def _digests(ledger: Migrating) -> None:
    """Entries of version 1 did not say what they are like."""
    after = ""
    columns = (
        "id, set_id, kind, body, label, threshold, state, reference, created_by, created_at, expires_at, generation, "
        "digest, raised"
    )
    while rows := ledger.execute(
        f"SELECT {columns} FROM entries WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608 - constant columns
        (after, PAGE),
    ):
        for row in rows:
            ledger.execute("UPDATE entries SET digest = ? WHERE id = ?", (content_digest(entry_of(row)), row[0]))
        after = str(rows[-1][0])


STEPS = (
    Step(
        """
        CREATE TABLE generations (number {counter}, at {text} NOT NULL, actor {text} NOT NULL);
        CREATE TABLE changes (
            {place} generation {number} NOT NULL REFERENCES generations(number), action {text} NOT NULL,
            set_id {text}, entry_id {text});
        CREATE INDEX changes_by_generation ON changes (generation);
        CREATE TABLE sets (
            id {text} PRIMARY KEY, label {text} NOT NULL, policy {text} NOT NULL, retain {text} NOT NULL);
        CREATE TABLE entries (
            id {text} PRIMARY KEY, set_id {text} NOT NULL REFERENCES sets(id) ON DELETE CASCADE, kind {text} NOT NULL,
            body {text} NOT NULL, label {text} NOT NULL, threshold {real}, state {text} NOT NULL,
            reference {text} NOT NULL, created_by {text} NOT NULL, created_at {text} NOT NULL, expires_at {text},
            generation {number} NOT NULL);
        CREATE INDEX entries_by_set ON entries (set_id, id);
        CREATE TABLE vectors (
            owner {text} NOT NULL, model {text} NOT NULL, count {number} NOT NULL, rows {bytes} NOT NULL,
            PRIMARY KEY (owner, model));
        CREATE TABLE replies (
            key {text} PRIMARY KEY, digest {text} NOT NULL, generation {number} NOT NULL, ids {text} NOT NULL);
        CREATE TABLE keys (
            id {text} PRIMARY KEY, digest {text} NOT NULL UNIQUE, scopes {text} NOT NULL, label {text} NOT NULL,
            created_at {text} NOT NULL)
        """
    ),
    Step(
        """
        ALTER TABLE entries ADD COLUMN storage {text} NOT NULL DEFAULT 'clear';
        ALTER TABLE entries ADD COLUMN sealed {bytes};
        ALTER TABLE entries ADD COLUMN digest {text} NOT NULL DEFAULT '';
        ALTER TABLE entries ADD COLUMN raised {number} NOT NULL DEFAULT 0;
        CREATE INDEX entries_by_digest ON entries (set_id, digest);
        CREATE TABLE marks (name {text} PRIMARY KEY, value {text} NOT NULL);
        INSERT INTO marks (name, value) VALUES ('keys', '1')
        """,
        _digests,
    ),
    Step(
        """
        CREATE TABLE documents (
            kind {text} NOT NULL, name {text} NOT NULL, body {text} NOT NULL, PRIMARY KEY (kind, name));
        CREATE TABLE units (
            kind {text} NOT NULL, name {text} NOT NULL, unit {text} NOT NULL, PRIMARY KEY (kind, name, unit),
            FOREIGN KEY (kind, name) REFERENCES documents(kind, name) ON DELETE CASCADE);
        CREATE TABLE tallies (
            kind {text} NOT NULL, name {text} NOT NULL, arm {text} NOT NULL, per {text} NOT NULL,
            metric {text} NOT NULL, n {number} NOT NULL, total {real} NOT NULL,
            PRIMARY KEY (kind, name, arm, per, metric),
            FOREIGN KEY (kind, name) REFERENCES documents(kind, name) ON DELETE CASCADE){members}
        """
    ),
)

VERSION = len(STEPS)

COLUMNS = {
    "generations": "number, at, actor",
    "changes": "generation, action, set_id, entry_id",
    "sets": "id, label, policy, retain",
    "entries": ENTRY_COLUMNS,
    "vectors": "owner, model, count, rows",
    "replies": "key, digest, generation, ids",
    "keys": "id, digest, scopes, label, created_at",
    "marks": "name, value",
    "documents": "kind, name, body",
    "units": "kind, name, unit",
    "tallies": "kind, name, arm, per, metric, n, total",
}
"""All tables of the newest version, in an order in which they can be filled."""


def migrate(ledger: Migrating, version: int, words: Mapping[str, str]) -> None:
    """Brings a ledger from a schema version (0: no tables yet) to the newest. `words` are the dialect's types."""
    for step in STEPS[version:]:
        for statement in step.statements.format(**words).split(";"):
            ledger.execute(statement)
        if step.then is not None and version:
            step.then(ledger)
