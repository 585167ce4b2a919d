"""`/v1/messages` with the official Anthropic client, before the real engine."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.clients.asking import CAPITAL, CAPITAL_IN_OTHER_WORDS, SHORT, WEEK
from tests.clients.system import Forgetting, System

pytestmark = pytest.mark.engine


@pytest.fixture
def claude(system: System) -> Iterator[anthropic.Anthropic]:
    """The official client with an ordinary key, which it sends as `x-api-key`."""
    with anthropic.Anthropic(base_url=system.client_url, api_key=system.keys["client"], max_retries=0) as client:
        yield client


def asked(at: System, question: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    extra = {"temperature": 0, **more.pop("extra", {})}  # the client has no argument for it any more
    return {"model": at.model, "messages": messages, "max_tokens": SHORT, "extra_body": extra, **more}


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_an_answer_and_a_stream_say_the_same(claude: anthropic.Anthropic, system: System):
    whole = claude.messages.create(**asked(system, CAPITAL))
    assert "Paris" in text_of(whole)
    assert whole.stop_reason == "end_turn"
    assert whole.usage.input_tokens > 10
    with claude.messages.stream(**asked(system, CAPITAL)) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == text_of(whole) == text_of(final)
    assert len(pieces) > 3


@pytest.mark.parametrize("question", [CAPITAL, CAPITAL_IN_OTHER_WORDS])
def test_what_was_forgotten_is_not_said(claude: anthropic.Anthropic, system: System, forget: Forgetting, question: str):
    plain = claude.messages.create(**asked(system, question, system="Answer in one sentence."))
    forget.add(CAPITAL, "Paris")
    whole = claude.messages.create(**asked(system, question, system="Answer in one sentence."))
    assert text_of(whole)
    assert "Paris" not in text_of(whole)
    assert whole.usage.input_tokens == plain.usage.input_tokens  # the note is not counted
    with claude.messages.stream(**asked(system, question)) as stream:
        text = stream.get_final_text()
    assert text
    assert "Paris" not in text


def test_a_refusal_and_a_cut_are_read_by_the_client(claude: anthropic.Anthropic, system: System, forget: Forgetting):
    forget.policy(on_match=["refuse"])
    forget.add(CAPITAL, "Paris")
    with claude.messages.stream(**asked(system, CAPITAL)) as stream:
        refused = stream.get_final_message()
    assert refused.stop_reason == "end_turn"
    assert text_of(claude.messages.create(**asked(system, CAPITAL))) == text_of(refused)

    said = text_of(claude.messages.create(**asked(system, WEEK)))
    forget.policy(on_match=["instruct"], scan_output="always", scan_meaning=False)  # word by word
    last = " ".join(said.split()[-2:]).rstrip(".")
    forget.add("Who hid the lamp?", last)
    with claude.messages.stream(**asked(system, WEEK)) as stream:
        cut = stream.get_final_message()
    assert cut.stop_reason == "refusal"
    assert last not in text_of(cut)
    assert said.startswith(text_of(cut))


def test_a_conversation_with_blocks(claude: anthropic.Anthropic, system: System):
    messages: Any = [
        {"role": "user", "content": [{"type": "text", "text": CAPITAL, "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Paris."}]},
        {"role": "user", "content": WEEK},
        {"role": "assistant", "content": "There are"},
    ]
    answer = claude.messages.create(**asked(system, "", messages=messages, metadata={"user_id": "me"}))
    assert text_of(answer)


def test_errors_are_those_of_the_client(claude: anthropic.Anthropic, system: System):
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(**asked(system, CAPITAL, model="nothing"))
    assert missing.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(**asked(system, CAPITAL, extra={"mcp_servers": [{"url": "x"}]}))
    assert "mcp_servers" in refused.value.message
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.count_tokens(model=system.model, messages=[{"role": "user", "content": "x"}])


def test_a_wrong_key(system: System):
    with (
        anthropic.Anthropic(base_url=system.client_url, api_key="wrong-key-0123456789", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(**asked(system, CAPITAL))
