"""A whole ledger, copied into another one: backups, restoring them, and moving between SQLite and PostgreSQL.

A backup is a ledger in a SQLite file, whatever it was taken from. It holds everything that stands in the ledger, keys
and change log included, as of one generation; servers go on meanwhile.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from indexes.ledger.records import Conflict, LedgerError
from indexes.ledger.schema import COLUMNS
from indexes.ledger.sql import SqlLedger
from indexes.ledger.sqlite import SqliteLedger

Progress = Callable[[int, int], None]
"""Told how many rows are copied, and of how many."""


def back_up(source: SqlLedger, file: Path, progress: Progress = lambda *_: None) -> int:
    """Writes a backup; returns its generation. The file is there whole or not at all.

    Raises LedgerError; Conflict where the file exists.
    """
    if file.exists():
        raise Conflict(f"{file} exists already: name another file, or remove it")
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        target = SqliteLedger(part)
        try:
            generation = copy(source, target, progress)
        finally:
            target.close()  # which moves everything from its write-ahead log into the file
        os.replace(part, file)  # noqa: PTH105 - beside the removals below
    except OSError as error:
        raise LedgerError(f"{file} cannot be written ({error.strerror}): check free space and permissions") from None
    finally:
        for left in (part, Path(f"{part}.lock"), Path(f"{part}-wal"), Path(f"{part}-shm")):
            with suppress(OSError):
                left.unlink()
    return generation


def restore(file: Path, target: SqlLedger, progress: Progress = lambda *_: None) -> int:
    """Fills an empty ledger from a backup; returns its generation. All or nothing.

    Raises LedgerError; Conflict where the ledger is not empty.
    """
    if not file.is_file():
        raise LedgerError(f"there is no backup {file}")
    if target.generation() or target.keys():
        raise Conflict(f"the ledger {target.place} is not empty: restore into an empty one, or move this one away")
    # A copy is opened: it may be of an earlier version, and a backup stays what it was.
    with tempfile.TemporaryDirectory(dir=file.parent if os.access(file.parent, os.W_OK) else None) as folder:
        copied = Path(folder, "backup.sqlite3")
        try:
            shutil.copyfile(file, copied)
        except OSError as error:
            raise LedgerError(f"{file} cannot be read ({error.strerror})") from None
        source = SqliteLedger(copied)
        try:
            return copy(source, target, progress)
        finally:
            source.close()


def copy(source: SqlLedger, target: SqlLedger, progress: Progress = lambda *_: None) -> int:
    """Makes one ledger what another one is, in one transaction; returns the generation."""
    done = 0
    with source.snapshot():
        total = sum(source.count(table) for table in COLUMNS)
        with target.transaction():
            for table in reversed(COLUMNS):
                target.clear(table)
            for table in COLUMNS:
                for rows in source.stream(table):
                    target.fill(table, rows)
                    done += len(rows)
                    progress(done, total)
            copied = {table: target.count(table) for table in COLUMNS}
            if sum(copied.values()) != total:
                raise LedgerError(f"{sum(copied.values())} of {total} rows were copied; nothing was changed")
        return source.generation()
