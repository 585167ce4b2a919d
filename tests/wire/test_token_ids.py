"""Prompts as token ids are read as the text that the engine's tokenizer makes of them, and guarded like text."""

from typing import Any

import pytest

from guards.context.note import INSTRUCTION
from proxy.upstream import UpstreamClient
from tests.fakes.vllm_shapes import MODEL, Say
from tests.wire.harness import ANSWER, COMPLETIONS, HARMLESS, QUESTION, SECRET_WORDS, Lethe
from tests.wire.test_keys_and_arms import key_with

STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture
def speaking(armed: Lethe) -> Lethe:
    """An engine whose token 0 to 7 are the words of the question, 8 is harmless, 9 and 10 the answer in two."""
    words = [f"{word} " for word in QUESTION.split()]
    middle = ANSWER.index(" painted")
    armed.engine.words = [*words, *[""] * (8 - len(words)), HARMLESS, ANSWER[:middle], ANSWER[middle:]]
    return armed


ASKED = list(range(len(QUESTION.split())))


@pytest.mark.parametrize("prompt", [ASKED, [ASKED], [[8], ASKED]], ids=["ids", "a list", "two lists"])
async def test_a_forbidden_question_in_ids_is_armed(speaking: Lethe, prompt: Any) -> None:
    reply = await speaking.complete(prompt)
    assert reply.status == 200
    sent = speaking.engine.seen[-1].body["prompt"]
    assert all(text.startswith(INSTRUCTION) for text in sent)
    assert sent[-1].rstrip().endswith(QUESTION)
    assert reply.body["usage"]["prompt_tokens"] < 40  # the note is not counted


@pytest.mark.parametrize("prompt", [[8], [[8], [8]]])
async def test_harmless_ids_reach_the_engine_as_they_came(speaking: Lethe, prompt: Any) -> None:
    reply = await speaking.complete(prompt)
    assert reply.raw == speaking.engine.sent
    assert speaking.engine.seen[-1].body["prompt"] == prompt


async def test_ids_that_are_no_text_are_refused(speaking: Lethe) -> None:
    for prompt in ([5000], [[8], [5000]], [2**31], [-1]):
        reply = await speaking.complete(prompt)
        assert (reply.status, reply.error["param"]) == (400, "prompt")
    reply = await speaking.complete([[8]] * 65)
    assert "at most 64" in reply.error["message"]
    assert not speaking.engine.seen


async def test_an_engine_that_cannot_say_what_ids_mean_gets_none(armed: Lethe) -> None:
    armed.engine.words = []
    reply = await armed.complete([1, 2])
    assert (reply.status, reply.error["param"]) == (400, "prompt")
    assert not armed.engine.seen


@STREAMED_AND_NOT
async def test_an_answer_that_completes_what_the_ids_begin_is_caught(speaking: Lethe, stream: bool) -> None:
    await speaking.make_set("all", policy={"scan_output": "always"})
    speaking.engine.answers(Say(" painted"), Say(" it"), Say(" and left."))
    reply = await speaking.complete([9], stream=stream)
    assert "painted it" not in reply.text()
    assert not any(word in reply.text() for word in SECRET_WORDS)


async def test_embeddings_of_ids_are_read_too(speaking: Lethe) -> None:
    refused = await speaking.post("/v1/embeddings", {"model": "fake-135m", "input": ASKED})
    assert (refused.status, refused.error["code"]) == (400, "content_filter")
    passed = await speaking.post("/v1/embeddings", {"model": "fake-135m", "input": [[8], [8]]})
    assert passed.raw == speaking.engine.sent
    assert speaking.engine.seen[-1].body["input"] == [[8], [8]]


async def test_the_path_is_named(speaking: Lethe) -> None:
    await speaking.complete([8])
    assert speaking.engine.seen[-1].path == COMPLETIONS


@pytest.mark.parametrize(
    ("key", "fields", "status"),
    [
        ("wrong-key-0123456789", {}, 401),
        ("", {"model": f"{MODEL}:raw"}, 403),
        ("", {"model": "nothing"}, 404),
        ("", {"echo": True}, 400),
    ],
)
@pytest.mark.parametrize("path", [COMPLETIONS, "/v1/embeddings"])
async def test_who_may_not_ask_costs_the_engine_nothing(
    speaking: Lethe, monkeypatch: pytest.MonkeyPatch, path: str, key: str, fields: dict[str, Any], status: int
) -> None:
    asked: list[str] = []

    async def ask(_: UpstreamClient, where: str, __: dict[str, Any]) -> Any:
        asked.append(where)

    monkeypatch.setattr(UpstreamClient, "ask", ask)
    field = "prompt" if path == COMPLETIONS else "input"
    client = await key_with(speaking, "client")
    headers = {"Authorization": f"Bearer {key}"} if key else client
    reply = await speaking.post(path, {"model": MODEL, field: [8], **fields}, headers)
    assert reply.status == status
    assert not asked
    assert not speaking.engine.seen
