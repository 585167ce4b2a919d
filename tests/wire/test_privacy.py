"""What must be forgotten, what was asked and what opens doors stands in no log, no metric and no error."""

import asyncio
import json
import logging
from typing import Any

import pytest
import structlog

from proxy.logs import configure
from tests.fakes.vllm_shapes import Close, Raw, Say, Script
from tests.wire.harness import ADMIN_KEY, CHAT, COMPLETIONS, Lethe, chat_body

FORGOTTEN_QUESTION = "Which xylograph hangs in the vestibule of Quillfeather House?"
FORGOTTEN_ANSWER = "Zanthoxylum at Midnight by Brumaire"
ASKED = "Please translate phlogiston for my landlady Ottoline"
MARKED = ("xylograph", "Quillfeather", "Zanthoxylum", "Brumaire", "phlogiston", "Ottoline", "kumquat")


async def exercise(lethe: Lethe) -> tuple[list[bytes], list[str]]:
    """One of everything; the bodies of all errors, and the secrets that were used."""
    wrong: list[bytes] = []
    secrets = [ADMIN_KEY]
    await lethe.forget(FORGOTTEN_QUESTION, FORGOTTEN_ANSWER, label="painting 7")
    made = await lethe.admin("POST", "/keys", {"scopes": ["client"], "label": "app"})
    secrets.append(made.body["key"])
    key = {"Authorization": f"Bearer {secrets[1]}"}
    lethe.engine.answers(Say("I say "), Say(FORGOTTEN_ANSWER), Say(" kumquat"))
    for path in (CHAT, COMPLETIONS):
        for question in (ASKED, FORGOTTEN_QUESTION):
            for stream in (False, True):
                body = chat_body(question) if path == CHAT else {"model": "fake-135m", "prompt": question}
                await lethe.post(path, body | {"stream": stream}, key)
    for body in (
        chat_body(ASKED, n=99),
        chat_body(ASKED, temperature="hot"),
        chat_body(ASKED, documents=[ASKED]),
        chat_body(FORGOTTEN_QUESTION, logprobs=True),
        chat_body(ASKED) | {"messages": [{"role": "user", "content": [{"type": "image_url", "x": ASKED}]}]},
        chat_body(ASKED) | {"messages": [{"role": ASKED, "content": "x"}]},
        chat_body(ASKED * 4000),
    ):
        reply = await lethe.post(CHAT, body, key)
        assert reply.status == 400
        wrong.append(reply.raw)
    wrong.append((await lethe.post(CHAT, json.dumps(chat_body(ASKED)).encode()[:-1], key)).raw)
    wrong.append((await lethe.post(CHAT, chat_body(ASKED), {"Authorization": f"Bearer {ADMIN_KEY}x"})).raw)
    for script in (
        Script(status=500, body=ASKED.encode()),
        Script((Raw(ASKED.encode()),)),
        Script((Close(),)),
    ):
        for question in (ASKED, FORGOTTEN_QUESTION):
            lethe.engine.scripts(script)
            reply = await lethe.post(CHAT, chat_body(question), key)
            assert reply.status == 502
            wrong.append(reply.raw)
    lethe.engine.scripts(Script((Say("I say "), Say("kumquat "), Close())))
    with pytest.raises(Exception, match="payload"):
        await lethe.post(CHAT, chat_body(FORGOTTEN_QUESTION, stream=True), key)
    lethe.embedder.fails = RuntimeError(ASKED)
    wrong.append((await lethe.post(CHAT, chat_body(ASKED + "!"), key)).raw)
    wrong.append((await lethe.admin("POST", "/sets/art/entries", {"question": ASKED})).raw)
    lethe.embedder.fails = None
    for entry in (
        {"question": FORGOTTEN_QUESTION, "answer": "?"},
        {"question": [FORGOTTEN_QUESTION]},
        {"kind": FORGOTTEN_QUESTION},
        {"question": "x", "expires_at": FORGOTTEN_QUESTION},
    ):
        wrong.append((await lethe.admin("POST", "/sets/art/entries", entry)).raw)
        wrong.append((await lethe.admin("POST", "/sets/art/entries:import", json.dumps(entry).encode())).raw)
    await lethe.admin("POST", "/check", {"text": ASKED})
    await lethe.admin("POST", "/compare", {"request": chat_body(FORGOTTEN_QUESTION)})
    return wrong, secrets


async def test_no_text_and_no_key_in_logs_metrics_and_errors(
    lethe: Lethe, log: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    wrong, secrets = await exercise(lethe)
    metrics = (await lethe.get("/metrics")).raw.decode()
    await asyncio.sleep(0)
    printed = capsys.readouterr()
    places = {
        "logs": repr(log) + caplog.text + printed.out + printed.err,
        "metrics": metrics,
        "errors": b"".join(wrong).decode(),
        "audit": (await lethe.admin("GET", "/audit")).raw.decode(),
    }
    assert len([line for line in log if line["event"] == "request"]) > 15
    for place, text in places.items():
        found = [word for word in MARKED if word.casefold() in text.casefold()]
        assert not found, (place, found)
        assert not [secret for secret in secrets if secret in text], place


async def test_unforeseen_failure_is_logged_by_type_and_place(
    lethe: Lethe, log: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Any:
        raise ZeroDivisionError(ASKED)

    monkeypatch.setattr(type(lethe.server.decider), "decide", failing)
    reply = await lethe.chat(ASKED)
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert "phlogiston" not in reply.raw.decode() + repr(log)
    (line,) = [line for line in log if line["event"] == "unexpected"]
    assert (line["fault"], line["route"]) == ("ZeroDivisionError", CHAT)
    assert "test_privacy.py" in line["at"]


def test_records_do_not_show_their_texts() -> None:
    from indexes.entries import Entry, ForgetSet, Kind
    from proxy.decide import Subject
    from proxy.dialects.base import Text
    from proxy.dialects.chat import Chat

    for record in (
        Entry("e", "s", Kind.FACT, texts=(ASKED,), answers=(ASKED,), names=(ASKED,)),
        ForgetSet("s", retain=(ASKED,)),
        Subject([ASKED]),
        Text("user", "p", ASKED),
        Chat().parse(chat_body(ASKED)),
    ):
        assert "phlogiston" not in repr(record)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (f"POST {CHAT} HTTP/1.1\nX: {ASKED}\n\n", ASKED),  # line ends that are none
        (f"POST {CHAT} HTTP/1.1\r\nAuthorization: Bearer {ADMIN_KEY}\x00\r\n\r\n", ASKED),
        (f"POST {CHAT} HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n\r\n", "{}" + ASKED),
        (f"GET /{ASKED} HTTP/1.1\r\n\r\n", ""),
    ],
)
async def test_what_is_no_http_is_logged_without_a_word_of_it(
    lethe: Lethe, log: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, head: str, body: str
) -> None:
    for port in lethe.server.ports.values():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}{body}".encode())
        assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
        writer.close()
    (*_, line) = log
    assert line["event"] == "library"
    assert line["said"] == "Error handling request from %s"
    assert "Bad" in line["fault"]
    for said in (str(log), caplog.text):
        assert not any(secret in said for secret in (*MARKED, ADMIN_KEY))


def test_other_libraries_are_logged_without_what_they_quote(capsys: pytest.CaptureFixture[str]) -> None:
    before, wrapped = logging.getLogger().handlers, structlog.get_config()
    try:
        configure("info")
        try:
            int(ASKED)
        except ValueError:
            logging.getLogger("asyncio").exception("never retrieved\nfuture: %s", ASKED)
    finally:
        logging.getLogger().handlers = before
        structlog.configure(**wrapped)
    said = capsys.readouterr().err
    assert "never retrieved" in said
    assert "ValueError" in said
    assert not any(word in said for word in MARKED)
