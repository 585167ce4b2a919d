"""The question is found wherever in a request it stands."""

from typing import Any

import pytest

from tests.wire.harness import (
    CHAT,
    HARMLESS,
    QUESTION,
    Lethe,
    chat_body,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def armed(shared: Lethe) -> Lethe:
    """The server that the tests of this module share, its engine as if just started."""
    shared.engine.seen.clear()
    return shared


def messages(*given: dict[str, Any]) -> dict[str, Any]:
    """Messages, each of a user with no content where nothing else is said."""
    return {"messages": [{"role": "user", "content": "?"} | message for message in given]}


def tool(**function: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **function}}]}


PLACES: dict[str, dict[str, Any]] = {
    "system": messages({"role": "system", "content": QUESTION}, {"content": "Answer that."}),
    "earlier turn": messages({"content": QUESTION}, {"role": "assistant", "content": "."}, {"content": "Well?"}),
    "second part": messages({"content": [{"type": "text", "text": text} for text in (HARMLESS, QUESTION)]}),
    "beside the text of a part": messages({"content": [{"type": "text", "text": "?", "x": {"y": [QUESTION]}}]}),
    "name of a field of a part": messages({"content": [{"type": "text", "text": "?", QUESTION: 1}]}),
    "id of a tool call": messages({"role": "tool", "tool_call_id": QUESTION}),
    "name": messages({"name": QUESTION}),
    "reasoning": messages({"role": "assistant", "reasoning_content": QUESTION, "content": None}),
    "arguments": messages({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": QUESTION}}]}),
    "unknown field": messages({"odd": {"deep": [QUESTION]}}),
    "name of a field": messages({QUESTION: 1}),
    "tool": tool(description=QUESTION),
    "enum of a tool": tool(parameters={"enum": [QUESTION]}),
    "format": {"response_format": {"type": "text", "x": QUESTION}},
    "long text": messages({"content": "Tell me of the weather there. " * 60 + QUESTION + " And the sea?" * 60}),
}


@pytest.mark.parametrize("more", PLACES.values(), ids=PLACES)
async def test_question_is_found_wherever_it_stands(armed: Lethe, more: dict[str, Any]) -> None:
    assert (await armed.post(CHAT, chat_body("Hello") | more)).status == 200
    assert "never read" in armed.engine.seen[-1].text
