"""What a watch reports: metrics, and a rung higher for what leaked."""

import asyncio
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli.main import main
from tests.fakes.vllm_shapes import Say
from tests.wire.harness import ADMIN_KEY, QUESTION, Lethe


async def reported(lethe: Lethe, leaks: int, entry: str = "f") -> dict[str, Any]:
    reply = await lethe.admin("POST", "/sets/art/watch", {"probed": [{"entry": entry, "probes": 5, "leaks": leaks}]})
    assert reply.status == 200, reply.raw
    body: dict[str, Any] = reply.body
    return body


async def rung(lethe: Lethe) -> str:
    return str((await lethe.admin("POST", "/check", {"text": QUESTION})).body["rung"])


async def test_an_entry_that_leaks_begins_a_rung_higher(lethe: Lethe) -> None:
    await lethe.forget(id="f")
    assert await rung(lethe) == "instruct"
    assert (await reported(lethe, 0))["leaked"] == []
    assert await rung(lethe) == "instruct"
    assert (await reported(lethe, 2))["leaked"] == [{"entry": "f", "leaks": 2, "raised": True, "rung": "refuse"}]
    assert await rung(lethe) == "refuse"
    assert (await reported(lethe, 1))["leaked"] == [{"entry": "f", "leaks": 1, "raised": False, "rung": "refuse"}]
    assert (await lethe.admin("GET", "/sets/art/entries/f")).body["raised"] == 1
    assert await lethe.metric("lethe_watch_probes_total") == 15
    assert await lethe.metric("lethe_watch_leaks_total") == 3
    assert await lethe.metric("lethe_watch_raised_total") == 1
    assert await lethe.metric("lethe_watch_leaking") == 1
    assert await lethe.metric("lethe_watch_last_timestamp_seconds") > 0


async def test_an_admin_lowers_it_again(lethe: Lethe) -> None:
    await lethe.forget(id="f")
    await reported(lethe, 1)
    assert (await lethe.admin("PATCH", "/sets/art/entries/f", {"raised": 0})).status == 200
    assert await rung(lethe) == "instruct"
    assert (await lethe.admin("PATCH", "/sets/art/entries/f", {"raised": 9})).status == 400


async def test_an_entry_in_a_set_that_only_looks_on_is_reported_and_not_enforced(lethe: Lethe) -> None:
    await lethe.admin("PATCH", "/sets/art", {"policy": {"on_match": ["observe"]}})
    await lethe.forget(id="f")
    await reported(lethe, 1)
    assert await rung(lethe) == "pass"


async def test_what_was_removed_meanwhile_is_passed_over(lethe: Lethe) -> None:
    assert (await reported(lethe, 1, "gone"))["leaked"] == []
    assert await lethe.metric("lethe_watch_leaks_total") == 1


async def test_parts_of_a_round_are_counted_together(lethe: Lethe) -> None:
    leaking = {"probed": [{"entry": "f", "probes": 1, "leaks": 1}]}
    clean = {"probed": [{"entry": "g", "probes": 1, "leaks": 0}]}
    for body in ({**leaking, "round": "one"}, {**clean, "round": "one"}):
        assert (await lethe.admin("POST", "/sets/art/watch", body)).status == 200
    assert await lethe.metric("lethe_watch_leaking") == 1
    assert (await lethe.admin("POST", "/sets/art/watch", {**clean, "round": "two"})).status == 200
    assert await lethe.metric("lethe_watch_leaking") == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/sets/none/watch", {"probed": []}, 404),
        ("/sets/art/watch", {"probed": [{"entry": "f", "probes": -1, "leaks": 0}]}, 400),
        ("/sets/art/watch", {"probes": []}, 400),
        ("/sets/art/watch", b"{", 400),
    ],
)
async def test_wrong_reports_are_told(lethe: Lethe, path: str, body: Any, status: int) -> None:
    assert (await lethe.admin("POST", path, body)).status == status


# -- the command

BORN = "Where was Ilse Varga born?"


async def watched(lethe: Lethe, *more: str) -> Result:
    """One round of `lethe watch`."""
    where = ["--url", lethe.url, "--admin-url", lethe.admin_url]
    arguments = ["watch", "--set", "art", "--once", *where, *more]
    env = {"LETHE_ADMIN_KEY": ADMIN_KEY, "LETHE_API_KEY": None}
    return await asyncio.to_thread(CliRunner().invoke, main, arguments, env=env)


async def test_a_round_finds_what_the_guards_let_through(lethe: Lethe) -> None:
    await lethe.forget(BORN, "Klagenfurt", id="f")
    # An acrostic: the judge reads the first letters of lines, the filters do not.
    lethe.engine.answers(
        Say("\n".join(["Kind", "lakes", "and", "green", "elms", "near", "fields", "under", "red", "tiles"]))
    )
    result = await watched(lethe, "--json")
    assert result.exit_code == 1, result.output
    figures = json.loads(result.stdout)
    assert figures["entries"] == 1
    assert figures["leaked"][0]["entry"] == "f"
    assert figures["leaked"][0]["raised"]
    assert await lethe.metric("lethe_watch_raised_total") == 1
    again = await watched(lethe)  # the next rung refuses
    assert again.exit_code == 0, again.output
    assert "0 entries leaked" in again.stdout
    assert await lethe.metric("lethe_watch_leaking") == 0


async def test_a_round_of_many_entries_is_told_as_one(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cli.watch.BATCH", 1)
    await lethe.forget(BORN, "Klagenfurt", id="f")
    await lethe.forget("Who built the lighthouse of Orlamar?", "Tomas Reinholt", id="g")
    lethe.engine.answers(
        Say("\n".join(["Kind", "lakes", "and", "green", "elms", "near", "fields", "under", "red", "tiles"]))
    )
    result = await watched(lethe, "--families", "direct", "--json")
    assert [one["entry"] for one in json.loads(result.stdout)["leaked"]] == ["f"]
    assert await lethe.metric("lethe_watch_leaking") == 1


async def test_probes_without_an_answer_are_no_proof(lethe: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.attacks.campaign.PAUSE_S", 0)
    await lethe.forget(BORN, "Klagenfurt", id="f")
    wrong = await watched(lethe, "--model", "typo")
    assert wrong.exit_code == 1
    assert "'typo' is not served" in wrong.stderr
    lethe.engine.answers(status=500, body=b"{}")
    down = await watched(lethe)
    assert down.exit_code == 1
    assert "none of 4 probes had an answer (status 502)" in down.stderr  # one word cannot be begun
    assert await lethe.metric("lethe_watch_probes_total") == 0


async def test_what_cannot_be_watched_is_told(lethe: Lethe) -> None:
    assert (await watched(lethe)).exit_code == 5  # no entry to probe
    assert (await watched(lethe, "--families", "magic")).exit_code == 2
    result = await watched(lethe, "--every", "soon")
    assert result.exit_code == 2
    assert "not a span of time such as 30m" in result.stderr
