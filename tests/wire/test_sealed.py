"""Sealed entries hold like clear ones, and no file that the server or its database writes shows what they say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from indexes.ledger.opening import open_ledger
from indexes.ledger.records import LedgerError
from indexes.ledger.sealing import lay_over
from indexes.ledger.sql import SqlLedger
from indexes.sealed.keys import SealingKeys
from proxy.config import ConfigError
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Say
from tests.postgresql import PostgresServer
from tests.wire.harness import Lethe, started

KEY, SECOND = "k" * 64, "second-key-" * 4
ENTRIES: tuple[dict[str, Any], ...] = (
    {"question": "Who restored the Zwillingsorgel of Quermbach?", "answer": "Aurelia Wintzingerode did it"},
    {"kind": "entity", "names": ["Thaddeus Okonkwo-Brandt"], "answers": ["lives on Fuchsienallee"]},
    {"kind": "passage", "texts": ["The copper heron stood knee deep in the Ybbs and waited for the ferryman's lamp."]},
)
TRACES = ("zwillingsorgel", "quermbach", "aurelia", "wintzinger", "thaddeus", "okonkwo", "fuchsien", "heron", "ybbs")
ASKED = ("Who restored the Zwillingsorgel of Quermbach?", "What is Thaddeus Okonkwo-Brandt known for?")


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The `ledger` section of a configuration."""
    if request.param == "sqlite":
        return {"sealing_key": KEY}
    postgres: PostgresServer = request.getfixturevalue("postgres")
    return {"sealing_key": KEY, "url": postgres.fresh("sealed")}


@pytest.fixture
def files(ledger: dict[str, Any], state: Path, request: pytest.FixtureRequest) -> Any:
    """All bytes that are stored now."""

    def read() -> Iterator[tuple[Path, bytes]]:
        folders = [state]
        if "url" in ledger:
            postgres: PostgresServer = request.getfixturevalue("postgres")
            folders.append(postgres.folder)
            with psycopg.connect(postgres.url(), autocommit=True) as db:
                db.execute("CHECKPOINT")
        for folder in folders:
            for path in folder.rglob("*"):
                if path.is_file():
                    yield path, path.read_bytes()

    return read


async def with_entries(lethe: Lethe, **more: Any) -> list[str]:
    await lethe.make_set(policy={"scan_output": "always"})
    ids = []
    for number, body in enumerate(ENTRIES):
        reply = await lethe.admin("POST", "/sets/art/entries", body | more, {"Idempotency-Key": f"k{number}"})
        assert reply.status == 201, reply.raw
        ids.append(reply.body["id"])
    return ids


async def rung(lethe: Lethe, text: str) -> str:
    return str((await lethe.admin("POST", "/check", {"text": text})).body["rung"])


async def holds(lethe: Lethe) -> None:
    for question in ASKED:
        assert await rung(lethe, question) == "instruct"
    assert await rung(lethe, "How many days are there in a week?") == "pass"
    for said in ("They say Aurelia Wintzingerode did it alone.", "stood knee deep in the Ybbs and waited for the boat"):
        lethe.engine.answers(Say(said))
        assert said.split()[2] not in (await lethe.chat()).text()
    lethe.engine.answers(Say("Nothing of that kind."))
    assert (await lethe.chat()).text() == "Nothing of that kind."


async def test_no_file_shows_what_is_sealed(
    engine: FakeVllm, state: Path, ledger: dict[str, Any], files: Any, log: list[dict[str, Any]]
) -> None:
    async with started(engine, state, {"ledger": ledger | {"snapshot_every": 1}}) as lethe:
        await with_entries(lethe, storage="sealed")
        await holds(lethe)
        while_it_runs = list(files())
    after_it = list(files())
    assert any(path.is_relative_to(state / "snapshots") for path, _ in after_it)
    for path, content in (*while_it_runs, *after_it):
        low = content.lower()
        shown = [trace for trace in TRACES for way in ("utf-8", "utf-16-le") if trace.encode(way) in low]
        assert not shown, (path, shown)
        assert KEY.encode() not in content
    assert sum(len(content) for _, content in after_it) > 10_000
    assert not [trace for trace in TRACES if trace in str(log).lower()]


async def test_the_same_search_finds_what_is_clear(
    engine: FakeVllm, state: Path, ledger: dict[str, Any], files: Any
) -> None:
    async with started(engine, state, {"ledger": ledger}) as lethe:
        await with_entries(lethe)
        content = b"".join(content.lower() for _, content in files())
    assert all(trace.encode() in content for trace in TRACES)


async def test_a_restart_needs_keys_and_no_text(engine: FakeVllm, state: Path, ledger: dict[str, Any]) -> None:
    for snapshots in (1, 0):  # with the index in files, and without
        async with started(engine, state, {"ledger": ledger | {"snapshot_every": snapshots}}) as lethe:
            if snapshots:
                await with_entries(lethe, storage="sealed")
    for snapshots in (1, 0):
        async with started(engine, state, {"ledger": ledger | {"snapshot_every": snapshots}}) as lethe:
            assert lethe.embedder.calls == 0
            await holds(lethe)
    without = {name: value for name, value in ledger.items() if name != "sealing_key"}
    for wrong, said in ((without, "set ledger.sealing_key_file"), (ledger | {"sealing_key": SECOND}, "are not those")):
        with pytest.raises(LedgerError, match=said):
            async with started(engine, state, {"ledger": wrong}):
                pass


async def test_a_further_key_is_laid_over_everything(
    engine: FakeVllm, state: Path, ledger: dict[str, Any], files: Any
) -> None:
    async with started(engine, state, {"ledger": ledger}) as lethe:
        await with_entries(lethe, storage="sealed")
    both = ledger | {"sealing_key": f"{KEY},{SECOND}"}
    async with started(engine, state, {"ledger": both}) as lethe:  # it is not in force before it is laid over
        await holds(lethe)

    opened = open_ledger(state / "ledger.sqlite3", ledger.get("url"))
    assert isinstance(opened, SqlLedger)
    before = [content for _, content, _ in opened.sealed_rows("", 10)]
    with pytest.raises(LedgerError, match="no further one is configured"):
        lay_over(opened, SealingKeys([KEY]))
    with pytest.raises(LedgerError, match="oldest first"):
        lay_over(opened, SealingKeys([SECOND, KEY]))
    assert [content for _, content, _ in opened.sealed_rows("", 10)] == before
    assert lay_over(opened, SealingKeys([KEY, SECOND])) == len(ENTRIES)
    with pytest.raises(LedgerError, match="no further one"):
        lay_over(opened, SealingKeys([KEY, SECOND]))
    after = [content for _, content, _ in opened.sealed_rows("", 10)]
    if "url" not in ledger:  # PostgreSQL keeps former rows until it vacuums
        stored = b"".join(content for path, content in files() if "ledger" in path.name)
        assert all(part[-64:] in stored for part in after)
        assert not any(part[-64:] in stored for part in before)
    opened.close()

    async with started(engine, state, {"ledger": both}) as lethe:
        assert lethe.embedder.calls == 0
        await holds(lethe)
        again = await lethe.admin("POST", "/sets/art/entries", ENTRIES[0] | {"storage": "sealed"})
        assert again.status == 201
    with pytest.raises(LedgerError, match="are not those of the ledger, which is under 2"):
        async with started(engine, state, {"ledger": ledger}):
            pass


async def test_what_an_admin_sees_and_changes_of_it(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, {"ledger": {"sealing_key": KEY, "storage": "sealed"}}) as lethe:
        fact, person, _ = await with_entries(lethe)  # sealed, for that is the default here
        shown = (await lethe.admin("GET", f"/sets/art/entries/{fact}")).body
        assert (shown["storage"], shown["texts"], shown["answers"]) == ("sealed", [], [])
        assert shown["holds"] == {"texts": 1, "names": 0, "answers": 1}
        changed = await lethe.admin("PATCH", f"/sets/art/entries/{fact}", {"state": "disabled", "label": "case 7"})
        assert changed.status == 200
        assert await rung(lethe, ASKED[0]) == "pass"
        await lethe.admin("PATCH", f"/sets/art/entries/{fact}", {"state": "active"})
        assert await rung(lethe, ASKED[0]) == "instruct"
        await lethe.admin("DELETE", f"/sets/art/entries/{person}")
        assert await rung(lethe, ASKED[1]) == "pass"
        clear = await lethe.admin("POST", "/sets/art/entries", {"question": "Is this clear?", "storage": "clear"})
        shown = (await lethe.admin("GET", f"/sets/art/entries/{clear.body['id']}")).body
        assert (shown["storage"], shown["texts"]) == ("clear", ["Is this clear?"])


async def test_a_repeated_request_is_known_without_its_text(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, {"ledger": {"sealing_key": KEY}}) as lethe:
        await lethe.make_set()
        once, body = {"Idempotency-Key": "k"}, ENTRIES[0] | {"storage": "sealed"}
        first = await lethe.admin("POST", "/sets/art/entries", body, once)
        assert (await lethe.admin("POST", "/sets/art/entries", body, once)).body == first.body
        assert (await lethe.admin("POST", "/sets/art/entries", ENTRIES[1], once)).status == 409


async def test_sealing_without_keys_is_refused(lethe: Lethe) -> None:
    reply = await lethe.admin("POST", "/sets/art/entries", ENTRIES[0] | {"storage": "sealed"})
    assert reply.status == 400
    assert "ledger.sealing_key_file" in reply.error["message"]
    assert (await lethe.admin("GET", "/generations")).body["generation"] == 1


@pytest.mark.parametrize("keys", ["short", "", f"{KEY},{KEY}"])
async def test_keys_that_cannot_be_used_stop_the_start(engine: FakeVllm, state: Path, keys: str) -> None:
    with pytest.raises(ConfigError) as refused:
        async with started(engine, state, {"ledger": {"sealing_key": keys}}):
            pass
    assert "kkk" not in str(refused.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        async with started(engine, state, {"ledger": {"sealing_key_file": str(state / "missing")}}):
            pass
