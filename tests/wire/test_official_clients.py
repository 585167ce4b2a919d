"""The official clients of both vendors before the scripted engine: what the small real model cannot do.

Tool calls, their results and reasoning come as a real vLLM sends them; what leaves is read by the clients themselves.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.fakes.vllm_shapes import MODEL, Delta, Say
from tests.wire.harness import ANSWER, HARMLESS, QUESTION, Lethe

REASONED = (Delta({"reasoning": "They want "}), Delta({"reasoning": "a note."}))
ARGUMENTS = '{"text": "seven days"}'
FORBIDDEN = json.dumps({"text": ANSWER})


def called(arguments: str) -> list[Delta]:
    """A tool call as vLLM streams it."""
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "note", "arguments": ""}}
    pieces = [arguments[i : i + 5] for i in range(0, len(arguments), 5)]
    rest = (Delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in pieces)
    return [Delta({"tool_calls": [head]}), *rest]


@pytest.fixture
async def gpt(armed: Lethe) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{armed.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def claude(armed: Lethe) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=armed.url, api_key="none", max_retries=0) as client:
        yield client


CHAT_TOOL: Any = {"type": "function", "function": {"name": "note", "parameters": {"type": "object"}}}
RESPONSES_TOOL: Any = {"type": "function", "name": "note", "parameters": {"type": "object"}, "strict": None}
MESSAGES_TOOL: Any = {"name": "note", "input_schema": {"type": "object"}}

QUESTIONS = pytest.mark.parametrize("question", [HARMLESS, QUESTION], ids=["unarmed", "armed"])


@QUESTIONS
async def test_tools_in_chat(armed: Lethe, gpt: openai.AsyncOpenAI, question: str) -> None:
    armed.engine.answers(*REASONED, *called(ARGUMENTS), finish="tool_calls")
    asked: Any = {"model": MODEL, "messages": [{"role": "user", "content": question}], "tools": [CHAT_TOOL]}
    whole = (await gpt.chat.completions.create(**asked)).choices[0]
    assert whole.finish_reason == "tool_calls"
    assert whole.message.tool_calls is not None
    assert json.loads(whole.message.tool_calls[0].function.arguments) == {"text": "seven days"}  # type: ignore[union-attr]
    async with gpt.chat.completions.stream(**asked) as stream:
        final = (await stream.get_final_completion()).choices[0]
    assert final.message.tool_calls is not None
    assert json.loads(final.message.tool_calls[0].function.arguments) == {"text": "seven days"}


@QUESTIONS
async def test_tools_in_responses(armed: Lethe, gpt: openai.AsyncOpenAI, question: str) -> None:
    armed.engine.answers(*REASONED, Say("Noted. "), *called(ARGUMENTS))
    asked: Any = {"model": MODEL, "input": question, "tools": [RESPONSES_TOOL]}
    whole = await gpt.responses.create(**asked)
    async with gpt.responses.stream(**asked) as stream:
        final = await stream.get_final_response()
    for answer in (whole, final):
        assert [item.type for item in answer.output] == ["reasoning", "message", "function_call"]
        assert answer.output_text == "Noted. "
        assert json.loads(answer.output[2].arguments) == {"text": "seven days"}  # type: ignore[union-attr]


@QUESTIONS
async def test_tools_in_messages(armed: Lethe, claude: anthropic.AsyncAnthropic, question: str) -> None:
    armed.engine.answers(*REASONED, Say("Noted. "), *called(ARGUMENTS), finish="tool_calls")
    asked: Any = {
        "model": MODEL,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": question}],
        "tools": [MESSAGES_TOOL],
    }
    whole = await claude.messages.create(**asked)
    async with claude.messages.stream(**asked) as stream:
        final = await stream.get_final_message()
    for answer in (whole, final):
        assert answer.stop_reason == "tool_use"
        thinking, text, tool = answer.content
        assert (thinking.type, text.type, tool.type) == ("thinking", "text", "tool_use")
        assert thinking.thinking == "They want a note."  # type: ignore[union-attr]
        assert tool.input == {"text": "seven days"}  # type: ignore[union-attr]


async def test_a_forbidden_call_is_not_given_to_the_client(
    armed: Lethe, gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic
) -> None:
    armed.engine.answers(Say("Noted. "), *called(FORBIDDEN), finish="tool_calls")
    messages: Any = [{"role": "user", "content": QUESTION}]
    chunks = [
        chunk
        async for chunk in await gpt.chat.completions.create(
            model=MODEL, messages=messages, tools=[CHAT_TOOL], stream=True
        )
    ]
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    events = [
        event
        async for event in await gpt.responses.create(model=MODEL, input=QUESTION, tools=[RESPONSES_TOOL], stream=True)
    ]
    assert events[-1].type == "response.incomplete"
    assert [item.type for item in events[-1].response.output] == ["message", "function_call"]
    asked: Any = {"model": MODEL, "max_tokens": 50, "messages": messages, "tools": [MESSAGES_TOOL]}
    said = [event async for event in await claude.messages.create(**asked, stream=True)]
    assert said[-2].delta.stop_reason == "refusal"  # type: ignore[union-attr]
    for given in (chunks, events, said):
        assert "Solvang" not in "".join(one.model_dump_json() for one in given)


async def test_results_of_tools_go_back(
    armed: Lethe, gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic
) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "note", "arguments": "{}"}}
    turns: Any = [
        {"role": "user", "content": HARMLESS},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "seven"},
    ]
    answer = await gpt.chat.completions.create(model=MODEL, messages=turns)
    assert answer.choices[0].message.content == "Hello there."
    items: Any = [
        {"role": "user", "content": HARMLESS},
        {"type": "function_call", "call_id": "call_1", "name": "note", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "seven"},
    ]
    assert (await gpt.responses.create(model=MODEL, input=items)).output_text == "Hello there."
    blocks: Any = [
        {"role": "user", "content": HARMLESS},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "note", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "seven"}]},
    ]
    message = await claude.messages.create(model=MODEL, max_tokens=50, messages=blocks)
    assert message.content[0].text == "Hello there."  # type: ignore[union-attr]
    assert await armed.metric("lethe_requests_total", rung="none", outcome="answered") == 3


async def test_embeddings_of_the_client(armed: Lethe, gpt: openai.AsyncOpenAI) -> None:
    found = await gpt.embeddings.create(model=MODEL, input=HARMLESS, encoding_format="float")
    assert found.data[0].embedding == [0.5, 0.25]
    with pytest.raises(openai.BadRequestError) as refused:
        await gpt.embeddings.create(model=MODEL, input=QUESTION)
    assert refused.value.code == "content_filter"
