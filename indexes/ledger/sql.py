"""What all ledgers in SQL share: the statements of the contract, written once.

A dialect says how a statement runs, what a transaction is, and what a failure means (`indexes.ledger.tables`). Writers
stand in line from the start of their transaction, so generations are numbered in the order in which they become
visible: a reader that has seen number 7 never finds a 6 later that it had not seen.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from indexes.entries import ForgetSet
from indexes.ledger.entries import SqlEntries
from indexes.ledger.records import (
    NOTHING,
    Change,
    Conflict,
    Heads,
    Ledger,
    Missing,
    Overtaken,
    StoredKey,
    set_owner,
)
from indexes.ledger.shared import SqlShared
from indexes.ledger.tables import Values
from indexes.vectors import Vectors


class SqlLedger(SqlShared, SqlEntries, Ledger):
    """Implements `Ledger` for a dialect of SQL."""

    # -- how far it has come

    def generation(self) -> int:
        return int(self._all("SELECT coalesce(max(number), 0) FROM generations")[0][0])

    def heads(self) -> Heads:
        row = self._all(
            "SELECT (SELECT coalesce(max(number), 0) FROM generations), (SELECT value FROM marks WHERE name = 'keys'), "
            "(SELECT value FROM marks WHERE name = 'documents')"
        )[0]
        return Heads(int(row[0]), int(row[1] or 0), int(row[2] or 0))

    # -- sets

    def sets(self) -> list[ForgetSet]:
        return self._sets()

    def _sets(self, where: str = "", values: Values = ()) -> list[ForgetSet]:
        rows = self._all(f"SELECT id, label, policy, retain FROM sets {where} ORDER BY id", values)  # noqa: S608
        return [ForgetSet(i, label, json.loads(policy), tuple(json.loads(retain))) for i, label, policy, retain in rows]

    def put_set(
        self,
        forget_set: ForgetSet,
        vectors: Vectors | None,
        model: str,
        *,
        actor: str,
        create: bool,
        also: Mapping[str, Vectors] = NOTHING,
        was: ForgetSet | None = None,
    ) -> int:
        with self._removal():
            there = self._sets("WHERE id = ?", (forget_set.id,))
            if create and there:
                raise Conflict(f"the set '{forget_set.id}' exists already")
            if not create and not there:
                raise Missing(f"there is no set '{forget_set.id}'")
            if was is not None and there != [was]:
                raise Overtaken(f"the set '{forget_set.id}' was changed meanwhile")
            self._run(
                "INSERT INTO sets (id, label, policy, retain) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "label = excluded.label, policy = excluded.policy, retain = excluded.retain",
                (forget_set.id, forget_set.label, json.dumps(forget_set.policy), json.dumps(forget_set.retain)),
            )
            if vectors is not None:  # what other models made of the former examples is worth nothing now
                self._run("DELETE FROM vectors WHERE owner = ?", (set_owner(forget_set.id),))
                self._put_vectors([(set_owner(forget_set.id), vectors)], model)
                self._put_also([(set_owner(forget_set.id), also)])
            return self._log(actor, [("set.create" if create else "set.update", forget_set.id, None)])

    def drop_set(self, set_id: str, *, actor: str) -> int:
        with self._removal():
            self._run(
                "DELETE FROM vectors WHERE owner = ? OR owner IN (SELECT id FROM entries WHERE set_id = ?)",
                (set_owner(set_id), set_id),
            )
            if not self._run("DELETE FROM sets WHERE id = ?", (set_id,)):
                raise Missing(f"there is no set '{set_id}'")
            return self._log(actor, [("set.remove", set_id, None)])

    # -- change log

    def changes(self, after: int, limit: int) -> list[Change]:
        last = self._all(
            "SELECT generation FROM changes WHERE generation > ? ORDER BY generation LIMIT 1 OFFSET ?",
            (after, limit - 1),
        )
        until, values = ("AND generation <= ?", (last[0][0],)) if last else ("", ())
        rows = self._all(
            "SELECT generation, at, actor, action, set_id, entry_id FROM changes JOIN generations "  # noqa: S608
            f"ON number = generation WHERE generation > ? {until} ORDER BY generation, changes.{self._CHANGE_ORDER}",
            (after, *values),
        )
        return [Change(*row) for row in rows]

    def _log(self, actor: str, changes: Sequence[tuple[str, str | None, str | None]]) -> int:
        generation = self.generation() + 1
        self._run(
            "INSERT INTO generations (number, at, actor) VALUES (?, ?, ?)",
            (generation, datetime.now(UTC).isoformat(), actor),
        )
        self._many(
            "INSERT INTO changes (generation, action, set_id, entry_id) VALUES (?, ?, ?, ?)",
            ((generation, *change) for change in changes),
        )
        return generation

    # -- keys, marks

    def put_key(self, key: StoredKey) -> None:
        with self._transaction():
            self._run("DELETE FROM keys WHERE id = ? OR digest = ?", (key.id, key.digest))
            self._run(
                "INSERT INTO keys (id, digest, scopes, label, created_at) VALUES (?, ?, ?, ?, ?)",
                (key.id, key.digest, json.dumps(sorted(key.scopes)), key.label, key.created_at),
            )
            self._count_keys()

    def drop_key(self, key_id: str) -> None:
        with self._transaction():
            if not self._run("DELETE FROM keys WHERE id = ?", (key_id,)):
                raise Missing(f"there is no key '{key_id}'")
            self._count_keys()

    def keys(self) -> list[StoredKey]:
        rows = self._all("SELECT id, digest, scopes, label, created_at FROM keys ORDER BY created_at, id")
        return [StoredKey(i, digest, frozenset(json.loads(s)), label, at) for i, digest, s, label, at in rows]

    def _count_keys(self) -> None:
        self._put_mark("keys", str(self.heads().keys + 1))

    def mark(self, name: str, first: str) -> str:
        if not (rows := self._all("SELECT value FROM marks WHERE name = ?", (name,))):
            with self._transaction():
                self._run("INSERT INTO marks (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, first))
            rows = self._all("SELECT value FROM marks WHERE name = ?", (name,))
        return str(rows[0][0])
