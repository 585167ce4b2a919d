"""A client that leaves stops the generation: seen in vLLM's own metrics, which count what it really generates."""

from typing import Any

import httpx
import openai
import pytest

from tests.clients.asking import CAPITAL, chat
from tests.clients.engine_metrics import Counts, EngineMetrics
from tests.clients.live import LiveStream
from tests.clients.system import Forgetting, System

pytestmark = pytest.mark.engine

TALE = "Tell me a very long fairy tale in many chapters."
ENDLESS = 1500  # tokens: minutes, if nobody stopped it
STOPPED_WITHIN_S = 20  # 1 s alone on two cores
# vLLM reads at most 2,048 tokens in one step, and its metrics tell of a request after the first one. This is read in
# two, so that there is a moment at which the request is seen to run and has no token yet.
LONG_PROMPT = "The harbour was quiet that night. " * 310


def endless(system: System, prompt: str = "Write a very long story.", **more: Any) -> dict[str, Any]:
    return chat(prompt, system.model, max_tokens=ENDLESS, ignore_eos=True, **more)


@pytest.fixture
def quiet(metrics: EngineMetrics) -> Counts:
    """The counters while the engine is idle."""
    return metrics.wait_for(idle, 60)


def idle(counts: Counts) -> bool:
    return counts.running == counts.waiting == 0


def running(counts: Counts) -> bool:
    return counts.running == 1


def assert_stopped(metrics: EngineMetrics, before: Counts, *, at_most: int) -> None:
    """The engine stops soon, has not come to the end of the answer, and goes no further."""
    stopped = metrics.wait_for(idle, STOPPED_WITHIN_S)
    assert stopped.finished == before.finished
    assert stopped.generation_tokens - before.generation_tokens <= at_most
    assert metrics.now() == stopped


def test_a_client_that_leaves_in_mid_stream(
    system: System, client: openai.OpenAI, metrics: EngineMetrics, quiet: Counts
):
    body = endless(system) | {"extra_body": {"ignore_eos": True}}
    del body["ignore_eos"]
    with client.chat.completions.create(**body, stream=True) as stream:
        for number, _ in enumerate(stream):
            if number == 10:
                break
        assert running(metrics.now())
    assert_stopped(metrics, quiet, at_most=100)


def test_a_client_that_leaves_before_the_first_token(system: System, metrics: EngineMetrics, quiet: Counts):
    with LiveStream(system.base_url, endless(system, LONG_PROMPT), system.keys["client"]) as stream:
        metrics.wait_for(running, 120)
        stream.take_what_is_there()
        assert stream.pieces == []
    assert_stopped(metrics, quiet, at_most=2)


def test_a_client_that_leaves_while_it_waits_for_a_whole_answer(system: System, metrics: EngineMetrics, quiet: Counts):
    key = {"Authorization": f"Bearer {system.keys['client']}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{system.base_url}/chat/completions", json=endless(system), headers=key, timeout=2, trust_env=False)
    assert_stopped(metrics, quiet, at_most=400)


def test_a_client_that_leaves_a_guarded_stream(
    system: System, metrics: EngineMetrics, quiet: Counts, forget: Forgetting
):
    """The same while the note is in front of the prompt and the filters hold the stream, here by the sentence."""
    forget.policy(on_match=["instruct"])
    forget.add(TALE, "an answer that no model gives")
    with LiveStream(system.base_url, endless(system, TALE), system.keys["client"]) as stream:
        stream.read_until_shown(1)
    assert_stopped(metrics, quiet, at_most=200)


def test_an_answer_that_is_cut_stops_the_engine(
    system: System, metrics: EngineMetrics, quiet: Counts, forget: Forgetting
):
    with LiveStream(system.base_url, endless(system, CAPITAL), system.keys["client"]) as stream:
        stream.read_until_shown(2)
        forget.add(CAPITAL, "an answer that no model gives")
        stream.read_to_end()
        assert stream.finish_reason == "content_filter"
    assert_stopped(metrics, quiet, at_most=200)


def test_many_that_leave_leave_nothing_running(system: System, metrics: EngineMetrics, quiet: Counts):
    streams = [LiveStream(system.base_url, endless(system), system.keys["client"]) for _ in range(6)]
    try:
        metrics.wait_for(lambda counts: counts.running == 6, 60)
    finally:
        for stream in streams:
            stream.leave()
    assert_stopped(metrics, quiet, at_most=600)
