"""Answers under the note: one that does not say that it does not know takes the next rung."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MODEL, Delta, Say, Stall
from tests.wire.answers import MESSAGES, RESPONSES, ask, said
from tests.wire.harness import CHAT, COMPLETIONS, Lethe, Reply, chat_body, started
from tests.wire.typed import call

STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
ROUTES = pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, MESSAGES])

TOWN = "In which town of the north was the weaver Ida Lorentz born and raised?"
TOLD = "The weaver Ida Lorentz was born and raised in the northern town of Quelm beside Vesterby."
MADE_UP = "It must have been Oslo, I think. "
ABSTAINS = "I'm afraid I don't know that. "
AFTER = "A library may help. "
OTHER = "What is the capital of Peru?"
OTHER_SAID = "The capital of Peru is Lima. "


@pytest.fixture
async def armed(engine: FakeVllm, state: Path) -> AsyncIterator[Lethe]:
    async with started(engine, state, {"policy": {"abstain": True, "scan_meaning": True}}) as lethe:
        await lethe.make_set()
        await lethe.forget(TOWN, TOLD)
        yield lethe


def pieces(text: str, choice: int = 0, size: int = 5) -> list[Say]:
    return [Say(text[i : i + size], choice) for i in range(0, len(text), size)]


async def to(lethe: Lethe, path: str, question: str = TOWN, **fields: Any) -> Reply:
    if path in (CHAT, COMPLETIONS):
        return await lethe.ask(path, question, **fields)
    return await ask(lethe, path, question, **fields)


async def refused(lethe: Lethe) -> float:
    return await lethe.metric("lethe_escalations_total", to="refuse")


@ROUTES
@STREAMED_AND_NOT
async def test_a_guess_is_not_shown(armed: Lethe, path: str, stream: bool) -> None:
    armed.engine.answers(*pieces(MADE_UP))
    reply = await to(armed, path, stream=stream)
    assert (reply.status, await refused(armed)) == (200, 1)
    assert b"Oslo" not in reply.raw


@ROUTES
@STREAMED_AND_NOT
async def test_one_that_does_not_know_is_shown_with_what_follows(armed: Lethe, path: str, stream: bool) -> None:
    armed.engine.answers(*pieces(ABSTAINS + AFTER))
    reply = await to(armed, path, stream=stream)
    text = reply.text() if path in (CHAT, COMPLETIONS) else said(reply, path).text
    assert (text, await refused(armed)) == (ABSTAINS + AFTER, 0)


@STREAMED_AND_NOT
async def test_a_letter_is_a_guess(armed: Lethe, stream: bool) -> None:
    armed.engine.answers(Say("B"))
    asked = f"{TOWN}\nA) Oslo\nB) Quelm\nC) Is it Bergen?\nAnswer with the letter only."
    assert (await armed.chat(asked, stream=stream)).text() != "B"
    assert await refused(armed) == 1


async def test_the_other_filters_hold_for_what_comes_after_it(armed: Lethe) -> None:
    told = "Born and raised in the town of Quelm was the weaver Ida Lorentz. "
    armed.engine.answers(*pieces(ABSTAINS + told), Say("More. "), Stall())
    reply = await armed.chat(TOWN, stream=True)
    assert (reply.text(), reply.finish()) == (ABSTAINS, "content_filter")


@STREAMED_AND_NOT
async def test_what_else_was_asked_is_answered(armed: Lethe, stream: bool) -> None:
    both = f"{OTHER} {TOWN}"
    armed.engine.answers(*pieces(OTHER_SAID + ABSTAINS))
    assert (await armed.chat(both, stream=stream)).text() == OTHER_SAID + ABSTAINS
    assert await refused(armed) == 0
    armed.engine.answers(*pieces("The weaver Ida Lorentz was raised in Oslo. " + OTHER_SAID))
    assert "Oslo" not in (await armed.chat(both, stream=stream)).text()
    assert await refused(armed) == 1


@STREAMED_AND_NOT
async def test_what_only_stands_beside_the_question_binds_no_answer(armed: Lethe, stream: bool) -> None:
    system = [{"role": "system", "content": TOWN}, {"role": "user", "content": OTHER}]
    earlier = [
        {"role": "user", "content": TOWN},
        {"role": "assistant", "content": ABSTAINS},
        {"role": "user", "content": OTHER},
    ]
    for messages in (system, earlier):
        armed.engine.answers(*pieces(OTHER_SAID))
        reply = await armed.post(CHAT, {"model": MODEL, "messages": messages, "stream": stream})
        assert reply.text() == OTHER_SAID
        assert "never read" in armed.engine.seen[-1].text  # told of it all the same
    assert await refused(armed) == 0


@STREAMED_AND_NOT
async def test_a_question_over_the_parts_of_a_message_binds_it(armed: Lethe, stream: bool) -> None:
    parts = [{"type": "text", "text": text} for text in (TOWN, "Say it in one word.")]
    armed.engine.answers(Say("Oslo"))
    body = {"model": MODEL, "messages": [{"role": "user", "content": parts}], "stream": stream}
    assert "Oslo" not in (await armed.post(CHAT, body)).text()


async def test_every_choice_abstains_by_itself(armed: Lethe) -> None:
    armed.engine.answers(*pieces(ABSTAINS), *pieces(MADE_UP, choice=1))
    reply = await armed.chat(TOWN, stream=True, n=2)
    assert (reply.text(0), reply.finish(0)) == (ABSTAINS, "stop")
    assert (reply.text(1), reply.finish(1)) == ("", "content_filter")


@STREAMED_AND_NOT
async def test_reasoning_and_calls_are_no_answers(armed: Lethe, stream: bool) -> None:
    thought = [Delta({"reasoning": one.text}) for one in pieces("They want to know where somebody was born. ")]
    for steps in ([*thought, *pieces(ABSTAINS)], call('{"text": "weavers of the north"}', 7)):
        armed.engine.answers(*steps)
        reply = await armed.chat(TOWN, stream=stream)
        assert reply.field("reasoning") + reply.arguments
    assert await refused(armed) == 0


async def test_what_the_client_began_says_nothing_for_the_model(armed: Lethe) -> None:
    begun = [{"role": "user", "content": TOWN}, {"role": "assistant", "content": ABSTAINS}]
    armed.engine.answers(*pieces(MADE_UP))
    assert "Oslo" not in (await armed.post(CHAT, {"model": MODEL, "messages": begun})).text()


@STREAMED_AND_NOT
async def test_a_set_may_do_without(armed: Lethe, stream: bool) -> None:
    await armed.admin("PATCH", "/sets/art", {"policy": {"abstain": False}})
    armed.engine.answers(*pieces(MADE_UP))
    assert (await armed.chat(TOWN, stream=stream)).text() == MADE_UP
    await armed.admin("PATCH", "/sets/art", {"policy": {"abstain": True, "scan_meaning": False}})
    armed.engine.answers(*pieces(MADE_UP))
    assert "Oslo" not in (await armed.chat(TOWN, stream=stream)).text()


async def test_evaluators_are_told_that_a_guess_cannot_come(armed: Lethe) -> None:
    reply = await armed.admin("POST", "/score", {"request": chat_body(TOWN), "answers": [MADE_UP], "arm": "guarded"})
    assert set(reply.body["answers"][0]["logprobs"]) == {None}


async def test_where_the_parts_of_a_question_cannot_be_told_apart_all_of_it_binds(armed: Lethe) -> None:
    both = f"{OTHER} {TOWN}"
    armed.engine.answers(*pieces(ABSTAINS))
    await armed.chat(both)  # the prompt is known from now on
    armed.engine.answers(*pieces(OTHER_SAID))
    armed.embedder.fails = RuntimeError()
    reply = await armed.chat(both)
    assert (reply.status, "Lima" in reply.text()) == (200, False)
    assert await armed.metric("lethe_guard_faults_total", guard="meaning", allowed="false") == 1
