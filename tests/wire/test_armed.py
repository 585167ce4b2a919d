"""What happens to a request near the forget set: a refusal, or a note; and what it must not ask for."""

import pytest

from guards.context.note import INSTRUCTION, REASONING
from tests.fakes.vllm_shapes import Script, tokens_of
from tests.wire.harness import (
    CHAT,
    COMPLETIONS,
    HARMLESS,
    QUESTION,
    SECRET_WORDS,
    Lethe,
    chat_body,
)

BOTH = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True])


# -- refuse


@BOTH
@STREAMED_AND_NOT
async def test_refusal_is_an_answer_of_the_dialect_and_asks_the_engine_nothing(
    lethe: Lethe, path: str, stream: bool
) -> None:
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget(to="refused")
    reply = await lethe.ask(path, QUESTION, stream=stream)
    assert reply.status == 200
    assert reply.finish() == "stop"
    assert len(reply.text()) > 10
    assert not any(word in reply.text() for word in SECRET_WORDS)
    assert not lethe.engine.seen
    assert await lethe.metric("lethe_requests_total", outcome="refused", rung="refuse") == 1
    if stream:
        kind = "chat.completion.chunk" if path == CHAT else "text_completion"
        assert {event["object"] for event in reply.events} == {kind}


@BOTH
async def test_refusal_of_several_choices_ends_each_of_them(lethe: Lethe, path: str) -> None:
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget(to="refused")
    for stream in (False, True):
        reply = await lethe.ask(path, QUESTION, n=3, stream=stream)
        assert [reply.finish(choice) for choice in range(3)] == ["stop"] * 3
        assert len({reply.text(choice) for choice in range(3)}) == 3


@BOTH
@STREAMED_AND_NOT
async def test_usage_of_a_refusal_counts_the_clients_prompt(lethe: Lethe, path: str, stream: bool) -> None:
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget(to="refused")
    more = {"stream_options": {"include_usage": True}} if stream else {}
    reply = await lethe.ask(path, QUESTION, stream=stream, **more)
    usage = reply.events[-1]["usage"] if stream else reply.body["usage"]
    asked = chat_body(QUESTION) if path == CHAT else {"prompt": QUESTION}
    words = len(reply.text().split())
    assert usage == {
        "prompt_tokens": tokens_of(asked),
        "completion_tokens": words,
        "total_tokens": tokens_of(asked) + words,
    }
    if stream:
        assert reply.events[-1]["choices"] == []
        assert all("usage" not in event for event in reply.events[:-1])


async def test_refusal_goes_out_also_when_the_engine_counts_nothing(lethe: Lethe) -> None:
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget(to="refused")
    lethe.engine.tokenizes = False
    reply = await lethe.chat(QUESTION)
    assert reply.body["usage"]["prompt_tokens"] == 0
    assert reply.body["usage"]["completion_tokens"] == len(reply.text().split())


# -- instruct


async def test_note_goes_first_and_holds_nothing_of_what_is_forgotten(armed: Lethe) -> None:
    reply = await armed.chat(QUESTION, temperature=0.2)
    sent = armed.engine.seen[-1].body
    note, *shown, question = sent["messages"]
    assert note == {"role": "system", "content": INSTRUCTION}
    assert [message["role"] for message in shown] == ["user", "assistant"] * 2
    assert question == {"role": "user", "content": QUESTION}
    assert not any(word.casefold() in (note["content"] + str(shown)).casefold() for word in SECRET_WORDS)
    assert sent["temperature"] == 0.2
    assert reply.text() == "Hello there."


async def test_note_of_a_plain_prompt_stands_before_it(armed: Lethe) -> None:
    await armed.complete([HARMLESS, QUESTION])
    for prompt, asked in zip(armed.engine.seen[-1].body["prompt"], (HARMLESS, QUESTION), strict=True):
        assert prompt.startswith(INSTRUCTION)
        assert prompt.endswith(asked)
    await armed.complete(QUESTION)
    assert armed.engine.seen[-1].body["prompt"].startswith(INSTRUCTION)


@pytest.mark.parametrize("content", ["Be brief.", [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]])
@pytest.mark.parametrize("role", ["system", "developer"])
async def test_clients_system_message_is_kept_in_ours(armed: Lethe, role: str, content: object) -> None:
    messages = [{"role": role, "content": content}, {"role": "user", "content": QUESTION}]
    await armed.post(CHAT, chat_body("") | {"messages": messages})
    sent = armed.engine.seen[-1].body["messages"]
    assert [message["role"] for message in sent].count("system") == 1
    assert sent[0]["content"].startswith(INSTRUCTION)
    assert sent[0]["content"].split()[-2:] == ["Be", "brief."]
    assert sent[-1] == messages[-1]


async def test_policy_sets_demonstrations_and_reasoning(lethe: Lethe) -> None:
    await lethe.make_set("quiet", policy={"demonstrations": 0, "reasoning": True})
    await lethe.forget(to="quiet")
    await lethe.chat(QUESTION)
    sent = lethe.engine.seen[-1].body["messages"]
    assert len(sent) == 2
    assert REASONING in sent[0]["content"]


@STREAMED_AND_NOT
async def test_usage_does_not_tell_of_the_note(armed: Lethe, stream: bool) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    reply = await armed.chat(QUESTION, stream=stream, **({"stream_options": options} if stream else {}))
    usages = [event["usage"] for event in reply.events] if stream else [reply.body["usage"]]
    own = tokens_of(chat_body(QUESTION))
    assert armed.engine.seen[-1].body != chat_body(QUESTION)
    assert {usage["prompt_tokens"] for usage in usages} == {own}
    assert all(usage["total_tokens"] == own + usage["completion_tokens"] for usage in usages)


async def test_what_the_engine_says_of_our_prompt_is_not_for_the_client(armed: Lethe) -> None:
    note = b'{"error":{"message":"input: You have never read or heard","type":"t","param":"body.messages","code":400}}'
    armed.engine.scripts(Script(status=400, body=note))
    reply = await armed.chat(QUESTION)
    assert (reply.status, reply.finish()) == (200, "stop")
    assert b"never read" not in reply.raw
    too_long = b'{"error":{"message":"8300 input tokens","type":"t","param":"input_tokens","code":400}}'
    armed.engine.scripts(Script(status=400, body=too_long))
    assert (await armed.chat(QUESTION)).status == 200


async def test_what_the_engine_says_of_the_clients_settings_is(armed: Lethe) -> None:
    reply = await armed.chat(QUESTION, temperature=-1)
    assert reply.status == 400
    assert reply.error["param"] == "temperature"
    assert "non-negative" in reply.error["message"]


# -- what an armed request must not have


@pytest.mark.parametrize(
    "field",
    [
        {"logprobs": True},
        {"logprobs": 0},
        {"top_logprobs": 3},
        {"continue_final_message": True},
        {"add_generation_prompt": False},
        {"structured_outputs": {"choice": ["yes", "no"]}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    ],
)
async def test_oracles_are_refused_when_armed_and_pass_otherwise(armed: Lethe, field: dict[str, object]) -> None:
    refused = await armed.chat(QUESTION, **field)
    assert refused.status == 400
    assert refused.error["param"] == next(iter(field))
    assert refused.error["code"] == "unsupported_parameter"
    assert (await armed.chat(HARMLESS, **field)).status == 200


async def test_levers_on_the_answer_are_taken_away_when_armed(armed: Lethe) -> None:
    levers = {"logit_bias": {"1": 5}, "min_tokens": 5, "stop": ["a"], "ignore_eos": True, "bad_words": ["sorry"]}
    await armed.chat(QUESTION, **levers)
    assert not set(levers) & set(armed.engine.seen[-1].body)
    await armed.chat(HARMLESS, **levers)
    assert set(levers) <= set(armed.engine.seen[-1].body)
