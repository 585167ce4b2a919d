"""What every ledger promises about documents and tallies, whatever it stores them in."""

from pathlib import Path
from typing import NoReturn

import pytest

from indexes.ledger.backup import back_up, restore
from indexes.ledger.records import Ledger, Observation, Per, Tally
from indexes.ledger.sql import SqlLedger
from indexes.ledger.sqlite import SqliteLedger
from tests.indexes.ledger.conftest import Opener

KIND, OTHER = "experiments", "assistants"


def put(ledger: Ledger, name: str, body: str, kind: str = KIND) -> int:
    return ledger.change_documents(kind, lambda there: {**there, name: body}, actor="ann", action=f"{kind}.put {name}")


def drop(ledger: Ledger, name: str) -> int:
    def without(there: dict[str, str]) -> dict[str, str]:
        return {key: body for key, body in there.items() if key != name}

    return ledger.change_documents(KIND, without, actor="bob", action=f"{KIND}.drop {name}")


def seen(unit: str | None, arm: str = "guarded", **values: float) -> Observation:
    return Observation(arm, values or {"refused": 1.0}, unit)


def test_documents_are_kept_by_kind_and_name_and_logged(reopen: Opener) -> None:
    ledger = reopen()
    assert ledger.documents() == {}
    assert [put(ledger, "b", '{"ü": 1}'), put(ledger, "a", "1"), put(ledger, "a", "2", OTHER)] == [1, 2, 3]
    assert put(ledger, "a", "3") == 4
    ledger = reopen()
    assert ledger.documents() == {KIND: {"a": "3", "b": '{"ü": 1}'}, OTHER: {"a": "2"}}
    assert drop(ledger, "b") == 5
    assert ledger.documents() == {KIND: {"a": "3"}, OTHER: {"a": "2"}}
    log = [(change.actor, change.action, change.set_id, change.entry_id) for change in ledger.changes(3, 10)]
    assert log == [("ann", f"{KIND}.put a", None, None), ("bob", f"{KIND}.drop b", None, None)]


def test_heads_tell_of_documents(ledger: Ledger) -> None:
    before = ledger.heads()
    put(ledger, "a", "1")
    after = ledger.heads()
    assert (after.generation, after.documents) == (before.generation + 1, before.documents + 1)
    assert after.keys == before.keys


def test_what_changes_nothing_makes_no_generation(ledger: Ledger) -> None:
    put(ledger, "a", "1")
    before = ledger.heads()
    assert put(ledger, "a", "1") == drop(ledger, "never there") == before.generation
    assert ledger.heads() == before


def test_a_change_that_raises_changes_nothing(ledger: Ledger) -> None:
    put(ledger, "a", "1")

    def refuses(there: dict[str, str]) -> NoReturn:
        there.clear()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        ledger.change_documents(KIND, refuses, actor="ann", action="x")
    assert ledger.documents() == {KIND: {"a": "1"}}
    assert put(ledger, "b", "2") == 2


def test_observations_add_up_and_units_count_once(reopen: Opener) -> None:
    ledger = reopen()
    put(ledger, "a", "1")
    put(ledger, "b", "1")
    assert ledger.observe(KIND, "a", [seen("u1"), seen("u1", refused=0.0), seen("u2", "raw", refused=0.25)])
    assert ledger.observe(KIND, "b", [seen("u1")])
    ledger = reopen()
    assert ledger.observe(KIND, "a", [seen("u1"), seen("u3"), seen(None, same=1.0)])
    assert ledger.tallies(KIND, "a") == {
        ("guarded", Per.REQUEST, "refused"): Tally(4, 3.0),
        ("guarded", Per.UNIT, "refused"): Tally(2, 2.0),
        ("raw", Per.REQUEST, "refused"): Tally(1, 0.25),
        ("raw", Per.UNIT, "refused"): Tally(1, 0.25),
        ("guarded", Per.PAIR, "same"): Tally(1, 1.0),
    }
    assert ledger.tallies(KIND, "b")[("guarded", Per.UNIT, "refused")] == Tally(1, 1.0)


def test_many_units_at_once(ledger: Ledger) -> None:
    put(ledger, "a", "1")
    for _ in range(2):
        assert ledger.observe(KIND, "a", [seen(f"u{n % 1200}") for n in range(2400)])
    tallies = ledger.tallies(KIND, "a")
    assert tallies[("guarded", Per.REQUEST, "refused")].n == 4800
    assert tallies[("guarded", Per.UNIT, "refused")].n == 1200


def test_counting_makes_no_generation(ledger: Ledger) -> None:
    put(ledger, "a", "1")
    before = ledger.heads()
    ledger.observe(KIND, "a", [seen("u1")])
    assert ledger.heads() == before


def test_tallies_go_with_their_document(ledger: Ledger) -> None:
    put(ledger, "a", "1")
    ledger.observe(KIND, "a", [seen("u1")])
    drop(ledger, "a")
    assert ledger.tallies(KIND, "a") == {}
    assert not ledger.observe(KIND, "a", [seen("u1")])
    put(ledger, "a", "1")
    assert ledger.tallies(KIND, "a") == {}
    ledger.observe(KIND, "a", [seen("u1")])
    assert ledger.tallies(KIND, "a")[("guarded", Per.UNIT, "refused")].n == 1


def test_a_backup_holds_them(reopen: Opener, tmp_path: Path) -> None:
    ledger = reopen()
    assert isinstance(ledger, SqlLedger)
    put(ledger, "a", "1")
    ledger.observe(KIND, "a", [seen("u1")])
    back_up(ledger, tmp_path / "backup")
    other = SqliteLedger(tmp_path / "other.db")
    try:
        restore(tmp_path / "backup", other)
        assert other.documents() == ledger.documents()
        assert other.tallies(KIND, "a") == ledger.tallies(KIND, "a")
        assert other.heads() == ledger.heads()
    finally:
        other.close()
