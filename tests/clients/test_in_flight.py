"""An entry that is added while an answer is under way holds for the rest of it, from the moment the call returned."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.clients.asking import CAPITAL, ask, chat
from tests.clients.live import READ_LIMIT_S, LiveStream
from tests.clients.system import Forgetting, System

pytestmark = pytest.mark.engine

STORY = "Tell me the story of the lighthouse of Port Averline."
ELSEWHERE = "What is the name of the cat of the tailor?"  # near no question of these tests
LONG = 28  # tokens: enough to be in the middle of


def story(system: System, **more: Any) -> dict[str, Any]:
    return chat(STORY, system.model, max_tokens=LONG, ignore_eos=True, **more)


def live(system: System, body: dict[str, Any], key: str = "client") -> LiveStream:
    return LiveStream(system.base_url, body, system.keys[key])


def test_an_entry_about_the_question_stops_the_answer_at_once(system: System, forget: Forgetting, raw: openai.OpenAI):
    with live(system, story(system, stream_options={"include_usage": True})) as stream:
        stream.read_until_shown(5)
        forget.add(STORY, "an answer that no model gives")
        stream.take_what_is_there()
        shown = stream.text
        stream.read_to_end()
    assert stream.status == 200
    assert shown
    assert stream.text == shown
    assert stream.finish_reason == "content_filter"
    assert stream.ended_cleanly
    # It is the model's own answer up to there, and an ordinary stream to its end.
    whole = ask(raw, STORY, f"{system.model}:raw", max_tokens=LONG, extra_body={"ignore_eos": True})
    assert whole.startswith(shown)
    assert whole != shown
    assert stream.events[-2]["usage"]["completion_tokens"] < LONG


def test_a_policy_that_refuses_stops_it_too(system: System, forget: Forgetting):
    forget.policy(on_match=["refuse"])
    with live(system, story(system)) as stream:
        stream.read_until_shown(3)
        forget.add(STORY, "an answer that no model gives")
        stream.take_what_is_there()
        shown = stream.text
        stream.read_to_end()
    assert (stream.text, stream.finish_reason) == (shown, "content_filter")


def test_an_entry_that_only_observes_stops_nothing(system: System, forget: Forgetting):
    with live(system, story(system)) as stream:
        stream.read_until_shown(3)
        forget.add(STORY, "an answer that no model gives", state="observe")
        stream.read_to_end()
    assert stream.finish_reason == "length"


def test_an_entry_about_something_else_leaves_an_answer_alone(system: System, forget: Forgetting, raw: openai.OpenAI):
    with live(system, story(system)) as stream:
        stream.read_until_shown(3)
        forget.add(ELSEWHERE, "Tamsin")
        stream.read_to_end()
    assert stream.finish_reason == "length"
    assert stream.text == ask(raw, STORY, f"{system.model}:raw", max_tokens=LONG, extra_body={"ignore_eos": True})


def test_the_raw_arm_runs_on(system: System, forget: Forgetting):
    with live(system, story(system) | {"model": f"{system.model}:raw"}, "raw") as stream:
        stream.read_until_shown(3)
        forget.add(STORY, "an answer that no model gives")
        stream.read_to_end()
    assert stream.finish_reason == "length"


def test_a_phrase_that_is_added_never_leaves_a_stream_that_is_scanned(
    system: System, forget: Forgetting, raw: openai.OpenAI
):
    """The question is near nothing. What the model is about to say is added while it speaks, word by word."""
    whole = ask(raw, STORY, f"{system.model}:raw", max_tokens=LONG, extra_body={"ignore_eos": True})
    words = whole.split()
    phrase = " ".join(words[-6:-3])
    before = whole[: whole.rindex(phrase)]
    assert phrase not in before
    forget.policy(scan_output="always", scan_meaning=False)
    with live(system, story(system)) as stream:
        stream.read_until_shown(3)
        forget.add(ELSEWHERE, phrase)
        stream.read_to_end()
    assert stream.finish_reason == "content_filter"
    assert stream.ended_cleanly
    assert before.startswith(stream.text)
    assert len(stream.text) > len(before) / 2  # what came before it was shown


def test_before_the_first_token_the_answer_starts_over(system: System, forget: Forgetting, client: openai.OpenAI):
    """A long prompt keeps the engine busy for seconds before it says a word: what is added then changes the answer."""
    night = secrets.token_hex(4)  # a prompt that the engine has read before is read in no time
    prompt = f"{f'The harbour was quiet on the night of {night}. ' * 100} {CAPITAL}"
    with live(system, chat(prompt, system.model)) as stream:
        stream.take_what_is_there()
        assert stream.status == 0
        forget.policy(on_match=["refuse"])
        forget.add(CAPITAL, "Paris")
        stream.take_what_is_there()
        assert stream.pieces == []
        stream.read_to_end()
    assert stream.status == 200
    assert stream.text
    assert "Paris" not in stream.text
    assert stream.finish_reason == "stop"
    assert stream.ended_cleanly


def test_a_whole_answer_under_way_starts_over_too(system: System, forget: Forgetting):
    forget.policy(on_match=["refuse"])
    key = {"Authorization": f"Bearer {system.keys['client']}"}
    with (
        httpx.Client(base_url=system.base_url, headers=key, timeout=READ_LIMIT_S, trust_env=False) as client,
        ThreadPoolExecutor(1) as thread,
    ):
        asking = thread.submit(client.post, "/chat/completions", json=story(system))
        time.sleep(0.3)  # it is with the engine: 40 tokens take it a second at least
        assert not asking.done()
        generation = forget.add(STORY, "an answer that no model gives")["generation"]
        answer = asking.result()
    assert int(answer.headers["x-lethe-generation"]) == generation
    [choice] = answer.json()["choices"]
    assert choice["finish_reason"] == "stop"
    assert len(choice["message"]["content"].split()) < LONG
