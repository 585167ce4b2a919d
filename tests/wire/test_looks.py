"""`/admin/v1/check` and `/admin/v1/compare`: requests of every dialect, read as their routes read them."""

import json
from typing import Any

import pytest

from proxy.cli.asked import request_of, text_of
from tests.fakes.vllm_shapes import MODEL, Say
from tests.wire.answers import MESSAGES, RESPONSES
from tests.wire.harness import ANSWER, CHAT, COMPLETIONS, HARMLESS, QUESTION, Lethe, chat_body


async def test_check_explains_a_text(armed: Lethe) -> None:
    reply = (await armed.admin("POST", "/check", {"text": QUESTION})).body
    assert (reply["rung"], reply["ladder"], reply["generation"]) == ("instruct", ["instruct", "refuse"], 2)
    (nearest, *_) = reply["nearest"]
    assert (nearest["set"], nearest["via"], nearest["score"]) == ("art", "embedding", 1.0)
    assert (nearest["threshold"], nearest["margin"]) == (0.75, 0.02)
    assert reply["findings"][0]["verdict"] == "amend"
    assert not armed.engine.seen
    harmless = (await armed.admin("POST", "/check", {"text": HARMLESS})).body
    assert (harmless["rung"], harmless["findings"]) == ("pass", [])


async def test_check_explains_a_request(armed: Lethe) -> None:
    asked = {"request": chat_body("Hello") | {"messages": [{"role": "system", "content": QUESTION}]}}
    assert (await armed.admin("POST", "/check", asked)).body["rung"] == "instruct"
    asked = {"request": {"model": "x", "prompt": QUESTION}, "dialect": "completions"}
    assert (await armed.admin("POST", "/check", asked)).body["rung"] == "instruct"


@pytest.mark.parametrize(
    ("dialect", "request_body"),
    [
        ("chat", {"messages": [{"role": "user", "content": QUESTION}]}),
        ("completions", {"prompt": ["Hello", QUESTION]}),
        ("responses", {"input": "Hello", "instructions": QUESTION}),
        ("messages", {"system": [{"type": "text", "text": QUESTION}], "messages": [{"role": "user", "content": "Hi"}]}),
    ],
)
async def test_check_reads_every_dialect_as_its_route_does(
    armed: Lethe, dialect: str, request_body: dict[str, Any]
) -> None:
    asked = {"request": {"model": MODEL, **request_body}, "dialect": dialect}
    assert (await armed.admin("POST", "/check", asked)).body["rung"] == "instruct"
    harmless = json.loads(json.dumps(asked).replace(QUESTION, HARMLESS))
    assert (await armed.admin("POST", "/check", harmless)).body["rung"] == "pass"
    assert not armed.engine.seen


async def test_check_tells_an_old_question_from_a_new_one_as_the_route_does(armed: Lethe) -> None:
    await armed.admin("PATCH", "/sets/art", {"policy": {"on_match": ["refuse"]}})
    turns = [("user", QUESTION), ("assistant", "I do not know."), ("user", HARMLESS)]
    messages = [{"role": role, "content": text} for role, text in turns]
    for dialect in ("chat", "messages"):
        asked = {"request": {"model": MODEL, "messages": messages}, "dialect": dialect}
        assert (await armed.admin("POST", "/check", asked)).body["rung"] == "instruct"
        asked["request"]["messages"] = messages[:1]
        assert (await armed.admin("POST", "/check", asked)).body["rung"] == "refuse"


async def test_check_and_compare_read_token_ids(armed: Lethe) -> None:
    armed.engine.words = [f"{word} " for word in QUESTION.split()]
    request = {"model": MODEL, "prompt": list(range(len(armed.engine.words)))}
    for path, rung in (("/check", "instruct"), ("/compare", "instruct")):
        body = (await armed.admin("POST", path, {"request": request, "dialect": "completions"})).body
        assert body.get("guarded", body)["rung"] == rung


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": "a", "request": {}},
        {"text": 7},
        {"request": {}},
        {"request": []},
        {"text": "a", "dialect": "x"},
        [],
    ],
)
async def test_wrong_check_is_refused(armed: Lethe, body: Any) -> None:
    reply = await armed.admin("POST", "/check", json.dumps(body).encode())
    assert reply.status == 400
    assert reply.error["message"]


async def test_compare_shows_both_arms(armed: Lethe) -> None:
    armed.engine.answers(Say(ANSWER))
    reply = (await armed.admin("POST", "/compare", {"request": chat_body(QUESTION)})).body
    assert reply["raw"]["answer"]["choices"][0]["message"]["content"] == ANSWER
    assert (reply["raw"]["outcome"], reply["raw"]["rung"], reply["raw"]["findings"]) == ("answered", None, [])
    assert "Solvang" not in json.dumps(reply["guarded"])
    assert (reply["guarded"]["outcome"], reply["guarded"]["rung"]) == ("refused", "refuse")
    assert reply["guarded"]["findings"][0]["best"]["via"] == "embedding"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, MESSAGES])
async def test_compare_asks_in_every_dialect(armed: Lethe, path: str) -> None:
    armed.engine.answers(Say(ANSWER))
    dialect = {CHAT: "chat", COMPLETIONS: "completions", RESPONSES: "responses", MESSAGES: "messages"}[path]
    reply = await armed.admin(
        "POST", "/compare", {"request": request_of(dialect, QUESTION, MODEL, 64), "dialect": dialect}
    )
    assert reply.status == 200, reply.raw
    raw, guarded = reply.body["raw"], reply.body["guarded"]
    assert text_of(dialect, raw["answer"]) == ANSWER
    assert (guarded["outcome"], guarded["rung"]) == ("refused", "refuse")
    assert text_of(dialect, guarded["answer"])
    assert "Solvang" not in json.dumps(guarded)
    assert {seen.path for seen in armed.engine.seen} == {path}


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        chat_body(QUESTION) | {"stream": True},
        chat_body(QUESTION) | {"model": "nothing"},
        chat_body(QUESTION) | {"messages": []},
    ],
)
async def test_wrong_comparison_is_refused(armed: Lethe, request_body: Any) -> None:
    reply = await armed.admin("POST", "/compare", {"request": request_body})
    assert reply.status in (400, 404)
    assert reply.error["message"]
    assert not armed.engine.seen
