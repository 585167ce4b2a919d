"""`lethe ledger`: state, backup, restore and migration, beside a server and without one."""

import json
from pathlib import Path

import psycopg
import pytest

from indexes.entries import ForgetSet
from indexes.ledger.postgres import PostgresLedger
from indexes.ledger.records import Member
from indexes.ledger.schema import VERSION
from indexes.ledger.sqlite import SqliteLedger
from tests.cli.conftest import Run, out, parsed, runner
from tests.clients.system import Forgetting, System, serving
from tests.postgresql import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.fresh("commands")


def on(state: Path, **more: str) -> Run:
    """Commands on a ledger of their own."""
    return runner({"LETHE_STATE": str(state), **more})


def test_from_a_running_server_to_postgres_and_back(lone: System, forget: Forgetting, tmp_path: Path, url: str) -> None:
    """A backup beside a server that goes on; restored into the other kind of ledger, and from there into a file."""
    forget.add("Who lives in box 7?", "a marble")
    of_server = on(lone.state)
    state = parsed(of_server("ledger", "status", "--json"))
    assert (state["kind"], state["schema"]) == ("SQLite", VERSION)
    assert state["entries"] >= 1
    backup = tmp_path / "backup"
    taken = parsed(of_server("ledger", "backup", "--json", backup))
    assert taken["generation"] == state["generation"]
    assert taken["bytes"] == backup.stat().st_size
    forget.add("Who lives in box 8?", "another marble")  # the server did not notice

    in_postgres = on(tmp_path, LETHE_LEDGER__URL=url)
    said = out(in_postgres("ledger", "restore", backup))
    assert said.startswith(f"restored {state['entries']} entr")
    assert f"generation {taken['generation']}" in said
    moved = parsed(in_postgres("ledger", "status", "--json"))
    assert moved["kind"] == "PostgreSQL"
    for name in ("generation", "entries", "sets", "vectors", "keys"):
        assert moved[name] == state[name]

    again = tmp_path / "again"
    out(in_postgres("ledger", "backup", again))
    elsewhere = on(tmp_path / "other")
    assert parsed(elsewhere("ledger", "restore", "--json", again))["entries"] == state["entries"]
    lines = out(elsewhere("ledger", "status")).splitlines()
    assert lines[0].split() == ["kind", "SQLite"]


def test_what_is_refused_says_why(tmp_path: Path) -> None:
    call = on(tmp_path)
    for words, said in (
        (("status",), "there is no ledger"),
        (("backup", tmp_path / "x"), "there is no ledger"),
        (("restore", tmp_path / "x"), "there is no backup"),
    ):
        result = call("ledger", *words)
        assert result.exit_code == 1
        assert said in result.stderr
    ledger = SqliteLedger(tmp_path / "ledger.sqlite3")
    ledger.put_set(ForgetSet("s1"), None, "m", actor="a", create=True)
    busy = call("ledger", "migrate")
    assert (busy.exit_code, "another server (process" in busy.stderr) == (1, True)
    ledger.close()
    out(call("ledger", "backup", tmp_path / "x"))
    for words, said in ((("backup", tmp_path / "x"), "exists already"), (("restore", tmp_path / "x"), "is not empty")):
        result = call("ledger", *words)
        assert result.exit_code == 1
        assert said in result.stderr


def test_no_restore_under_a_running_replica(tmp_path: Path, url: str) -> None:
    source = SqliteLedger(tmp_path / "ledger.sqlite3")
    source.put_set(ForgetSet("s1"), None, "m", actor="a", create=True)
    source.close()
    out(on(tmp_path)("ledger", "backup", tmp_path / "x"))
    replica = PostgresLedger(url)
    replica.beat(Member("replica", 0))
    result = on(tmp_path, LETHE_LEDGER__URL=url)("ledger", "restore", tmp_path / "x")
    assert result.exit_code == 1
    assert "1 process uses the ledger" in result.stderr
    assert replica.generation() == 0
    replica.close()


def test_postgres_is_migrated_by_command(tmp_path: Path, url: str) -> None:
    PostgresLedger(url).close()
    with psycopg.connect(url) as db:  # as version 1 left it
        db.execute("UPDATE lethe.schema SET version = 1")
        for table in ("marks", "tallies", "units", "documents"):
            db.execute(f"DROP TABLE lethe.{table}".encode())
        db.execute("ALTER TABLE lethe.members DROP COLUMN holds")
        db.execute("DROP INDEX lethe.entries_by_digest")
        for column in ("storage", "sealed", "digest", "raised"):
            db.execute(f"ALTER TABLE lethe.entries DROP COLUMN {column}".encode())
    call = on(tmp_path, LETHE_LEDGER__URL=url)
    refused = call("ledger", "status")
    assert refused.exit_code == 1
    assert "'lethe ledger migrate'" in refused.stderr
    assert out(call("ledger", "migrate")).endswith(f"has schema {VERSION}\n")
    assert parsed(call("ledger", "migrate", "--json"))["schema"] == VERSION
    assert parsed(call("ledger", "status", "--json"))["generation"] == 0


def test_a_secret_in_the_url_is_never_shown(tmp_path: Path) -> None:
    url = "postgresql://ann:hush-hush@127.0.0.1:1/forget"
    call = on(tmp_path, LETHE_LEDGER__URL=url)
    shown = call("validate", "--json")
    assert shown.exit_code == 0
    failed = call("ledger", "status")
    wrong = call("validate", env={"LETHE_LEDGER__URL": "mysql://ann:hush-hush@host/db"})
    assert (failed.exit_code, wrong.exit_code) == (1, 3)
    assert "it is not a URL such as postgresql://" in wrong.stderr
    for result in (shown, failed, wrong):
        assert "hush" not in result.stdout + result.stderr
    assert "path" in json.loads(shown.stdout)["settings"]["ledger"]


def test_keys_are_made_and_laid_over(tmp_path: Path, lone: System) -> None:
    del lone  # its embedder is prepared
    keys = tmp_path / "sealing.keys"
    call = on(tmp_path, LETHE_LEDGER__SEALING_KEY_FILE=str(keys))
    first, second = out(call("ledger", "new-key")), out(call("ledger", "new-key"))
    assert first != second
    keys.write_text(first)
    with serving(tmp_path, "http://127.0.0.1:1", ready=False, env={"LETHE_LEDGER__SEALING_KEY_FILE": str(keys)}) as run:
        commands = runner(run.env)
        out(commands("forget", "add", "--sealed", "-q", "Who lives in box 7?", "-a", "a marble"))
        out(commands("forget", "add", "-q", "Who lives in box 8?"))
        listed = out(commands("forget", "list"))
        assert "1 text, 1 answer (sealed)" in listed
        exported = commands("forget", "export")
        assert exported.exit_code == 0
        assert "1 sealed entry is left out" in exported.stderr
        assert [json.loads(row)["texts"] for row in exported.stdout.splitlines()] == [["Who lives in box 8?"]]
        busy = call("ledger", "rotate-key")
        assert (busy.exit_code, "another server" in busy.stderr) == (1, True)
    alone = call("ledger", "rotate-key")
    assert (alone.exit_code, "no further one is configured" in alone.stderr) == (1, True)
    keys.write_text(first + second)
    assert out(call("ledger", "rotate-key")) == "1 sealed entry is under 2 keys now\n"
    again = call("ledger", "rotate-key", "--json")
    assert (again.exit_code, "under 2" in again.stderr) == (1, True)
    unset = on(tmp_path)("ledger", "rotate-key")
    assert (unset.exit_code, "set ledger.sealing_key_file" in unset.stderr) == (3, True)
    with serving(tmp_path, "http://127.0.0.1:1", ready=False, env={"LETHE_LEDGER__SEALING_KEY_FILE": str(keys)}) as run:
        assert run.check("Who lives in box 7?")["rung"] == "instruct"
    assert first.strip() not in call("validate", "--json").stdout
