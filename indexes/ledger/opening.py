"""Which ledger a configuration means."""

from pathlib import Path

from indexes.ledger.postgres import PostgresLedger, Watch
from indexes.ledger.records import Ledger
from indexes.ledger.sqlite import SqliteLedger


def open_ledger(path: Path, url: str | None = None, *, locked: bool = False) -> Ledger:
    """PostgreSQL where a URL is given, else the SQLite file. `locked`: another process of this server has its lock.

    Raises LedgerError and its kind.
    """
    return PostgresLedger(url) if url is not None else SqliteLedger(path, locked=locked)


def announcements(url: str) -> Watch:
    """What PostgreSQL announces; to be waited for in a thread of its own."""
    return Watch(url)
