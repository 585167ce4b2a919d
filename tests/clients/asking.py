"""Questions to the small model, and what of its replies the tests compare."""

from collections.abc import Iterable
from typing import Any

import openai
from openai.types.chat import ChatCompletionChunk

CAPITAL = "What is the capital of France?"
CAPITAL_IN_OTHER_WORDS = "Which city is the capital of France?"
WEEK = "How many days are there in a week?"

SHORT = 16  # tokens of an answer: enough to see that it is the same one; on two cores each takes 50 ms and more


def chat(question: str, model: str, **more: Any) -> dict[str, Any]:
    """Arguments of a chat completion whose answer is always the same."""
    asked = [{"role": "user", "content": question}]
    return {"model": model, "messages": asked, "temperature": 0, "max_tokens": SHORT, **more}


def ask(client: openai.OpenAI, question: str, model: str, **more: Any) -> str:
    """The answer to a question."""
    return client.chat.completions.create(**chat(question, model, **more)).choices[0].message.content or ""


def pieces(stream: Iterable[ChatCompletionChunk]) -> list[tuple[str | None, str | None]]:
    """Text and finish reason of each chunk of a stream with one choice."""
    return [(one.choices[0].delta.content, one.choices[0].finish_reason) for one in stream if one.choices]


def text_of(stream: Iterable[ChatCompletionChunk]) -> str:
    """The whole text of a stream with one choice."""
    return "".join(text or "" for text, _ in pieces(stream))
