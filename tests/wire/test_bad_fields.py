"""What is wrong with a field is said by its name, and never costs a 500."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guards.prompt.fields import Treatment
from guards.prompt.tables import CHAT as CHAT_FIELDS
from guards.prompt.tables import COMPLETIONS as COMPLETIONS_FIELDS
from tests.fakes.vllm import FakeVllm
from tests.fakes.vllm_shapes import MAX_MODEL_LEN, MODEL
from tests.wire.harness import (
    CHAT,
    COMPLETIONS,
    HARMLESS,
    QUESTION,
    Lethe,
    chat_body,
    started,
)
from tests.wire.wrong import BODIES, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH = pytest.mark.parametrize("path", [CHAT, COMPLETIONS])


@pytest.fixture
def armed(shared: Lethe) -> Lethe:
    """The server that the tests of this module share, its engine as if just started."""
    shared.engine.seen.clear()
    return shared


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
