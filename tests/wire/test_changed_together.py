"""Several change one thing at once: what each was told is changed stays changed."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from indexes.entries import Entry, State
from indexes.ledger.sqlite import SqliteLedger
from tests.wire.harness import QUESTION, Lethe

ENTRY, SET = "/sets/art/entries/e1", "/sets/art"


@pytest.fixture
async def one(lethe: Lethe) -> Lethe:
    assert (await lethe.admin("POST", "/sets/art/entries", {"id": "e1", "question": QUESTION})).status == 201
    return lethe


async def test_changes_of_an_entry(one: Lethe) -> None:
    changes = [{"label": "wall"}, {"threshold": 0.9}, {"reference": "T-1"}, {"state": "observe"}]
    replies = await asyncio.gather(*(one.admin("PATCH", ENTRY, change) for change in changes))
    assert sorted(reply.body["generation"] for reply in replies) == [3, 4, 5, 6]
    kept = (await one.admin("GET", ENTRY)).body
    assert all(kept[name] == value for change in changes for name, value in change.items())


async def test_changes_of_a_set(one: Lethe) -> None:
    changes = [{"label": "wall"}, {"retain": ["Who built the harbour?"]}, {"policy": {"threshold": 0.9}}]
    replies = await asyncio.gather(*(one.admin("PATCH", SET, change) for change in changes))
    assert sorted(reply.body["generation"] for reply in replies) == [3, 4, 5]
    kept = (await one.admin("GET", SET)).body
    assert all(kept[name] == value for change in changes for name, value in change.items())
    assert one.server.catalogue.current.sets["art"].policy == {"threshold": 0.9}


async def test_a_change_that_changes_nothing_is_none(one: Lethe) -> None:
    reply = await one.admin("PATCH", ENTRY, {"state": "active"})
    assert (reply.status, reply.body["generation"]) == (200, 2)
    assert (await one.admin("GET", "/generations")).body["generation"] == 2


async def test_an_expiry_that_was_put_off_when_it_was_due(one: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    await one.admin("PATCH", ENTRY, {"expires_at": (now + timedelta(seconds=1)).isoformat()})
    later, due = now + timedelta(days=1), SqliteLedger.due

    def put_off(ledger: SqliteLedger, moment: datetime) -> list[Entry]:
        found = due(ledger, moment)
        ledger.change_entry("art", "e1", lambda entry: replace(entry, expires_at=later), actor="another process")
        return found

    monkeypatch.setattr(SqliteLedger, "due", put_off)
    assert await one.server.catalogue.changes.expire(now + timedelta(seconds=2)) == 0
    kept = await one.server.catalogue.entry("art", "e1")
    assert (kept.state, kept.expires_at) == (State.ACTIVE, later)
