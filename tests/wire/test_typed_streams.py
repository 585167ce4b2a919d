"""What `/v1/responses` and `/v1/messages` must not carry in their events, and entries that come in mid-stream."""

import asyncio
import json
from typing import Any

import pytest

from proxy.history import HISTORY_BYTES
from tests.fakes.vllm_shapes import Close, Delta, Fail, Raw, Reached, Say, Stall, Wait
from tests.wire.answers import MESSAGES, RESPONSES, ask, body_of, events_of, said, until_broken
from tests.wire.harness import HARMLESS, QUESTION, Lethe, Reply
from tests.wire.typed import BOTH, CUT, STREAMED_AND_NOT

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
            Raw(
                typed("ping", note="Marit").data
                + typed("content_block_delta", index=0, delta={"type": "text_delta", "text": "and "}).data
            ),
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
