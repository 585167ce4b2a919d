"""The audit log and receipts of a running server: complete, without text, verified by the command line."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.audit.chain import RESTORED, problems
from proxy.audit.log import LOG, AuditLog
from proxy.cli.audit import audit
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Say
from tests.wire.harness import ADMIN_KEY, ANSWER, QUESTION, SECRET_WORDS, Lethe, started


async def log_of(lethe: Lethe) -> list[dict[str, Any]]:
    reply = await lethe.admin("GET", "/audit/log")
    assert reply.status == 200
    return [json.loads(line) for line in reply.raw.splitlines()]


async def receipt_of(lethe: Lethe, **body: Any) -> dict[str, Any]:
    reply = await lethe.admin("POST", "/sets/art/receipts", body)
    assert reply.status == 201, reply.raw
    found: dict[str, Any] = reply.body
    return found


async def verified(*args: str | Path) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, audit, ["verify", *map(str, args), "--json"])


async def test_every_change_is_a_record(lethe: Lethe) -> None:
    await lethe.forget()
    [entry] = (await lethe.admin("GET", "/sets/art/entries")).body["data"]
    await lethe.admin("PATCH", f"/sets/art/entries/{entry['id']}", {"state": "observe"})
    await lethe.admin("DELETE", f"/sets/art/entries/{entry['id']}")
    records = await log_of(lethe)
    changes = (await lethe.admin("GET", "/audit")).body["data"]
    assert [(r["generation"], r["action"], r["entry"]) for r in records] == [
        (c["generation"], c["action"], c["entry_id"]) for c in changes
    ]
    assert [r["number"] for r in records] == list(range(1, len(records) + 1))
    key = (await lethe.admin("GET", "/audit/key")).body
    assert (key["number"], key["hash"]) == (len(records), records[-1]["hash"])


async def test_no_text_is_in_log_or_receipt(lethe: Lethe) -> None:
    await lethe.forget(reference="TICKET-7")
    raw = json.dumps([await log_of(lethe), await receipt_of(lethe)])
    assert not any(word in raw for word in (*SECRET_WORDS, QUESTION, ANSWER))
    assert "TICKET-7" in raw


async def test_a_receipt_says_what_is_in_force_since_when(lethe: Lethe, tmp_path: Path) -> None:
    await lethe.forget()
    found = await receipt_of(lethe, evidence={"entries": {}})
    [entry] = found["entries"]
    [added] = [one for one in found["history"] if one["entry"] == entry["id"]]
    assert (entry["state"], entry["in_force_since"], entry["content"]) == ("active", added["at"], added["content"])
    (tmp_path / "receipt.json").write_text(json.dumps(found))
    done = await verified(tmp_path / "receipt.json", "--log", lethe.server.config.state / LOG, "--key", found["key"])
    assert (done.exit_code, json.loads(done.stdout)["whole"]) == (0, True)


async def test_in_force_is_what_is_enforced_as_it_is_now(lethe: Lethe) -> None:
    async def changed(**fields: Any) -> Any:
        assert (await lethe.admin("PATCH", "/sets/art/entries/f", fields)).status == 200
        await lethe.server.audit.follow()  # changes that follow each other at once are told as one
        return (await receipt_of(lethe))["entries"][0]["in_force_since"]

    await lethe.forget(id="f")
    [first] = (await receipt_of(lethe))["entries"]
    since = first["in_force_since"]
    assert await changed(label="another") == since
    assert await changed(raised=1) == since
    assert await changed(state="observe") is None
    again = await changed(state="active")
    assert again > since
    assert await changed(threshold=0.6) > again


async def test_an_entry_of_a_set_that_only_looks_on_is_not_in_force(lethe: Lethe) -> None:
    async def changed(**fields: Any) -> Any:
        assert (await lethe.admin("PATCH", "/sets/art", fields)).status == 200
        await lethe.server.audit.follow()
        return (await receipt_of(lethe))["entries"][0]["in_force_since"]

    await lethe.forget(id="f")
    since = (await receipt_of(lethe))["entries"][0]["in_force_since"]
    assert await changed(label="another") == since
    assert await changed(policy={"on_match": ["refuse"]}) == since  # it acted before, too
    assert await changed(policy={"on_match": ["observe"]}) is None
    again = await changed(policy={"on_match": ["observe", "instruct"]})
    assert again > since
    assert (await receipt_of(lethe))["history"][-1]["at"] == again


async def test_a_receipt_that_can_be_read_in_two_ways_is_none(lethe: Lethe, tmp_path: Path) -> None:
    await lethe.forget(id="f")
    raw = json.dumps(await receipt_of(lethe))
    (tmp_path / "receipt.json").write_text(raw.replace('"entries": [', '"entries": [], "entries": [', 1))
    done = await verified(tmp_path / "receipt.json")
    assert (done.exit_code, "says 'entries' twice" in done.output) == (1, True)


async def test_a_receipt_of_a_set_that_does_not_hold_still_is_refused(
    lethe: Lethe, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lethe.forget(id="f")
    read, labels = lethe.server.audit.records, iter("abcdefgh")

    async def late(set_id: str | None = None) -> list[dict[str, Any]]:
        await lethe.admin("PATCH", "/sets/art/entries/f", {"label": next(labels)})
        return await read(set_id)

    monkeypatch.setattr(lethe.server.audit, "records", late)
    assert (await lethe.admin("POST", "/sets/art/receipts", {})).status == 409
    monkeypatch.undo()
    assert (await lethe.admin("POST", "/sets/art/receipts", {})).status == 201


async def exported(lethe: Lethe, *more: str | Path) -> Result:
    where = ["--url", lethe.url, "--admin-url", lethe.admin_url, "--admin-key", ADMIN_KEY]
    arguments = ["export", "--set", "art", "--probe", *where, *map(str, more)]
    return await asyncio.to_thread(CliRunner().invoke, audit, arguments, env={"LETHE_API_KEY": None})


async def test_a_receipt_holds_what_probes_found_under_both_arms(lethe: Lethe, tmp_path: Path) -> None:
    await lethe.forget(id="f")
    lethe.engine.answers(Say(ANSWER))
    done = await exported(lethe, "--out", tmp_path / "receipt.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "receipt.json").read_text())
    result = found["evidence"]["entries"]["f"]
    assert result["raw"]["probes"] == result["guarded"]["probes"] == len(found["evidence"]["families"])
    assert (result["raw"]["leaks"], result["guarded"]["leaks"]) == (result["raw"]["probes"], 0)
    assert (await verified(tmp_path / "receipt.json")).exit_code == 0
    page = await exported(lethe, "--html")
    assert page.exit_code == 0, page.output
    assert f"{result['raw']['leaks']} of {result['raw']['probes']}" in page.stdout
    assert not any(word in done.output + page.stdout for word in SECRET_WORDS)


async def test_probes_without_an_answer_are_no_evidence(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.attacks.campaign.PAUSE_S", 0)
    await lethe.forget(id="f")
    lethe.engine.answers(status=500, body=b"{}")
    done = await exported(lethe)
    assert done.exit_code == 1
    assert "there is no evidence to sign" in done.stderr


async def test_a_receipt_that_was_changed_is_found(lethe: Lethe, tmp_path: Path) -> None:
    await lethe.forget()
    found = await receipt_of(lethe)
    for name, value in (("made_at", "1999-01-01"), ("entries", []), ("evidence", {}), ("meaning", "erased")):
        (tmp_path / "receipt.json").write_text(json.dumps(found | {name: value}))
        done = await verified(tmp_path / "receipt.json")
        assert done.exit_code == 1, name
    (tmp_path / "receipt.json").write_text(json.dumps(found))
    assert (await verified(tmp_path / "receipt.json", "--key", "A" * 43 + "=")).exit_code == 1


async def test_a_log_that_was_cut_off_or_changed_is_found(lethe: Lethe, tmp_path: Path) -> None:
    await lethe.forget()
    (tmp_path / "receipt.json").write_text(json.dumps(await receipt_of(lethe)))
    lines = (lethe.server.config.state / LOG).read_bytes().splitlines(keepends=True)
    for tampered in (lines[:-1], [lines[0].replace(b"art", b"tra"), *lines[1:]], lines[1:], []):
        (tmp_path / "log").write_bytes(b"".join(tampered))
        done = await verified(tmp_path / "receipt.json", "--log", tmp_path / "log")
        assert done.exit_code == 1, tampered
        assert "Traceback" not in done.output


async def test_the_chain_goes_on_after_a_restart_and_a_crash(engine: FakeVllm, state: Path, tmp_path: Path) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set()
        await lethe.forget()
        first = await log_of(lethe)
    log = state / LOG
    log.write_bytes(log.read_bytes()[:-30])  # the machine stopped while the last record was written
    async with started(engine, state) as lethe:
        again = await log_of(lethe)
        assert [one["hash"] for one in again] == [one["hash"] for one in first]
        await lethe.forget("Who built the lighthouse?", "Tomas Reinholt")
        found = await receipt_of(lethe)
        assert len(await log_of(lethe)) == len(first) + 1
    (tmp_path / "receipt.json").write_text(json.dumps(found))
    assert (await verified(tmp_path / "receipt.json", "--log", log)).exit_code == 0


def ledger_files(state: Path) -> list[Path]:
    return [path for path in state.iterdir() if path.name.startswith("ledger.sqlite3")]


async def test_a_ledger_that_was_restored_is_followed_and_told(engine: FakeVllm, state: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.sqlite3"
    async with started(engine, state) as lethe:
        await lethe.make_set()
        await lethe.forget(id="kept")
        await log_of(lethe)
    shutil.copyfile(state / "ledger.sqlite3", backup)
    async with started(engine, state) as lethe:
        for name in ("one", "two", "three"):
            await lethe.forget(f"Who built the lighthouse {name}?", "Tomas Reinholt", id=name)
        lost = await log_of(lethe)
    for restores in (1, 2):
        for file in ledger_files(state):
            file.unlink()
        shutil.copyfile(backup, state / "ledger.sqlite3")
        async with started(engine, state) as lethe:
            await lethe.forget("Who painted the ferry?", "Anna Brisk", id="later")
            records = await log_of(lethe)
            found = await receipt_of(lethe)
        assert [one["hash"] for one in records[: len(lost)]] == [one["hash"] for one in lost]
        assert [one["action"] for one in records[len(lost) :]] == [RESTORED, "entry.add"] * restores
        assert records[-1]["entry"] == "later"
        assert {one["id"] for one in found["entries"] if one["in_force_since"]} == {"kept", "later"}
    (tmp_path / "receipt.json").write_text(json.dumps(found))
    assert (await verified(tmp_path / "receipt.json", "--log", state / LOG)).exit_code == 0
    async with started(engine, state) as lethe:
        assert await log_of(lethe) == records  # the same ledger again is nothing to tell


async def test_a_new_ledger_beside_an_old_log_is_followed_from_its_beginning(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set()
        await lethe.forget(id="f")
        old = await log_of(lethe)
    for file in ledger_files(state):
        file.unlink()
    async with started(engine, state) as lethe:
        await lethe.make_set()
        new = (await log_of(lethe))[len(old) :]
        changes = (await lethe.admin("GET", "/audit")).body["data"]
    assert [one["action"] for one in new] == [RESTORED, *(change["action"] for change in changes)]


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("damaged", [b"{broken\n", b"[]\n", b'{"number": 1, "hash": "ab", "generation": 1}\n'])
async def test_a_damaged_log_is_found_and_ends_nothing(
    engine: FakeVllm, state: Path, tmp_path: Path, damaged: bytes, place: int
) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set()
        await lethe.forget()
        await log_of(lethe)
    lines = (state / LOG).read_bytes().splitlines(keepends=True)
    lines[place] = damaged
    (state / LOG).write_bytes(b"".join(lines))
    async with started(engine, state) as lethe:
        await lethe.forget("Who built the lighthouse?", "Tomas Reinholt", id="later")
        found = await receipt_of(lethe)
    assert "later" in {one["entry"] for one in found["history"]}
    (tmp_path / "receipt.json").write_text(json.dumps(found))
    assert (await verified(tmp_path / "receipt.json")).exit_code == 0
    assert (await verified(tmp_path / "receipt.json", "--log", state / LOG)).exit_code == 1


async def test_of_two_processes_on_a_folder_one_writes(lethe: Lethe) -> None:
    second = AuditLog(lethe.server.config.state, lethe.server.catalogue)
    try:
        first = lethe.server.audit
        await first.follow()
        await lethe.forget()
        seen, written = await asyncio.gather(second.follow(), first.follow())
        assert seen == written == first.head
        first.close()
        await lethe.forget("Who built the lighthouse?", "Tomas Reinholt")
        after = await second.follow()
        assert after.number == written.number + 1
        assert problems(second.lines(), second.key.public, ends=after) == []
    finally:
        second.close()


async def test_only_admins_get_it(lethe: Lethe) -> None:
    key = (await lethe.admin("POST", "/keys", {"scopes": ["client", "raw"]})).body["key"]
    for method, path in (("GET", "/audit/log"), ("GET", "/audit/key"), ("POST", "/sets/art/receipts")):
        assert (await lethe.admin(method, path, {}, key=key)).status == 403
