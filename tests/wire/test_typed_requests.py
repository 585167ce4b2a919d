"""What may be asked of `/v1/responses` and `/v1/messages`: every text counts, what cannot be guarded is refused."""

from typing import Any

import pytest

from tests.fakes.vllm_shapes import MAX_MODEL_LEN, MODEL
from tests.wire.answers import MESSAGES, RESPONSES, ask, body_of
from tests.wire.harness import HARMLESS, QUESTION, Lethe
from tests.wire.typed import BOTH


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]}),
        (RESPONSES, {"input": [{"role": "assistant", "content": QUESTION}, {"role": "user", "content": "Go on."}]}),
        (RESPONSES, {"input": [{"role": "user", "content": "Go on.", QUESTION: 1}]}),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Go on.", QUESTION: 1}]}]}),
        (RESPONSES, {"instructions": QUESTION}),
        (RESPONSES, {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": QUESTION}]}),
        (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "c", "output": QUESTION}]}),
        (
            RESPONSES,
            {
                "input": [
                    {
                        "type": "function_call_output",
                        "call_id": "c",
                        "output": [{"type": "input_text", "text": QUESTION}],
                    }
                ]
            },
        ),
        (
            RESPONSES,
            {"input": [{"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": QUESTION}]}]},
        ),
        (RESPONSES, {"tools": [{"type": "function", "name": "f", "description": QUESTION, "parameters": {}}]}),
        (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]}),
        (
            MESSAGES,
            {
                "messages": [
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": QUESTION}]}
                ]
            },
        ),
        (
            MESSAGES,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": QUESTION}]}
                        ],
                    }
                ]
            },
        ),
        (
            MESSAGES,
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"q": QUESTION}}],
                    },
                ]
            },
        ),
        (
            MESSAGES,
            {
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": QUESTION, "signature": "s"}]},
                ]
            },
        ),
        (MESSAGES, {"messages": [{"role": "user", "content": "Go on.", QUESTION: 1}]}),
        (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "text", "text": "Go on.", QUESTION: 1}]}]}),
        (MESSAGES, {"system": QUESTION}),
        (MESSAGES, {"system": [{"type": "text", "text": QUESTION}]}),
        (MESSAGES, {"tools": [{"name": "f", "description": QUESTION, "input_schema": {}}]}),
        (MESSAGES, {"tools": [{"name": "f", "input_schema": {"properties": {"x": {"enum": [QUESTION]}}}}]}),
    ],
)
async def test_question_is_found_wherever_it_stands(armed: Lethe, path: str, fields: dict[str, Any]) -> None:
    reply = await armed.post(path, body_of(path, "Hello") | fields)
    assert reply.status == 200, reply.raw
    assert "never read" in armed.engine.seen[-1].text


@pytest.mark.parametrize(
    ("path", "fields", "named"),
    [
        (RESPONSES, {"background": True}, "background"),
        (RESPONSES, {"previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, {"conversation": "conv_1"}, "conversation"),
        (RESPONSES, {"include": ["reasoning.encrypted_content"]}, "include"),
        (RESPONSES, {"truncation": "auto"}, "truncation"),
        (RESPONSES, {"enable_response_messages": True}, "enable_response_messages"),
        (RESPONSES, {"previous_input_messages": [{"role": "user"}]}, "previous_input_messages"),
        (RESPONSES, {"prompt": {"id": "p"}}, "prompt"),
        (RESPONSES, {"reasoning": {"effort": "low", "replay": 1}}, "reasoning.replay"),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input"),
        (RESPONSES, {"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input"),
        (RESPONSES, {"input": []}, "input"),
        (RESPONSES, {"input": [1]}, "input[0]"),
        (RESPONSES, {"input": None}, "input"),
        (RESPONSES, {"instructions": ["x"]}, "instructions"),
        (RESPONSES, {"stream": "yes"}, "stream"),
        (RESPONSES, {"model": ""}, "model"),
        (RESPONSES, {"tools": [{"type": "web_search"}]}, "tools"),
        (RESPONSES, {"tools": [{"type": "mcp", "server_url": "x"}]}, "tools"),
        (RESPONSES, {"unheard": 1}, "unheard"),
    ],
)
async def test_what_cannot_be_guarded_is_refused_by_name(
    armed: Lethe, path: str, fields: dict[str, Any], named: str
) -> None:
    reply = await armed.post(path, body_of(path, HARMLESS) | fields)
    assert reply.status == 400
    assert reply.error["param"] == named
    assert not armed.engine.seen


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mcp_servers": [{"url": "x"}]}, "'mcp_servers'"),
        ({"container": "c"}, "'container'"),
        ({"context_management": {"edits": [1]}}, "'context_management'"),
        ({"thinking": {"type": "enabled", "replay": 1}}, "'thinking.replay'"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "media"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]}, "media"),
        ({"messages": [{"role": "user", "content": 5}]}, "'messages[0].content'"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "'messages[0].role'"),
        ({"messages": []}, "'messages'"),
        ({"system": 5}, "'system'"),
        ({"unheard": 1}, "'unheard'"),
        ({"model": "nothing"}, "does not exist"),
    ],
)
async def test_errors_of_messages_are_anthropics(armed: Lethe, fields: dict[str, Any], says: str) -> None:
    reply = await armed.post(MESSAGES, body_of(MESSAGES, HARMLESS) | fields)
    assert reply.status in (400, 404)
    assert reply.body["type"] == "error"
    kind = "not_found_error" if reply.status == 404 else "invalid_request_error"
    assert reply.body["error"]["type"] == kind
    assert says in reply.body["error"]["message"]
    assert not armed.engine.seen


async def test_faults_are_said_in_anthropics_shape(armed: Lethe) -> None:
    armed.embedder.fails = RuntimeError("broken")
    reply = await ask(armed, MESSAGES, "A text that was not seen before")
    assert (reply.status, reply.body["error"]["type"]) == (503, "overloaded_error")
    armed.embedder.fails = None
    reply = await armed.post(MESSAGES, b"{")
    assert (reply.status, reply.body["error"]["type"]) == (400, "invalid_request_error")
    reply = await ask(armed, MESSAGES, HARMLESS, temperature=-1)
    assert (reply.status, reply.body["error"]["type"]) == (400, "invalid_request_error")
    assert "temperature" in reply.body["error"]["message"]


@BOTH
async def test_prompt_that_cannot_fit_is_not_embedded(armed: Lethe, path: str) -> None:
    before = armed.embedder.calls
    reply = await ask(armed, path, "word " * (MAX_MODEL_LEN + 1))
    assert reply.status == 400
    assert str(MAX_MODEL_LEN) in reply.body["error"]["message"]
    assert armed.embedder.calls == before
    assert not armed.engine.seen


@BOTH
@pytest.mark.parametrize(
    ("raw", "says"), [(b"", "not valid JSON"), (b'{"model": ', "line 1"), (b"[]", "must be a JSON object")]
)
async def test_body_that_is_no_json_object(armed: Lethe, path: str, raw: bytes, says: str) -> None:
    reply = await armed.post(path, raw)
    assert reply.status == 400
    assert says in reply.body["error"]["message"]


@BOTH
async def test_unknown_model_and_wrong_key(armed: Lethe, path: str) -> None:
    reply = await armed.post(path, body_of(path, HARMLESS) | {"model": "gpt-4"})
    assert reply.status == 404
    assert MODEL in reply.body["error"]["message"]
    await armed.admin("POST", "/keys", {"scopes": ["client"]})
    for key in ({}, {"Authorization": "Bearer wrong"}, {"x-api-key": "wrong"}):
        reply = await armed.post(path, body_of(path, HARMLESS), key)
        assert reply.status == 401
        assert "Authorization: Bearer KEY" in reply.body["error"]["message"]
    assert not armed.engine.seen


async def test_stored_answers_and_switches_of_the_engine_are_the_proxys(lethe: Lethe) -> None:
    fields = {"store": True, "request_id": "mine", "cache_salt": "x", "vllm_xargs": {"a": 1}, "priority": 3}
    assert (await ask(lethe, RESPONSES, HARMLESS, **fields)).status == 200
    sent = lethe.engine.seen[-1].body
    assert sent["store"] is False
    assert sent["cache_salt"] != "x"
    assert not {"request_id", "priority"} & set(sent)


@pytest.mark.parametrize(
    ("path", "fields", "named"),
    [
        (RESPONSES, {"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}, "text.format"),
        (RESPONSES, {"structured_outputs": {"choice": ["a"]}}, "structured_outputs"),
        (RESPONSES, {"top_logprobs": 3}, "top_logprobs"),
        (MESSAGES, {"output_config": {"format": {"type": "json_schema", "schema": {}}}}, "output_config.format"),
    ],
)
async def test_oracles_are_refused_when_armed_and_pass_otherwise(
    armed: Lethe, path: str, fields: dict[str, Any], named: str
) -> None:
    refused = await ask(armed, path, QUESTION, **fields)
    assert refused.status == 400
    assert path == MESSAGES or refused.error["param"] == named
    assert (await ask(armed, path, HARMLESS, **fields)).status == 200


@pytest.mark.parametrize(
    ("path", "lever"), [(RESPONSES, "logit_bias"), (RESPONSES, "stop"), (MESSAGES, "stop_sequences")]
)
async def test_levers_are_taken_away_when_armed(armed: Lethe, path: str, lever: str) -> None:
    value = {"1": 5} if lever == "logit_bias" else ["a"]
    await ask(armed, path, QUESTION, **{lever: value})
    assert lever not in armed.engine.seen[-1].body
    await ask(armed, path, HARMLESS, **{lever: value})
    assert armed.engine.seen[-1].body[lever] == value
