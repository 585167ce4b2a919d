"""The counters move as their descriptions say, and health is what it is called."""

from tests.fakes.vllm_shapes import Close, Say, Stall
from tests.wire.harness import ADMIN, ANSWER, HARMLESS, QUESTION, Lethe


async def test_each_request_is_counted_once_by_how_it_ended(lethe: Lethe) -> None:
    await lethe.forget()
    ended = "lethe_requests_total"
    await lethe.chat()
    await lethe.chat(stream=True)
    await lethe.complete()
    await lethe.chat(QUESTION)
    await lethe.chat(headers=ADMIN | {"x-lethe-arm": "raw"})
    assert await lethe.metric(ended, dialect="chat", arm="guarded", rung="none", outcome="answered") == 2
    assert await lethe.metric(ended, dialect="completions", outcome="answered") == 1
    assert await lethe.metric(ended, rung="instruct", outcome="answered") == 1
    assert await lethe.metric(ended, arm="raw", outcome="answered") == 1
    lethe.engine.answers(Say(ANSWER))
    await lethe.chat(QUESTION)
    assert await lethe.metric(ended, rung="refuse", outcome="refused") == 1
    lethe.engine.answers(Say("I say "), Say(ANSWER + "."), Stall())
    await lethe.chat(QUESTION, stream=True)
    assert await lethe.metric(ended, rung="instruct", outcome="cut") == 1
    lethe.engine.answers(Close())
    await lethe.chat()
    assert await lethe.metric(ended, outcome="failed") == 1
    assert await lethe.metric(ended) == 8
    assert await lethe.metric("lethe_request_seconds_count") == 8
    assert await lethe.metric("lethe_cuts_total") == 1
    assert await lethe.metric("lethe_escalations_total") == 1
    assert await lethe.metric("lethe_upstream_errors_total", kind="broken") == 1
    assert await lethe.metric("lethe_requests_in_flight") == 0


async def test_gate_is_timed_once_for_each_decision(lethe: Lethe) -> None:
    await lethe.forget()
    await lethe.chat(HARMLESS)
    await lethe.chat(HARMLESS)
    await lethe.chat(headers=ADMIN | {"x-lethe-arm": "raw"})
    assert await lethe.metric("lethe_gate_seconds_count") == 2


async def test_state_of_the_index_is_shown(lethe: Lethe) -> None:
    assert (await lethe.metric("lethe_generation"), await lethe.metric("lethe_entries")) == (1, 0)
    await lethe.forget()
    assert (await lethe.metric("lethe_generation"), await lethe.metric("lethe_entries")) == (2, 1)
    assert await lethe.metric("lethe_hot_add_seconds_count") == 2
    await lethe.admin("DELETE", "/sets/art")
    assert (await lethe.metric("lethe_generation"), await lethe.metric("lethe_entries")) == (3, 0)


async def test_labels_name_no_entry_no_key_and_no_model(lethe: Lethe) -> None:
    await lethe.forget(id="very-own-entry")
    await lethe.chat(QUESTION, ADMIN)
    page = (await lethe.get("/metrics")).raw.decode()
    assert "very-own-entry" not in page
    assert "key_" not in page
    assert "fake-135m" not in page


async def test_health_routes(lethe: Lethe) -> None:
    for path in ("/health", "/readyz"):
        reply = await lethe.get(path)
        assert (reply.status, reply.body) == (200, {"status": "ready", "generation": 1})
    assert (await lethe.get("/livez")).body == {"status": "alive"}
    assert set((await lethe.get("/version")).body) == {"version", "time"}
    assert (await lethe.get("/metrics")).headers["Content-Type"].startswith("text/plain")
