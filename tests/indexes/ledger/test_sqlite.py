"""The SQLite file: one server, nothing acknowledged is lost, nothing removed stays, damage is named with the cure."""

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexes.entries import Entry, ForgetSet, Kind
from indexes.ledger.records import LedgerBusy, LedgerCorrupt, LedgerError, Member, NewEntry
from indexes.ledger.schema import VERSION
from indexes.ledger.sqlite import SqliteLedger

ROWS = np.ones((2, 4), np.float32)
ENTRY = Entry("e1", "s1", Kind.FACT, texts=("the secret of the tower",), answers=("a brass key",), label="a label")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    opened = SqliteLedger(path)
    opened.put_set(ForgetSet("s1"), None, "m", actor="a", create=True)
    yield opened
    opened.close()


def files(path: Path) -> list[Path]:
    return [file for file in path.parent.iterdir() if file.suffix != ".lock"]


# -- one server


def test_a_second_server_is_told_who_has_it(ledger: SqliteLedger, path: Path) -> None:
    with pytest.raises(LedgerBusy, match=r"process \d+.*ledger\.path"):
        SqliteLedger(path)
    ledger.close()
    SqliteLedger(path).close()


def test_a_failed_opening_keeps_nothing_open(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1000)
    for _ in range(2):
        with pytest.raises(LedgerCorrupt):
            SqliteLedger(path)
    opened = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not [file for file in opened if file.is_relative_to(path.parent)]
    path.unlink()
    SqliteLedger(path).close()


COUNTING = "import sys, sqlite3; print(len(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))"


def rows_for_another_process(path: Path, query: str) -> int:
    """What a process finds that opens the file, and closes it as its last user if it takes itself for that."""
    command = [sys.executable, "-c", COUNTING, path, query]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_what_is_written_stays_after_one_beside_it_was_opened_and_another_process_looked(
    ledger: SqliteLedger, path: Path
) -> None:
    """POSIX locks are a process's: to close any descriptor of the file drops all that it has of it.

    Another process then takes itself for the last one, and removes the log that this one goes on to write to.
    """
    ledger.beside().close()
    ledger.beat(Member("this", 1))
    assert rows_for_another_process(path, "SELECT 1 FROM entries") == 0
    assert rows_for_another_process(Path(f"{path}-members"), "SELECT 1 FROM living") == 1
    ledger.add_entries([NewEntry(ENTRY, ROWS)], "m", actor="a")
    assert rows_for_another_process(path, "SELECT 1 FROM entries") == 1


def test_only_the_owner_may_read_it(ledger: SqliteLedger, path: Path) -> None:
    ledger.add_entries([NewEntry(ENTRY, ROWS)], "m", actor="a")
    assert {file.name for file in files(path)} == {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
    for file in files(path):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_a_file_that_others_could_read_is_closed_to_them(ledger: SqliteLedger, path: Path) -> None:
    ledger.close()
    path.chmod(0o644)
    SqliteLedger(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# -- damage


def spoil_garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(8192))


def spoil_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_stump(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def spoil_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start in range(4096, len(content), 4096):
        content[start : start + 100] = bytes(100)
    path.write_bytes(content)


def spoil_text(path: Path) -> None:
    path.write_text("- forget: everything\n" * 100)


@pytest.mark.parametrize("spoil", [spoil_garbage, spoil_half, spoil_stump, spoil_page, spoil_text])
def test_a_damaged_file_is_named_with_the_cure(ledger: SqliteLedger, path: Path, spoil: object) -> None:
    many = [NewEntry(replace(ENTRY, id=f"e{number}", texts=("text " * 100,)), ROWS) for number in range(50)]
    ledger.add_entries(many, "m", actor="a")
    ledger.close()
    assert callable(spoil)
    spoil(path)
    damaged = path.read_bytes()
    with pytest.raises(LedgerCorrupt, match=r"damaged or not a ledger.*restore it from a backup") as refused:
        SqliteLedger(path)
    assert str(path) in str(refused.value)
    assert path.read_bytes() == damaged  # evidence, and perhaps all there is: not touched


@pytest.mark.parametrize("version", [0, VERSION + 1, 99])
def test_a_ledger_of_another_version_is_left_alone(ledger: SqliteLedger, path: Path, version: int) -> None:
    ledger.close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {version}")
    db.close()
    with pytest.raises(LedgerCorrupt, match=rf"schema {version}.*use the version of Lethe that wrote it"):
        SqliteLedger(path)


def test_a_place_that_cannot_hold_a_ledger_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "ledger.db"):
        with pytest.raises(LedgerError, match="cannot be used") as refused:
            SqliteLedger(place)
        assert not isinstance(refused.value, LedgerCorrupt)
        assert "away" not in str(refused.value)


def test_a_full_disk_is_said_and_changes_nothing(ledger: SqliteLedger) -> None:
    pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerError, match="check free space") as refused:
        ledger.add_entries([NewEntry(replace(ENTRY, texts=("long " * 9000,)), ROWS)], "m", actor="a")
    assert not isinstance(refused.value, LedgerCorrupt)
    assert ledger.generation() == 1
    assert ledger.entries(None, "", 10) == []
    ledger._db.execute("PRAGMA max_page_count = 1000000")
    assert ledger.add_entries([NewEntry(ENTRY, ROWS)], "m", actor="a") == (2, ["e1"])


# -- what was removed


@pytest.mark.parametrize("way", ["drop entry", "drop set", "retain"])
def test_removed_text_is_in_no_file_any_more(ledger: SqliteLedger, path: Path, way: str) -> None:
    secret = replace(ENTRY, texts=("the secret of the tower", "another secret " * 3000), label="secret too")
    marked = np.frombuffer(b"secret vectors! " * 64, np.float32).reshape(4, -1)
    others = [NewEntry(replace(ENTRY, id=f"o{number}", texts=("harmless " * 200,)), ROWS) for number in range(20)]
    ledger.add_entries([*others, NewEntry(secret, marked)], "m", actor="a")
    ledger.put_set(ForgetSet("s1", retain=("a secret example",)), marked, "m", actor="a", create=False)
    assert any(b"secret" in file.read_bytes() for file in files(path))

    ledger.put_set(ForgetSet("s1"), ROWS, "m", actor="a", create=False)
    if way == "drop entry":
        ledger.drop_entry("s1", "e1", actor="a")
    elif way == "drop set":
        ledger.drop_set("s1", actor="a")
    else:
        ledger.drop_entry("s1", "e1", actor="a")
        ledger.put_set(ForgetSet("s1", retain=("a secret example",)), marked, "m", actor="a", create=False)
        ledger.put_set(ForgetSet("s1"), ROWS, "m", actor="a", create=False)
    for file in files(path):  # while the server runs, not only after a clean end
        assert b"secret" not in file.read_bytes(), file.name
