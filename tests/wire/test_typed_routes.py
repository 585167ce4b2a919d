"""`/v1/responses` and `/v1/messages` over the wire: guarded like chat, in their own events."""

import json

import pytest

from guards.context.note import INSTRUCTION
from tests.fakes.vllm_shapes import MODEL, Delta, Say, Stall
from tests.fakes.vllm_typed_shapes import prompt_tokens_of
from tests.wire.answers import MESSAGES, RESPONSES, ask, body_of, events_of, said
from tests.wire.harness import ADMIN, ANSWER, HARMLESS, QUESTION, SECRET_WORDS, Lethe
from tests.wire.typed import BOTH, CUT, ENDED, STREAMED_AND_NOT, TOOLS, call, leaks, pieces

# -- unarmed


@BOTH
@STREAMED_AND_NOT
async def test_unarmed_answers_leave_as_the_bytes_that_came(lethe: Lethe, path: str, stream: bool) -> None:
    lethe.engine.answers(Delta({"reasoning": "Hm. "}), Say("Seven "), Say("days."), *call('{"a": 1}', 3))
    reply = await ask(lethe, path, stream=stream)
    assert reply.raw == lethe.engine.sent
    assert said(reply, path).text == "Seven days."
    sent = lethe.engine.seen[-1].body
    assert sent.pop("cache_salt")
    assert sent == body_of(path, HARMLESS, stream=stream) | ({"store": False} if path == RESPONSES else {})


@BOTH
async def test_packets_that_end_anywhere_change_nothing(lethe: Lethe, path: str) -> None:
    lethe.engine.answers(Say("Seven "), Say("days."), cuts=tuple(range(40, 900, 37)))
    reply = await ask(lethe, path, stream=True)
    assert reply.raw == lethe.engine.sent


# -- armed


@BOTH
@STREAMED_AND_NOT
async def test_harmless_answers_of_armed_requests_are_whole(armed: Lethe, path: str, stream: bool) -> None:
    armed.engine.answers(
        Delta({"reasoning": "They "}),
        Delta({"reasoning": "ask."}),
        Say("I never "),
        Say("heard of it."),
        *call(r'{"text": "caf\u00e9 \"x\""}', 4),
        finish="tool_calls",
    )
    answer = said(await ask(armed, path, QUESTION, stream=stream, tools=TOOLS[path]), path)
    assert (answer.text, answer.reasoning, answer.calls) == ("I never heard of it.", "They ask.", ["note"])
    assert json.loads(answer.arguments) == {"text": 'caf\u00e9 "x"'}
    assert answer.finish == {RESPONSES: "completed", MESSAGES: "tool_use"}[path]


@BOTH
@STREAMED_AND_NOT
async def test_the_note_goes_first_and_shows_nowhere(armed: Lethe, path: str, stream: bool) -> None:
    system = {RESPONSES: "instructions", MESSAGES: "system"}[path]
    reply = await ask(armed, path, QUESTION, stream=stream, **{system: "Be brief."})
    sent = armed.engine.seen[-1].body
    assert sent[system].startswith(INSTRUCTION)
    assert sent[system].endswith("Be brief.")
    turns = sent["input"] if path == RESPONSES else sent["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant", "user"]
    assert turns[-1]["content"] == QUESTION
    assert not any(word in str(turns[:-1]) + sent[system] for word in SECRET_WORDS)
    assert b"never read" not in reply.raw
    if path == RESPONSES:
        assert (reply.body if not stream else events_of(reply.raw)[0]["response"])["instructions"] == "Be brief."
    own = prompt_tokens_of(body_of(path, QUESTION, **{system: "Be brief."}))
    assert said(reply, path).usage["input_tokens"] == own


async def test_a_first_system_message_is_kept_behind_the_note(armed: Lethe) -> None:
    for role, content in (("system", "Be kind."), ("developer", [{"type": "input_text", "text": "Be kind."}])):
        items = [{"role": role, "content": content}, {"role": "user", "content": QUESTION}]
        await armed.post(RESPONSES, {"model": MODEL, "input": items})
        sent = armed.engine.seen[-1].body
        assert sent["instructions"].endswith("Be kind.")
        assert role not in [item["role"] for item in sent["input"]]
    blocks = [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]
    await ask(armed, MESSAGES, QUESTION, system=blocks)
    note, clients = armed.engine.seen[-1].body["system"]
    assert (note["text"], clients) == (INSTRUCTION, blocks[0])


@BOTH
@STREAMED_AND_NOT
async def test_refusals_are_ordinary_answers(lethe: Lethe, path: str, stream: bool) -> None:
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget(to="refused")
    reply = await ask(lethe, path, QUESTION, stream=stream)
    answer = said(reply, path)
    assert answer.text
    assert answer.finish == ENDED[path]
    assert answer.usage["input_tokens"] == prompt_tokens_of(body_of(path, QUESTION))
    assert answer.usage["output_tokens"] == len(answer.text.split())
    assert not lethe.engine.seen
    assert (await ask(lethe, path, QUESTION, stream=not stream)).status == 200
    chat = await lethe.chat(QUESTION)
    assert chat.text() == answer.text  # the same question, the same words, whatever the route


@BOTH
@STREAMED_AND_NOT
async def test_a_hit_before_anything_was_shown_takes_the_next_rung(armed: Lethe, path: str, stream: bool) -> None:
    armed.engine.answers(*pieces())
    reply = await ask(armed, path, QUESTION, stream=stream)
    assert said(reply, path).finish == ENDED[path]
    assert not leaks(reply)
    assert await armed.metric("lethe_escalations_total", to="refuse") == 1


@BOTH
async def test_a_hit_after_something_was_shown_cuts_the_stream(armed: Lethe, path: str) -> None:
    armed.engine.answers(*pieces("I can tell you: "), Stall())
    reply = await ask(armed, path, QUESTION, stream=True)
    answer = said(reply, path)
    assert answer.finish == CUT[path]
    assert answer.text.startswith("I can tell you: ")
    assert not leaks(reply)
    assert answer.usage["input_tokens"] == prompt_tokens_of(body_of(path, QUESTION))
    await armed.engine.seen[0].ended.wait()
    assert armed.engine.seen[0].cancelled
    assert await armed.metric("lethe_cuts_total") == 1


@BOTH
async def test_no_split_of_the_answer_lets_it_through(armed: Lethe, path: str) -> None:
    text = f"So: {ANSWER}!"
    for place in range(0, len(text), 4):
        armed.engine.answers(Say(text[:place]), Say(text[place:]))
        reply = await ask(armed, path, QUESTION, stream=True)
        said(reply, path)
        assert not leaks(reply)
    armed.engine.answers(*map(Say, text))
    reply = await ask(armed, path, QUESTION, stream=True)
    assert said(reply, path).finish == CUT[path]
    assert not leaks(reply)


@BOTH
@STREAMED_AND_NOT
async def test_reasoning_is_filtered_like_the_answer(armed: Lethe, path: str, stream: bool) -> None:
    for lead in ("", "So: "):
        armed.engine.answers(*[Delta({"reasoning": piece.text}) for piece in pieces(lead)], Say("No idea."))
        reply = await ask(armed, path, QUESTION, stream=stream)
        answer = said(reply, path)
        assert not leaks(reply)
        assert answer.finish == (CUT[path] if stream and lead else ENDED[path])


@BOTH
@STREAMED_AND_NOT
@pytest.mark.parametrize(
    "written",
    [ANSWER, ANSWER.replace(" ", r"\n"), ANSWER.replace("i", r"\u0069")],
    ids=["plain", "line ends", "escaped letters"],
)
async def test_arguments_of_tools_are_checked_as_the_client_will_read_them(
    armed: Lethe, path: str, stream: bool, written: str
) -> None:
    for size in (1, 7, 200):
        armed.engine.answers(*call(f'{{"text": "{written}"}}', size), finish="tool_calls")
        reply = await ask(armed, path, QUESTION, stream=stream, tools=TOOLS[path])
        answer = said(reply, path)
        assert not leaks(reply)
        assert answer.finish in (CUT[path], ENDED[path])


@BOTH
@STREAMED_AND_NOT
async def test_names_of_tools_are_checked(armed: Lethe, path: str, stream: bool) -> None:
    armed.engine.answers(Say("Well. "), *call("{}", 2, name=ANSWER), finish="tool_calls")
    reply = await ask(armed, path, QUESTION, stream=stream, tools=TOOLS[path])
    assert said(reply, path).finish == (CUT[path] if stream else ENDED[path])
    assert not leaks(reply)


@BOTH
@STREAMED_AND_NOT
async def test_an_empty_answer_is_an_answer(armed: Lethe, path: str, stream: bool) -> None:
    armed.engine.answers()
    assert said(await ask(armed, path, QUESTION, stream=stream), path).text == ""


@BOTH
async def test_held_text_leaves_at_the_end(armed: Lethe, path: str) -> None:
    for text in ("It was Marit Sol", "It was Marit", "Marit"):
        armed.engine.answers(*map(Say, text))
        assert said(await ask(armed, path, QUESTION, stream=True), path).text == text


# -- keys


async def test_a_key_may_come_as_anthropics_clients_send_it(lethe: Lethe) -> None:
    made = await lethe.admin("POST", "/keys", {"scopes": ["client"], "label": "a"})
    assert (await ask(lethe, MESSAGES)).status == 401
    reply = await lethe.post(MESSAGES, body_of(MESSAGES, HARMLESS), {"x-api-key": made.body["key"]})
    assert reply.status == 200
    wrong = await lethe.post(MESSAGES, body_of(MESSAGES, HARMLESS), {"x-api-key": "wrong-key-0123456789"})
    assert (wrong.status, wrong.body["error"]["type"]) == (401, "authentication_error")
    assert "x-api-key" not in {name.lower() for name in lethe.engine.seen[-1].headers}


@BOTH
async def test_the_raw_arm_needs_its_scope(armed: Lethe, path: str) -> None:
    body = body_of(path, QUESTION) | {"model": f"{MODEL}:raw"}
    assert (await armed.post(path, body)).status == 403
    reply = await armed.post(path, body, ADMIN)
    assert reply.raw == armed.engine.sent
