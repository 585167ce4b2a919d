"""Offsets on the wire: the proxy alone arms, only who is near, and never silently not."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.fakes.assistants import write_assistant
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL, Reached, Say, Script, Wait
from tests.wire.answers import MESSAGES, RESPONSES, ask, said
from tests.wire.assistants import (
    LADDER,
    SLOTS,
    TOGETHER,
    adapter_of,
    listing,
    load,
    sent,
)
from tests.wire.harness import ADMIN, ANSWER, CHAT, COMPLETIONS, HARMLESS, QUESTION, Lethe, started

DIALECTS = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
STREAMED = pytest.mark.parametrize("stream", [False, True])


# -- who is armed, and how


@DIALECTS
@STREAMED
async def test_a_request_near_the_set_is_armed_by_the_proxy(loaded: Lethe, path: str, *, stream: bool) -> None:
    reply = await loaded.ask(path, QUESTION, stream=stream)
    assert reply.text() == "Hello there."
    body = sent(loaded)
    assert body["model"] == adapter_of(loaded)
    assert body["vllm_xargs"] == {
        "lethe_auxiliaries": ["a0"],
        "lethe_weights": [-0.75],
        "lethe_combine": "linear",
        "lethe_filter_rate": 0.01,
    }
    assert body["cache_salt"].startswith("lethe-armed:")
    assert "never read" not in json.dumps(body)  # the prompt is the client's own
    assert b"lethe" not in reply.raw
    assert reply.raw.count(MODEL.encode()) >= 1


@pytest.mark.parametrize("path", [RESPONSES, MESSAGES])
@STREAMED
async def test_the_other_routes_arm_alike(loaded: Lethe, path: str, *, stream: bool) -> None:
    reply = await ask(loaded, path, QUESTION, stream=stream)
    assert said(reply, path).text == "Hello there."
    body = sent(loaded)
    assert (body["model"], body["vllm_xargs"]["lethe_weights"]) == (adapter_of(loaded), [-0.75])
    assert body["cache_salt"].startswith("lethe-armed:")
    assert b"lethe" not in reply.raw
    assert MODEL.encode() in reply.raw
    await ask(loaded, path, stream=stream)
    assert (sent(loaded)["model"], "vllm_xargs" in sent(loaded)) == (MODEL, False)


async def test_no_cache_is_shared_between_tenants_or_arms(loaded: Lethe) -> None:
    keys = [{}, ADMIN, ADMIN | {"x-lethe-arm": "raw"}]
    salts = []
    for question in (QUESTION, HARMLESS):
        for headers in keys:
            await loaded.chat(question, headers)
            salts.append(sent(loaded)["cache_salt"])
    armed, plain, raw = {*salts[:2]}, {*salts[3:5]}, {salts[2], salts[5]}
    assert (len(armed), len(plain), len(raw)) == (2, 2, 1)
    assert len(armed | plain | raw) == 5
    assert not any("anonymous" in salt or "raw" in salt for salt in salts)


@DIALECTS
@STREAMED
@pytest.mark.parametrize("arm", ["guarded", "raw"])
async def test_nobody_else_is(loaded: Lethe, path: str, arm: str, *, stream: bool) -> None:
    question = HARMLESS if arm == "guarded" else QUESTION
    reply = await loaded.ask(path, question, headers=ADMIN | {"x-lethe-arm": arm}, stream=stream)
    assert reply.raw == loaded.engine.sent
    body = sent(loaded)
    assert body["model"] == MODEL
    assert "vllm_xargs" not in body
    assert "lethe" not in json.dumps(body)


@DIALECTS
@STREAMED
@pytest.mark.parametrize("question", [QUESTION, HARMLESS])
async def test_what_a_client_sends_under_these_names_never_arrives(
    loaded: Lethe, path: str, question: str, *, stream: bool
) -> None:
    await loaded.ask(path, question, stream=stream)
    ours = sent(loaded)
    forged = {"lethe_auxiliaries": ["a1"], "lethe_weights": [0.0], "lethe_combine": "linear"}
    for fields in ({"vllm_xargs": forged, "cache_salt": "mine"}, {"vllm_xargs": None, "cache_salt": None}):
        await loaded.ask(path, question, stream=stream, **fields)
        assert sent(loaded) == ours
    name = adapter_of(loaded)
    assert (await loaded.ask(path, question, model=name)).status == 404
    assert (await loaded.ask(path, question, model=f"{name}:raw", headers=ADMIN)).status == 404
    assert name not in (await loaded.get("/v1/models")).raw.decode()


async def test_the_score_sets_the_strength(able: Lethe, tmp_path: Path) -> None:
    await load(able, write_assistant(tmp_path, "uld", 1, strength=1.0))
    near = "Who painted the harbour mural in Eskelund, please?"
    score = (await able.admin("POST", "/check", {"text": near})).body["nearest"][0]["score"]
    strengths = []
    for threshold in (score, score - 0.025, score - 0.2):
        await able.admin("PATCH", "/sets/art", {"policy": {**LADDER, "threshold": threshold}})
        explained = (await able.admin("POST", "/check", {"text": near})).body
        assert (explained["rung"], explained["offset"]["assistant"]) == ("offset", "uld")
        strengths.append(explained["offset"]["strength"])
        await able.chat(near)
        assert sent(able)["vllm_xargs"]["lethe_weights"] == [pytest.approx(-strengths[-1], abs=1e-3)]
    assert strengths == [pytest.approx(0.5, abs=0.02), pytest.approx(0.75, abs=0.02), 1.0]


async def test_a_pair_is_armed_with_its_signs(able: Lethe, tmp_path: Path) -> None:
    parts = [{"slot": 0, "role": "retain", "weight": 1.0}, {"slot": 1, "role": "forget", "weight": -1.0}]
    change = {"parts": parts, "combine": "rank", "k": 20, "strength": 1.0, "filter_rate": 0.0, "dead_zone": 0.25}
    loaded = await load(able, write_assistant(tmp_path, "uld", 1, **change))
    assert (loaded["combine"], loaded["strength"], loaded["dead_zone"]) == ("rank", 1.0, 0.25)
    await able.chat(QUESTION)
    assert sent(able)["vllm_xargs"] == {
        "lethe_auxiliaries": ["a0", "a1"],
        "lethe_weights": [1.0, -1.0],
        "lethe_combine": "rank",
        "lethe_k": 20,
        "lethe_dead_zone": 0.25,
    }


# -- the ladder


@DIALECTS
@STREAMED
async def test_what_the_offset_lets_through_climbs_to_the_note_which_keeps_it(
    loaded: Lethe, path: str, *, stream: bool
) -> None:
    loaded.engine.scripts(Script((Say(ANSWER),)), Script((Say("I have never heard of it."),)))
    reply = await loaded.ask(path, QUESTION, stream=stream)
    assert reply.text() == "I have never heard of it."
    first, second = (seen.body for seen in loaded.engine.seen[-2:])
    assert first["vllm_xargs"] == second["vllm_xargs"]
    assert "never read" in json.dumps(second)
    assert second["model"] == adapter_of(loaded)
    loaded.engine.scripts(Script((Say(ANSWER),)), Script((Say(ANSWER),)))
    refused = await loaded.ask(path, QUESTION, stream=stream)
    assert refused.text() not in (ANSWER, "Hello there.")
    assert (await loaded.metric("lethe_escalations_total", to="refuse")) == 1


@DIALECTS
@STREAMED
async def test_without_its_assistant_a_ladder_begins_one_rung_up_and_is_counted(
    able: Lethe, path: str, *, stream: bool
) -> None:
    await able.ask(path, QUESTION, stream=stream)
    body = sent(able)
    assert "never read" in json.dumps(body)
    assert "vllm_xargs" not in body
    assert not body["cache_salt"].startswith("lethe-armed:")
    assert await able.metric("lethe_offsets_lacked_total", when="decided") == 1
    finding = (await able.admin("POST", "/check", {"text": QUESTION})).body["findings"][0]
    assert (finding["lacked"], finding["verdict"]) == ("uld", "amend")


@pytest.mark.parametrize(("ladder", "status"), [(["offset"], "refuse"), (["offset", "refuse"], "refuse")])
async def test_an_offset_alone_that_cannot_be_is_a_refusal(able: Lethe, ladder: list[str], status: str) -> None:
    await able.admin("PATCH", "/sets/art", {"policy": {**LADDER, "on_match": ladder}})
    assert (await able.admin("POST", "/check", {"text": QUESTION})).body["rung"] == status
    before = len(able.engine.seen)
    assert (await able.chat(QUESTION)).status == 200
    assert len(able.engine.seen) == before


async def test_an_engine_without_slots_never_answers_for_an_offset(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set(policy=LADDER)
        await lethe.forget()
        assert (await lethe.get("/readyz")).status == 200
        await lethe.chat(QUESTION)
        assert "never read" in lethe.engine.seen[-1].text
        assert (await listing(lethe)) == {"data": [], "problem": None}


@STREAMED
async def test_an_adapter_that_is_gone_when_it_is_asked_for_is_a_reason_to_climb(
    engine: FakeVllm, state: Path, tmp_path: Path, *, stream: bool
) -> None:
    engine.composite.slots = ("a0", "a1")
    # Between two looks at the engine, so that nobody has noticed yet.
    async with started(engine, state, {**SLOTS, "upstream": {"check_every_s": 600}}) as lethe:
        await lethe.make_set(policy=LADDER)
        await lethe.forget()
        await load(lethe, write_assistant(tmp_path, "uld", 1))
        engine.composite.restart()
        reply = await lethe.chat(QUESTION, stream=stream)
        assert reply.status == 200
        assert reply.text() == "Hello there."
        assert "never read" in engine.seen[-1].text
        assert "vllm_xargs" not in sent(lethe)
        assert await lethe.metric("lethe_offsets_lacked_total", when="sent") == 1


@STREAMED
async def test_what_the_engine_says_about_an_arming_is_not_for_the_client(loaded: Lethe, *, stream: bool) -> None:
    said = {"error": {"message": "weights: a finite number", "type": "BadRequestError", "param": None, "code": 400}}
    loaded.engine.scripts(Script(status=400, body=json.dumps(said).encode()))
    reply = await loaded.chat(QUESTION, stream=stream)
    assert reply.status == 200
    assert "vllm_xargs" not in sent(loaded)
    assert b"weights" not in reply.raw


async def test_two_sets_with_different_assistants_climb(loaded: Lethe, tmp_path: Path) -> None:
    await load(loaded, write_assistant(tmp_path, "other", 1))
    await loaded.make_set("more", policy={**LADDER, "assistant": "other"})
    await loaded.forget(to="more")
    await loaded.chat(QUESTION)
    assert "vllm_xargs" not in sent(loaded)
    assert "never read" in loaded.engine.seen[-1].text


async def test_an_operators_own_adapter_wears_no_other(loaded: Lethe) -> None:
    loaded.engine.composite.adapters["support-style"] = "/adapters/support"
    await loaded.server.upstream.look()
    await loaded.chat(QUESTION, model="support-style")
    assert sent(loaded)["model"] == "support-style"
    assert "vllm_xargs" not in sent(loaded)
    assert "never read" in loaded.engine.seen[-1].text


async def test_an_offset_rung_needs_to_name_its_assistant(able: Lethe) -> None:
    for ladder in (["offset"], ["offset_instruct", "refuse"]):
        reply = await able.admin("PATCH", "/sets/art", {"policy": {"on_match": ladder}})
        assert reply.status == 400
        assert f"'{ladder[0]}' needs to know what to subtract: set 'assistant' to a name" in reply.error["message"]


# -- offset and note together


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, MESSAGES])
@STREAMED
async def test_one_request_carries_the_note_and_is_armed(loaded: Lethe, path: str, *, stream: bool) -> None:
    await loaded.admin("PATCH", "/sets/art", {"policy": TOGETHER})
    explained = (await loaded.admin("POST", "/check", {"text": QUESTION})).body
    assert (explained["rung"], explained["ladder"]) == ("offset_instruct", ["offset_instruct", "refuse"])
    assert explained["offset"] == {"assistant": "uld", "strength": 0.75}
    if path in (CHAT, COMPLETIONS):
        reply = await loaded.ask(path, QUESTION, stream=stream)
        assert reply.text() == "Hello there."
    else:
        reply = await ask(loaded, path, QUESTION, stream=stream)
        assert said(reply, path).text == "Hello there."
    body = sent(loaded)
    assert "never read" in json.dumps(body)
    assert (body["model"], body["vllm_xargs"]["lethe_weights"]) == (adapter_of(loaded), [-0.75])
    assert body["cache_salt"].startswith("lethe-armed:")
    assert b"lethe" not in reply.raw
    assert b"never read" not in reply.raw


@STREAMED
async def test_what_both_let_through_is_refused(loaded: Lethe, *, stream: bool) -> None:
    await loaded.admin("PATCH", "/sets/art", {"policy": TOGETHER})
    loaded.engine.scripts(Script((Say(ANSWER),)))
    refused = await loaded.chat(QUESTION, stream=stream)
    assert refused.text() not in (ANSWER, "Hello there.")
    assert await loaded.metric("lethe_requests_total", outcome="refused", rung="refuse") == 1


@STREAMED
async def test_a_note_that_was_not_enough_is_joined_by_the_offset(loaded: Lethe, *, stream: bool) -> None:
    policy = {**TOGETHER, "on_match": ["instruct", "offset_instruct", "refuse"]}
    await loaded.admin("PATCH", "/sets/art", {"policy": policy})
    loaded.engine.scripts(Script((Say(ANSWER),)), Script((Say("I have never heard of it."),)))
    reply = await loaded.chat(QUESTION, stream=stream)
    assert reply.text() == "I have never heard of it."
    first, second = (seen.body for seen in loaded.engine.seen[-2:])
    assert "never read" in json.dumps(first)
    assert "never read" in json.dumps(second)
    assert ("vllm_xargs" in first, "vllm_xargs" in second) == (False, True)
    assert await loaded.metric("lethe_requests_total", outcome="answered", rung="offset_instruct") == 1


@STREAMED
async def test_without_its_assistant_the_note_stays_and_that_is_counted(able: Lethe, *, stream: bool) -> None:
    await able.admin("PATCH", "/sets/art", {"policy": TOGETHER})
    await able.chat(QUESTION, stream=stream)
    assert "never read" in json.dumps(sent(able))
    assert "vllm_xargs" not in sent(able)
    assert await able.metric("lethe_offsets_lacked_total", when="decided") == 1
    explained = (await able.admin("POST", "/check", {"text": QUESTION})).body
    assert (explained["rung"], explained["offset"], explained["findings"][0]["lacked"]) == ("instruct", None, "uld")


@STREAMED
async def test_an_adapter_lost_meanwhile_leaves_the_note_also_for_an_entry_that_comes_after(
    loaded: Lethe, *, stream: bool
) -> None:
    """An operator's own adapter wears no other: each new decision wants the offset again, and none may cut for it."""
    await loaded.admin("PATCH", "/sets/art", {"policy": TOGETHER})
    loaded.engine.composite.adapters["support-style"] = "/adapters/support"
    await loaded.server.upstream.look()
    told, go = asyncio.Event(), asyncio.Event()
    loaded.engine.scripts(Script((Say("I have never "), Reached(told), Wait(go), Say("heard of it."))))
    asked = asyncio.create_task(loaded.chat(QUESTION, model="support-style", stream=stream))
    await told.wait()
    await loaded.forget("Which bird nests on the north cliff?", answer="the storm petrel")
    go.set()
    assert (await asked).text() == "I have never heard of it."
    assert "vllm_xargs" not in sent(loaded)
    assert "never read" in json.dumps(sent(loaded))
    assert await loaded.metric("lethe_offsets_lacked_total", when="sent") == 1


# -- an entry that comes while an answer is under way


async def test_an_unarmed_stream_whose_question_becomes_forbidden_is_cut(able: Lethe, tmp_path: Path) -> None:
    await load(able, write_assistant(tmp_path, "uld", 1))
    told, go = asyncio.Event(), asyncio.Event()
    question = "Which bird nests on the north cliff?"
    able.engine.scripts(Script((Say("It is "), Reached(told), Wait(go), Say("a puffin of sorts"))))
    async with able.streaming(question) as response:
        await told.wait()
        await response.content.readuntil(b"It is ")
        await able.forget(question, answer="the storm petrel")
        go.set()
        rest = await response.content.read()
    assert b"puffin" not in rest
    assert b"content_filter" in rest
