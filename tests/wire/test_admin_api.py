"""The admin port: forget sets and entries, dry runs, comparisons, keys, and the record of what changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.vllm import FakeVllm
from tests.wire.harness import ADMIN_KEY, ANSWER, QUESTION, Lethe, by_socket, started

ENTRIES = "/sets/art/entries"


# -- sets


async def test_set_lives_through_all_its_calls(lethe: Lethe) -> None:
    policy = {"on_match": ["refuse"], "threshold": 0.9}
    made = await lethe.admin("POST", "/sets", {"id": "b", "label": "B", "policy": policy, "retain": ["a kept text"]})
    assert made.status == 201
    assert made.body == {"id": "b", "label": "B", "policy": policy, "retain": ["a kept text"], "generation": 2}
    shown = made.body | {"generation": None}
    shown.pop("generation")
    assert (await lethe.admin("GET", "/sets/b")).body == shown
    assert [s["id"] for s in (await lethe.admin("GET", "/sets")).body["data"]] == ["art", "b"]
    changed = await lethe.admin("PATCH", "/sets/b", {"label": "C"})
    assert changed.body == shown | {"label": "C", "generation": 3}
    emptied = await lethe.admin("PATCH", "/sets/b", {"retain": [], "policy": {}})
    assert (emptied.body["retain"], emptied.body["policy"]) == ([], {})
    assert (await lethe.admin("DELETE", "/sets/b")).body == {"generation": 5}
    assert (await lethe.admin("GET", "/sets/b")).status == 404


async def test_set_that_exists_is_a_conflict_and_one_that_does_not_is_missing(lethe: Lethe) -> None:
    reply = await lethe.admin("POST", "/sets", {"id": "art"})
    assert (reply.status, reply.error["code"]) == (409, "conflict")
    for method, body in (("PATCH", {"label": "x"}), ("DELETE", None), ("GET", None)):
        reply = await lethe.admin(method, "/sets/nothing", body)
        assert (reply.status, reply.error["code"]) == (404, "not_found")
    for path in ("/sets/nothing/entries", "/sets/nothing/entries:import"):
        assert (await lethe.admin("POST", path, {"question": "a question"})).status == 404
    assert (await lethe.admin("GET", "/sets/nothing/entries")).status == 404


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "'id'"),
        ({"id": "no spaces"}, "'id'"),
        ({"id": ""}, "'id'"),
        ({"id": "x" * 65}, "'id'"),
        ({"id": 7}, "'id'"),
        ({"id": "b", "lable": "x"}, "did you mean 'label'"),
        ({"id": "b", "policy": []}, "'policy'"),
        ({"id": "b", "policy": {"treshold": 0.5}}, "did you mean 'threshold'"),
        ({"id": "b", "policy": {"threshold": 2}}, "'threshold' is a number from 0 to 1"),
        ({"id": "b", "policy": {"on_match": ["refuse", "instruct"]}}, "'on_match' climbs"),
        ({"id": "b", "policy": {"on_match": ["ban"]}}, "'on_match' is one of"),
        ({"id": "b", "retain": "text"}, "'retain'"),
        ({"id": "b", "retain": [""]}, "'retain.0'"),
        ([], ""),
        ("text", ""),
        (None, ""),
    ],
)
async def test_wrong_set_is_refused_by_name(lethe: Lethe, body: Any, says: str) -> None:
    reply = await lethe.admin("POST", "/sets", json.dumps(body).encode())
    assert reply.status == 400
    assert says in reply.error["message"]
    assert len((await lethe.admin("GET", "/sets")).body["data"]) == 1


async def test_policy_of_a_set_holds_from_its_change(armed: Lethe) -> None:
    await armed.chat(QUESTION)
    assert "never read" in armed.engine.seen[-1].text
    await armed.admin("PATCH", "/sets/art", {"policy": {"on_match": ["refuse"]}})
    await armed.chat(QUESTION)
    assert len(armed.engine.seen) == 1
    await armed.admin("PATCH", "/sets/art", {"policy": {"on_match": ["observe"]}})
    assert (await armed.chat(QUESTION)).raw == armed.engine.sent


async def test_retain_example_lets_its_neighbours_pass(armed: Lethe) -> None:
    await armed.admin("PATCH", "/sets/art", {"retain": [QUESTION]})
    assert (await armed.chat(QUESTION)).raw == armed.engine.sent


async def test_removed_set_takes_its_entries_along(armed: Lethe) -> None:
    await armed.admin("DELETE", "/sets/art")
    assert (await armed.chat(QUESTION)).raw == armed.engine.sent
    assert (await armed.admin("GET", "/generations")).body["entries"] == 0


# -- entries


async def test_entry_lives_through_all_its_calls(lethe: Lethe) -> None:
    body = {"id": "e1", "kind": "fact", "question": QUESTION, "answers": [ANSWER], "label": "mural", "reference": "T-1"}
    made = await lethe.admin("POST", ENTRIES, body)
    assert (made.status, made.body) == (201, {"generation": 2, "id": "e1"})
    assert made.headers["Server-Timing"].startswith("embed;dur=")
    entry = (await lethe.admin("GET", f"{ENTRIES}/e1")).body
    assert entry["texts"] == [QUESTION]
    assert entry["answers"] == [ANSWER]
    assert (entry["state"], entry["generation"], entry["set"]) == ("active", 2, "art")
    assert entry["created_by"].startswith("key_")
    changed = await lethe.admin("PATCH", f"{ENTRIES}/e1", {"state": "observe", "label": "wall", "threshold": 0.9})
    assert (changed.body["state"], changed.body["label"], changed.body["generation"]) == ("observe", "wall", 3)
    assert changed.body["texts"] == [QUESTION]
    cleared = await lethe.admin("PATCH", f"{ENTRIES}/e1", {"threshold": None, "label": None, "reference": None})
    assert (cleared.body["threshold"], cleared.body["label"], cleared.body["reference"]) == (None, "wall", "T-1")
    assert (await lethe.admin("DELETE", f"{ENTRIES}/e1")).body == {"generation": 5}
    for method, change in (("GET", None), ("DELETE", None), ("PATCH", {"state": "active"})):
        assert (await lethe.admin(method, f"{ENTRIES}/e1", change)).status == 404


async def test_entry_is_found_only_in_its_own_set(armed: Lethe) -> None:
    await armed.make_set("other")
    entry = (await armed.admin("GET", ENTRIES)).body["data"][0]["id"]
    for method, body in (("GET", None), ("PATCH", {"state": "disabled"}), ("DELETE", None)):
        assert (await armed.admin(method, f"/sets/other/entries/{entry}", body)).status == 404
    assert (await armed.admin("GET", "/generations")).body["entries"] == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "at least one question"),
        ({"kind": "entity"}, "at least one full name"),
        ({"kind": "passage"}, "the passage itself"),
        ({"kind": "topic"}, "a description or examples"),
        ({"kind": "rumour", "question": "x"}, "'kind'"),
        ({"question": ""}, "'question'"),
        ({"question": "   "}, "empty text"),
        ({"question": "a question", "answer": "?!"}, "without a word"),
        ({"question": "a question", "anwser": "x"}, "did you mean 'answer"),
        ({"question": 7}, "'question'"),
        ({"texts": "text"}, "'texts'"),
        ({"texts": [None]}, "'texts.0'"),
        ({"question": "x", "threshold": 0}, "'threshold'"),
        ({"question": "x", "threshold": "high"}, "'threshold'"),
        ({"question": "x", "state": "asleep"}, "'state'"),
        ({"question": "x", "expires_at": "tomorrow"}, "'expires_at'"),
        ({"question": "x", "expires_at": "0001-01-01T00:00:00+14:00"}, "'expires_at'"),
        ({"question": "x", "id": "no/slash"}, "'id'"),
        ({"question": "x", "label": "l" * 201}, "'label'"),
        ({"entries": []}, "'entries'"),
        ({"entries": [{"question": "x"}, {"question": ""}]}, "'entries.1.question'"),
        ({"entries": [{"qestion": "x"}]}, "did you mean 'question'"),
        ({"entries": "x"}, "'entries'"),
        ([], ""),
    ],
)
async def test_wrong_entry_is_refused_by_name_and_without_its_text(lethe: Lethe, body: Any, says: str) -> None:
    reply = await lethe.admin("POST", ENTRIES, json.dumps(body).encode())
    assert reply.status == 400
    assert says in reply.error["message"]
    assert (await lethe.admin("GET", ENTRIES)).body["data"] == []


async def test_wrong_text_is_not_repeated_in_the_error(lethe: Lethe) -> None:
    for wrong in ({"kind": "Solvang", "question": "x"}, {"question": ["Solvang"]}, {"threshold": "Solvang"}):
        assert b"Solvang" not in (await lethe.admin("POST", ENTRIES, wrong)).raw


@pytest.mark.parametrize("change", [{"state": "x"}, {"threshold": 3}, {"texts": ["x"]}, {"expires_at": 1e99}, []])
async def test_wrong_change_is_refused(armed: Lethe, change: Any) -> None:
    entry = (await armed.admin("GET", ENTRIES)).body["data"][0]
    assert (await armed.admin("PATCH", f"{ENTRIES}/{entry['id']}", json.dumps(change).encode())).status == 400
    assert (await armed.admin("GET", f"{ENTRIES}/{entry['id']}")).body == entry


async def test_expiry_without_a_zone_is_utc_in_both_calls(lethe: Lethe) -> None:
    body = {"id": "e", "question": "x y", "expires_at": "2999-01-02T03:04:05"}
    await lethe.admin("POST", ENTRIES, body)
    assert (await lethe.admin("GET", f"{ENTRIES}/e")).body["expires_at"] == "2999-01-02T03:04:05+00:00"
    for given in ("2999-01-02T03:04:06", "2999-01-02T05:04:06+02:00"):
        changed = await lethe.admin("PATCH", f"{ENTRIES}/e", {"expires_at": given})
        assert changed.body["expires_at"] == "2999-01-02T03:04:06+00:00"
    assert (await lethe.admin("PATCH", f"{ENTRIES}/e", {"expires_at": None})).body["expires_at"] is None


async def test_several_entries_are_added_all_or_none(lethe: Lethe) -> None:
    some = [{"id": f"e{i}", "question": f"question {i}"} for i in range(3)]
    made = await lethe.admin("POST", ENTRIES, {"entries": some})
    assert made.body == {"generation": 2, "ids": ["e0", "e1", "e2"]}
    again = [{"id": "e3", "question": "question 3"}, {"id": "e1", "question": "it exists"}]
    reply = await lethe.admin("POST", ENTRIES, {"entries": again})
    assert reply.status == 409
    assert (await lethe.admin("GET", f"{ENTRIES}/e3")).status == 404
    assert (await lethe.admin("GET", "/generations")).body["generation"] == 2
    assert (await lethe.admin("POST", ENTRIES, {"entries": [{"question": "x"}] * 1001})).status == 400


async def test_entries_are_listed_page_by_page(lethe: Lethe) -> None:
    await lethe.admin("POST", ENTRIES, {"entries": [{"id": f"e{i}", "question": f"question {i}"} for i in range(5)]})
    first = (await lethe.admin("GET", f"{ENTRIES}?limit=2")).body
    assert ([e["id"] for e in first["data"]], first["next"]) == (["e0", "e1"], "e1")
    second = (await lethe.admin("GET", f"{ENTRIES}?limit=3&after=e1")).body
    assert [e["id"] for e in second["data"]] == ["e2", "e3", "e4"]
    assert (await lethe.admin("GET", f"{ENTRIES}?after=e4")).body == {"data": [], "next": None}
    for limit in ("0", "1001", "x", "-1", "1e3", "²", ""):
        reply = await lethe.admin("GET", f"{ENTRIES}?limit={limit}")
        assert (reply.status, reply.error["param"]) == (400, "limit")


# -- once


async def test_repeated_request_is_carried_out_once(lethe: Lethe) -> None:
    once = {"Idempotency-Key": "k1"}
    body = {"question": QUESTION}
    replies = [await lethe.admin("POST", ENTRIES, body, once) for _ in range(3)]
    assert len({(reply.status, reply.raw) for reply in replies}) == 1
    assert len((await lethe.admin("GET", ENTRIES)).body["data"]) == 1
    for other in ({"question": "another question"}, {"question": QUESTION, "label": "x"}):
        reply = await lethe.admin("POST", ENTRIES, other, once)
        assert (reply.status, reply.error["code"]) == (409, "conflict")
    assert (await lethe.admin("POST", ENTRIES, body, {"Idempotency-Key": "k2"})).status == 201


async def test_repeated_request_is_known_after_a_restart(engine: FakeVllm, state: Path) -> None:
    once = {"Idempotency-Key": "k1"}
    async with started(engine, state) as lethe:
        await lethe.make_set()
        first = await lethe.admin("POST", ENTRIES, {"question": QUESTION}, once)
    async with started(engine, state) as lethe:
        assert (await lethe.admin("POST", ENTRIES, {"question": QUESTION}, once)).raw == first.raw


async def test_key_of_bytes_that_are_no_text_is_refused(lethe: Lethe) -> None:
    head = f"POST /admin/v1{ENTRIES} HTTP/1.1\r\nAuthorization: Bearer {ADMIN_KEY}\r\n".encode()
    body = json.dumps({"question": QUESTION}).encode()
    reply = await by_socket(lethe.server.ports["admin"], head + b"Idempotency-Key: \xff\r\n", body)
    assert reply.status == 400
    assert "Idempotency-Key" in reply.error["message"]


@pytest.mark.parametrize("key", ["k" * 201, "caf\u00e9"])
async def test_key_that_cannot_be_stored_is_refused(lethe: Lethe, key: str) -> None:
    reply = await lethe.admin("POST", ENTRIES, {"question": QUESTION}, {"Idempotency-Key": key})
    assert reply.status == 400
    assert "Idempotency-Key" in reply.error["message"]


# -- import


def lines(*bodies: Any) -> bytes:
    return b"".join(json.dumps(body).encode() + b"\n" for body in bodies)


async def test_lines_are_imported(lethe: Lethe) -> None:
    body = lines(*({"id": f"e{i:03}", "question": f"question number {i}"} for i in range(600))) + b"\n  \n"
    reply = await lethe.admin("POST", f"{ENTRIES}:import", body)
    assert reply.body == {"added": 600, "generation": 4}
    assert (await lethe.admin("GET", "/generations")).body["entries"] == 600
    assert (await lethe.admin("POST", f"{ENTRIES}:import", b'{"question": "no line end"}')).body["added"] == 1
    assert (await lethe.admin("POST", f"{ENTRIES}:import", b"")).body["added"] == 0


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"{nonsense\n", "not valid JSON"),
        (b"7\n", "line 301"),
        (b'{"question": ""}\n', "'question'"),
        (b'{"kind": "entity"}\n', "at least one full name"),
        (b'{"qestion": "x"}\n', "did you mean 'question'"),
        (b"\xff\n", "not valid JSON"),
    ],
)
async def test_import_stops_at_the_first_bad_line_and_says_which(lethe: Lethe, bad: bytes, says: str) -> None:
    good = [{"id": f"e{i:03}", "question": f"question number {i}"} for i in range(300)]
    reply = await lethe.admin("POST", f"{ENTRIES}:import", lines(*good) + bad + lines({"question": "behind it"}))
    assert reply.status == 400
    assert "line 301" in reply.error["message"]
    assert says in reply.error["message"]
    assert "256 entries before it are in force" in reply.error["message"]
    assert (await lethe.admin("GET", "/generations")).body["entries"] == 256


async def test_import_is_resumed_where_it_stopped(lethe: Lethe) -> None:
    once = {"Idempotency-Key": "import-1"}
    good = [{"question": f"question number {i}"} for i in range(300)]
    broken = await lethe.admin("POST", f"{ENTRIES}:import", lines(*good) + b"{bad\n", once)
    assert broken.status == 400
    for _ in range(2):
        reply = await lethe.admin("POST", f"{ENTRIES}:import", lines(*good, {"question": "the last"}), once)
        assert (reply.status, reply.body["added"]) == (201, 301)
        assert (await lethe.admin("GET", "/generations")).body["entries"] == 301
    other = await lethe.admin("POST", f"{ENTRIES}:import", lines({"question": "something else"}), once)
    assert other.status == 409


async def test_import_of_what_exists_says_what_was_applied(lethe: Lethe) -> None:
    await lethe.admin("POST", ENTRIES, {"id": "e280", "question": "it exists"})
    good = [{"id": f"e{i:03}", "question": f"question number {i}"} for i in range(300)]
    reply = await lethe.admin("POST", f"{ENTRIES}:import", lines(*good))
    assert reply.status == 409
    assert "e280" in reply.error["message"]
    assert "256 entries up to line 256 are in force" in reply.error["message"]


async def test_import_takes_more_than_other_bodies(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, {"limits": {"max_body_mib": 1}}) as lethe:
        await lethe.make_set()
        large = {"question": "word " * 8, "label": "l" * 200, "answers": ["w" * 5000]}
        body = lines(*(large | {"id": f"e{i}"} for i in range(300)))
        assert len(body) > 1024**2
        assert (await lethe.admin("POST", ENTRIES, body)).status == 413
        assert (await lethe.admin("POST", f"{ENTRIES}:import", body)).status == 201
        endless = await lethe.admin("POST", f"{ENTRIES}:import", b"x" * (2 * 1024**2))
        assert endless.status == 413


# -- the log of changes


async def test_audit_says_what_changed_and_who_did_it(armed: Lethe) -> None:
    me = {key["id"] for key in (await armed.admin("GET", "/keys")).body["data"]}
    entry = (await armed.admin("GET", ENTRIES)).body["data"][0]["id"]
    await armed.admin("PATCH", f"{ENTRIES}/{entry}", {"state": "disabled"})
    await armed.admin("DELETE", f"{ENTRIES}/{entry}")
    await armed.admin("DELETE", "/sets/art")
    changes = (await armed.admin("GET", "/audit")).body["data"]
    assert [(change["generation"], change["action"]) for change in changes] == [
        (1, "set.create"),
        (2, "entry.add"),
        (3, "entry.update"),
        (4, "entry.remove"),
        (5, "set.remove"),
    ]
    assert {change["actor"] for change in changes} == me
    assert QUESTION not in json.dumps(changes)
    later = (await armed.admin("GET", "/audit?after=3")).body["data"]
    assert later == changes[3:]
    for after in ("x", "-1", "²", "1.5", "9" * 30, ""):
        reply = await armed.admin("GET", f"/audit?after={after}")
        assert (reply.status, reply.error["param"]) == (400, "after")


async def test_generations_say_what_is_served(armed: Lethe) -> None:
    assert (await armed.admin("GET", "/generations")).body == {
        "generation": 2,
        "members": [{"id": "this", "generation": 2, "seen_s": 0.0, "self": True}],
        "entries": 1,
        "sets": 1,
        "models": ["fake-135m"],
    }


# -- keys


async def test_secret_of_a_key_is_shown_once(lethe: Lethe) -> None:
    made = (await lethe.admin("POST", "/keys", {"scopes": ["client"], "label": "app"})).body
    assert made["key"].startswith("lethe-")
    listed = await lethe.admin("GET", "/keys")
    assert made["key"] not in listed.raw.decode()
    assert ADMIN_KEY not in listed.raw.decode()
    (shown,) = [key for key in listed.body["data"] if key["id"] == made["id"]]
    assert (shown["scopes"], shown["label"]) == (["client"], "app")
    assert set(shown) == {"id", "scopes", "label", "created_at"}


async def test_key_cannot_revoke_itself(lethe: Lethe) -> None:
    (me,) = (await lethe.admin("GET", "/keys")).body["data"]
    assert (await lethe.admin("DELETE", f"/keys/{me['id']}")).status == 400
    assert (await lethe.admin("DELETE", "/keys/key_nothing")).status == 404
    other = (await lethe.admin("POST", "/keys", {"scopes": ["admin"]})).body
    assert (await lethe.admin("DELETE", f"/keys/{me['id']}", key=other["key"])).status == 200
    assert (await lethe.admin("GET", "/keys")).status == 401


@pytest.mark.parametrize(
    "body", [{}, {"scopes": []}, {"scopes": ["root"]}, {"scopes": "client"}, {"scope": ["client"]}]
)
async def test_wrong_key_request_is_refused(lethe: Lethe, body: Any) -> None:
    assert (await lethe.admin("POST", "/keys", body)).error["type"] == "invalid_request_error"
    assert len((await lethe.admin("GET", "/keys")).body["data"]) == 1


async def test_the_api_describes_itself(lethe: Lethe) -> None:
    reply = await lethe.admin("GET", "/openapi.json")
    assert reply.body["openapi"] == "3.1.0"
    assert "post" in reply.body["paths"]["/admin/v1/sets/{set}/entries"]
    assert (await lethe.admin("GET", "/openapi.json", key="wrong")).status == 401
