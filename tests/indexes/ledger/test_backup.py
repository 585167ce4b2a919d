"""A backup is the whole ledger, of one moment; restored, it is the same ledger, in SQLite or in PostgreSQL."""

import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from indexes.entries import ForgetSet
from indexes.ledger.backup import back_up, restore
from indexes.ledger.postgres import PostgresLedger
from indexes.ledger.records import Conflict, LedgerCorrupt, LedgerError, Member, NewEntry, Once, StoredKey
from indexes.ledger.sql import SqlLedger
from indexes.ledger.sqlite import SqliteLedger
from tests.indexes.ledger.stored import ENTRY, MODEL, rows, snapshot

Open = Callable[[str], SqlLedger]


@pytest.fixture
def opening(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens an empty ledger of a kind."""
    opened: list[SqlLedger] = []

    def make(kind: str) -> SqlLedger:
        if kind == "sqlite":
            opened.append(SqliteLedger(tmp_path / f"ledger{len(opened)}.db"))
        else:
            url = request.getfixturevalue("postgres_url")
            with psycopg.connect(url, autocommit=True) as db:
                db.execute("SET client_min_messages = error")
                db.execute("DROP SCHEMA IF EXISTS lethe CASCADE")
            opened.append(PostgresLedger(url))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger.close()


def filled(ledger: SqlLedger) -> SqlLedger:
    """A ledger with some of everything, and more entries than are copied at a time."""
    ledger.put_set(ForgetSet("s1", "l", {"threshold": 0.5}, ("keep",)), rows(1, 1), MODEL, actor="a", create=True)
    many = [replace(ENTRY, id=f"e{number:04}") for number in range(1100)]
    ledger.add_entries(
        [NewEntry(one, rows(n), f"d{n}") for n, one in enumerate(many)], MODEL, actor="a", once=Once("k", "d")
    )
    ledger.drop_entry("s1", "e0007", actor="b")
    ledger.put_key(StoredKey("k1", "digest", frozenset({"admin"}), "laptop", "2026-01-01"))
    ledger.mark("wording", "a secret of all processes")
    return ledger


@pytest.mark.parametrize("source", ["sqlite", "postgres"])
@pytest.mark.parametrize("target", ["sqlite", "postgres"])
def test_what_is_restored_is_the_same_ledger(opening: Open, tmp_path: Path, source: str, target: str) -> None:
    file, told = tmp_path / "backup", []
    ledger = filled(opening(source))
    before = snapshot(ledger), ledger.heads()
    assert back_up(ledger, file, lambda done, total: told.append((done, total))) == 3
    assert told[-1][0] == told[-1][1] > 2200
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [left.name for left in tmp_path.iterdir() if left.name.startswith("backup")] == ["backup"]
    content = file.read_bytes()
    ledger.drop_set("s1", actor="a")
    ledger.close()

    again = opening(target)
    assert restore(file, again) == 3
    assert (snapshot(again), again.heads()) == before
    assert again.mark("wording", "another") == "a secret of all processes"
    assert again.alike("s1", ["d8"]) == {"d8": "e0008"}
    entry = NewEntry(replace(ENTRY, id="new"), rows(1), "x")
    assert again.add_entries([entry], MODEL, actor="a", once=Once("k", "d"))[0] == 2  # the reply to the first one
    assert again.add_entries([entry], MODEL, actor="a") == (4, ["new"])
    assert [change.generation for change in again.changes(2, 10)] == [3, 4]
    assert file.read_bytes() == content


def test_a_backup_is_of_one_moment(opening: Open, tmp_path: Path) -> None:
    """Batches of two are written while it is taken: it holds both of a batch, or none."""
    ledger = filled(opening("sqlite"))
    assert isinstance(ledger, SqliteLedger)
    reader = SqliteLedger(ledger.path, locked=True)
    ended = threading.Event()

    def write() -> None:
        for number in range(100_000):
            if ended.is_set():
                return
            batch = [NewEntry(replace(ENTRY, id=f"w{number}.{half}"), rows(1)) for half in "ab"]
            ledger.add_entries(batch, MODEL, actor="a")

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for number in range(5):
            back_up(reader, tmp_path / f"b{number}")
    finally:
        ended.set()
        writing.join()
        reader.close()
    for number in range(5):
        taken = SqliteLedger(tmp_path / f"b{number}")
        halves = [entry.id for entry in taken.entries(None, "w", 100_000)]
        assert len(halves) % 2 == 0
        assert len(halves) // 2 == taken.generation() - 3
        taken.close()


def test_nothing_is_overwritten(opening: Open, tmp_path: Path) -> None:
    ledger, file = filled(opening("sqlite")), tmp_path / "backup"
    back_up(ledger, file)
    content = file.read_bytes()
    with pytest.raises(Conflict, match="exists already"):
        back_up(ledger, file)
    assert file.read_bytes() == content
    before = snapshot(ledger)
    with pytest.raises(Conflict, match="is not empty"):
        restore(file, ledger)
    assert snapshot(ledger) == before


def spoiled(file: Path) -> None:
    content = bytearray(file.read_bytes())
    for start in range(8192, len(content) - 4096, 8192):
        content[start : start + 64] = bytes(64)
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("damage", [spoiled, cut, lambda file: file.write_text("garbage " * 1000)])
def test_a_damaged_backup_restores_nothing(opening: Open, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    file = tmp_path / "backup"
    back_up(filled(opening("sqlite")), file)
    damage(file)
    empty = opening("sqlite")
    with pytest.raises(LedgerCorrupt):
        restore(file, empty)
    assert snapshot(empty) == (0, [], [], [], [], [])


def test_a_restore_that_breaks_off_leaves_the_ledger_empty(opening: Open, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    back_up(filled(opening("sqlite")), file)
    empty = opening("sqlite")

    def stops(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore(file, empty, stops)
    assert snapshot(empty) == (0, [], [], [], [], [])
    assert restore(file, empty) == 3


def test_places_that_cannot_be(opening: Open, tmp_path: Path) -> None:
    ledger = opening("sqlite")
    with pytest.raises(LedgerError, match="check free space and permissions"):
        back_up(ledger, tmp_path / "ledger0.db" / "below")
    with pytest.raises(LedgerError, match="there is no backup"):
        restore(tmp_path / "missing", ledger)


def test_a_ledger_that_is_only_read_takes_no_lock_and_shows_no_members(opening: Open) -> None:
    ledger = opening("sqlite")
    assert isinstance(ledger, SqliteLedger)
    reader = SqliteLedger(ledger.path, locked=True)
    assert reader.living(60) == []
    assert not Path(f"{ledger.path}-members").exists()
    ledger.beat(Member("a", 1))
    assert [member.id for member in reader.living(60)] == ["a"]
    reader.close()
