"""What a dialect of SQL gives, and what is done with whole tables: backups, and a further key over sealed entries.

Parameters are written `?`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from indexes.ledger.schema import COLUMNS

FETCHED = 500  # rows of a stream at a time
ASKED = 500  # values of one statement: databases bound them, and a plan for each number of them would be kept

Row = tuple[Any, ...]
Values = Sequence[Any]


class SqlTables(ABC):
    """The tables of a ledger in a dialect of SQL."""

    place: str
    """Where it is, for messages."""

    _CHANGE_ORDER: ClassVar[str]
    """The column that keeps the changes of one generation in order."""

    # -- what a dialect gives

    @abstractmethod
    def _all(self, sql: str, values: Values = ()) -> list[Row]:
        """The rows of a query."""

    @abstractmethod
    def _run(self, sql: str, values: Values = ()) -> int:
        """Runs a statement inside a transaction; how many rows it touched."""

    @abstractmethod
    def _many(self, sql: str, rows: Iterable[Values]) -> None:
        """Runs a statement for each of many rows, inside a transaction."""

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """All or nothing, durable when it ends, one writer at a time."""

    @abstractmethod
    def _stream(self, sql: str) -> Iterator[list[Row]]:
        """The rows of a query inside a snapshot, some at a time."""

    def _removal(self) -> AbstractContextManager[None]:
        """A transaction after which what it removed can be found in no file of the ledger."""
        return self._transaction()

    # -- whole tables, for backups

    def transaction(self) -> AbstractContextManager[None]:
        """Several of the calls below, all or nothing."""
        return self._transaction()

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self._all(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - tables of the schema

    def stream(self, table: str) -> Iterator[list[Row]]:
        """All rows of a table, in an order in which they can be stored again. Inside a snapshot."""
        order = f" ORDER BY generation, {self._CHANGE_ORDER}" if table == "changes" else ""
        return self._stream(f"SELECT {COLUMNS[table]} FROM {table}{order}")  # noqa: S608

    def clear(self, table: str) -> None:
        """Empties a table. Inside a transaction."""
        self._run(f"DELETE FROM {table}")  # noqa: S608

    def fill(self, table: str, rows: Iterable[Values]) -> None:
        """Adds rows as `stream` gives them. Inside a transaction."""
        places = ", ".join("?" * len(COLUMNS[table].split(",")))
        self._many(f"INSERT INTO {table} ({COLUMNS[table]}) VALUES ({places})", rows)  # noqa: S608

    # -- sealed entries, for a further key

    def removing(self) -> AbstractContextManager[None]:
        """Several of the calls below, all or nothing; what they replace can be found in no file afterwards."""
        return self._removal()

    def sealed_count(self) -> int:
        """How many entries are sealed."""
        return int(self._all("SELECT count(*) FROM entries WHERE sealed IS NOT NULL")[0][0])

    def sealed_rows(self, after: str, limit: int) -> list[tuple[str, bytes, str]]:
        """Id, content and digest of sealed entries, by id."""
        sql = "SELECT id, sealed, digest FROM entries WHERE sealed IS NOT NULL AND id > ? ORDER BY id LIMIT ?"
        return [(str(i), bytes(content), str(digest)) for i, content, digest in self._all(sql, (after, limit))]

    def reseal(self, rows: Iterable[tuple[bytes, str, str]]) -> None:
        """Replaces content and digest of sealed entries, given with the id last. Inside a transaction."""
        self._many("UPDATE entries SET sealed = ?, digest = ? WHERE id = ?", rows)

    def finish_resealing(self, name: str, value: str) -> None:
        """Notes under which keys they are now; replies to earlier requests, told apart by a key, are forgotten."""
        self._run("DELETE FROM replies")
        self._put_mark(name, value)
        self._log("rotate-key", [("ledger.rekey", None, None)])

    # -- inside

    @abstractmethod
    def generation(self) -> int:
        """The newest generation."""

    @abstractmethod
    def _log(self, actor: str, changes: Sequence[tuple[str, str | None, str | None]]) -> int:
        """Makes a generation of some changes; its number."""

    def _put_mark(self, name: str, value: str) -> None:
        self._run(
            "INSERT INTO marks (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def _in(self, sql: str, asked: Iterable[str], values: Values = ()) -> list[Row]:
        """A query that ends in `IN`, for any number of values."""
        return [
            row for some in _some(asked) for row in self._all(f"{sql} ({', '.join('?' * len(some))})", (*values, *some))
        ]


def _some(values: Iterable[str]) -> Iterator[list[str]]:
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), ASKED):
        yield distinct[start : start + ASKED]
