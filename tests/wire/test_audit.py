"""The audit log and receipts of a running server: complete, without text, verified by the command line."""

import asyncio
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from proxy.audit.chain import problems
from proxy.audit.log import LOG, AuditLog
from proxy.cli.audit import audit
from tests.fakes.vllm import FakeVllm
from tests.wire.harness import ANSWER, QUESTION, SECRET_WORDS, Lethe, started


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
