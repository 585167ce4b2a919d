"""`/v1/embeddings`: a text near the forget set is not embedded; others pass as they are."""

from typing import Any

import pytest

from tests.fakes.vllm_shapes import MODEL
from tests.wire.harness import ADMIN, HARMLESS, QUESTION, Lethe, Reply

PATH = "/v1/embeddings"


async def embed(lethe: Lethe, given: Any, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    return await lethe.post(PATH, {"model": MODEL, "input": given, **fields}, headers)


@pytest.mark.parametrize("given", [HARMLESS, [HARMLESS, "Hello"]])
async def test_texts_pass_and_vectors_come_as_they_are(armed: Lethe, given: Any) -> None:
    reply = await embed(armed, given, dimensions=2, encoding_format="float", user="me", cache_salt="x", priority=1)
    assert reply.raw == armed.engine.sent
    assert armed.engine.seen[-1].body == {
        "model": MODEL,
        "input": given,
        "dimensions": 2,
        "encoding_format": "float",
        "user": "me",
    }
    assert await armed.metric("lethe_requests_total", dialect="embeddings", outcome="answered") == 1


@pytest.mark.parametrize("given", [QUESTION, [HARMLESS, QUESTION], f"Tell me please. {QUESTION} Thanks."])
async def test_a_text_near_the_forget_set_is_not_embedded(armed: Lethe, given: Any) -> None:
    reply = await embed(armed, given)
    assert reply.status == 400
    assert (reply.error["code"], reply.error["param"]) == ("content_filter", "input")
    assert not armed.engine.seen
    assert await armed.metric("lethe_requests_total", dialect="embeddings", outcome="refused") == 1


async def test_an_entry_that_only_observes_refuses_nothing(lethe: Lethe) -> None:
    await lethe.make_set("seen", policy={"on_match": ["observe"]})
    await lethe.forget(to="seen")
    assert (await embed(lethe, QUESTION)).status == 200


async def test_the_raw_arm_is_a_matter_of_scope(armed: Lethe) -> None:
    assert (await armed.post(PATH, {"model": f"{MODEL}:raw", "input": QUESTION})).status == 403
    reply = await armed.post(PATH, {"model": f"{MODEL}:raw", "input": QUESTION}, ADMIN)
    assert reply.raw == armed.engine.sent


@pytest.mark.parametrize("given", [None, 5, {}, [], [None], ["a", 5], [[]], [["a"]], [True]])
async def test_what_is_no_input_is_named(armed: Lethe, given: Any) -> None:
    reply = await embed(armed, given)
    assert (reply.status, reply.error["param"]) == (400, "input")
    assert not armed.engine.seen


@pytest.mark.parametrize(
    "field", [{"truncate_prompt_tokens": 3}, {"messages": [{"role": "user", "content": "x"}]}, {"unheard": 1}]
)
async def test_what_cannot_be_guarded_is_refused_by_name(armed: Lethe, field: dict[str, Any]) -> None:
    reply = await embed(armed, HARMLESS, **field)
    assert (reply.status, reply.error["param"]) == (400, next(iter(field)))


async def test_an_engine_without_embeddings_says_so_clearly(armed: Lethe) -> None:
    armed.engine.embeds = False
    reply = await embed(armed, HARMLESS)
    assert (reply.status, reply.error["code"]) == (404, "embeddings_not_served")


async def test_a_guard_that_fails_closes(armed: Lethe) -> None:
    armed.embedder.fails = RuntimeError("broken")
    reply = await embed(armed, "A text that was not seen before")
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert not armed.engine.seen


async def test_number_of_inputs_is_bounded(armed: Lethe) -> None:
    assert "at most 2048" in (await embed(armed, ["a"] * 2049)).error["message"]
