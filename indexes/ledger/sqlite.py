"""The ledger in one SQLite file: WAL, every commit synced, one server at a time.

Removed text is overwritten, in the file (`secure_delete`) and in the write-ahead log (emptied after each removal): a
forget list is itself sensitive.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import numpy as np

from indexes.entries import Entry, ForgetSet, Kind, State
from indexes.ledger.records import (
    Change,
    Conflict,
    LedgerBusy,
    LedgerCorrupt,
    LedgerError,
    Missing,
    NewEntry,
    Once,
    StoredKey,
    set_owner,
)
from indexes.vectors import Vectors

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE generations (number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, actor TEXT NOT NULL);
CREATE TABLE changes (
    generation INTEGER NOT NULL REFERENCES generations(number), action TEXT NOT NULL, set_id TEXT, entry_id TEXT);
CREATE INDEX changes_by_generation ON changes (generation);
CREATE TABLE sets (id TEXT PRIMARY KEY, label TEXT NOT NULL, policy TEXT NOT NULL, retain TEXT NOT NULL);
CREATE TABLE entries (
    id TEXT PRIMARY KEY, set_id TEXT NOT NULL REFERENCES sets(id) ON DELETE CASCADE, kind TEXT NOT NULL,
    body TEXT NOT NULL, label TEXT NOT NULL, threshold REAL, state TEXT NOT NULL, reference TEXT NOT NULL,
    created_by TEXT NOT NULL, created_at TEXT NOT NULL, expires_at TEXT, generation INTEGER NOT NULL);
CREATE INDEX entries_by_set ON entries (set_id, id);
CREATE TABLE vectors (
    owner TEXT NOT NULL, model TEXT NOT NULL, count INTEGER NOT NULL, rows BLOB NOT NULL, PRIMARY KEY (owner, model));
CREATE TABLE replies (key TEXT PRIMARY KEY, digest TEXT NOT NULL, generation INTEGER NOT NULL, ids TEXT NOT NULL);
CREATE TABLE keys (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, label TEXT NOT NULL,
    created_at TEXT NOT NULL);
"""

_ENTRY_COLUMNS = (
    "id, set_id, kind, body, label, threshold, state, reference, created_by, created_at, expires_at, generation"
)


class SqliteLedger:
    """Implements `Ledger`. All calls from the thread that opened it, or one at a time."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the ledger. Raises LedgerBusy, LedgerCorrupt, or LedgerError where the storage refuses."""
        self.path = path
        with ExitStack() as undo:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = undo.enter_context(_lock(path))
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite would create it for all to read
                path.chmod(0o600)
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                undo.callback(self._db.close)
                self._prepare()
            except (OSError, sqlite3.Error) as error:
                raise self._failure(error) from error
            undo.pop_all()

    def _prepare(self) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",
            "busy_timeout=5000",
        ):
            self._db.execute(f"PRAGMA {pragma}")
        damage = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise self._corrupt(damage.splitlines()[-1])
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise LedgerCorrupt(
                f"the ledger {self.path} has schema {version}, this version reads {SCHEMA_VERSION}: use the version of "
                "Lethe that wrote it"
            )

    def _failure(self, error: OSError | sqlite3.Error) -> LedgerError:
        """What a failure of the storage means to whoever asked: only a damaged file calls for a new one."""
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT")):
            return self._corrupt(str(error))
        return LedgerError(f"the ledger {self.path} cannot be used ({error}): check free space and permissions")

    def _corrupt(self, damage: str) -> LedgerCorrupt:
        return LedgerCorrupt(
            f"the ledger {self.path} is damaged or not a ledger ({damage}): restore it from a backup, or move it away "
            "to start with an empty one"
        )

    def close(self) -> None:
        self._db.close()
        self._lock.close()

    def generation(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(number), 0) FROM generations").fetchone()[0])

    # -- sets

    def sets(self) -> list[ForgetSet]:
        rows = self._db.execute("SELECT id, label, policy, retain FROM sets ORDER BY id")
        return [ForgetSet(i, label, json.loads(policy), tuple(json.loads(retain))) for i, label, policy, retain in rows]

    def put_set(self, forget_set: ForgetSet, vectors: Vectors | None, model: str, *, actor: str, create: bool) -> int:
        with self._removal():
            there = self._db.execute("SELECT 1 FROM sets WHERE id = ?", (forget_set.id,)).fetchone()
            if create and there:
                raise Conflict(f"the set '{forget_set.id}' exists already")
            if not create and not there:
                raise Missing(f"there is no set '{forget_set.id}'")
            self._db.execute(
                "INSERT INTO sets VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "label = excluded.label, policy = excluded.policy, retain = excluded.retain",
                (forget_set.id, forget_set.label, json.dumps(forget_set.policy), json.dumps(forget_set.retain)),
            )
            if vectors is not None:  # what other models made of the former examples is worth nothing now
                self._db.execute("DELETE FROM vectors WHERE owner = ?", (set_owner(forget_set.id),))
                self._put_vectors(set_owner(forget_set.id), vectors, model)
            return self._log(actor, [("set.create" if create else "set.update", forget_set.id, None)])

    def drop_set(self, set_id: str, *, actor: str) -> int:
        with self._removal():
            self._db.execute(
                "DELETE FROM vectors WHERE owner = ? OR owner IN (SELECT id FROM entries WHERE set_id = ?)",
                (set_owner(set_id), set_id),
            )
            if not self._db.execute("DELETE FROM sets WHERE id = ?", (set_id,)).rowcount:
                raise Missing(f"there is no set '{set_id}'")
            return self._log(actor, [("set.remove", set_id, None)])

    # -- entries

    def add_entries(
        self, new: Sequence[NewEntry], model: str, *, actor: str, once: Once | None = None
    ) -> tuple[int, list[str]]:
        with self._transaction():
            if once and (earlier := self._earlier(once)):
                return earlier
            ids = [item.entry.id for item in new]
            generation = self._log(actor, [("entry.add", item.entry.set_id, item.entry.id) for item in new])
            for item in new:
                self._insert(item, model, generation)
            if once:
                self._db.execute(
                    "INSERT INTO replies VALUES (?, ?, ?, ?)", (once.key, once.digest, generation, json.dumps(ids))
                )
            return generation, ids

    def replace_entry(self, new: NewEntry, model: str, *, actor: str) -> int:
        with self._removal():
            self._delete(new.entry.set_id, new.entry.id)
            generation = self._log(actor, [("entry.update", new.entry.set_id, new.entry.id)])
            self._insert(new, model, generation)
            return generation

    def drop_entry(self, set_id: str, entry_id: str, *, actor: str) -> int:
        with self._removal():
            self._delete(set_id, entry_id)
            return self._log(actor, [("entry.remove", set_id, entry_id)])

    def entry(self, set_id: str, entry_id: str) -> Entry:
        row = self._db.execute(
            f"SELECT {_ENTRY_COLUMNS} FROM entries WHERE set_id = ? AND id = ?",  # noqa: S608 - constant columns
            (set_id, entry_id),
        ).fetchone()
        if row is None:
            raise Missing(f"there is no entry '{entry_id}' in set '{set_id}'")
        return _entry(row)

    def entries(self, set_id: str | None, after: str, limit: int) -> list[Entry]:
        rows = self._db.execute(
            f"SELECT {_ENTRY_COLUMNS} FROM entries WHERE (?1 IS NULL OR set_id = ?1) AND id > ?2 "  # noqa: S608
            "ORDER BY id LIMIT ?3",
            (set_id, after, limit),
        )
        return [_entry(row) for row in rows]

    def due(self, moment: datetime) -> list[Entry]:
        rows = self._db.execute(
            f"SELECT {_ENTRY_COLUMNS} FROM entries WHERE expires_at <= ? AND state != 'disabled'",  # noqa: S608
            (moment.astimezone(UTC).isoformat(),),
        )
        return [_entry(row) for row in rows]

    def _insert(self, item: NewEntry, model: str, generation: int) -> None:
        e = item.entry
        body = json.dumps({"texts": e.texts, "names": e.names, "answers": e.answers})
        try:
            self._db.execute(
                f"INSERT INTO entries ({_ENTRY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    e.id,
                    e.set_id,
                    e.kind,
                    body,
                    e.label,
                    e.threshold,
                    e.state,
                    e.reference,
                    e.created_by,
                    (e.created_at or datetime.now(UTC)).isoformat(),
                    e.expires_at.astimezone(UTC).isoformat() if e.expires_at else None,
                    generation,
                ),
            )
        except sqlite3.IntegrityError as error:
            if "FOREIGN KEY" in str(error):
                raise Missing(f"there is no set '{e.set_id}'") from None
            raise Conflict(f"the entry '{e.id}' exists already") from None
        self._put_vectors(e.id, item.vectors, model)

    def _delete(self, set_id: str, entry_id: str) -> None:
        if not self._db.execute("DELETE FROM entries WHERE set_id = ? AND id = ?", (set_id, entry_id)).rowcount:
            raise Missing(f"there is no entry '{entry_id}' in set '{set_id}'")
        self._db.execute("DELETE FROM vectors WHERE owner = ?", (entry_id,))

    def _earlier(self, once: Once) -> tuple[int, list[str]] | None:
        row = self._db.execute("SELECT digest, generation, ids FROM replies WHERE key = ?", (once.key,)).fetchone()
        if row is None:
            return None
        if row[0] != once.digest:
            raise Conflict("this Idempotency-Key was used for a different request")
        return int(row[1]), list(json.loads(row[2]))

    # -- vectors

    def vectors(self, owner: str, model: str) -> Vectors | None:
        row = self._db.execute(
            "SELECT count, rows FROM vectors WHERE owner = ? AND model = ?", (owner, model)
        ).fetchone()
        if row is None:
            return None
        return np.frombuffer(row[1], np.float32).reshape(row[0], -1) if row[0] else np.empty((0, 0), np.float32)

    def keep_vectors(self, owners: Iterable[tuple[str, Vectors]], model: str) -> None:
        with self._transaction():
            for owner, vectors in owners:
                self._put_vectors(owner, vectors, model)

    def _put_vectors(self, owner: str, vectors: Vectors, model: str) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)",
            (owner, model, len(vectors), np.ascontiguousarray(vectors, np.float32).tobytes()),
        )

    # -- change log

    def changes(self, after: int, limit: int) -> list[Change]:
        rows = self._db.execute(
            "SELECT generation, at, actor, action, set_id, entry_id FROM changes JOIN generations "
            "ON number = generation WHERE generation > ?1 AND generation <= coalesce((SELECT generation FROM changes "
            "WHERE generation > ?1 ORDER BY generation LIMIT 1 OFFSET ?2 - 1), generation) "
            "ORDER BY generation, changes.rowid",
            (after, limit),
        )
        return [Change(*row) for row in rows]

    def _log(self, actor: str, changes: Sequence[tuple[str, str | None, str | None]]) -> int:
        cursor = self._db.execute(
            "INSERT INTO generations (at, actor) VALUES (?, ?)", (datetime.now(UTC).isoformat(), actor)
        )
        generation = int(cursor.lastrowid or 0)
        self._db.executemany("INSERT INTO changes VALUES (?, ?, ?, ?)", [(generation, *change) for change in changes])
        return generation

    # -- keys

    def put_key(self, key: StoredKey) -> None:
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)",
                (key.id, key.digest, json.dumps(sorted(key.scopes)), key.label, key.created_at),
            )

    def drop_key(self, key_id: str) -> None:
        with self._transaction():
            if not self._db.execute("DELETE FROM keys WHERE id = ?", (key_id,)).rowcount:
                raise Missing(f"there is no key '{key_id}'")

    def keys(self) -> list[StoredKey]:
        rows = self._db.execute("SELECT id, digest, scopes, label, created_at FROM keys ORDER BY created_at, id")
        return [StoredKey(i, digest, frozenset(json.loads(s)), label, at) for i, digest, s, label, at in rows]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self._failure(error) from error
            raise

    @contextmanager
    def _removal(self) -> Iterator[None]:
        """A transaction after which what it removed is in no file any more."""
        with self._transaction():
            yield
        with suppress(sqlite3.OperationalError):  # the change is durable; the next removal, or closing, tries again
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _lock(path: Path) -> IO[str]:
    """Takes the server's lock beside the ledger: two servers on one file would serve different rules."""
    handle = Path(f"{path}.lock").open("a+", encoding="ascii")  # noqa: SIM115 - held as long as the ledger
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        holder = handle.read().strip() or "unknown"
        handle.close()
        raise LedgerBusy(
            f"another server (process {holder}) has the ledger {path} open: stop it, or give this one another "
            "ledger.path"
        ) from None
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


def _entry(row: tuple[str, ...]) -> Entry:
    i, set_id, kind, body, label, threshold, state, reference, created_by, created_at, expires_at, generation = row
    texts = json.loads(body)
    return Entry(
        id=i,
        set_id=set_id,
        kind=Kind(kind),
        texts=tuple(texts["texts"]),
        names=tuple(texts["names"]),
        answers=tuple(texts["answers"]),
        label=label,
        threshold=float(threshold) if threshold is not None else None,
        state=State(state),
        reference=reference,
        created_by=created_by,
        created_at=datetime.fromisoformat(created_at),
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
        generation=int(generation),
    )
