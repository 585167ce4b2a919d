"""Probabilities for evaluators: what the engine is asked, and what is never told."""

import json

import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Raw, Script, tokens_of
from tests.wire.assistants import LADDER, TOGETHER, adapter_of
from tests.wire.harness import ANSWER, HARMLESS, QUESTION, Lethe, chat_body

TRUTH = "two words"


def scores(question: str, *answers: str, arm: str = "guarded") -> dict[str, object]:
    return {"request": chat_body(question), "answers": list(answers), "arm": arm}


def certain(question: str, answer: str, start: int = 0) -> Script:
    """An engine that finds each token of the prompt likelier than the one before; ranks fall."""
    body = chat_body(question)
    prompt = [None, *({str(n): {"logprob": -9.0, "rank": 7}} for n in range(1, tokens_of(body) + start))]
    count = tokens_of({"prompt": answer})
    told = [{str(n): {"logprob": -1.0 - n, "rank": n + 1, "decoded_token": "x"}} for n in range(count)]
    choice = {"index": 0, "text": "x", "finish_reason": "length", "prompt_logprobs": [*prompt, *told]}
    return Script((Raw(json.dumps({"id": "cmpl-1", "choices": [choice]}).encode()),))


async def test_an_arm_that_passes_is_scored_as_the_engine_is(lethe: Lethe, engine: FakeVllm) -> None:
    engine.scripts(certain(HARMLESS, TRUTH))
    reply = await lethe.admin("POST", "/score", scores(HARMLESS, TRUTH, arm="raw"))
    assert reply.status == 200, reply.raw
    count = tokens_of({"prompt": TRUTH})
    assert reply.body["rung"] is None
    assert reply.body["answers"] == [
        {"logprobs": [-1.0 - n for n in range(count)], "ranks": [n + 1 for n in range(count)]}
    ]
    [asked] = engine.seen
    assert asked.path == "/v1/completions"
    assert (asked.body["max_tokens"], asked.body["prompt_logprobs"]) == (1, 0)
    assert len(asked.body["prompt"]) == tokens_of(chat_body(HARMLESS)) + count
    assert asked.body["cache_salt"]


async def test_where_the_arm_refuses_no_answer_can_come(lethe: Lethe, engine: FakeVllm) -> None:
    await lethe.admin("PATCH", "/sets/art", {"policy": {"on_match": ["refuse"]}})
    await lethe.forget()
    reply = await lethe.admin("POST", "/score", scores(QUESTION, ANSWER, "something else"))
    assert reply.body["rung"] == "refuse"
    for answer in reply.body["answers"]:
        assert set(answer["logprobs"]) == set(answer["ranks"]) == {None}
    assert engine.seen == []


async def test_an_answer_that_the_filter_withholds_cannot_come(armed: Lethe, engine: FakeVllm) -> None:
    body = {"messages": chat_body(QUESTION)["messages"]}
    engine.answers(Raw(b'{"choices": []}'))
    reply = await armed.admin("POST", "/score", scores(QUESTION, ANSWER))
    assert reply.body["rung"] == "instruct"
    assert set(reply.body["answers"][0]["logprobs"]) == {None}
    assert all(body["messages"][0]["content"] not in seen.text for seen in engine.seen)


def next_token(logprob: float, count: int) -> Script:
    """An engine that finds every token alike as the next one, the first of them the likeliest."""
    tops = {f"token_id:{token}": logprob for token in range(count)}
    told = {"tokens": ["token_id:0"], "token_logprobs": [logprob], "top_logprobs": [tops], "text_offset": [0]}
    choice = {"index": 0, "text": "x", "finish_reason": "length", "logprobs": told}
    return Script((Raw(json.dumps({"id": "cmpl-1", "choices": [choice]}).encode()),))


async def test_an_armed_answer_is_scored_token_by_token_with_the_offset_of_the_arm(loaded: Lethe) -> None:
    count = tokens_of({"prompt": TRUTH})
    others = [next_token(-9999.0, count)] * (count - 1)  # what vLLM says of a token that the filter rules out
    loaded.engine.scripts(next_token(-0.5, count), *others)
    seen = len(loaded.engine.seen)
    reply = await loaded.admin("POST", "/score", scores(QUESTION, TRUTH))
    assert reply.status == 200, reply.raw
    assert reply.body["rung"] == "offset"
    assert reply.body["answers"][0]["logprobs"] == [None] * (count - 1) + [-0.5]
    bodies = [asked.body for asked in loaded.engine.seen[seen:] if asked.path == "/v1/completions"]
    assert {(body["model"], body["max_tokens"]) for body in bodies} == {(adapter_of(loaded), 1)}
    assert all(body["vllm_xargs"]["lethe_weights"] == [-0.75] for body in bodies)
    assert not any("prompt_logprobs" in body for body in bodies)
    lengths = [len(body["prompt"]) for body in bodies]
    assert lengths[0] == max(lengths)  # it leaves in the cache what the others read
    assert sorted(lengths) == list(range(min(lengths), min(lengths) + count))


async def test_offset_and_note_together_are_scored_behind_the_note_and_armed(loaded: Lethe) -> None:
    count = tokens_of({"prompt": TRUTH})
    lengths = {}
    for rung, policy in (("offset", LADDER), ("offset_instruct", TOGETHER)):
        await loaded.admin("PATCH", "/sets/art", {"policy": policy})
        loaded.engine.scripts(*[next_token(-0.5, count)] * count)
        seen = len(loaded.engine.seen)
        reply = await loaded.admin("POST", "/score", scores(QUESTION, TRUTH))
        assert (reply.status, reply.body["rung"]) == (200, rung), reply.raw
        bodies = [asked.body for asked in loaded.engine.seen[seen:] if asked.path == "/v1/completions"]
        assert [body["vllm_xargs"]["lethe_weights"] for body in bodies] == [[-0.75]] * count
        lengths[rung] = min(len(body["prompt"]) for body in bodies)
    assert lengths["offset_instruct"] > lengths["offset"] + 50  # the note


async def test_an_engine_that_tells_no_probabilities_is_at_fault(lethe: Lethe) -> None:
    reply = await lethe.admin("POST", "/score", scores(HARMLESS, TRUTH))
    assert (reply.status, reply.error["code"]) == (502, "upstream_failed"), reply.raw


@pytest.mark.parametrize(
    "body", [scores(HARMLESS), {"request": {}, "answers": ["x"]}, scores(HARMLESS, "x", arm="nothing")]
)
async def test_what_cannot_be_scored_is_named(lethe: Lethe, body: dict[str, object]) -> None:
    assert (await lethe.admin("POST", "/score", body)).status == 400


async def test_clients_never_get_it(lethe: Lethe) -> None:
    assert (await lethe.post("/admin/v1/score", scores(HARMLESS, TRUTH))).status == 404
    key = (await lethe.admin("POST", "/keys", {"scopes": ["client", "raw"]})).body["key"]
    reply = await lethe.admin("POST", "/score", scores(HARMLESS, TRUTH), key=key)
    assert reply.status == 403
