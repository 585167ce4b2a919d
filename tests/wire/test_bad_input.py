"""What is wrong with a request is said by name, in OpenAI's shape, and never costs a 500."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guards.prompt.fields import Treatment
from guards.prompt.routes import ROUTES, Way
from guards.prompt.tables import CHAT as CHAT_FIELDS
from guards.prompt.tables import COMPLETIONS as COMPLETIONS_FIELDS
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MAX_MODEL_LEN, MODEL
from tests.wire.harness import (
    ADMIN,
    ADMIN_KEY,
    CHAT,
    COMPLETIONS,
    HARMLESS,
    QUESTION,
    Lethe,
    Reply,
    by_socket,
    chat_body,
    started,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
BODIES: dict[str, dict[str, Any]] = {CHAT: chat_body(HARMLESS), COMPLETIONS: {"model": MODEL, "prompt": HARMLESS}}


@pytest.fixture
def armed(shared: Lethe) -> Lethe:
    """The server that the tests of this module share, its engine as if just started."""
    shared.engine.seen.clear()
    return shared


def refused(reply: Reply, param: str | None = None, status: int = 400) -> dict[str, Any]:
    """The error of a reply that must be the client's fault."""
    assert reply.status == status, reply.raw
    if param is not None:
        assert reply.error["param"] == param, reply.raw
        assert param.split("[")[0].split(".")[-1] in reply.error["message"]
    return reply.error


# -- bodies


@BOTH
@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"model": "x",}', "not valid JSON"),
        (b"{'model': 1}", "line 1"),
        (b'{"temperature": NaN}', "not valid JSON"),
        (b'{"temperature": Infinity}', "not valid JSON"),
        (b'{"temperature": 1e999}', "not valid JSON"),
        (b'{"user": "\\ud800"}', "not valid JSON"),
        (b'{"user": "\xff"}', "not valid JSON"),
        (b'{"user": "\x00"}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"7", "must be a JSON object"),
        (b"\x1f\x8b\x08\x00", "not valid JSON"),
    ],
)
async def test_body_that_is_no_json_object(armed: Lethe, path: str, raw: bytes, says: str) -> None:
    assert says in refused(await armed.post(path, raw))["message"]
    assert not armed.engine.seen


async def test_last_of_two_equal_keys_is_the_one_that_is_checked_and_sent(armed: Lethe) -> None:
    harmless, forgotten = (json.dumps(chat_body(text)["messages"]) for text in (HARMLESS, QUESTION))
    for first, last, guarded in ((harmless, forgotten, True), (forgotten, harmless, False)):
        await armed.post(CHAT, f'{{"model":"{MODEL}","messages":{first},"messages":{last}}}'.encode())
        assert ("never read" in armed.engine.seen[-1].text) is guarded
        assert armed.engine.seen[-1].raw.count(b'"messages"') == 1


@BOTH
async def test_body_that_is_too_large(state: Path, path: str) -> None:
    async with FakeVllm.running() as engine, started(engine, state, {"limits": {"max_body_mib": 1}}) as lethe:
        body = json.dumps(BODIES[path] | {"user": "u" * 1024**2}).encode()
        error = refused(await lethe.post(path, body), status=413)
        assert error["code"] == "request_too_large"
        assert "limits.max_body_mib" in error["message"]
        bomb = gzip.compress(b" " * (3 * 1024**2))
        reply = await lethe.post(path, bomb, {"Content-Encoding": "gzip"})
        assert reply.status == 413
        assert reply.error["code"] == "request_too_large"
        small = gzip.compress(json.dumps(BODIES[path]).encode())
        assert (await lethe.post(path, small, {"Content-Encoding": "gzip"})).status == 200


async def test_body_that_is_not_what_its_headers_say(armed: Lethe) -> None:
    for port, path in (("listen", CHAT), ("admin", "/admin/v1/sets")):
        head = f"POST {path} HTTP/1.1\r\nContent-Encoding: gzip\r\nAuthorization: Bearer {ADMIN_KEY}\r\n".encode()
        reply = await by_socket(armed.server.ports[port], head, b"no gzip at all")
        assert reply.status == 400
        assert reply.error["message"]


@BOTH
@pytest.mark.parametrize("depth", [260, 1000])
@pytest.mark.parametrize("field", ["user", "response_format", "tools", "metadata", "stop"])
async def test_deep_nesting(armed: Lethe, path: str, field: str, depth: int) -> None:
    value = b"[" * depth + b"]" * depth
    body = json.dumps(BODIES[path]).encode()[:-1] + b',"' + field.encode() + b'":' + value + b"}"
    reply = await armed.post(path, body)
    assert reply.status in (200, 400), reply.raw
    if reply.status == 400:
        refused(reply)


async def test_deep_nesting_for_admins(armed: Lethe) -> None:
    deep = b"[" * 600 + b"]" * 600
    for path in ("/sets/art/entries", "/sets", "/check", "/compare", "/keys"):
        for body in (deep, b'{"a":' + deep + b"}", b'{"request":{"model":"fake-135m","messages":' + deep + b"}}"):
            reply = await armed.admin("POST", path, body, {"Idempotency-Key": "k"})
            assert reply.status == 400, reply.raw
            assert reply.error["message"]
    asked = json.dumps({"request": chat_body(HARMLESS)}).encode()[:-2] + b',"stop":' + deep + b"}}"
    assert (await armed.admin("POST", "/compare", asked)).status == 400


# -- fields


@BOTH
@pytest.mark.parametrize("model", [None, 7, "", [], {}, True])
async def test_model_is_a_name(armed: Lethe, path: str, model: Any) -> None:
    refused(await armed.post(path, BODIES[path] | {"model": model}), "model")


@BOTH
async def test_unknown_model_is_a_404_that_names_those_there_are(armed: Lethe, path: str) -> None:
    error = refused(await armed.post(path, BODIES[path] | {"model": "gpt-4"}), "model", 404)
    assert error["code"] == "model_not_found"
    assert MODEL in error["message"]


@BOTH
@pytest.mark.parametrize("n", [0, -1, 17, 10**9, 1.5, "2", True, [], 1e20])
async def test_number_of_choices_is_bounded(armed: Lethe, path: str, n: Any) -> None:
    refused(await armed.post(path, BODIES[path] | {"n": n}), "n")


@BOTH
@pytest.mark.parametrize("stream", ["yes", 1, [1], {"a": 1}])
async def test_stream_is_true_or_false(armed: Lethe, path: str, stream: Any) -> None:
    refused(await armed.post(path, BODIES[path] | {"stream": stream}), "stream")


@BOTH
@pytest.mark.parametrize("options", ["yes", 1, [1], True])
async def test_stream_options_is_an_object(armed: Lethe, path: str, options: Any) -> None:
    refused(await armed.post(path, BODIES[path] | {"stream": True, "stream_options": options}), "stream_options")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ({}, "messages"),
        ("hello", "messages"),
        (7, "messages"),
        ([7], "messages[0]"),
        (["hello"], "messages[0]"),
        ([None], "messages[0]"),
        ([[]], "messages[0]"),
        ([{}], "messages[0].role"),
        ([{"role": "user", "content": "a"}, {"role": "king", "content": "a"}], "messages[1].role"),
        ([{"role": None, "content": "a"}], "messages[0].role"),
        ([{"role": ["user"], "content": "a"}], "messages[0].role"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": {}}], "messages[0].content"),
        ([{"role": "user", "content": [7]}], "messages[0].content"),
        ([{"role": "user", "content": ["text"]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": ["text"], "text": "a"}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"image_url": "x"}]}], "messages[0].content"),
    ],
)
async def test_messages_are_texts_with_roles(armed: Lethe, messages: Any, param: str) -> None:
    reply = await armed.post(CHAT, {"model": MODEL, "messages": messages})
    assert reply.status == 400, reply.raw
    assert reply.error["param"] == param
    assert param in reply.error["message"]


@pytest.mark.parametrize("prompt", [None, 7, {}, [], [None], ["a", 7], [["a"]], True, [{}], [[1, 2], "a"]])
async def test_prompt_is_a_text_or_texts(armed: Lethe, prompt: Any) -> None:
    refused(await armed.complete(prompt), "prompt")


async def test_number_of_prompts_is_bounded(armed: Lethe) -> None:
    assert "at most 256" in refused(await armed.complete(["a"] * 257), "prompt")["message"]
    assert (await armed.complete(["a"] * 4)).status == 200


@BOTH
async def test_missing_question(armed: Lethe, path: str) -> None:
    refused(await armed.post(path, {"model": MODEL}), "messages" if path == CHAT else "prompt")
    refused(await armed.post(path, {}), "model")


@BOTH
@pytest.mark.parametrize("text", ["word " * (MAX_MODEL_LEN + 1), "x" * (MAX_MODEL_LEN * 64 + 64)])
async def test_prompt_that_cannot_fit_is_not_embedded(armed: Lethe, path: str, text: str) -> None:
    before = armed.embedder.calls
    error = refused(await armed.ask(path, text, n=16))
    assert error["code"] == "context_length_exceeded"
    assert str(MAX_MODEL_LEN) in error["message"]
    assert armed.embedder.calls == before


async def test_tools_that_cannot_fit_are_not_embedded(armed: Lethe) -> None:
    before = armed.embedder.calls
    tools = [{"type": "function", "function": {"name": "f", "description": "word " * MAX_MODEL_LEN}}]
    assert refused(await armed.chat(tools=tools))["code"] == "context_length_exceeded"
    assert armed.embedder.calls == before


async def test_prompt_that_the_engine_finds_too_long(armed: Lethe) -> None:
    """Eight messages of a thousand words: as many words as fit, and more tokens."""
    messages = [{"role": "user", "content": "word " * 1024}] * 8
    reply = await armed.post(CHAT, {"model": MODEL, "messages": messages})
    assert "maximum context length is 8192" in refused(reply, "input_tokens")["message"]


@BOTH
async def test_unknown_field_is_refused_with_a_suggestion(armed: Lethe, path: str) -> None:
    error = refused(await armed.post(path, BODIES[path] | {"temprature": 1}), "temprature")
    assert "did you mean 'temperature'" in error["message"]
    assert error["code"] == "unsupported_parameter"
    refused(await armed.post(path, BODIES[path] | {"zzzz": 1}), "zzzz")
    assert (await armed.post(path, BODIES[path] | {"": 1})).status == 400
    assert (await armed.post(path, BODIES[path] | {"k" * 100_000: 1})).status == 400
    assert not armed.engine.seen


@BOTH
async def test_unknown_field_passes_where_that_is_wanted(state: Path, path: str) -> None:
    async with FakeVllm.running() as engine, started(engine, state, {"surface": "permissive"}) as lethe:
        assert (await lethe.post(path, BODIES[path] | {"new_thing": {"a": 1}})).status == 200
        assert engine.seen[-1].body["new_thing"] == {"a": 1}
        refused(await lethe.post(path, BODIES[path] | {"prompt_logprobs": 1}), "prompt_logprobs")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (path, name)
        for path, table in ((CHAT, CHAT_FIELDS), (COMPLETIONS, COMPLETIONS_FIELDS))
        for name, row in table.items()
        if row.treatment is Treatment.REFUSE
    ],
)
async def test_field_that_no_request_may_carry(armed: Lethe, path: str, field: str) -> None:
    for value in (1, "x", True, {"a": 1}, 0):
        refused(await armed.post(path, BODIES[path] | {field: value}), field)
    for value in (None, False):
        assert (await armed.post(path, BODIES[path] | {field: value})).status == 200
        assert field not in armed.engine.seen[-1].body


ODD_VALUES: list[Any] = [None, True, -1, 1.5, 10**30, "x", "", [None], {"a": [{}]}]


@BOTH
async def test_no_type_in_any_field_is_a_500(armed: Lethe, path: str) -> None:
    table = CHAT_FIELDS if path == CHAT else COMPLETIONS_FIELDS
    cases = [(HARMLESS, value) for value in ODD_VALUES] + [(QUESTION, value) for value in ODD_VALUES[::3]]
    for field in table:
        for question, value in cases:
            body = (chat_body(question) if path == CHAT else {"model": MODEL, "prompt": question}) | {field: value}
            reply = await armed.post(path, body)
            assert reply.status in (200, 400, 404), (field, value, reply.raw)
            if reply.status != 200:
                assert reply.error["message"]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id", "odd"]), JSON)
    | st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": JSON})
    | JSON,
    max_size=4,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=MESSAGES, prompt=JSON, more=st.dictionaries(st.sampled_from(sorted(CHAT_FIELDS)), JSON, max_size=3))
async def test_nothing_that_is_json_is_a_500(armed: Lethe, messages: Any, prompt: Any, more: dict[str, Any]) -> None:
    for path, question in ((CHAT, {"messages": messages}), (COMPLETIONS, {"prompt": prompt})):
        reply = await armed.post(path, more | question | {"model": MODEL})
        assert reply.status in (200, 400), (question, more, reply.raw)
        if reply.status != 200:
            assert reply.error["message"]


async def test_empty_texts_are_a_question_like_any_other(armed: Lethe) -> None:
    for content in ("", " ", "\u200b", "\x00", None, [], [{"type": "text", "text": ""}]):
        reply = await armed.post(CHAT, {"model": MODEL, "messages": [{"role": "user", "content": content}]})
        assert reply.status == 200
    assert (await armed.complete("")).status == 200


# -- where the question stands


def messages(*given: dict[str, Any]) -> dict[str, Any]:
    """Messages, each of a user with no content where nothing else is said."""
    return {"messages": [{"role": "user", "content": "?"} | message for message in given]}


def tool(**function: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **function}}]}


PLACES: dict[str, dict[str, Any]] = {
    "system": messages({"role": "system", "content": QUESTION}, {"content": "Answer that."}),
    "earlier turn": messages({"content": QUESTION}, {"role": "assistant", "content": "."}, {"content": "Well?"}),
    "second part": messages({"content": [{"type": "text", "text": text} for text in (HARMLESS, QUESTION)]}),
    "beside the text of a part": messages({"content": [{"type": "text", "text": "?", "x": {"y": [QUESTION]}}]}),
    "name of a field of a part": messages({"content": [{"type": "text", "text": "?", QUESTION: 1}]}),
    "id of a tool call": messages({"role": "tool", "tool_call_id": QUESTION}),
    "name": messages({"name": QUESTION}),
    "reasoning": messages({"role": "assistant", "reasoning_content": QUESTION, "content": None}),
    "arguments": messages({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": QUESTION}}]}),
    "unknown field": messages({"odd": {"deep": [QUESTION]}}),
    "name of a field": messages({QUESTION: 1}),
    "tool": tool(description=QUESTION),
    "enum of a tool": tool(parameters={"enum": [QUESTION]}),
    "format": {"response_format": {"type": "text", "x": QUESTION}},
    "long text": messages({"content": "Tell me of the weather there. " * 60 + QUESTION + " And the sea?" * 60}),
}


@pytest.mark.parametrize("more", PLACES.values(), ids=PLACES)
async def test_question_is_found_wherever_it_stands(armed: Lethe, more: dict[str, Any]) -> None:
    assert (await armed.post(CHAT, chat_body("Hello") | more)).status == 200
    assert "never read" in armed.engine.seen[-1].text


# -- routes


CLOSED = [path.format(response_id="resp_1", rank=0) for path, (way, _) in ROUTES.items() if way is Way.CLOSED]
UNKNOWN = ["/", "/v1", "/v1/chat", "/v1/chat/completions/", "/admin/v1/sets", "/v1/chat%2fcompletions", "/\u00e9"]


@pytest.mark.parametrize("path", [*CLOSED, *UNKNOWN])
async def test_what_is_not_known_is_a_404(armed: Lethe, path: str) -> None:
    for reply in (await armed.post(path, BODIES[CHAT], ADMIN), await armed.get(path, ADMIN)):
        assert reply.status == 404
        assert reply.error["code"] == "unknown_route"
    assert not armed.engine.seen


async def test_wrong_method_names_the_right_one(armed: Lethe) -> None:
    for path, allowed in ((CHAT, "POST"), (COMPLETIONS, "POST")):
        reply = await armed.get(path)
        assert (reply.status, reply.error["code"]) == (405, "wrong_method")
        assert reply.headers["Allow"] == allowed
        assert allowed in reply.error["message"]
    assert (await armed.post("/v1/models", {})).status == 405
    assert (await armed.admin("PUT", "/sets")).error["code"] == "wrong_method"
    assert (await armed.admin("GET", "/nothing")).error["code"] == "unknown_route"


async def test_unknown_model_card_is_a_404(armed: Lethe) -> None:
    for name in ("nothing", "a/b", "%ff", "%00", "\u00e9", ":raw"):
        reply = await armed.get(f"/v1/models/{name}")
        assert reply.status == 404
        assert reply.error["message"]


async def test_names_of_bytes_that_are_no_text(armed: Lethe) -> None:
    for line in (b"GET /v1/models/\xff", b"GET /v1/models/%ff%fe", b"GET /%ff"):
        reply = await by_socket(armed.server.ports["listen"], line + b" HTTP/1.1\r\n")
        assert reply.status in (400, 404)
    for path in (b"/sets/%ff", b"/sets/art/entries/%ff", b"/sets/art/entries?after=%ff", b"/audit?after=%ff"):
        head = b"GET /admin/v1" + path + b" HTTP/1.1\r\nAuthorization: Bearer " + ADMIN_KEY.encode() + b"\r\n"
        reply = await by_socket(armed.server.ports["admin"], head)
        assert reply.status in (200, 400, 404), (path, reply.raw)


async def test_trace_header_that_is_no_text_costs_nothing(armed: Lethe) -> None:
    body = json.dumps(BODIES[CHAT]).encode()
    head = f"POST {CHAT} HTTP/1.1\r\n".encode() + b"traceparent: \xff\xfe\r\nx-lethe-findings: \xff\r\n"
    assert (await by_socket(armed.server.ports["listen"], head, body)).status == 200
