"""`/v1/responses` and `/v1/messages` over the wire: guarded like chat, in their own events."""

import asyncio
import json
from typing import Any

import pytest

from guards.context.note import INSTRUCTION
from proxy.history import HISTORY_BYTES
from tests.fakes.vllm_shapes import MODEL, Close, Delta, Fail, Raw, Reached, Say, Stall, Wait
from tests.fakes.vllm_typed_shapes import prompt_tokens_of
from tests.wire.answers import MESSAGES, RESPONSES, ask, body_of, events_of, said, until_broken
from tests.wire.harness import ADMIN, ANSWER, HARMLESS, QUESTION, SECRET_WORDS, Lethe, Reply

BOTH = pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
CUT = {RESPONSES: "content_filter", MESSAGES: "refusal"}
ENDED = {RESPONSES: "completed", MESSAGES: "end_turn"}
TOOL = {"name": "note", "description": "Writes a note."}
TOOLS: dict[str, list[dict[str, Any]]] = {
    RESPONSES: [{"type": "function", **TOOL, "parameters": {"type": "object"}}],
    MESSAGES: [{**TOOL, "input_schema": {"type": "object"}}],
}


def pieces(lead: str = "") -> list[Say]:
    words = [f"{word} " for word in ANSWER.split()]
    return [Say(lead)] * bool(lead) + [Say(word) for word in words] + [Say("in oil.")]


def call(written: str, size: int, name: str = "note") -> list[Delta]:
    """A tool call as vLLM streams it."""
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    parts = [written[i : i + size] for i in range(0, len(written), size)]
    return [
        Delta({"tool_calls": [head]}),
        *(Delta({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}) for part in parts),
    ]


def leaks(reply: Reply) -> bool:
    """The answer's words stand in the bytes that the client got."""
    return all(word.encode() in reply.raw for word in ("Marit", "Solvang", "Quist"))


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


# -- what a checked stream must not carry


def typed(kind: str, **fields: Any) -> Raw:
    return Raw(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())


@pytest.mark.parametrize(
    ("path", "event"),
    [
        (RESPONSES, typed("response.mystery.delta", delta="Marit", output_index=0)),
        (RESPONSES, typed("response.output_text.annotation.added", annotation={"title": "Marit"}, output_index=0)),
        (RESPONSES, typed("response.output_item.added", item="Marit", output_index=0)),
        (RESPONSES, typed("response.output_text.delta", delta={"Marit": 1}, output_index=0)),
        (RESPONSES, typed("response.output_text.delta", delta="Marit", output_index="x")),
        (RESPONSES, Raw(b'data: {"choices": []}\n\n')),
        (RESPONSES, Raw(b"data: Marit\n\n")),
        (MESSAGES, typed("mystery", text="Marit")),
        (MESSAGES, typed("content_block_delta", index=0, delta={"type": "citations_delta", "citation": "Marit"})),
        (MESSAGES, typed("content_block_start", index=0, content_block={"type": "image", "source": "Marit"})),
        (MESSAGES, typed("content_block_delta", index="x", delta={"type": "text_delta", "text": "Marit"})),
        (MESSAGES, Raw(b"data: [Marit]\n\n")),
    ],
)
async def test_what_the_dialect_does_not_know_is_refused(armed: Lethe, path: str, event: Raw) -> None:
    armed.engine.answers(Say("Well. "), event, Stall())
    async with armed.http.post(armed.url + path, json=body_of(path, QUESTION, stream=True)) as response:
        raw = await until_broken(response)
    assert b"Marit" not in raw
    assert b"event: error\n" in raw
    assert b"response.completed" not in raw
    assert b"message_stop" not in raw


@pytest.mark.parametrize(
    ("path", "event", "gone"),
    [
        (
            RESPONSES,
            typed(
                "response.output_text.delta",
                delta="and ",
                output_index=0,
                content_index=0,
                item_id="msg_0",
                logprobs=[{"token": "Marit"}],
            ),
            b"Marit",
        ),
        (
            RESPONSES,
            typed(
                "response.output_text.delta",
                delta="and ",
                output_index=0,
                content_index=0,
                item_id="msg_0",
                token_ids=[77, 78],
            ),
            b"77",
        ),
        (
            MESSAGES,
            typed("content_block_delta", index=0, delta={"type": "text_delta", "text": "and ", "odd": "Marit"}),
            b"Marit",
        ),
        (
            MESSAGES,
            typed("content_block_delta", index=0, delta={"type": "text_delta", "text": "and "}, odd=[77, 78]),
            b"77",
        ),
    ],
)
async def test_fields_beside_the_text_stay(armed: Lethe, path: str, event: Raw, gone: bytes) -> None:
    armed.engine.answers(Say("Well "), event, Stall())
    async with armed.http.post(armed.url + path, json=body_of(path, QUESTION, stream=True)) as response:
        raw = b""
        while b'"and ' not in raw:
            raw += await response.content.readany()
    assert gone not in raw


@BOTH
async def test_the_engines_copy_of_its_prompt_does_not_leave(armed: Lethe, path: str) -> None:
    answer = (await ask(armed, path, QUESTION)).body
    extra = {"input_messages": [{"message": "never read"}], "prompt_text": "never read", "kv_transfer_params": {"a": 1}}
    armed.engine.answers(Raw(json.dumps({**answer, **extra}).encode()))
    reply = await ask(armed, path, QUESTION)
    assert reply.status == 200
    assert b"never read" not in reply.raw
    assert b'{"a":1}' not in reply.raw


@BOTH
@STREAMED_AND_NOT
async def test_a_broken_engine_never_looks_like_an_answer(armed: Lethe, path: str, stream: bool) -> None:
    for steps in ((Say("Well, "), Close()), (Say("Well, "), Fail("Marit"))):
        armed.engine.answers(*steps)
        if not stream:
            assert (await ask(armed, path, QUESTION)).status in (500, 502)
            continue
        async with armed.http.post(armed.url + path, json=body_of(path, HARMLESS, stream=True)) as response:
            raw = await until_broken(response)
        assert b"message_stop" not in raw
        assert b"response.completed" not in raw
        async with armed.http.post(armed.url + path, json=body_of(path, QUESTION, stream=True)) as response:
            raw = await until_broken(response)
        assert b"event: error\n" in raw
        assert b"Marit" not in raw


# -- entries that come while an answer is under way


@BOTH
async def test_an_entry_about_the_question_cuts_an_answer_in_flight(lethe: Lethe, path: str) -> None:
    go_on = asyncio.Event()
    shown = asyncio.Event()
    lethe.engine.answers(
        Delta({"reasoning": "Hm."}), Say("It was "), Say("painted "), Reached(shown), Wait(go_on), Say("by")
    )
    async with lethe.http.post(lethe.url + path, json=body_of(path, QUESTION, stream=True)) as response:
        raw = b""
        while b"painted " not in raw:
            raw += await response.content.readany()
        await lethe.forget()
        go_on.set()
        raw += await response.content.read()
    answer = said(Reply(200, {}, raw), path)
    assert (answer.text, answer.finish) == ("It was painted ", CUT[path])


@BOTH
async def test_a_very_long_stream_is_cut_in_valid_events_too(lethe: Lethe, path: str) -> None:
    """Longer than what is remembered of it: the places of its blocks and items are, whatever else was said."""
    go_on = asyncio.Event()
    many = [Say(f"word{i} is .delta event: content_block_delta ") for i in range(3 * HISTORY_BYTES // 250)]
    lethe.engine.answers(Delta({"reasoning": "Hm."}), *many, Say("soon "), Wait(go_on), Say("by"), Stall())
    async with lethe.http.post(lethe.url + path, json=body_of(path, QUESTION, stream=True)) as response:
        raw = b""
        while b"soon " not in raw:
            raw += await response.content.readany()
        await lethe.forget()
        go_on.set()
        raw += await response.content.read()
    if path == MESSAGES:
        answer = said(Reply(200, {}, raw), path)
        assert answer.finish == CUT[path]
        assert answer.text == "".join(step.text for step in many) + "soon "
        return
    events = events_of(raw)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    *_, text, part, item, last = events
    assert [event["type"] for event in (text, part, item)] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]
    assert (last["type"], last["response"]["incomplete_details"]) == (
        "response.incomplete",
        {"reason": "content_filter"},
    )
    assert [one["type"] for one in last["response"]["output"]] == ["reasoning", "message"]
    assert text["text"].endswith("soon ")  # the beginning is not repeated


@BOTH
async def test_a_phrase_that_begins_before_the_entry_does_not_end_after_it(lethe: Lethe, path: str) -> None:
    await lethe.make_set("all", policy={"scan_output": "always"})
    go_on = asyncio.Event()
    lethe.engine.answers(Say("Marit Solvang-Quist "), Wait(go_on), Say("painted it "), Say("all."))
    async with lethe.http.post(lethe.url + path, json=body_of(path, HARMLESS, stream=True)) as response:
        raw = b""
        while b"Quist " not in raw:
            raw += await response.content.readany()
        await lethe.forget(to="all")
        go_on.set()
        raw += await response.content.read()
    answer = said(Reply(200, {}, raw), path)
    assert "painted it" not in answer.text
    assert answer.finish == CUT[path]


# -- requests


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]}),
        (RESPONSES, {"input": [{"role": "assistant", "content": QUESTION}, {"role": "user", "content": "Go on."}]}),
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
