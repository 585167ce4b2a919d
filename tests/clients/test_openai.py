"""The official OpenAI client, unchanged but for its base URL."""

import asyncio
from typing import Any

import httpx
import openai
import pydantic
import pytest

from tests.clients.asking import CAPITAL, SHORT, WEEK, ask, chat, pieces, text_of
from tests.clients.conftest import Connect
from tests.clients.system import Forgetting, System

pytestmark = pytest.mark.engine

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather of a town.",
            "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
        },
    }
]


def test_models_are_listed_and_the_raw_arm_only_for_who_may_ask_it(
    client: openai.OpenAI, raw: openai.OpenAI, system: System
):
    assert [model.id for model in client.models.list()] == [system.model]
    assert [model.id for model in raw.models.list()] == [system.model, f"{system.model}:raw"]
    assert client.models.retrieve(system.model).id == system.model


def test_an_answer(client: openai.OpenAI, system: System):
    answer = client.chat.completions.create(**chat(CAPITAL, system.model))
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == system.model
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_says_what_an_answer_says(client: openai.OpenAI, system: System):
    stream = pieces(client.chat.completions.create(**chat(CAPITAL, system.model), stream=True))
    assert "".join(text or "" for text, _ in stream) == ask(client, CAPITAL, system.model)
    assert [reason for _, reason in stream if reason] == ["stop"]
    assert len(stream) > 3  # it came in pieces


def test_the_streaming_helper_of_the_client(client: openai.OpenAI, system: System):
    with client.chat.completions.stream(**chat(CAPITAL, system.model)) as stream:
        kinds = {event.type for event in stream}
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert "Paris" in (stream.get_final_completion().choices[0].message.content or "")


async def test_the_async_client(system: System):
    async with openai.AsyncOpenAI(base_url=system.base_url, api_key=system.keys["client"], max_retries=0) as client:
        whole, stream = await asyncio.gather(
            client.chat.completions.create(**chat(CAPITAL, system.model)),
            client.chat.completions.create(**chat(WEEK, system.model), stream=True),
        )
        streamed = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "Paris" in (whole.choices[0].message.content or "")
    assert "7" in "".join(streamed)


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices(client: openai.OpenAI, system: System, stream: bool):
    # vLLM does not take more than one choice at temperature 0
    asked = chat(CAPITAL, system.model, n=2, max_tokens=12, temperature=0.01)
    texts = ["", ""]
    if stream:
        for chunk in client.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    else:
        for one in client.chat.completions.create(**asked).choices:
            texts[one.index] = one.message.content or ""
    assert all("Paris" in text for text in texts)


@pytest.mark.parametrize("armed", [False, True])
def test_usage_is_that_of_the_clients_own_prompt(
    client: openai.OpenAI, engine: openai.OpenAI, system: System, forget: Forgetting, armed: bool
):
    if armed:
        forget.add(CAPITAL, "Paris")
    asked = chat(CAPITAL, system.model)
    own = engine.chat.completions.create(**asked, extra_body={"max_tokens": 1}).usage
    whole = client.chat.completions.create(**asked).usage
    *_, last = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    assert own is not None
    assert whole is not None
    assert last.usage is not None
    assert last.choices == []
    assert whole.prompt_tokens == last.usage.prompt_tokens == own.prompt_tokens
    assert 0 < whole.completion_tokens <= 2 * SHORT


def test_a_stream_without_usage_has_none(client: openai.OpenAI, system: System):
    assert all(
        chunk.usage is None and chunk.choices
        for chunk in client.chat.completions.create(**chat(CAPITAL, system.model), stream=True)
    )


@pytest.mark.parametrize("stream", [False, True])
def test_plain_completions(client: openai.OpenAI, engine: openai.OpenAI, system: System, stream: bool):
    asked: dict[str, Any] = {
        "model": system.model,
        "prompt": "The capital of France is",
        "temperature": 0,
        "max_tokens": 8,
    }
    if stream:
        said = "".join(chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True))
    else:
        said = client.completions.create(**asked).choices[0].text
    assert said == engine.completions.create(**asked).choices[0].text


@pytest.mark.parametrize("stream", [False, True])
def test_plain_completions_forget(client: openai.OpenAI, system: System, forget: Forgetting, stream: bool):
    forget.add("The capital of France is", "Paris")
    prompts = ["The capital of France is", "The capital city of France is called"]
    texts = ["", ""]
    asked: dict[str, Any] = {"model": system.model, "prompt": prompts, "temperature": 0, "max_tokens": 16}
    if stream:
        for chunk in client.completions.create(**asked, stream=True):
            texts[chunk.choices[0].index] += chunk.choices[0].text
    else:
        for one in client.completions.create(**asked).choices:
            texts[one.index] = one.text
    assert all(texts)
    assert not any("Paris" in text for text in texts)


def test_headers(client: openai.OpenAI, system: System, forget: Forgetting):
    generation = forget.add("What is the name of my cat?", "Minka")["generation"]
    reply = client.chat.completions.with_raw_response.create(**chat(CAPITAL, system.model))
    assert reply.headers["x-request-id"].startswith("req_")
    assert reply.headers["x-lethe-arm"] == "guarded"
    assert int(reply.headers["x-lethe-generation"]) == generation
    assert float(reply.headers["x-lethe-overhead-ms"]) > 0
    assert int(reply.headers["openai-processing-ms"]) >= 0
    assert "x-lethe-findings" not in reply.headers
    assert "Paris" in (reply.parse().choices[0].message.content or "")
    with client.chat.completions.with_streaming_response.create(**chat(WEEK, system.model), stream=True) as streamed:
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert streamed.headers["x-lethe-arm"] == "guarded"


def test_findings_are_for_admins(connect: Connect, system: System, forget: Forgetting):
    entry = forget.add(CAPITAL, "Paris")["id"]
    wanted = {"x-lethe-findings": "1"}
    asked = chat(CAPITAL, system.model)
    shown = connect("admin").chat.completions.with_raw_response.create(**asked, extra_headers=wanted)
    kept = connect("client").chat.completions.with_raw_response.create(**asked, extra_headers=wanted)
    assert entry in shown.headers["x-lethe-findings"]
    assert "x-lethe-findings" not in kept.headers
    assert entry not in str(kept.headers) + kept.text


# -- tools


@pytest.mark.parametrize(
    "extra",
    [{}, {"tool_choice": "none"}, {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}}],
    ids=["auto", "none", "named"],
)
def test_tools_do_what_they_do_without_lethe(
    client: openai.OpenAI, engine: openai.OpenAI, system: System, extra: dict[str, Any]
):
    """This model cannot call tools: vLLM puts them into the prompt, or refuses them, and so does Lethe."""
    asked = chat(WEEK, system.model, tools=TOOLS, **extra)

    def outcome(one: openai.OpenAI) -> tuple[Any, ...]:
        try:
            answer = one.chat.completions.create(**asked)
        except openai.APIStatusError as error:
            return type(error), error.status_code, error.message.split("{")[0]
        assert answer.usage is not None
        return answer.choices[0].message.content, answer.choices[0].message.tool_calls, answer.usage.prompt_tokens

    assert outcome(client) == outcome(engine)


class Days(pydantic.BaseModel):
    """What a structured answer is read into."""

    number: int


def test_a_structured_answer(client: openai.OpenAI, engine: openai.OpenAI, system: System):
    answers = [one.chat.completions.parse(**chat(WEEK, system.model), response_format=Days) for one in (client, engine)]
    assert isinstance(answers[0].choices[0].message.parsed, Days)
    assert answers[0].choices[0].message.content == answers[1].choices[0].message.content


def test_what_tools_say_is_checked_like_every_text(client: openai.OpenAI, system: System, forget: Forgetting):
    forget.add(CAPITAL, "Paris")
    tool = {"type": "function", "function": {"name": "f", "description": CAPITAL, "parameters": {"type": "object"}}}
    answer = client.chat.completions.with_raw_response.create(**chat("Go on.", system.model, tools=[tool]))
    assert "Paris" not in answer.text
    finding = system.admin("POST", "/check", {"request": chat("Go on.", system.model, tools=[tool])}).json()
    assert finding["rung"] == "instruct"


# -- errors


@pytest.mark.parametrize(
    ("change", "kind", "param", "code"),
    [
        ({"temperature": "hot"}, openai.BadRequestError, "temperature", None),
        ({"temperature": -1}, openai.BadRequestError, "temperature", None),
        ({"n": 0}, openai.BadRequestError, "n", None),
        ({"messages": []}, openai.BadRequestError, "messages", None),
        ({"messages": [{"role": "pirate", "content": "Ahoy"}]}, openai.BadRequestError, "messages[0].role", None),
        ({"prompt_logprobs": 1}, openai.BadRequestError, "prompt_logprobs", "unsupported_parameter"),
        ({"no_such_field": 1}, openai.BadRequestError, "no_such_field", "unsupported_parameter"),
        ({"model": "gpt-0"}, openai.NotFoundError, "model", "model_not_found"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_request(
    client: openai.OpenAI,
    system: System,
    change: dict[str, Any],
    kind: type[openai.APIStatusError],
    param: str,
    code: str | None,
    stream: bool,
):
    body = chat("Hello", system.model) | change
    known = {"model": body.pop("model"), "messages": body.pop("messages")}
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**known, stream=stream, extra_body=body)
    error = caught.value
    assert error.param is not None
    assert error.param.removeprefix("body.") == param  # what the engine finds wrong is named as vLLM names it
    assert code is None or error.code == code
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert param.split("[", maxsplit=1)[0] in error.message


@pytest.mark.parametrize("word", ["word ", "antidisestablishmentarianism "], ids=["by words", "by the engine's count"])
def test_a_prompt_that_is_too_long(client: openai.OpenAI, system: System, word: str):
    """Many words are turned away before they are embedded; what has too many tokens only, by the engine."""
    longest = client.models.retrieve(system.model).max_model_len  # type: ignore[attr-defined]
    words = longest + 1 if word == "word " else longest // 4
    with pytest.raises(openai.BadRequestError, match="context length") as caught:
        ask(client, word * words, system.model)
    assert caught.value.code in ("context_length_exceeded", "400")


def test_no_key(connect: Connect, system: System):
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(connect("not-a-key"), "Hello", system.model)
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        connect("not-a-key").models.list()


def test_the_raw_arm_needs_its_scope(client: openai.OpenAI, system: System):
    with pytest.raises(openai.PermissionDeniedError) as caught:
        ask(client, "Hello", f"{system.model}:raw")
    assert caught.value.code == "insufficient_scope"
    with pytest.raises(openai.PermissionDeniedError):
        ask(client, "Hello", system.model, extra_headers={"x-lethe-arm": "raw"})


@pytest.mark.parametrize("path", ["rerank", "conversations", "audio/speech"])
def test_routes_that_are_not_guarded_do_not_exist(client: openai.OpenAI, path: str):
    with pytest.raises(openai.NotFoundError) as caught:
        client.post(f"/{path}", cast_to=httpx.Response, body={"model": "m", "input": "Hello"})
    assert caught.value.code == "unknown_route"


def test_a_client_that_goes_on_after_an_error(client: openai.OpenAI, system: System):
    for _ in range(3):
        with pytest.raises(openai.BadRequestError):
            ask(client, "Hello", system.model, n=0)
    assert text_of(client.chat.completions.create(**chat(WEEK, system.model), stream=True))
