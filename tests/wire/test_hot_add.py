"""An entry that is added holds from the moment the call that adds it has answered, also for answers in flight."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import Extra, Reached, Say, Script, Stall, Step, Wait
from tests.wire.harness import (
    ANSWER,
    CHAT,
    COMPLETIONS,
    HARMLESS,
    QUESTION,
    SECRET_WORDS,
    Gate,
    Lethe,
    Reply,
    rest_of,
    shown_until,
    started,
)

BOTH = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])

OTHER_QUESTION = "What is the boiling point of argon at sea level?"
OTHER_ANSWER = "minus one hundred eighty six degrees"


class Halves:
    """A script that stops in the middle: `reached` is set there, and it goes on when `go_on` is."""

    def __init__(self, first: tuple[Step, ...], rest: tuple[Step, ...]) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self.steps = (*first, Reached(self.reached), Wait(self.go_on), *rest)


def spoken(*words: str) -> tuple[Say, ...]:
    """A piece for each word."""
    return tuple(Say(f"{word} ") for word in words)


@BOTH
async def test_nothing_of_an_unguarded_stream_leaves_after_its_question_is_forgotten(lethe: Lethe, path: str) -> None:
    halves = Halves((Say("The one "), Say("who did it ")), (Say("has a name "), Say("and a boat."), Stall()))
    lethe.engine.answers(*halves.steps)
    async with lethe.streaming(QUESTION, path, stream_options={"include_usage": True}) as response:
        first = await shown_until(response, "who did it ")
        await lethe.forget()
        halves.go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert reply.text() == "The one who did it "
    assert reply.finish() == "content_filter"
    assert len(reply.events) == len([event for event in reply.events if "id" in event])
    assert "usage" in reply.events[-1]
    await lethe.engine.seen[0].ended.wait()
    assert lethe.engine.seen[0].cancelled
    assert await lethe.metric("lethe_requests_total", outcome="cut", rung="instruct") == 1


async def test_each_choice_under_way_is_cut(lethe: Lethe) -> None:
    halves = Halves((Say("one ", 0), Say("two ", 1)), (Say("three ", 0), Say("four", 1)))
    lethe.engine.answers(*halves.steps)
    async with lethe.streaming(QUESTION, n=2) as response:
        first = await shown_until(response, "one ")
        await lethe.forget()
        halves.go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert (reply.finish(0), reply.finish(1)) == ("content_filter", "content_filter")
    assert (reply.text(0), reply.text(1)) == ("one ", "two ")


async def test_stream_whose_choices_have_ended_keeps_its_end(lethe: Lethe) -> None:
    """Between the last finish and [DONE] there is nothing left to cut, and the end must still come."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    whole = (Say("done"), Say("", 0))
    lethe.engine.answers(*whole, Reached(reached), Wait(go_on), finish="length")
    async with lethe.streaming(QUESTION, stream_options={"include_usage": True}) as response:
        first = await shown_until(response, "done")
        await reached.wait()
        await lethe.forget()
        go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert (reply.text(), reply.finish()) == ("done", "length")
    assert "usage" in reply.events[-1]


@BOTH
async def test_stream_that_has_shown_nothing_is_planned_anew(lethe: Lethe, path: str) -> None:
    go_on = asyncio.Event()
    lethe.engine.scripts(Script((Wait(go_on), Say("Somebody did."), Stall())), Script((Say("I do not know."),)))
    asked = asyncio.create_task(lethe.ask(path, QUESTION, stream=True))
    await asyncio.wait_for(lethe.engine.arrived.wait(), 5)
    await lethe.forget()
    go_on.set()
    reply = await asked
    assert reply.text() == "I do not know."
    assert reply.finish() == "stop"
    assert "never read" in lethe.engine.seen[1].text
    await lethe.engine.seen[0].ended.wait()
    assert lethe.engine.seen[0].cancelled


@BOTH
async def test_whole_answer_in_flight_is_planned_anew(lethe: Lethe, path: str) -> None:
    go_on = asyncio.Event()
    lethe.engine.scripts(Script((Wait(go_on), Say(ANSWER))), Script((Say("I do not know."),)))
    asked = asyncio.create_task(lethe.ask(path, QUESTION))
    await asyncio.wait_for(lethe.engine.arrived.wait(), 5)
    await lethe.forget()
    go_on.set()
    reply = await asked
    assert reply.text() == "I do not know."
    assert reply.headers["x-lethe-generation"] == "2"


async def test_request_that_waits_for_the_embedder_sees_what_was_added_meanwhile(lethe: Lethe) -> None:
    await lethe.forget(OTHER_QUESTION, OTHER_ANSWER)
    lethe.embedder.gate = gate = Gate()
    asked = asyncio.create_task(lethe.chat(QUESTION))
    while not gate.entered.is_set():  # noqa: ASYNC110 - set by a thread
        await asyncio.sleep(0.005)
    lethe.embedder.gate = None
    await lethe.forget()
    gate.open()
    await asked
    assert "never read" in lethe.engine.seen[-1].text


async def test_guarded_stream_learns_phrases(armed: Lethe) -> None:
    halves = Halves(spoken("I heard"), spoken(*f"it is {OTHER_ANSWER} cold".split()))
    armed.engine.answers(*halves.steps)
    async with armed.streaming(QUESTION) as response:
        first = await shown_until(response, "I heard ")
        await armed.forget(OTHER_QUESTION, OTHER_ANSWER)
        halves.go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert reply.text() == "I heard it is "
    assert reply.finish() == "content_filter"


async def test_phrase_that_began_in_what_was_shown_is_not_completed(armed: Lethe) -> None:
    words = OTHER_ANSWER.split()
    halves = Halves(
        tuple(Say(f"{word} ") for word in ["It", "is", *words[:3]]),
        tuple(Say(f"{word} ") for word in [*words[3:], "C"]),
    )
    armed.engine.answers(*halves.steps)
    async with armed.streaming(QUESTION) as response:
        first = await shown_until(response, words[2])
        await armed.forget(OTHER_QUESTION, OTHER_ANSWER)
        halves.go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert reply.finish() == "content_filter"
    assert words[-1] not in reply.text()


@BOTH
async def test_unguarded_stream_that_must_be_scanned_knows_what_it_has_shown(
    engine: FakeVllm, state: Path, path: str
) -> None:
    """Another question's entry, in a set that scans every answer: the stream goes on, its phrases do not."""
    words = OTHER_ANSWER.split()
    halves = Halves(spoken("So, it is", *words[:4]), spoken(*words[4:]))
    engine.answers(*halves.steps)
    async with started(engine, state) as lethe, lethe.streaming(HARMLESS, path) as response:
        first = await shown_until(response, words[3])
        await lethe.make_set("all", policy={"scan_output": "always"})
        await lethe.forget(OTHER_QUESTION, OTHER_ANSWER, to="all")
        halves.go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert reply.finish() == "content_filter"
    assert words[-1] not in reply.text()
    assert reply.text().startswith("So, it is minus")


async def test_log_probabilities_do_not_spell_what_a_stream_must_no_longer_say(engine: FakeVllm, state: Path) -> None:
    spelled = {"logprobs": {"content": [{"token": "degrees", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}}
    halves = Halves((Say("So "),), (Extra(spelled, text="it is "), Say("cold.")))
    engine.answers(*halves.steps)
    async with started(engine, state) as lethe, lethe.streaming(HARMLESS, logprobs=True) as response:
        first = await shown_until(response, "So ")
        await lethe.make_set("all", policy={"scan_output": "always"})
        await lethe.forget(OTHER_QUESTION, OTHER_ANSWER, to="all")
        halves.go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert reply.text() == "So it is cold."
    assert b"degrees" not in reply.raw


async def test_entries_of_other_subjects_do_not_disturb_a_stream(lethe: Lethe) -> None:
    await lethe.make_set("chemistry")
    halves = Halves((Say("Seven "),), (Say("days "), Say("of course.")))
    lethe.engine.answers(*halves.steps)
    async with lethe.streaming(HARMLESS) as response:
        first = await shown_until(response, "Seven ")
        await lethe.forget(OTHER_QUESTION, OTHER_ANSWER, to="chemistry")
        halves.go_on.set()
        raw = first + await rest_of(response)
    assert raw == lethe.engine.sent


async def test_raw_arm_is_not_disturbed(lethe: Lethe) -> None:
    halves = Halves((Say("It was "),), (Say(ANSWER),))
    lethe.engine.answers(*halves.steps)
    asked = asyncio.create_task(
        lethe.chat(QUESTION, {"Authorization": "Bearer admin-secret-0123456789", "x-lethe-arm": "raw"}, stream=True)
    )
    await halves.reached.wait()
    await lethe.forget()
    halves.go_on.set()
    assert (await asked).raw == lethe.engine.sent


async def test_stricter_entry_ends_a_stream_under_a_milder_one(armed: Lethe) -> None:
    await armed.make_set("strict", policy={"on_match": ["refuse"]})
    halves = Halves((Say("Perhaps "),), (Say("someone "), Say("local.")))
    armed.engine.answers(*halves.steps)
    async with armed.streaming(QUESTION) as response:
        first = await shown_until(response, "Perhaps ")
        await armed.forget(to="strict")
        halves.go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert (reply.text(), reply.finish()) == ("Perhaps ", "content_filter")


async def test_answer_that_is_held_back_never_leaves_once_it_is_forgotten(armed: Lethe) -> None:
    """A word that waits for its end when the entry comes belongs to what must no longer leave."""
    await armed.make_set("strict", policy={"on_match": ["refuse"]})
    halves = Halves((Say("Perhaps "), Say("Mar")), (Say("ble."),))
    armed.engine.answers(*halves.steps)
    async with armed.streaming(QUESTION) as response:
        first = await shown_until(response, "Perhaps ")
        await halves.reached.wait()
        await armed.forget(to="strict")
        halves.go_on.set()
        reply = Reply(200, {}, first + await rest_of(response))
    assert (reply.text(), reply.finish()) == ("Perhaps ", "content_filter")


async def test_removed_entry_lets_later_requests_pass(armed: Lethe) -> None:
    armed.engine.answers(Say(ANSWER))
    refused = (await armed.chat(QUESTION)).text()
    assert not any(word in refused for word in SECRET_WORDS)
    entry = (await armed.admin("GET", "/sets/art/entries")).body["data"][0]["id"]
    reply = await armed.admin("DELETE", f"/sets/art/entries/{entry}")
    assert reply.body["generation"] == 3
    assert (await armed.chat(QUESTION)).raw == armed.engine.sent
    assert (await armed.chat(QUESTION)).headers["x-lethe-generation"] == "3"


async def test_observed_and_disabled_entries_change_nothing(armed: Lethe) -> None:
    entry = (await armed.admin("GET", "/sets/art/entries")).body["data"][0]["id"]
    armed.engine.answers(Say(ANSWER))
    for state in ("observe", "disabled"):
        await armed.admin("PATCH", f"/sets/art/entries/{entry}", {"state": state})
        assert (await armed.chat(QUESTION)).raw == armed.engine.sent
    await armed.admin("PATCH", f"/sets/art/entries/{entry}", {"state": "active"})
    assert (await armed.chat(QUESTION)).raw != armed.engine.sent


async def test_entry_expires(engine: FakeVllm, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.app.EXPIRY_CHECK_S", 0.02)
    async with started(engine, state) as lethe:
        await lethe.make_set()
        soon = datetime.now(UTC) + timedelta(seconds=0.2)
        await lethe.forget(expires_at=soon.isoformat())
        assert (await lethe.chat(QUESTION, stream=True)).raw != engine.sent
        async with asyncio.timeout(5):
            while (await lethe.admin("GET", "/sets/art/entries")).body["data"][0]["state"] != "disabled":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await lethe.chat(QUESTION, stream=True)).raw == engine.sent


async def test_many_streams_and_many_adds_at_once(lethe: Lethe) -> None:
    """Whatever the order: a stream whose question was forgotten stops, the others arrive whole."""
    halves = [Halves((Say(f"start{i} "),), (Say("middle "), Say("end."))) for i in range(8)]
    lethe.engine.scripts(*(Script(half.steps) for half in halves))
    questions = [f"Which of the {word} lamps burned longest in the tower?" for word in "red blue grey".split()]

    async def ask(i: int) -> Reply:
        async with lethe.streaming(questions[i] if i < len(questions) else HARMLESS) as response:
            return Reply(200, response.headers, await response.content.read())

    asked = [asyncio.create_task(ask(0))]
    for i in range(1, 8):
        await halves[i - 1].reached.wait()
        asked.append(asyncio.create_task(ask(i)))
    await halves[7].reached.wait()
    await asyncio.gather(*(lethe.forget(question, None) for question in questions))
    for half in halves:
        half.go_on.set()
    replies = await asyncio.gather(*asked)
    assert [reply.finish() for reply in replies] == ["content_filter"] * 3 + ["stop"] * 5
    assert [reply.text() for reply in replies] == [f"start{i} " for i in range(3)] + [
        f"start{i} middle end." for i in range(3, 8)
    ]


async def test_client_that_does_not_read_gets_no_more_than_was_on_its_way(lethe: Lethe) -> None:
    lethe.engine.answers(Say("one "), *[Say("sand " * 20_000)] * 200)
    async with lethe.streaming(QUESTION) as response:
        sent = 0
        while sent != (sent := len(lethe.engine.sent)) or not sent:  # noqa: ASYNC110 - until the sockets are full
            await asyncio.sleep(0.2)
        await lethe.forget()
        reply = Reply(200, {}, await rest_of(response))
    assert sent < 200 * 100_000
    assert reply.finish() == "content_filter"
    assert len(reply.raw) < sent + 1_000_000


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_entry_that_comes_while_something_is_asked_about_an_event_holds_for_it(
    armed: Lethe, path: str, stream: bool
) -> None:
    """Between the last look at the index and the departure of an event nothing may be waited for."""
    await armed.make_set("strict", policy={"on_match": ["refuse"]})
    armed.engine.answers(Say("Somebody "), Say("did."))
    armed.engine.tokenizing = asyncio.Event()
    options = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}} if stream else {}
    asked = asyncio.create_task(armed.ask(path, QUESTION, stream=stream, **options))
    while not armed.engine.counted:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await armed.forget(to="strict")
    armed.engine.tokenizing.set()
    reply = await asked
    assert "Somebody" not in reply.text()
    assert reply.finish() == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("guarded", [False, True])
async def test_entry_that_comes_while_a_request_is_decided_again_holds_too(
    lethe: Lethe, monkeypatch: pytest.MonkeyPatch, stream: bool, guarded: bool
) -> None:
    await lethe.make_set("strict", policy={"on_match": ["refuse"]})
    if guarded:
        await lethe.forget()
    halves = Halves((Say("It "),), (Say("xyzzy "), Say("she.")))
    lethe.engine.answers(*halves.steps)
    decider = lethe.server.decider
    decide = type(decider).decide
    deciding, decided = asyncio.Event(), asyncio.Event()

    async def slowly(self: object, *asked: object) -> object:
        plan = await decide(self, *asked)  # type: ignore[arg-type]
        if halves.reached.is_set() and not deciding.is_set():
            deciding.set()
            await decided.wait()
        return plan

    monkeypatch.setattr(type(decider), "decide", slowly)
    asked = asyncio.create_task(lethe.chat(QUESTION, stream=stream))
    await halves.reached.wait()
    await asyncio.sleep(0.05)
    await lethe.forget(OTHER_QUESTION, OTHER_ANSWER)
    halves.go_on.set()
    await deciding.wait()
    await lethe.forget(to="strict")
    decided.set()
    reply = await asked
    assert "xyzzy" not in reply.text()
    assert reply.finish() == ("content_filter" if stream else "stop")
