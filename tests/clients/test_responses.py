"""`/v1/responses` with the official OpenAI client, before the real engine."""

from typing import Any

import openai
import pytest

from tests.clients.asking import CAPITAL, CAPITAL_IN_OTHER_WORDS, SHORT, WEEK
from tests.clients.system import Forgetting, System

pytestmark = pytest.mark.engine


def asked(system: System, question: str, **more: Any) -> dict[str, Any]:
    return {"model": system.model, "input": question, "temperature": 0, "max_output_tokens": SHORT, **more}


def test_an_answer_and_a_stream_say_the_same(client: openai.OpenAI, engine: openai.OpenAI, system: System):
    whole = client.responses.create(**asked(system, CAPITAL))
    assert "Paris" in whole.output_text
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    assert whole.output_text == engine.responses.create(**asked(system, CAPITAL)).output_text
    with client.responses.stream(**asked(system, CAPITAL)) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") > 3


def streamed(client: openai.OpenAI, arguments: dict[str, Any]) -> tuple[str, Any]:
    """The text of a stream, and its last event. (The client's helper knows no end but `response.completed`.)"""
    text, event = "", None
    for event in client.responses.create(**arguments, stream=True):
        text += event.delta if event.type == "response.output_text.delta" else ""
    return text, event


@pytest.mark.parametrize("question", [CAPITAL, CAPITAL_IN_OTHER_WORDS])
def test_what_was_forgotten_is_not_said(client: openai.OpenAI, system: System, forget: Forgetting, question: str):
    forget.add(CAPITAL, "Paris")
    whole = client.responses.create(**asked(system, question, instructions="Answer in one sentence."))
    assert whole.output_text
    assert "Paris" not in whole.output_text
    assert whole.instructions == "Answer in one sentence."
    text, final = streamed(client, asked(system, question))
    assert final.response.output_text == text
    assert text
    assert "Paris" not in text


def test_a_refusal_and_a_cut_are_read_by_the_client(client: openai.OpenAI, system: System, forget: Forgetting):
    forget.policy(on_match=["refuse"])
    forget.add(CAPITAL, "Paris")
    with client.responses.stream(**asked(system, CAPITAL)) as stream:
        refused = stream.get_final_response()
    assert refused.status == "completed"
    assert refused.output_text
    assert client.responses.create(**asked(system, CAPITAL)).output_text == refused.output_text

    said = client.responses.create(**asked(system, WEEK)).output_text
    forget.policy(on_match=["instruct"], scan_output="always", scan_meaning=False)  # word by word
    last = " ".join(said.split()[-2:]).rstrip(".")
    forget.add("Who hid the lamp?", last)
    text, final = streamed(client, asked(system, WEEK))
    assert last not in text
    assert final.type == "response.incomplete"
    assert final.response.output_text == text
    assert final.response.incomplete_details is not None
    assert final.response.incomplete_details.reason == "content_filter"
    assert text
    assert said.startswith(text)


def test_a_conversation_and_json(client: openai.OpenAI, system: System):
    items: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": CAPITAL}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Paris."}]},
        {"role": "user", "content": WEEK},
    ]
    answer = client.responses.create(**asked(system, "", input=items, text={"format": {"type": "json_object"}}))
    assert answer.output_text.lstrip().startswith("{")


def test_what_is_not_available_is_an_error_of_the_client(client: openai.OpenAI, system: System):
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**asked(system, CAPITAL, previous_response_id="resp_1"))
    assert refused.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


def test_embeddings_are_checked_before_an_engine_that_has_none(
    client: openai.OpenAI, system: System, forget: Forgetting
):
    forget.add(CAPITAL, "Paris")
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=system.model, input=CAPITAL)
    assert refused.value.code == "content_filter"
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model=system.model, input=WEEK)
    assert missing.value.code == "embeddings_not_served"


def test_a_prompt_as_token_ids(client: openai.OpenAI, engine: openai.OpenAI, system: System, forget: Forgetting):
    said = {"model": system.model, "temperature": 0, "max_tokens": 8}
    ids = tokens(engine, f"{CAPITAL} The capital of France is")
    assert "Paris" in client.completions.create(prompt=ids, **said).choices[0].text
    forget.add(CAPITAL, "Paris")
    assert "Paris" not in client.completions.create(prompt=ids, **said).choices[0].text


def tokens(engine: openai.OpenAI, text: str) -> list[int]:
    """A text as the engine's own tokenizer reads it."""
    url = str(engine.base_url).removesuffix("/v1/") + "/tokenize"
    found: list[int] = engine.post(url, body={"prompt": text}, cast_to=dict)["tokens"]  # type: ignore[type-var]
    return found
