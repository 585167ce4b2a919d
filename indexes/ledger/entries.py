"""Entries as they are stored: added, changed, found again, removed."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from indexes.entries import Entry
from indexes.ledger.embedded import SqlVectors
from indexes.ledger.records import Conflict, Missing, NewEntry, Once
from indexes.ledger.rows import ENTRY_COLUMNS, entry_of, row_of

CHANGED = ("label", "threshold", "state", "reference", "expires_at", "raised")
"""What can be changed of an entry that is there."""


class SqlEntries(SqlVectors):
    """Implements this part of `Ledger`, written once for all dialects."""

    def entry_count(self) -> int:
        return self.count("entries")

    def add_entries(
        self,
        new: Sequence[NewEntry],
        model: str,
        *,
        actor: str,
        once: Once | None = None,
        skip_alike: bool = False,
    ) -> tuple[int, list[str]]:
        with self._transaction():
            if once and (earlier := self._earlier(once)):
                return earlier
            self._sets_exist({item.entry.set_id for item in new})
            ids, missing = self._without_alike(new) if skip_alike else ([item.entry.id for item in new], new)
            self._ids_free([item.entry.id for item in missing])
            if missing:
                generation = self._log(actor, [("entry.add", item.entry.set_id, item.entry.id) for item in missing])
                self._insert(missing, model, generation)
            else:
                generation = self.generation()
            if once:
                self._run(
                    "INSERT INTO replies (key, digest, generation, ids) VALUES (?, ?, ?, ?)",
                    (once.key, once.digest, generation, json.dumps(ids)),
                )
            return generation, ids

    def change_entry(self, set_id: str, entry_id: str, change: Callable[[Entry], Entry], *, actor: str) -> Entry:
        with self._transaction():
            before = self.entry(set_id, entry_id)
            wanted = change(before)
            changed = replace(before, **{name: getattr(wanted, name) for name in CHANGED})
            if changed == before:
                return before
            generation = self._log(actor, [("entry.update", set_id, entry_id)])
            self._run(
                "UPDATE entries SET label = ?, threshold = ?, state = ?, reference = ?, expires_at = ?, raised = ?, "
                "generation = ? "
                "WHERE set_id = ? AND id = ?",
                (
                    changed.label,
                    changed.threshold,
                    changed.state.value,
                    changed.reference,
                    changed.expires_at.astimezone(UTC).isoformat() if changed.expires_at else None,
                    changed.raised,
                    generation,
                    set_id,
                    entry_id,
                ),
            )
            return replace(changed, generation=generation)

    def drop_entry(self, set_id: str, entry_id: str, *, actor: str) -> int:
        with self._removal():
            self._delete(set_id, entry_id)
            return self._log(actor, [("entry.remove", set_id, entry_id)])

    def entry(self, set_id: str, entry_id: str) -> Entry:
        rows = self._all(
            f"SELECT {ENTRY_COLUMNS} FROM entries WHERE set_id = ? AND id = ?",  # noqa: S608 - constant columns
            (set_id, entry_id),
        )
        if not rows:
            raise Missing(f"there is no entry '{entry_id}' in set '{set_id}'")
        return entry_of(rows[0])

    def entries(self, set_id: str | None, after: str, limit: int) -> list[Entry]:
        where, values = ("set_id = ? AND", (set_id,)) if set_id is not None else ("", ())
        rows = self._all(
            f"SELECT {ENTRY_COLUMNS} FROM entries WHERE {where} id > ? ORDER BY id LIMIT ?",  # noqa: S608
            (*values, after, limit),
        )
        return [entry_of(row) for row in rows]

    def page_ends(self, size: int) -> list[str]:
        ends: list[str] = []
        while rows := self._all(
            "SELECT id FROM entries WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (ends[-1] if ends else "", size - 1)
        ):
            ends.append(str(rows[0][0]))
        return ends

    def entries_between(self, after: str, until: str | None) -> list[Entry]:
        where, values = ("id > ?", (after,)) if until is None else ("id > ? AND id <= ?", (after, until))
        rows = self._all(f"SELECT {ENTRY_COLUMNS} FROM entries WHERE {where} ORDER BY id", values)  # noqa: S608
        return [entry_of(row) for row in rows]

    def entries_of(self, ids: Iterable[str]) -> list[Entry]:
        rows = self._in(f"SELECT {ENTRY_COLUMNS} FROM entries WHERE id IN", ids)  # noqa: S608
        return sorted((entry_of(row) for row in rows), key=lambda entry: entry.id)

    def alike(self, set_id: str, digests: Iterable[str]) -> dict[str, str]:
        found = self._in("SELECT digest, id FROM entries WHERE set_id = ? AND digest IN", digests, (set_id,))
        return dict(sorted(found, key=lambda row: row[1], reverse=True))  # of several, the first by id

    def due(self, moment: datetime) -> list[Entry]:
        rows = self._all(
            f"SELECT {ENTRY_COLUMNS} FROM entries WHERE expires_at <= ? AND state != 'disabled'",  # noqa: S608
            (moment.astimezone(UTC).isoformat(),),
        )
        return [entry_of(row) for row in rows]

    def _sets_exist(self, ids: set[str]) -> None:
        there = {row[0] for row in self._in("SELECT id FROM sets WHERE id IN", ids)}
        if missing := sorted(ids - there):
            raise Missing(f"there is no set '{missing[0]}'")

    def _ids_free(self, ids: Sequence[str]) -> None:
        taken = {row[0] for row in self._in("SELECT id FROM entries WHERE id IN", ids)}
        for entry_id in ids:
            if entry_id in taken:
                raise Conflict(f"the entry '{entry_id}' exists already")
            taken.add(entry_id)

    def _without_alike(self, new: Sequence[NewEntry]) -> tuple[list[str], list[NewEntry]]:
        """The ids that stand for what is to be added, and what of it is not there yet."""
        known: dict[tuple[str, str], str] = {}
        for set_id in {item.entry.set_id for item in new}:
            digests = [item.digest for item in new if item.entry.set_id == set_id and item.digest]
            known |= {(set_id, digest): found for digest, found in self.alike(set_id, digests).items()}
        ids, missing = [], []
        for item in new:
            told = (item.entry.set_id, item.digest)
            if not item.digest or told not in known:
                known[told] = item.entry.id
                missing.append(item)
            ids.append(known[told] if item.digest else item.entry.id)
        return ids, missing

    def _insert(self, new: Sequence[NewEntry], model: str, generation: int) -> None:
        places = ", ".join("?" * len(ENTRY_COLUMNS.split(", ")))
        self._many(
            f"INSERT INTO entries ({ENTRY_COLUMNS}) VALUES ({places})",  # noqa: S608
            (row_of(item.entry, item.digest, generation) for item in new),
        )
        for models in {(model, *item.also) for item in new if item.entry.sealed is not None}:
            self._refuse_unready(models)
        self._put_vectors([(item.entry.id, item.vectors) for item in new], model)
        self._put_also([(item.entry.id, item.also) for item in new])

    def _delete(self, set_id: str, entry_id: str) -> None:
        if not self._run("DELETE FROM entries WHERE set_id = ? AND id = ?", (set_id, entry_id)):
            raise Missing(f"there is no entry '{entry_id}' in set '{set_id}'")
        self._run("DELETE FROM vectors WHERE owner = ?", (entry_id,))

    def _earlier(self, once: Once) -> tuple[int, list[str]] | None:
        rows = self._all("SELECT digest, generation, ids FROM replies WHERE key = ?", (once.key,))
        if not rows:
            return None
        if rows[0][0] != once.digest:
            raise Conflict("this Idempotency-Key was used for a different request")
        return int(rows[0][1]), list(json.loads(rows[0][2]))
