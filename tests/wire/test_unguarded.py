"""What is not near the forget set passes as it came, byte for byte, and the engine gets what the client sent."""

from itertools import combinations

import pytest

from tests.fakes.vllm_shapes import MODEL, Raw, Say, Script, stream_bytes
from tests.wire.harness import ADMIN, CHAT, COMPLETIONS, HARMLESS, QUESTION, Lethe

STEPS = (Say("Sept "), Say("jours – ça"), Say(" dépend 🌊"), Say(", n'est-ce pas?"))


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_stream_leaves_as_the_bytes_that_came(armed: Lethe, path: str) -> None:
    armed.engine.answers(*STEPS)
    reply = await armed.ask(path, HARMLESS, stream=True, stream_options={"include_usage": True})
    assert reply.status == 200
    assert reply.raw == armed.engine.sent
    assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert reply.text() == "".join(step.text for step in STEPS)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_whole_answer_leaves_as_the_bytes_that_came(armed: Lethe, path: str) -> None:
    armed.engine.answers(*STEPS)
    reply = await armed.ask(path, HARMLESS)
    assert (reply.status, reply.raw) == (200, armed.engine.sent)


async def test_answer_larger_than_one_read_is_whole(armed: Lethe) -> None:
    armed.engine.answers(*[Say("sand " * 2000)] * 100)
    reply = await armed.chat()
    assert (reply.status, reply.raw) == (200, armed.engine.sent)


async def test_raw_arm_gets_the_engines_bytes_also_for_a_forgotten_question(armed: Lethe) -> None:
    armed.engine.answers(*STEPS)
    for stream in (True, False):
        reply = await armed.chat(QUESTION, {**ADMIN, "x-lethe-arm": "raw"}, stream=stream)
        assert reply.raw == armed.engine.sent
        assert reply.headers["x-lethe-arm"] == "raw"


async def test_stream_is_the_same_however_it_was_cut_into_packets(armed: Lethe) -> None:
    body = {"stream": True}
    size = len(stream_bytes(Script(STEPS), {"messages": []}))
    for places in combinations(range(40, size, 97), 2):
        armed.engine.answers(*STEPS, cuts=places)
        assert (await armed.chat(**body)).raw == armed.engine.sent


async def test_line_ends_of_the_upstream_are_kept(armed: Lethe) -> None:
    for line_end in (b"\r\n", b"\r"):
        armed.engine.answers(*STEPS, line_end=line_end, cuts=tuple(range(50, 900, 53)))
        assert (await armed.chat(stream=True)).raw == armed.engine.sent


async def test_comments_and_unknown_events_pass(armed: Lethe) -> None:
    armed.engine.answers(Say("a"), Raw(b": ping\n\n"), Raw(b'event: note\ndata: {"choices":[]}\n\n'), Say("b"))
    assert (await armed.chat(stream=True)).raw == armed.engine.sent


async def test_text_that_reads_like_the_end_of_a_stream_does_not_end_it(armed: Lethe) -> None:
    armed.engine.answers(Raw(b'data: {"choices":[{"index":0,"text":"data: [DONE]"}]}\n\n'), Say("more"))
    assert (await armed.complete(stream=True)).raw == armed.engine.sent
    armed.engine.answers(Raw(b'data: {"choices":[],"x":"\ndata: y[DONE]\n\n'), Say("more"))
    assert (await armed.complete(stream=True)).raw == armed.engine.sent


async def test_reply_headers_say_what_was_done(armed: Lethe) -> None:
    for stream in (True, False):
        headers = (await armed.chat(stream=stream)).headers
        assert headers["x-request-id"].startswith("req_")
        assert headers["x-lethe-arm"] == "guarded"
        assert headers["x-lethe-generation"] == "2"
        assert float(headers["x-lethe-overhead-ms"]) >= 0
        assert headers["openai-processing-ms"].isdecimal()
        assert "x-lethe-findings" not in headers


async def test_findings_are_shown_to_admins_who_ask(armed: Lethe) -> None:
    asked = {"x-lethe-findings": "1"}
    assert "x-lethe-findings" not in (await armed.chat(QUESTION, asked)).headers
    assert '"verdict":"amend"' in (await armed.chat(QUESTION, ADMIN | asked)).headers["x-lethe-findings"]


async def test_engine_gets_the_clients_body_and_ours(lethe: Lethe) -> None:
    await lethe.forget()
    fields = {"temperature": 0.5, "max_tokens": 7, "user": "u", "seed": 3, "logprobs": True, "stop": ["x"]}
    await lethe.chat(**fields)
    body = lethe.engine.seen[-1].body
    salt = body.pop("cache_salt")
    assert len(salt) == 64
    assert body == {"model": MODEL, "messages": [{"role": "user", "content": HARMLESS}], **fields}


async def test_switches_inside_the_engine_are_not_the_clients(armed: Lethe) -> None:
    mine = {
        "cache_salt": "mine",
        "vllm_xargs": {"lethe_arm": "raw"},
        "kv_transfer_params": {"a": 1},
        "priority": 9,
        "request_id": "mine",
        "session_id": "mine",
    }
    for headers in (None, {**ADMIN, "x-lethe-arm": "raw"}):
        assert (await armed.chat(headers=headers, **mine)).status == 200
        sent = armed.engine.seen[-1].body
        assert set(sent) == {"model", "messages", "cache_salt"}
        assert sent["cache_salt"] != "mine"


async def test_caches_are_not_shared_between_arms_tenants_or_plans(armed: Lethe) -> None:
    key = (await armed.admin("POST", "/keys", {"scopes": ["client", "raw"]})).body["key"]
    tenant = {"Authorization": f"Bearer {key}"}
    salts = []
    for headers, question in (
        (ADMIN, HARMLESS),
        (ADMIN, QUESTION),
        (ADMIN | {"x-lethe-arm": "raw"}, HARMLESS),
        (tenant, HARMLESS),
    ):
        await armed.chat(question, headers)
        salts.append(armed.engine.seen[-1].body["cache_salt"])
    assert len(set(salts)) == 4
    await armed.chat(HARMLESS, ADMIN)
    assert armed.engine.seen[-1].body["cache_salt"] == salts[0]


async def test_only_trace_headers_reach_the_engine(armed: Lethe) -> None:
    sent = {"traceparent": "00-1-2-01", "X-data-parallel-rank": "3", "X-Session-ID": "s", **ADMIN, "Cookie": "a=b"}
    await armed.chat(headers=sent)
    got = armed.engine.seen[-1].headers
    assert got["traceparent"] == "00-1-2-01"
    assert not {"X-data-parallel-rank", "X-Session-ID", "Authorization", "Cookie"} & set(got)
