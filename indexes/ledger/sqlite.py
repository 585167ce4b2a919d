"""The ledger in one SQLite file: WAL, every commit synced, one server at a time (which may be several processes).

Removed text is overwritten, in the file (`secure_delete`) and in the write-ahead log (emptied after each removal): a
forget list is itself sensitive.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from indexes.ledger.records import LedgerBusy, LedgerCorrupt, LedgerError, LedgerOutdated, Member
from indexes.ledger.rows import holds_of, member_of
from indexes.ledger.schema import VERSION, migrate
from indexes.ledger.sql import SqlLedger
from indexes.ledger.tables import FETCHED, Row, Values

WORDS = {
    "text": "TEXT",
    "number": "INTEGER",
    "real": "REAL",
    "bytes": "BLOB",
    "counter": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "place": "",
    "members": "",  # in a file of their own
}
"""What the schema's words are called here."""

BUSY_S = 15  # how long a writer waits for another one: a large batch is committed in a second


class SqliteLedger(SqlLedger):
    """Implements `Ledger`. All calls from the thread that opened it, or one at a time."""

    _CHANGE_ORDER = "rowid"

    def __init__(self, path: Path, *, locked: bool = False) -> None:
        """Opens or creates the ledger. Raises LedgerBusy, LedgerCorrupt, or LedgerError where the storage refuses.

        `locked`: the lock is held by another process, whose workers share this file, or beside which it is only read.
        """
        self.path = path
        self.place = str(path)
        self._members: _Members | None = None
        self._lock: IO[str] | None = None
        with ExitStack() as undo:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if not locked:
                    self._lock = undo.enter_context(lock(path))
                _create(path)
                path.chmod(0o600)
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
                undo.callback(self._db.close)
                self._prepare(checked=not locked)
            except (OSError, sqlite3.Error) as error:
                raise self._failure(error) from error
            undo.pop_all()

    def _prepare(self, *, checked: bool) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        if checked:
            damage = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if damage != "ok":
                raise self._corrupt(damage.splitlines()[-1])
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        empty = version == 0 and not self._db.execute("SELECT 1 FROM sqlite_master").fetchone()
        if version == VERSION:
            return
        if version > VERSION or (version == 0 and not empty):
            raise LedgerCorrupt(
                f"the ledger {self.path} has schema {version}, this version reads {VERSION}: use the version of "
                "Lethe that wrote it"
            )
        if not checked and not empty:
            raise LedgerOutdated(
                f"the ledger {self.path} has schema {version}, this version needs {VERSION}: start the server, or run "
                "'lethe ledger migrate'"
            )
        with self._removal():  # a step may take text away
            migrate(self, version, WORDS)
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def execute(self, sql: str, values: Values = ()) -> list[Row]:
        """One statement of a migration."""
        return self._db.execute(sql, values).fetchall()

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

    @property
    def lock_file(self) -> int:
        """The descriptor of the lock: a process that inherits it holds the lock as well."""
        if self._lock is None:
            raise ValueError("this ledger was opened without a lock of its own")
        return self._lock.fileno()

    def beside(self) -> "SqliteLedger":
        return SqliteLedger(self.path, locked=True)

    def close(self) -> None:
        if self._members is not None:
            self._members.close()
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    # -- the dialect

    def _all(self, sql: str, values: Values = ()) -> list[Row]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _stream(self, sql: str) -> Iterator[list[Row]]:
        cursor = self._db.execute(sql)
        while rows := cursor.fetchmany(FETCHED):
            yield rows

    def _run(self, sql: str, values: Values = ()) -> int:
        return self._db.execute(sql, values).rowcount

    def _many(self, sql: str, rows: Iterable[Values]) -> None:
        self._db.executemany(sql, rows)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN")
            yield  # the first read fixes what is seen
        except sqlite3.Error as error:
            raise self._failure(error) from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

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
        with self._transaction():
            yield
        with suppress(sqlite3.Error):  # the change is durable, and must be applied; the next removal tries this again
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- the processes that share it

    def beat(self, member: Member) -> None:
        self._shared().beat(member)

    def living(self, within_s: float) -> list[Member]:
        return self._shared().living(within_s) if self._members or self._members_file.exists() else []

    def leave(self, member_id: str) -> None:
        self._shared().leave(member_id)

    @property
    def _members_file(self) -> Path:
        return Path(f"{self.path}-members")

    def _shared(self) -> "_Members":
        if self._members is None:
            try:
                self._members = _Members(self._members_file)
            except (OSError, sqlite3.Error) as error:
                raise self._failure(error) from error
        return self._members


class _Members:
    """Who shares the ledger, in a file of its own: heartbeats are worth no sync, and must not wait for a writer."""

    def __init__(self, path: Path) -> None:
        _create(path)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS living (id TEXT PRIMARY KEY, generation INTEGER, seen REAL, holds TEXT)"
        )

    def beat(self, member: Member) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO living (id, generation, seen, holds) VALUES (?, ?, ?, ?)",
            (member.id, member.generation, time.time(), holds_of(member)),
        )

    def living(self, within_s: float) -> list[Member]:
        now = time.time()
        rows = self._db.execute(
            "SELECT id, generation, seen, holds FROM living WHERE seen >= ? ORDER BY id", (now - within_s,)
        )
        return [member_of(i, generation, now - seen, holds) for i, generation, seen, holds in rows]

    def leave(self, member_id: str) -> None:
        self._db.execute("DELETE FROM living WHERE id = ?", (member_id,))

    def close(self) -> None:
        self._db.close()


def _create(path: Path) -> None:
    """Creates a file that is the owner's alone; SQLite would create it for all to read.

    One that is there is left closed: a connection of this process may have it open, and to close any other descriptor
    of a file drops the process's POSIX locks on it. Another process would then take itself for the last one that uses
    the ledger, and remove the log that this one goes on to write to.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def lock(path: Path) -> IO[str]:
    """Takes the server's lock beside the ledger: two servers on one file would serve different rules.

    Raises LedgerBusy. Held until the file that is returned is closed in all processes that have inherited it.
    """
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
