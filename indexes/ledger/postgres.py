"""The ledger in PostgreSQL, for several replicas. The only module that knows psycopg.

Everything lives in the schema `lethe` of the database that the URL names. A connection that is lost is made again by
the next call; until then every call raises LedgerError. No message repeats what the database says of values: they are
text that must be forgotten.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from indexes.ledger.records import LedgerCorrupt, LedgerError, LedgerOutdated, Member
from indexes.ledger.rows import holds_of, member_of
from indexes.ledger.schema import VERSION, migrate
from indexes.ledger.sql import SqlLedger
from indexes.ledger.tables import FETCHED, Row, Values

WORDS = {
    "text": 'TEXT COLLATE "C"',  # compared by characters, as SQLite does: pages and times depend on it
    "number": "BIGINT",
    "real": "DOUBLE PRECISION",
    "bytes": "BYTEA",
    "counter": "BIGINT PRIMARY KEY",
    "place": "place BIGSERIAL,",
    "members": "; ALTER TABLE members ADD COLUMN holds TEXT NOT NULL DEFAULT '[]'",
}
"""What the schema's words are called here."""

CHANNEL = "lethe"
"""Where each change is announced."""

CONNECT_S = 5
ANSWER_S = 15.0  # the longest that one statement may take: a batch of an import is written in a second
IDLE_S = 10  # after which the server ends a transaction whose client is gone, with the lock that it holds
MIGRATION_LOCK = 0x1E74E  # one migration at a time; any number will do

Result = TypeVar("Result")


class PostgresLedger(SqlLedger):
    """Implements `Ledger`. One call at a time; `interrupt` and `Watch` are for other threads."""

    _CHANGE_ORDER = "place"

    def __init__(self, url: str, *, migrating: bool = False) -> None:
        """Connects; makes the tables of an empty database. Raises LedgerError, LedgerCorrupt or LedgerOutdated.

        `migrating`: an older schema is brought to this version instead of being refused.
        """
        self._url = url
        self.place = place_of(url)
        self._db: psycopg.Connection | None = None
        self._inside = False
        try:
            self._prepare(migrating=migrating)
        except BaseException:
            self.close()
            raise

    def _prepare(self, *, migrating: bool) -> None:
        with self._begun("BEGIN"):
            self.execute("SELECT pg_advisory_xact_lock(?)", (MIGRATION_LOCK,))
            version = self._version()
            if version > VERSION:
                raise LedgerCorrupt(
                    f"the ledger {self.place} has schema {version}, this version reads {VERSION}: use the version of "
                    "Lethe that wrote it"
                )
            if 0 < version < VERSION and not migrating:
                raise LedgerOutdated(
                    f"the ledger {self.place} has schema {version}, this version needs {VERSION}: stop the servers "
                    "that use it, then run 'lethe ledger migrate'"
                )
            if version < VERSION:
                migrate(self, version, WORDS)
                self.execute("UPDATE schema SET version = ?", (VERSION,))

    def _version(self) -> int:
        """The schema's version; 0 where there was none, which now has a place to stand."""
        if not self._all("SELECT 1 FROM pg_namespace WHERE nspname = 'lethe'"):
            self.execute("CREATE SCHEMA lethe")
        if not self._all("SELECT to_regclass('lethe.schema')")[0][0]:
            self.execute("CREATE TABLE schema (version BIGINT NOT NULL)")
            self.execute("INSERT INTO schema VALUES (0)")
            # Heartbeats are worth no log: after a crash everyone tells anew that it lives.
            self.execute("CREATE UNLOGGED TABLE members (id TEXT PRIMARY KEY, generation BIGINT, seen TIMESTAMPTZ)")
        return int(self._all("SELECT version FROM schema")[0][0])

    def execute(self, sql: str, values: Values = ()) -> list[Row]:
        """One statement of a migration."""
        with self._cursor() as cursor:
            cursor.execute(_own(sql), values)
            return cursor.fetchall() if cursor.description else []

    def beside(self) -> "PostgresLedger":
        return PostgresLedger(self._url)

    def close(self) -> None:
        if self._db is not None:
            with suppress(psycopg.Error):
                self._db.close()
            self._db = None

    # -- the dialect

    def _all(self, sql: str, values: Values = ()) -> list[Row]:
        def read() -> list[Row]:
            with self._cursor() as cursor:
                return cursor.execute(_own(sql), values).fetchall()

        return read() if self._inside else self._twice(read)

    def _stream(self, sql: str) -> Iterator[list[Row]]:
        if self._db is None:
            raise LedgerError(f"the connection to the ledger {self.place} was lost")
        with self._db.cursor("stream", binary=True) as cursor:
            cursor.execute(_own(sql))
            while rows := cursor.fetchmany(FETCHED):
                yield rows

    def _run(self, sql: str, values: Values = ()) -> int:
        with self._cursor() as cursor:
            return cursor.execute(_own(sql), values).rowcount

    def _many(self, sql: str, rows: Iterable[Values]) -> None:
        with self._cursor() as cursor:
            cursor.executemany(_own(sql), rows)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with self._begun("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._begun("BEGIN"):
            # Readers go on; a second writer waits here. The lock is given back with the transaction, however it ends.
            self._run("LOCK TABLE generations IN EXCLUSIVE MODE")
            yield
            self._run(f"NOTIFY {CHANNEL}")

    @contextmanager
    def _begun(self, begin: str) -> Iterator[None]:
        self._twice(lambda: self._run(begin))
        self._inside = True
        try:
            yield
            self._run("COMMIT")
        except BaseException as error:
            self._undo()
            if isinstance(error, psycopg.Error):
                raise self._failure(error) from None
            raise
        finally:
            self._inside = False

    def _undo(self) -> None:
        """Rolls back; where that cannot be said any more, the server does it when the connection is gone."""
        try:
            if self._db is not None and not self._db.closed:
                self._run("ROLLBACK")
        except psycopg.Error:
            self.close()

    def _twice(self, work: Callable[[], Result]) -> Result:
        """Does what may be done again: a connection that was lost while nobody used it is made anew."""
        fresh = self._db is None
        try:
            return work()
        except psycopg.OperationalError as error:
            self.close()
            if fresh:
                raise self._failure(error) from None
        except psycopg.Error as error:
            raise self._failure(error) from None
        try:
            return work()
        except psycopg.Error as error:
            self.close()
            raise self._failure(error) from None

    def _cursor(self) -> psycopg.Cursor[Row]:
        if self._db is None:
            if self._inside:
                raise LedgerError(f"the connection to the ledger {self.place} was lost; nothing was changed")
            self._db = connected(self._url)
        return self._db.cursor(binary=True)

    def _failure(self, error: psycopg.Error) -> LedgerError:
        """What a failure means to whoever asked."""
        if isinstance(error, psycopg.OperationalError):
            self.close()
            return LedgerError(
                f"the ledger {self.place} cannot be reached ({type(error).__name__}): check that PostgreSQL runs, and "
                "ledger.url"
            )
        state = f"{type(error).__name__}, SQLSTATE {error.sqlstate}"
        return LedgerError(f"the ledger {self.place} refuses ({state}): see the log of PostgreSQL")

    # -- the processes that share it

    def beat(self, member: Member) -> None:
        def tell() -> None:
            with self._cursor() as cursor:
                cursor.execute(
                    "INSERT INTO members (id, generation, seen, holds) VALUES (%s, %s, clock_timestamp(), %s) "
                    "ON CONFLICT (id) DO UPDATE SET generation = excluded.generation, seen = excluded.seen, "
                    "holds = excluded.holds",
                    (member.id, member.generation, holds_of(member)),
                )

        self._twice(tell)

    def living(self, within_s: float) -> list[Member]:
        rows = self._all(
            "SELECT id, generation, extract(epoch FROM clock_timestamp() - seen)::float, holds FROM members "
            "WHERE seen >= clock_timestamp() - make_interval(secs => ?) ORDER BY id",
            (float(within_s),),
        )
        return [member_of(i, generation, seen, holds) for i, generation, seen, holds in rows]

    def leave(self, member_id: str) -> None:
        def tell() -> None:
            with self._cursor() as cursor:
                cursor.execute(
                    "DELETE FROM members WHERE id = %s OR seen < clock_timestamp() - interval '1 day'", (member_id,)
                )

        self._twice(tell)


class Watch:
    """Waits for changes that anybody makes, on a connection and in a thread of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._db: psycopg.Connection | None = None

    def wait(self, timeout_s: float) -> bool:
        """True when something was announced; False after the time. Raises LedgerError; the next call tries again."""
        try:
            if self._db is None:
                self._db = connected(self._url)
                self._db.execute(f"LISTEN {CHANNEL}".encode())
                return True  # whatever happened before
            return any(True for _ in self._db.notifies(timeout=timeout_s, stop_after=1))
        except psycopg.Error as error:
            self.close()
            raise LedgerError(f"the ledger {place_of(self._url)} announces nothing ({type(error).__name__})") from None

    def interrupt(self) -> None:
        """From any thread: whoever waits now waits no longer."""
        db = self._db
        with suppress(OSError, psycopg.Error):
            if db is not None:
                with socket.socket(fileno=os.dup(db.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._db is not None:
            with suppress(psycopg.Error):
                self._db.close()
            self._db = None


class _Connection(psycopg.Connection[Row]):
    """Never waits for ever: a network that swallows what is sent would stop every change after it."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, ANSWER_S if timeout is None else timeout)


def connected(url: str) -> psycopg.Connection:
    """A connection to the schema of the ledger. Raises psycopg.Error."""
    return _Connection.connect(
        url,
        autocommit=True,
        connect_timeout=CONNECT_S,
        application_name="lethe",
        # A peer that is gone without a word is noticed within seconds, not hours.
        keepalives_idle=3,
        keepalives_interval=1,
        keepalives_count=3,
        tcp_user_timeout=5000,
        options=f"-c search_path=lethe -c idle_in_transaction_session_timeout={IDLE_S}s -c client_min_messages=error",
    )


def place_of(url: str) -> str:
    """Which database a URL names, without its secrets."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        return "of ledger.url"
    host = parts.get("host") or "the local socket"
    return f"'{parts.get('dbname') or parts.get('user') or 'postgres'}' at {host}:{parts.get('port') or 5432}"


@lru_cache(256)
def _own(sql: str) -> bytes:
    """A statement with psycopg's parameters."""
    return sql.replace("?", "%s").encode()
