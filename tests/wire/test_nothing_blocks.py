"""Nothing that a request does blocks the event loop: files, locks, sleeps and databases are for threads."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from blockbuster import BlockingError, blockbuster_ctx

from tests.fakes.vllm_shapes import Say
from tests.wire.harness import ADMIN, ANSWER, CHAT, COMPLETIONS, HARMLESS, QUESTION, Lethe, chat_body


@pytest.fixture
def blocking_fails() -> Iterator[None]:
    with blockbuster_ctx():
        yield


async def test_the_check_itself_works(blocking_fails: None) -> None:
    with pytest.raises(BlockingError):
        time.sleep(0)  # noqa: ASYNC251


async def test_requests(lethe: Lethe, blocking_fails: None, log: list[dict[str, object]]) -> None:
    await lethe.forget()
    await lethe.make_set("refused", policy={"on_match": ["refuse"]})
    await lethe.forget("Which lamp burned longest in the tower?", "The blue one burned longest", to="refused")
    for path in (CHAT, COMPLETIONS):
        for question in (HARMLESS, QUESTION, "Which lamp burned longest in the tower?"):
            for stream in (False, True):
                lethe.engine.answers(Say("It was "), Say(ANSWER))
                assert (await lethe.ask(path, question, stream=stream)).status == 200
    assert (await lethe.chat(QUESTION, ADMIN | {"x-lethe-arm": "raw"})).status == 200
    assert (await lethe.chat(model="nothing")).status == 404
    for path in ("/health", "/livez", "/readyz", "/version", "/metrics", "/v1/models"):
        assert (await lethe.get(path)).status == 200
    assert not [line for line in log if line["event"] == "unexpected"]


async def test_admin_calls(armed: Lethe, blocking_fails: None) -> None:
    await armed.admin("PATCH", "/sets/art", {"retain": ["a text to keep"]})
    entry = (await armed.admin("GET", "/sets/art/entries")).body["data"][0]["id"]
    await armed.admin("PATCH", f"/sets/art/entries/{entry}", {"state": "observe"})
    assert (await armed.admin("POST", "/sets/art/entries:import", b'{"question": "a b"}\n')).status == 201
    assert (await armed.admin("POST", "/check", {"text": QUESTION})).status == 200
    assert (await armed.admin("POST", "/compare", {"request": chat_body(QUESTION)})).status == 200
    key = (await armed.admin("POST", "/keys", {"scopes": ["client"]})).body["id"]
    assert (await armed.admin("DELETE", f"/keys/{key}")).status == 200
    for path in ("/audit", "/generations", "/keys", "/sets"):
        assert (await armed.admin("GET", path)).status == 200
    assert (await armed.admin("DELETE", f"/sets/art/entries/{entry}")).status == 200
    assert (await armed.admin("DELETE", "/sets/art")).status == 200


async def test_request_is_answered_while_another_is_embedded(armed: Lethe) -> None:
    """The loop goes on, whatever the threads do; a text seen before waits for nobody who embeds."""
    from tests.wire.harness import Gate

    await armed.chat(HARMLESS)
    armed.embedder.gate = gate = Gate()
    waiting = asyncio.create_task(armed.chat("a question that was not seen before"))
    while not gate.entered.is_set():  # noqa: ASYNC110 - set by a thread
        await asyncio.sleep(0.005)
    assert (await armed.chat(HARMLESS)).status == 200
    assert not waiting.done()
    gate.open()
    assert (await waiting).status == 200
