"""LangChain's OpenAI chat model, with nothing but a base URL and a key."""

from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.clients.asking import CAPITAL, SHORT, WEEK, ask
from tests.clients.system import Forgetting, System

pytestmark = pytest.mark.engine


def model_of(system: System, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=system.base_url,
        api_key=SecretStr(system.keys["client"]),
        model=system.model,
        temperature=0,
        max_completion_tokens=SHORT,
        max_retries=0,
        **more,
    )


def test_invoke_and_stream_forget_and_leave_the_rest_alone(system: System, forget: Forgetting, client: openai.OpenAI):
    model = model_of(system)
    before = model.invoke(CAPITAL)
    assert "Paris" in before.text
    assert before.usage_metadata
    assert before.usage_metadata["input_tokens"] > 0

    forget.add(CAPITAL, "Paris")
    after = model.invoke(CAPITAL)
    assert after.text
    assert "Paris" not in after.text
    assert after.response_metadata["finish_reason"] == "stop"

    whole: AIMessageChunk | None = None
    for chunk in model.stream(CAPITAL):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.text
    assert "Paris" not in whole.text
    assert "".join(chunk.text for chunk in model.stream(WEEK)) == ask(client, WEEK, system.model)


async def test_async(system: System):
    model = model_of(system)
    asked = [SystemMessage("You answer in one word."), HumanMessage(CAPITAL)]
    assert (await model.ainvoke(asked)).text
    assert "".join([chunk.text async for chunk in model.astream(asked)])


def test_tools_are_bound_as_before(system: System):
    """This model cannot call them: without a parser vLLM answers where none may be called, and refuses otherwise."""

    def get_weather(town: str) -> str:
        """Tells the weather of a town."""
        return town

    assert model_of(system).bind_tools([get_weather], tool_choice="none").invoke(WEEK).text
    with pytest.raises(openai.BadRequestError, match="--tool-call-parser"):
        model_of(system).bind_tools([get_weather]).invoke(WEEK)


def test_an_error_is_that_of_the_client_below(system: System):
    with pytest.raises(openai.NotFoundError):
        model_of(system).bind(model="gpt-0").invoke("Hello")
