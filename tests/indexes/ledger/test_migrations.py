"""A ledger of the first schema is brought to the newest, whole or not at all; a newer one is left alone."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from indexes.entries import Entry, Kind, content_digest
from indexes.ledger import postgres as pg
from indexes.ledger import schema
from indexes.ledger import sqlite as lite
from indexes.ledger.postgres import PostgresLedger
from indexes.ledger.records import Ledger, LedgerCorrupt, LedgerError, LedgerOutdated, NewEntry, StoredKey
from indexes.ledger.sqlite import SqliteLedger

TEXTS = {"texts": ["Where was Ilse Varga born?"], "names": [], "answers": ["Graz \u0000 ünd"]}
ENTRIES = 2300  # more than are looked at together
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)
FIRST: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("INSERT INTO generations (number, at, actor) VALUES (?, ?, ?)", (1, "2026-01-01T00:00:00+00:00", "ann")),
    ("INSERT INTO changes (generation, action, set_id) VALUES (?, ?, ?)", (1, "set.create", "s1")),
    ("INSERT INTO sets VALUES (?, ?, ?, ?)", ("s1", "label", '{"threshold": 0.5}', '["keep"]')),
    ("INSERT INTO vectors VALUES (?, ?, ?, ?)", ("e0000", "m", 2, ROWS.tobytes())),
    ("INSERT INTO replies VALUES (?, ?, ?, ?)", ("once", "digest", 1, '["e0000"]')),
    ("INSERT INTO keys VALUES (?, ?, ?, ?, ?)", ("k1", "d1", '["admin"]', "", "2026-01-01")),
    *(
        (
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (f"e{n:04}", "s1", "fact", json.dumps(TEXTS), "", 0.5, "active", "", "ann", "2026-01-01", None, 1),
        )
        for n in range(ENTRIES)
    ),
)
"""A ledger as version 1 wrote it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.db"
    db = sqlite3.connect(file, isolation_level=None)
    for statement in schema.STEPS[0].statements.format(**lite.WORDS).split(";"):
        db.execute(statement)
    db.execute("BEGIN")
    for sql, values in FIRST:
        db.execute(sql, values)
    db.execute("COMMIT")
    db.execute("PRAGMA user_version = 1")
    db.close()
    return file


@pytest.fixture
def url(postgres_url: str) -> str:
    with psycopg.connect(postgres_url) as db:
        db.execute("CREATE SCHEMA lethe")
        db.execute("SET search_path = lethe")
        db.execute("CREATE TABLE schema (version BIGINT NOT NULL)")
        db.execute("INSERT INTO schema VALUES (1)")
        db.execute("CREATE UNLOGGED TABLE members (id TEXT PRIMARY KEY, generation BIGINT, seen TIMESTAMPTZ)")
        for statement in schema.STEPS[0].statements.format(**pg.WORDS).split(";"):
            db.execute(statement.encode())
        for sql, values in FIRST:
            if sql.startswith("INSERT INTO entries"):
                continue
            db.execute(sql.replace("?", "%s").encode(), values)
        with db.cursor() as cursor:
            sql = next(sql for sql, _ in FIRST if sql.startswith("INSERT INTO entries"))
            cursor.executemany(sql.replace("?", "%s").encode(), (v for s, v in FIRST if s == sql))
    return postgres_url


@pytest.fixture(params=["sqlite", "postgres"])
def migrated(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    if request.param == "sqlite":
        ledger: Ledger = SqliteLedger(request.getfixturevalue("path"))
    else:
        ledger = PostgresLedger(request.getfixturevalue("url"), migrating=True)
    yield ledger
    ledger.close()


def test_everything_of_the_first_schema_is_there(migrated: Ledger) -> None:
    assert migrated.generation() == 1
    assert [(s.id, s.label, s.policy, s.retain) for s in migrated.sets()] == [
        ("s1", "label", {"threshold": 0.5}, ("keep",))
    ]
    entries = migrated.entries(None, "", 10_000)
    assert [entry.id for entry in entries] == [f"e{n:04}" for n in range(ENTRIES)]
    assert entries[7].texts == ("Where was Ilse Varga born?",)
    assert entries[7].answers == ("Graz \u0000 ünd",)
    held = migrated.vectors("e0000", "m")
    assert held is not None
    np.testing.assert_array_equal(held, ROWS)
    assert migrated.keys() == [StoredKey("k1", "d1", frozenset({"admin"}), "", "2026-01-01")]
    assert migrated.changes(0, 10)[0].actor == "ann"


def test_what_it_can_do_now_it_can_do_with_what_was_there(migrated: Ledger) -> None:
    digest = content_digest(migrated.entry("s1", "e0000"))
    assert digest == content_digest(Entry("x", "y", Kind.FACT, ("where was ilse varga born",), (), ("graz Ünd",)))
    assert migrated.alike("s1", [digest]) == {digest: "e0000"}
    assert migrated.heads().generation == 1
    new = NewEntry(Entry("e", "s1", Kind.FACT, ("A new one?",)), ROWS, "other")
    assert migrated.add_entries([new], "m", actor="a")[0] == 2


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: schema.Migrating) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (schema.STEPS[0], schema.Step(schema.STEPS[1].statements, fails)))
        with pytest.raises(LedgerError, match="cannot be used"):
            SqliteLedger(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert "digest" not in {row[1] for row in db.execute("PRAGMA table_info(entries)")}
    db.close()
    SqliteLedger(path).close()


def test_postgres_is_migrated_when_it_is_asked_for(url: str) -> None:
    # Other replicas, of the version before, may still be at work.
    with pytest.raises(LedgerOutdated, match=r"schema 1, this version needs \d+.*'lethe ledger migrate'"):
        PostgresLedger(url)
    PostgresLedger(url, migrating=True).close()
    PostgresLedger(url).close()


def test_a_newer_postgres_ledger_is_left_alone(postgres_url: str) -> None:
    PostgresLedger(postgres_url).close()
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE lethe.schema SET version = 99")
    for migrating in (False, True):
        with pytest.raises(LedgerCorrupt, match=r"schema 99.*use the version of Lethe that wrote it"):
            PostgresLedger(postgres_url, migrating=migrating)
