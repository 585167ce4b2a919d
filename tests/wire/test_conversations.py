"""Conversations: a question that comes in pieces is caught, and an old one does not silence everything after it."""

from typing import Any

import pytest

from tests.fakes.vllm_shapes import MODEL, Say
from tests.wire.answers import MESSAGES, RESPONSES
from tests.wire.harness import ANSWER, CHAT, HARMLESS, QUESTION, SECRET_WORDS, Lethe, Reply

ALL = pytest.mark.parametrize("path", [CHAT, RESPONSES, MESSAGES])
PIECES = QUESTION.split(" mural ")
FIRST, SECOND = PIECES[0], f"mural {PIECES[1]}"
UNKNOWN = "I never heard of it."


async def talk(lethe: Lethe, path: str, *turns: str, **fields: Any) -> Reply:
    """A conversation: turns of the user and of the assistant in turn."""
    said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]
    body: dict[str, Any] = {"input": said} if path == RESPONSES else {"messages": said}
    return await lethe.post(
        path, {"model": MODEL, **body, **({"max_tokens": 50} if path == MESSAGES else {}), **fields}
    )


def amended(lethe: Lethe) -> bool:
    """Whether the engine was told of the subject."""
    return "never read" in lethe.engine.seen[-1].text


@ALL
async def test_a_question_in_pieces_is_caught(armed: Lethe, path: str) -> None:
    for alone in (FIRST, SECOND):
        assert (await talk(armed, path, alone)).status == 200
        assert not amended(armed)
    await talk(armed, path, FIRST, "Go on.", SECOND)
    assert amended(armed)
    await talk(armed, path, "Hello.", "Hi!", FIRST, "Go on.", SECOND)
    assert amended(armed)


@ALL
async def test_a_question_in_many_pieces_is_caught_however_long_ago_it_was_asked(armed: Lethe, path: str) -> None:
    words = QUESTION.split()
    turns = [turn for word in words for turn in (word, "And?")]
    await talk(armed, path, *turns, "Well, answer that.")
    assert amended(armed)
    await talk(armed, path, *turns, "Let us speak of the weather. " * 30, "Gladly.", "Now answer the first question.")
    assert amended(armed)


def parts(path: str, *texts: str) -> list[dict[str, str]]:
    return [{"type": "input_text" if path == RESPONSES else "text", "text": text} for text in texts]


@ALL
async def test_a_question_over_the_parts_of_one_message_is_caught(armed: Lethe, path: str) -> None:
    for given, caught in ((parts(path, FIRST, SECOND), True), (parts(path, FIRST), False)):
        body = {"input" if path == RESPONSES else "messages": [{"role": "user", "content": given}]}
        limit = {} if path == RESPONSES else {"max_tokens": 9}
        assert (await armed.post(path, {"model": MODEL, **body, **limit})).status == 200
        assert amended(armed) is caught


@ALL
async def test_a_question_that_begins_in_the_system_prompt_is_caught(armed: Lethe, path: str) -> None:
    own = {CHAT: {}, RESPONSES: {"instructions": FIRST}, MESSAGES: {"system": FIRST}}[path]
    first = [{"role": "system", "content": FIRST}] if path == CHAT else []
    said = [*first, {"role": "user", "content": SECOND}]
    body = {"input": said} if path == RESPONSES else {"messages": said, "max_tokens": 9}
    await armed.post(path, {"model": MODEL, **body, **own})
    assert amended(armed)
    if path == RESPONSES:
        await armed.post(path, {"model": MODEL, "instructions": FIRST, "input": SECOND})
        assert amended(armed)


@ALL
async def test_a_question_goes_on_in_what_an_assistant_is_said_to_have_said(armed: Lethe, path: str) -> None:
    await talk(armed, path, FIRST, SECOND, "Yes?")
    assert amended(armed)


async def test_a_name_in_pieces_is_caught_though_nothing_is_near(armed: Lethe) -> None:
    entity = {"kind": "entity", "names": ["Tamsin Orrery-Vale"]}
    assert (await armed.admin("POST", "/sets/art/entries", entity)).status == 201
    for second, caught in (("Orrery-Vale, please.", True), ("Smith, please.", False)):
        await armed.post(
            CHAT, {"model": MODEL, "messages": [{"role": "user", "content": parts(CHAT, "Tamsin", second)}]}
        )
        assert amended(armed) is caught


async def test_seams_of_texts_that_are_near_nothing_are_not_embedded(armed: Lethe) -> None:
    system = [{"role": "system", "content": "Be brief, always."}]
    for text, calls in (("Seven geese fly south.", 1), (SECOND, 2)):
        before = armed.embedder.calls
        await armed.post(CHAT, {"model": MODEL, "messages": [*system, {"role": "user", "content": text}]})
        assert armed.embedder.calls - before == calls
        assert not amended(armed)


async def test_a_question_over_a_tool_s_strings_is_caught(armed: Lethe) -> None:
    for texts, caught in (((FIRST, SECOND), True), ((FIRST, HARMLESS), False)):
        tool = {"type": "function", "function": {"name": "f", "parameters": {"enum": list(texts)}}}
        await armed.chat(HARMLESS, tools=[tool])
        assert amended(armed) is caught


@ALL
async def test_an_old_question_in_pieces_does_not_silence_the_conversation(lethe: Lethe, path: str) -> None:
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget(to="refused")
    await talk(lethe, path, FIRST, "Go on.", SECOND)
    assert not lethe.engine.seen
    lethe.engine.answers(Say("Seven days."))
    reply = await talk(lethe, path, FIRST, "Go on.", SECOND, UNKNOWN, HARMLESS)
    assert b"Seven days." in reply.raw
    assert amended(lethe)


@ALL
async def test_turns_that_have_nothing_to_do_with_each_other_are_not(armed: Lethe, path: str) -> None:
    reply = await talk(armed, path, "Hello.", "Hi!", HARMLESS, "Seven.", "And in a year?")
    assert reply.raw == armed.engine.sent
    assert not amended(armed)


@ALL
async def test_an_old_question_does_not_silence_the_conversation(lethe: Lethe, path: str) -> None:
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget(to="refused")
    await talk(lethe, path, QUESTION)
    assert not lethe.engine.seen  # refused, as the policy has it
    lethe.engine.answers(Say("Seven days."))
    reply = await talk(lethe, path, QUESTION, UNKNOWN, HARMLESS)
    assert b"Seven days." in reply.raw
    assert amended(lethe)  # but the model is told, for the question still stands there
    await talk(lethe, path, QUESTION, UNKNOWN, HARMLESS, "Seven.", QUESTION)
    assert len(lethe.engine.seen) == 1  # asked again, refused again


@ALL
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_and_its_answer_does_not_come_later(lethe: Lethe, path: str, stream: bool) -> None:
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget(to="refused")
    lethe.engine.answers(*[Say(f"{word} ") for word in ANSWER.split()])
    reply = await talk(
        lethe, path, QUESTION, UNKNOWN, HARMLESS, "Seven.", "Now answer what I asked first.", stream=stream
    )
    assert reply.status == 200
    assert len(lethe.engine.seen) == 1
    assert not any(word.encode() in reply.raw for word in SECRET_WORDS)


@ALL
async def test_what_an_assistant_said_before_arms_too(armed: Lethe, path: str) -> None:
    await talk(armed, path, "Hello.", QUESTION, "Go on.")
    assert amended(armed)


@ALL
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_phrase_that_a_prefill_begins_is_not_completed(lethe: Lethe, path: str, stream: bool) -> None:
    await lethe.make_set("all", policy={"scan_output": "always"})
    await lethe.forget(to="all")
    begun, _, rest = ANSWER.partition(" painted")
    lethe.engine.answers(Say(" painted"), Say(rest), Say(", yes."))
    reply = await talk(lethe, path, "Say something.", f"Well, {begun}", stream=stream)
    assert b"painted" not in reply.raw
    lethe.engine.answers(Say(" painted"), Say(" nothing."))
    reply = await talk(lethe, path, "Say something.", f"Well, {begun}", stream=stream)
    assert b"nothing" in reply.raw


async def test_a_tool_result_after_the_last_turn_is_not_an_old_one(lethe: Lethe) -> None:
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget(to="refused")
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Look it up."},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": QUESTION},
    ]
    await lethe.post(CHAT, {"model": MODEL, "messages": messages})
    assert not lethe.engine.seen
