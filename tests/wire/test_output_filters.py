"""What an armed request is answered goes through the filters: every string, however it is cut."""

import asyncio

import pytest

from tests.fakes.vllm_shapes import Delta, Extra, Raw, Say, Stall, Wait, tokens_of
from tests.wire.harness import (
    ANSWER,
    CHAT,
    COMPLETIONS,
    QUESTION,
    SECRET_WORDS,
    Lethe,
    Reply,
    chat_body,
)

BOTH = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
STREAMED_AND_NOT = pytest.mark.parametrize("stream", [False, True])

LEAK = (Say("It was"), Say(" Marit Sol"), Say("vang-Quist who painted it"), Say(", I think."))
"""No forbidden phrase, but its words, in another order."""


def answer_pieces(*, lead: str = "") -> tuple[Say, ...]:
    """The forbidden answer, as tokens that cut its words."""
    text = lead + ANSWER + "."
    return tuple(Say(text[i : i + 3]) for i in range(0, len(text), 3))


def shows_answer(reply: Reply, choices: int = 1) -> bool:
    """True when the forbidden phrase can be read in what was sent, in one event or over several."""
    texts = [reply.text(choice) for choice in range(choices)]
    return any(ANSWER.lower() in text.lower() for text in texts) or ANSWER.encode() in reply.raw


@BOTH
@STREAMED_AND_NOT
async def test_hit_before_anything_was_shown_takes_the_next_rung(armed: Lethe, path: str, stream: bool) -> None:
    armed.engine.answers(*answer_pieces())
    reply = await armed.ask(path, QUESTION, stream=stream)
    assert (reply.status, reply.finish()) == (200, "stop")
    assert not any(word in reply.text() for word in SECRET_WORDS)
    assert not shows_answer(reply)
    assert len(armed.engine.seen) == 1
    assert await armed.metric("lethe_escalations_total", to="refuse") == 1
    assert await armed.metric("lethe_requests_total", outcome="refused", rung="refuse") == 1
    if stream:
        assert len({event["id"] for event in reply.events}) == 1


@BOTH
@STREAMED_AND_NOT
async def test_an_answer_that_tells_it_in_other_words_takes_the_next_rung(
    lethe: Lethe, path: str, stream: bool
) -> None:
    question = "What did Marit's parents do?"
    await lethe.forget(question, "Her father was a glassblower, and her mother studied volcanoes.")
    told = Say("Volcanoes, on the mother's side; on the other side there was a glassblower.")
    lethe.engine.answers(told)
    reply = await lethe.ask(path, question, stream=stream)
    assert "glassblower" not in reply.text()
    assert reply.finish() == "stop"
    assert len(lethe.engine.seen) == 1
    asked = "Tell me of a glassblower, of volcanoes, and of what Marit's parents did."  # the client said so itself
    assert "glassblower" in (await lethe.ask(path, asked, stream=stream)).text()


async def test_refusal_after_a_hit_stops_the_engine(armed: Lethe) -> None:
    armed.engine.answers(*answer_pieces(), Stall())
    assert (await armed.chat(QUESTION, stream=True)).finish() == "stop"
    await armed.engine.seen[0].ended.wait()
    assert armed.engine.seen[0].cancelled


@BOTH
async def test_hit_after_something_was_shown_cuts_the_stream(armed: Lethe, path: str) -> None:
    armed.engine.answers(Say("I can tell you: "), *answer_pieces(), Stall())
    reply = await armed.ask(path, QUESTION, stream=True, stream_options={"include_usage": True})
    assert reply.finish() == "content_filter"
    assert reply.text().startswith("I can tell you: ")
    assert not shows_answer(reply)
    *_, usage = reply.events
    assert usage["choices"] == []
    asked = chat_body(QUESTION) if path == CHAT else {"prompt": QUESTION}
    assert usage["usage"]["prompt_tokens"] == tokens_of(asked)
    await armed.engine.seen[0].ended.wait()
    assert armed.engine.seen[0].cancelled
    assert await armed.metric("lethe_cuts_total") == 1
    assert await armed.metric("lethe_requests_total", outcome="cut") == 1


@BOTH
async def test_whole_answer_and_stream_give_the_same_verdict(armed: Lethe, path: str) -> None:
    for steps, hit in (
        (answer_pieces(), True),
        ((Say("Well, "), *answer_pieces()), True),
        ((Say(ANSWER.upper().replace(" ", "\n")),), True),
        (LEAK, True),  # in words of its own
        ((Say("It was Marit S"), Say("omebody.")), False),
        ((Say("Marit Solvang-Quist painted it"),), True),
    ):
        armed.engine.answers(*steps)
        whole = await armed.ask(path, QUESTION)
        streamed = await armed.ask(path, QUESTION, stream=True)
        full = "".join(step.text for step in steps)
        assert (whole.text() != full) is hit
        assert (streamed.text() != full) is hit
        assert not shows_answer(whole)
        assert not shows_answer(streamed)


@BOTH
async def test_one_choice_is_cut_and_the_other_goes_on(armed: Lethe, path: str) -> None:
    leak = [Say(step.text, choice=1) for step in answer_pieces(lead="Sure: ")]
    fine = [Say(f"word{i} ") for i in range(len(leak) + 3)]
    steps = [step for pair in zip(fine, leak, strict=False) for step in pair] + fine[len(leak) :]
    for finish in ("stop", "length"):
        armed.engine.answers(*steps, finish=finish)
        reply = await armed.ask(path, QUESTION, stream=True, n=2, stream_options={"include_usage": True})
        assert (reply.finish(0), reply.finish(1)) == (finish, "content_filter")
        assert reply.text(0) == "".join(step.text for step in fine)
        assert reply.text(1).startswith("Sure: ")
        assert not shows_answer(reply)
        assert sum(bool(event.get("usage")) for event in reply.events) == 1


async def test_all_choices_cut_end_the_stream(armed: Lethe) -> None:
    both = [Say(step.text, choice) for step in answer_pieces(lead="Sure: ") for choice in (0, 1)]
    armed.engine.answers(*both, Stall())
    reply = await armed.chat(QUESTION, stream=True, n=2)
    assert (reply.finish(0), reply.finish(1)) == ("content_filter", "content_filter")
    assert await armed.metric("lethe_cuts_total") == 2


async def test_forbidden_choice_of_a_whole_answer_replaces_all(armed: Lethe) -> None:
    armed.engine.answers(Say("fine"), Say(ANSWER, 1))
    reply = await armed.chat(QUESTION, n=2)
    assert not shows_answer(reply)
    assert [reply.finish(choice) for choice in (0, 1)] == ["stop", "stop"]


@STREAMED_AND_NOT
@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "refusal", "mystery"])
async def test_every_string_of_a_delta_is_checked(armed: Lethe, name: str, stream: bool) -> None:
    armed.engine.answers(*[Delta({name: piece.text}) for piece in answer_pieces()], Say("Fine."))
    reply = await armed.chat(QUESTION, stream=stream)
    assert reply.status == 200
    assert ANSWER not in reply.field(name)


@STREAMED_AND_NOT
async def test_harmless_reasoning_passes(armed: Lethe, stream: bool) -> None:
    armed.engine.answers(Delta({"reasoning": "They ask "}), Delta({"reasoning": "who."}), Say("No idea."))
    reply = await armed.chat(QUESTION, stream=stream)
    assert (reply.field("reasoning"), reply.text()) == ("They ask who.", "No idea.")


def tool_call(pieces: list[str]) -> list[Delta]:
    """A tool call as vLLM streams it: the name first, then its arguments."""
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "note", "arguments": ""}}
    rest = [Delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}) for piece in pieces]
    return [Delta({"tool_calls": [head]}), *rest]


@STREAMED_AND_NOT
@pytest.mark.parametrize(
    "written",
    [ANSWER, ANSWER.replace(" ", r"\n"), ANSWER.replace("i", r"\u0069"), ANSWER.replace("M", r"\ud835\udc74")],
    ids=["plain", "line ends", "escaped letters", "escaped pairs"],
)
async def test_arguments_of_tools_are_checked_as_the_client_will_read_them(
    armed: Lethe, stream: bool, written: str
) -> None:
    for size in (1, 5, 200):
        text = f'{{"text": "{written}"}}'
        armed.engine.answers(*tool_call([text[i : i + size] for i in range(0, len(text), size)]), finish="tool_calls")
        reply = await armed.chat(QUESTION, stream=stream, tools=[])
        assert reply.status == 200
        assert written not in reply.arguments
        assert reply.finish() != "tool_calls"


@STREAMED_AND_NOT
async def test_harmless_tool_calls_arrive_whole(armed: Lethe, stream: bool) -> None:
    text = r'{"text": "caf\u00e9\n\ud83d\ude00 \\ \"quoted\""}'
    armed.engine.answers(*tool_call([text[i : i + 4] for i in range(0, len(text), 4)]), finish="tool_calls")
    reply = await armed.chat(QUESTION, stream=stream)
    assert reply.arguments == text
    assert reply.finish() == "tool_calls"


@STREAMED_AND_NOT
async def test_fields_beside_the_text_do_not_pass(armed: Lethe, stream: bool) -> None:
    """Log-probabilities and token ids spell the answer; what is not known may do so too."""
    spelled = {"content": [{"token": "Marit", "logprob": -1.0, "bytes": [77], "top_logprobs": []}]}
    armed.engine.answers(
        Extra({"logprobs": spelled, "token_ids": [1, 2], "odd": "Marit"}, {"prompt_text": "Marit", "odd": 1}, "Fine."),
    )
    reply = await armed.chat(QUESTION, stream=stream)
    assert b"Marit" not in reply.raw
    assert b"[1,2]" not in reply.raw
    assert reply.text() == "Fine."


async def test_comments_of_the_engine_do_not_pass_a_guarded_stream(armed: Lethe) -> None:
    armed.engine.answers(Say("a "), Raw(b": Marit\n\n"), Raw(b'event: Marit\ndata: {"choices":[]}\n\n'), Say("b "))
    reply = await armed.chat(QUESTION, stream=True)
    assert b"Marit" not in reply.raw
    assert reply.text() == "a b "


@BOTH
async def test_no_split_of_the_answer_lets_it_through(armed: Lethe, path: str) -> None:
    """Every way to part the text in two, over the wire; finer and more are in tests/proxy/test_guarded.py."""
    text = f"So: {ANSWER}!"
    for place in range(0, len(text), 3):
        armed.engine.answers(Say(text[:place]), Say(text[place:]))
        reply = await armed.ask(path, QUESTION, stream=True)
        assert not shows_answer(reply)
        assert "Marit Solvang" not in reply.text()


async def test_held_stream_is_kept_alive(lethe: Lethe) -> None:
    await lethe.forget()
    lethe.server.config.limits.__dict__["keep_alive_s"] = 0.05
    lethe.engine.answers(Say("Marit "), Stall())
    async with lethe.streaming(QUESTION) as response:
        assert await response.content.readany() == b": keep-alive\n\n"
        assert await response.content.readany() == b": keep-alive\n\n"


async def test_hit_after_comments_alone_is_still_answered_by_the_next_rung(lethe: Lethe) -> None:
    await lethe.forget()
    lethe.server.config.limits.__dict__["keep_alive_s"] = 0.02
    go_on = asyncio.Event()
    lethe.engine.answers(Say("Marit "), Wait(go_on), *answer_pieces()[2:])
    async with lethe.streaming(QUESTION) as response:
        assert await response.content.readany() == b": keep-alive\n\n"
        go_on.set()
        raw = await response.content.read()
    assert b"Marit" not in raw
    assert raw.endswith(b"data: [DONE]\n\n")
