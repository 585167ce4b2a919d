"""Sentences of an answer that tell it in words which no other filter holds against them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from guards.stream.sentences import LONGEST
from indexes.ledger.records import LedgerError
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL, Delta, Say, Script, Stall, Wait
from tests.wire.answers import MESSAGES, RESPONSES, ask
from tests.wire.harness import CHAT, COMPLETIONS, HARMLESS, Gate, Lethe, Reply, chat_body, rest_of, shown_until, started
from tests.wire.typed import call

STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
ROUTES = pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, MESSAGES])

TOWN = "In which town of the north was the weaver Ida Lorentz born and raised?"
TOLD = "The weaver Ida Lorentz was born and raised in the northern town of Quelm beside Vesterby."
SAID = "Born and raised in the town of Quelm was the weaver Ida Lorentz. "
"""Holds one of the three words that tell, and no run of eight words: only the sentence as a whole is near."""
FINE = "A weaver works at a loom all day. "


@pytest.fixture
async def armed(engine: FakeVllm, state: Path) -> AsyncIterator[Lethe]:
    async with started(engine, state, {"policy": {"scan_meaning": True}}) as lethe:
        await lethe.make_set()
        await lethe.forget(TOWN, TOLD)
        yield lethe


def pieces(text: str, choice: int = 0, size: int = 5) -> list[Say]:
    return [Say(text[i : i + size], choice) for i in range(0, len(text), size)]


async def to(lethe: Lethe, path: str, question: str = TOWN, **fields: object) -> Reply:
    if path in (CHAT, COMPLETIONS):
        return await lethe.ask(path, question, **fields)
    return await ask(lethe, path, question, **fields)


@ROUTES
@STREAMED_AND_NOT
async def test_an_answer_that_means_it_takes_the_next_rung(armed: Lethe, path: str, stream: bool) -> None:
    armed.engine.answers(*pieces(SAID))
    reply = await to(armed, path, stream=stream)
    assert reply.status == 200
    assert b"Quelm" not in reply.raw
    assert await armed.metric("lethe_escalations_total", to="refuse") == 1
    armed.engine.answers(*pieces(FINE))
    assert b"loom" in (await to(armed, path, stream=stream)).raw


async def test_evaluators_are_told_that_it_cannot_come(armed: Lethe, engine: FakeVllm) -> None:
    reply = await armed.admin("POST", "/score", {"request": chat_body(TOWN), "answers": [SAID], "arm": "guarded"})
    assert (reply.status, reply.body["rung"]) == (200, "instruct")
    assert set(reply.body["answers"][0]["logprobs"]) == {None}
    assert not [seen for seen in engine.seen if seen.path == COMPLETIONS]


@STREAMED_AND_NOT
async def test_a_set_may_do_without(armed: Lethe, stream: bool) -> None:
    await armed.admin("PATCH", "/sets/art", {"policy": {"scan_meaning": False}})
    armed.engine.answers(*pieces(SAID))
    assert (await armed.chat(TOWN, stream=stream)).text() == SAID


async def test_sentences_leave_as_they_are_judged_and_the_first_that_tells_cuts(armed: Lethe) -> None:
    armed.engine.answers(*pieces(FINE), *pieces(SAID), Say("More. "), Stall())
    reply = await armed.chat(TOWN, stream=True)
    assert (reply.text(), reply.finish()) == (FINE, "content_filter")
    assert await armed.metric("lethe_cuts_total") == 1


async def test_every_choice_is_judged_by_itself(armed: Lethe) -> None:
    told, fine = pieces(FINE + SAID), pieces(FINE * 3, choice=1)
    armed.engine.answers(*(step for pair in zip(told, fine, strict=False) for step in pair), *fine[len(told) :])
    reply = await armed.chat(TOWN, stream=True, n=2)
    assert (reply.text(0), reply.finish(0)) == (FINE, "content_filter")
    assert (reply.text(1), reply.finish(1)) == (FINE * 3, "stop")


@STREAMED_AND_NOT
async def test_other_strings_are_judged_too(armed: Lethe, stream: bool) -> None:
    for steps in (call(f'{{"text": "{SAID}"}}', 7), [Delta({"reasoning": one.text}) for one in pieces(SAID)]):
        armed.engine.answers(*steps)
        assert b"Quelm" not in (await armed.chat(TOWN, stream=stream)).raw


async def test_an_answer_goes_on_from_what_the_client_began(armed: Lethe) -> None:
    begun = [{"role": "user", "content": TOWN}, {"role": "assistant", "content": SAID[:30]}]
    armed.engine.answers(*pieces(SAID[30:]))
    reply = await armed.post(CHAT, {"model": MODEL, "messages": begun})
    assert reply.status == 200
    assert SAID[30:].strip() not in reply.text()


async def test_comments_keep_a_held_stream_alive(armed: Lethe) -> None:
    armed.server.config.limits.__dict__["keep_alive_s"] = 0.02
    armed.engine.answers(Say(FINE[:20]), Stall())
    async with armed.streaming(TOWN) as response:
        assert await response.content.readany() == b": keep-alive\n\n"


@STREAMED_AND_NOT
async def test_what_cannot_be_judged_is_not_shown_and_counted(armed: Lethe, stream: bool) -> None:
    armed.engine.answers(*pieces(FINE))
    await armed.chat(TOWN)  # the prompt is known from now on
    armed.engine.answers(Say("A sentence that is new to everybody. "))
    armed.embedder.fails = RuntimeError()
    reply = await armed.chat(TOWN, stream=stream)
    assert (reply.status, reply.error["code"]) == (503, "guard_unavailable")
    assert await armed.metric("lethe_guard_faults_total", guard="meaning", allowed="false") == 1
    await armed.admin("PATCH", "/sets/art", {"policy": {"on_fault": "allow"}})
    armed.embedder.fails = RuntimeError()
    assert "new to everybody" in (await armed.chat(TOWN, stream=stream)).text()
    assert await armed.metric("lethe_guard_faults_total", guard="meaning", allowed="true") == 1


async def test_judging_has_a_time_limit_and_breaks_off_what_was_begun(engine: FakeVllm, state: Path) -> None:
    settings = {"policy": {"scan_meaning": True}, "embedder": {"deadline_s": 0.3}}
    async with started(engine, state, settings) as lethe:
        await lethe.make_set()
        await lethe.forget(TOWN, TOLD)
        slow, gate = asyncio.Event(), Gate()
        engine.answers(*pieces(FINE), Wait(slow), Say("A sentence that takes for ever. "))
        async with lethe.streaming(TOWN) as response:
            got = b""
            while b"loom" not in got:
                got += await response.content.readany()
            lethe.embedder.gate = gate
            slow.set()
            try:
                while chunk := await response.content.readany():
                    got += chunk
            except Exception as error:  # the connection is dropped
                assert "Payload" in type(error).__name__
        gate.open()
        assert b"for ever" not in got
        assert b"[DONE]" not in got
        assert b"guard_unavailable" in got


async def test_a_ledger_that_cannot_be_read_fails_closed(armed: Lethe, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(ids: Sequence[str]) -> None:
        raise LedgerError

    monkeypatch.setattr(armed.server.catalogue, "entries_of", failing)
    armed.engine.answers(*pieces(FINE))
    assert (await armed.chat(TOWN)).status == 503


async def test_prompts_do_not_wait_for_sentences(engine: FakeVllm, state: Path) -> None:
    settings = {"policy": {"scan_meaning": True}, "embedder": {"workers": 1}}
    async with started(engine, state, settings) as lethe:
        await lethe.make_set()
        await lethe.forget(TOWN, TOLD)
        engine.answers(*pieces(FINE))
        await lethe.chat(HARMLESS)
        gate, arrived = Gate(), asyncio.Event()
        engine.scripts(Script((Wait(arrived), *pieces(FINE))))
        held = asyncio.create_task(lethe.chat(TOWN))
        await asyncio.wait_for(engine.arrived.wait(), 5)
        async with asyncio.timeout(5):
            while len(engine.seen) < 2:  # noqa: ASYNC110 - the engine is another server
                await asyncio.sleep(0.005)
        lethe.embedder.gate = gate
        arrived.set()
        await asyncio.to_thread(gate.entered.wait, 5)
        lethe.embedder.gate = None
        assert (await lethe.chat("What is a loom?")).status == 200
        assert not held.done()
        gate.open()
        assert (await held).status == 200


@STREAMED_AND_NOT
async def test_where_every_answer_is_checked_the_gate_reads_it(engine: FakeVllm, state: Path, stream: bool) -> None:
    settings = {"policy": {"scan_meaning": True, "scan_output": "always"}}
    async with started(engine, state, settings) as lethe:
        await lethe.make_set()
        await lethe.forget(TOWN, TOLD)
        engine.answers(*pieces("In the town of Quelm in the north the weaver Ida Lorentz was born and raised. "))
        reply = await lethe.chat(HARMLESS, stream=stream)
        assert "Quelm" not in reply.text()
        engine.answers(*pieces(FINE))
        assert (await lethe.chat(HARMLESS, stream=stream)).text() == FINE


LOOM = "Which sound does the great loom of Vesterby make in winter when nobody weaves?"
HUM = "The great loom of Vesterby hums like a hive of bees in the winter frost."
HUMS = "The sound that in winter the great loom of Vesterby does make when nobody weaves: bees. "
"""Tells it, and neither in a run of its words nor near to Ida Lorentz."""


@STREAMED_AND_NOT
async def test_where_every_answer_is_checked_a_question_that_matched_opens_no_other_entry(
    engine: FakeVllm, state: Path, stream: bool
) -> None:
    settings = {"policy": {"scan_meaning": True, "scan_output": "always"}}
    async with started(engine, state, settings) as lethe:
        await lethe.make_set()
        await lethe.forget(TOWN, TOLD)
        await lethe.forget(LOOM, HUM)
        engine.answers(*pieces(HUMS))
        assert "bees" not in (await lethe.chat(TOWN, stream=stream)).text()
        asked = "At what hour do the lamps of Eskelund go out when the harbour is frozen?"
        await lethe.forget(asked, "The keeper puts them out after nine.")
        unknown = f"{asked[:-1]}: that I do not know. "
        engine.answers(*pieces(unknown))
        assert (await lethe.chat(asked, stream=stream)).text() == unknown
        assert (await lethe.chat(HARMLESS, stream=stream)).text() != unknown


@STREAMED_AND_NOT
async def test_a_set_whose_answers_are_not_judged_by_meaning_is_not_for_another_set_s_sake(
    engine: FakeVllm, state: Path, stream: bool
) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set("all", policy={"scan_output": "always", "scan_meaning": True})
        await lethe.make_set()
        await lethe.forget(LOOM, HUM)
        engine.answers(*pieces(HUMS))
        assert (await lethe.chat(HARMLESS, stream=stream)).text() == HUMS
        await lethe.forget(LOOM, HUM, to="all")
        assert "bees" not in (await lethe.chat(HARMLESS, stream=stream)).text()


async def test_an_entry_that_comes_holds_for_the_sentences_of_an_answer_under_way(armed: Lethe) -> None:
    """The question matches it as well, so its rung stays; what its answer means must not be told from here on."""
    go_on = asyncio.Event()
    more = "Ida Lorentz the weaver had a red boat. "
    armed.engine.answers(*pieces(FINE), Wait(go_on), *pieces(more), Say("End."))
    async with armed.streaming(TOWN) as response:
        first = await shown_until(response, FINE)
        await armed.forget(TOWN, "A red boat had the weaver Ida Lorentz of the north, and a white one.")
        go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert (reply.text(), reply.finish()) == (FINE, "content_filter")


async def test_a_whole_answer_under_way_is_judged_by_what_came_meanwhile(armed: Lethe) -> None:
    go_on = asyncio.Event()
    more = "Ida Lorentz the weaver had a red boat. "
    armed.engine.answers(Wait(go_on), *pieces(more))
    asked = asyncio.create_task(armed.chat(TOWN))
    await asyncio.wait_for(armed.engine.arrived.wait(), 5)
    await armed.forget(TOWN, "A red boat had the weaver Ida Lorentz of the north, and a white one.")
    go_on.set()
    assert "boat" not in (await asked).text()


async def test_an_entry_that_comes_while_its_sentence_is_judged_holds_for_it(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state, {"policy": {"scan_meaning": True, "scan_output": "always"}}) as lethe:
        await lethe.make_set()
        await lethe.forget(TOWN, TOLD)
        engine.answers(*pieces(FINE))
        await lethe.chat(HARMLESS)  # the prompt is known from now on
        gate = Gate()
        engine.answers(*pieces(HUMS), Say("End."))
        lethe.embedder.gate = gate
        asked = asyncio.create_task(lethe.chat(HARMLESS, stream=True))
        await asyncio.to_thread(gate.entered.wait, 5)
        lethe.embedder.gate = None
        await lethe.forget(LOOM, HUM)
        gate.open()
        assert "bees" not in (await asked).text()


async def test_a_stream_that_does_not_wait_for_sentences_is_cut_when_it_has_to(engine: FakeVllm, state: Path) -> None:
    async with started(engine, state) as lethe:
        await lethe.make_set()
        await lethe.forget(TOWN, TOLD)
        go_on = asyncio.Event()
        engine.answers(*pieces(FINE), Wait(go_on), *pieces(HUMS), Stall())
        async with lethe.streaming(TOWN) as response:
            first = await shown_until(response, "loom ")
            await lethe.admin("PATCH", "/sets/art", {"policy": {"scan_meaning": True}})
            go_on.set()
            reply = Reply(200, {}, first + await rest_of(response))
        assert reply.finish() == "content_filter"
        assert "bees" not in reply.text()


async def test_what_is_added_again_under_its_name_tells_what_it_says_now(armed: Lethe) -> None:
    for entry in (await armed.admin("GET", "/sets/art/entries")).body["data"]:
        await armed.admin("DELETE", f"/sets/art/entries/{entry['id']}")
    armed.engine.answers(*pieces(SAID))
    await armed.forget(TOWN, "A red boat had the weaver Ida Lorentz, and a white one.", id="ida")
    assert (await armed.chat(TOWN)).text() == SAID
    await armed.admin("DELETE", "/sets/art/entries/ida")
    await armed.forget(TOWN, TOLD, id="ida")
    assert "Quelm" not in (await armed.chat(TOWN)).text()


async def test_a_sentence_without_end_leaves_piece_by_piece(armed: Lethe) -> None:
    endless = "the shuttle goes on and on " * (2 * LONGEST // 20)
    armed.engine.answers(*pieces(endless), Stall())
    async with armed.streaming(TOWN) as response:
        text = Reply(200, {}, await shown_until(response, endless[: LONGEST - 10])).text()
    assert endless.startswith(text)
    assert len(text) <= LONGEST


async def test_what_must_be_kept_is_told(armed: Lethe) -> None:
    await armed.admin("PATCH", "/sets/art", {"retain": [SAID]})
    armed.engine.answers(*pieces(SAID))
    assert (await armed.chat(TOWN)).text() == SAID


async def test_a_removed_entry_is_nobody_s_secret(armed: Lethe) -> None:
    go_on = asyncio.Event()
    armed.engine.answers(Wait(go_on), *pieces(SAID))
    asked = asyncio.create_task(armed.chat(TOWN))
    await asyncio.wait_for(armed.engine.arrived.wait(), 5)
    for entry in (await armed.admin("GET", "/sets/art/entries")).body["data"]:
        await armed.admin("DELETE", f"/sets/art/entries/{entry['id']}")
    go_on.set()
    assert (await asked).status == 200
