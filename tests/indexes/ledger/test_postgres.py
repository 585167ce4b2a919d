"""What PostgreSQL adds: several writers, announcements, and a server that goes away and comes back."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest

from indexes.entries import Entry, ForgetSet, Kind
from indexes.ledger.postgres import PostgresLedger, Watch, place_of
from indexes.ledger.records import LedgerError, Missing, NewEntry
from tests.postgresql import PostgresServer

ROWS = np.ones((1, 4), np.float32)


def entry(name: str, text: str = "a text") -> NewEntry:
    return NewEntry(Entry(name, "s1", Kind.FACT, texts=(text,)), ROWS)


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[PostgresLedger]:
    opened = PostgresLedger(postgres_url)
    opened.put_set(ForgetSet("s1"), None, "m", actor="a", create=True)
    yield opened
    opened.close()


def connections(url: str, sql: str) -> int:
    """Ends or counts the connections of ledgers to a database."""
    with psycopg.connect(url, autocommit=True, application_name="test") as db:
        where = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lethe'"
        return len(db.execute(f"SELECT {sql} {where}".encode()).fetchall())


# -- several writers


def test_generations_become_visible_in_their_order(ledger: PostgresLedger, postgres_url: str) -> None:
    """A reader that has seen a generation has seen all before it, however many write."""
    ended = threading.Event()

    def write(writer: int) -> list[int]:
        mine = PostgresLedger(postgres_url)
        try:
            return [mine.add_entries([entry(f"w{writer}.{n}")], "m", actor="a")[0] for n in range(30)]
        finally:
            mine.close()

    def read() -> list[list[int]]:
        mine = PostgresLedger(postgres_url)
        seen = []
        try:
            while not ended.is_set():
                seen.append([change.generation for change in mine.changes(0, 1000)])
            return seen
        finally:
            mine.close()

    with ThreadPoolExecutor(4) as pool:
        reading = pool.submit(read)
        made = sorted(n for numbers in pool.map(write, range(3)) for n in numbers)
        ended.set()
    assert made == list(range(2, 92))
    for numbers in reading.result():
        assert numbers == list(range(1, len(numbers) + 1))
    assert ledger.generation() == 91


def test_a_snapshot_does_not_see_what_others_write(ledger: PostgresLedger, postgres_url: str) -> None:
    other = PostgresLedger(postgres_url)
    with ledger.snapshot():
        assert ledger.generation() == 1
        other.add_entries([entry("e1")], "m", actor="a")
        assert ledger.generation() == 1
        assert ledger.entries(None, "", 10) == []
    assert ledger.generation() == 2
    other.close()


# -- announcements


def test_changes_are_announced(ledger: PostgresLedger, postgres_url: str) -> None:
    watch = Watch(postgres_url)
    assert watch.wait(1)  # what happened before it listened
    assert not watch.wait(0)
    ledger.add_entries([entry("e1")], "m", actor="a")
    assert watch.wait(20)
    with pytest.raises(Missing):
        ledger.drop_entry("s1", "missing", actor="a")
    assert not watch.wait(0.2)
    watch.close()


def test_a_wait_can_be_ended_from_another_thread(postgres_url: str) -> None:
    watch = Watch(postgres_url)
    watch.wait(0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(watch.wait, 250)
        watch.interrupt()
        with pytest.raises(LedgerError):
            waiting.result(60)
    watch.interrupt()  # there is nothing to end any more
    watch.close()


# -- a server that is gone


def test_a_lost_connection_is_made_again(ledger: PostgresLedger, postgres_url: str) -> None:
    for write in (False, True):
        assert connections(postgres_url, "pg_terminate_backend(pid)") == 1
        if write:
            assert ledger.add_entries([entry("e1")], "m", actor="a") == (2, ["e1"])
        else:
            assert ledger.generation() == 1


def test_a_change_whose_connection_is_lost_is_not_there(ledger: PostgresLedger, postgres_url: str) -> None:
    with pytest.raises(LedgerError, match="cannot be reached"), ledger._transaction():
        ledger._insert([entry("e1")], "m", 1)
        connections(postgres_url, "pg_terminate_backend(pid)")
        ledger._insert([entry("e2")], "m", 1)
    assert ledger.entries(None, "", 10) == []
    assert ledger.add_entries([entry("e1")], "m", actor="a") == (2, ["e1"])


def test_a_writer_that_is_stuck_does_not_stop_the_others_for_ever(ledger: PostgresLedger, postgres_url: str) -> None:
    """Its client is gone and its connection is not: the server ends what it began."""
    stuck = psycopg.connect(postgres_url, options="-c idle_in_transaction_session_timeout=300ms")
    stuck.execute("LOCK TABLE lethe.generations IN EXCLUSIVE MODE")
    assert ledger.add_entries([entry("e1")], "m", actor="a") == (2, ["e1"])
    stuck.close()
    assert ledger._all("SHOW idle_in_transaction_session_timeout") == [("10s",)]


def test_nobody_answers(postgres: PostgresServer) -> None:
    url = "postgresql://ann:a-secret@127.0.0.1:1/forget"
    with pytest.raises(LedgerError, match=r"'forget' at 127.0.0.1:1 cannot be reached.*ledger\.url") as refused:
        PostgresLedger(url)
    assert "a-secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    with pytest.raises(LedgerError, match="announces nothing"):
        Watch(url).wait(0)


def test_a_failure_repeats_no_text(ledger: PostgresLedger) -> None:
    with pytest.raises(LedgerError, match="SQLSTATE") as refused, ledger._transaction():
        ledger._run("INSERT INTO sets (id, label, policy) VALUES (?, ?, ?)", ("s2", "a secret label", "{}"))
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_text_that_postgres_cannot_store_changes_nothing(ledger: PostgresLedger) -> None:
    with pytest.raises(LedgerError) as refused:
        ledger.put_set(ForgetSet("s2", "a \0 label"), None, "m", actor="a", create=True)
    assert "label" not in str(refused.value)
    assert ledger.generation() == 1


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:pw@db.example:6432/forget", "'forget' at db.example:6432"),
        ("postgresql:///forget?password=pw", "'forget' at the local socket:5432"),
        ("postgresql://ann:p w@[", "of ledger.url"),
    ],
)
def test_a_place_is_named_without_its_secret(url: str, shown: str) -> None:
    assert place_of(url) == shown
