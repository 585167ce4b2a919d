"""Each row of the field tables, tried on its route: what the engine is sent is what the treatment says.

The values are of any type: the scripted engine takes what it is given. What a row says of shapes (schemas, forced
calls) is tested in `tests/guards/prompt`.
"""

from typing import Any

import pytest

from guards.prompt.fields import Field, Treatment
from guards.prompt.tables import TABLES
from tests.fakes.vllm_shapes import MODEL
from tests.wire.answers import MESSAGES, RESPONSES
from tests.wire.harness import CHAT, COMPLETIONS, HARMLESS, QUESTION, Lethe, Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMBEDDINGS = "/v1/embeddings"
_ASKS = {CHAT: "messages", MESSAGES: "messages", COMPLETIONS: "prompt", RESPONSES: "input", EMBEDDINGS: "input"}
_SHAPED = {"model": MODEL, "stream": False, "n": 2, "temperature": 0.5}
"""Fields that the proxy or the scripted engine reads, with a value that they take."""
TOOL = {"name": "look_up", "description": QUESTION, "parameters": {"type": "object"}}
SCANNED: dict[tuple[str, str], Any] = {
    (CHAT, "messages"): [{"role": "user", "content": QUESTION}],
    (CHAT, "tools"): [{"type": "function", "function": TOOL}],
    (CHAT, "tool_choice"): {"type": "auto", "description": QUESTION},
    (CHAT, "response_format"): {"type": "json_object", "schema": {"enum": [QUESTION]}},
    (CHAT, "structured_outputs"): {"choice": [QUESTION, "no"]},
    (COMPLETIONS, "prompt"): QUESTION,
    (COMPLETIONS, "response_format"): {"type": "json_object", "schema": {"enum": [QUESTION]}},
    (COMPLETIONS, "structured_outputs"): {"regex": QUESTION},
    (RESPONSES, "input"): QUESTION,
    (RESPONSES, "instructions"): QUESTION,
    (RESPONSES, "tools"): [{"type": "function", **TOOL}],
    (RESPONSES, "tool_choice"): {"type": "auto", "description": QUESTION},
    (RESPONSES, "text"): {"format": {"type": "text", "description": QUESTION}},
    (RESPONSES, "structured_outputs"): {"grammar": QUESTION},
    (MESSAGES, "messages"): [{"role": "user", "content": QUESTION}],
    (MESSAGES, "system"): QUESTION,
    (MESSAGES, "tools"): [{**TOOL, "input_schema": {}}],
    (MESSAGES, "tool_choice"): {"type": "auto", "description": QUESTION},
    (MESSAGES, "output_config"): {"effort": QUESTION},
    (EMBEDDINGS, "input"): QUESTION,
}
FORCED = ("structured_outputs",)
"""Fields that an armed request must not carry at all."""


def rows(*treatments: Treatment) -> list[Any]:
    return [
        pytest.param(path, row, id=f"{path}:{row.name}")
        for path, table in TABLES.items()
        for row in table.values()
        if row.treatment in treatments
    ]


@pytest.fixture
def armed(shared: Lethe) -> Lethe:
    """The server that the tests of this module share, its engine as if just started."""
    shared.engine.seen.clear()
    return shared


async def asked(lethe: Lethe, path: str, question: str, **fields: Any) -> Reply:
    asks: Any = [{"role": "user", "content": question}] if _ASKS[path] == "messages" else question
    least = {"max_tokens": 9} if path == MESSAGES else {}
    return await lethe.post(path, {"model": MODEL, _ASKS[path]: asks, **least, **fields})


def sent(lethe: Lethe) -> dict[str, Any]:
    """The last request that the engine answered, beside those that only count tokens."""
    return next(seen.body for seen in reversed(lethe.engine.seen) if seen.path in TABLES)


def value_of(row: Field) -> Any:
    """Something that asks for what the field is about."""
    return _SHAPED.get(row.name, dict.fromkeys(row.nested, "zz") if row.nested else ["zz"])


def states(path: str) -> tuple[str, ...]:
    return (HARMLESS,) if path == EMBEDDINGS else (HARMLESS, QUESTION)  # what is armed is not embedded


@pytest.mark.parametrize(("path", "row"), rows(Treatment.PASS))
async def test_what_is_passed_on_arrives(armed: Lethe, path: str, row: Field) -> None:
    for question in states(path):
        reply = await asked(armed, path, question, **{row.name: value_of(row)})
        assert reply.status == 200, reply.raw
        assert sent(armed)[row.name] == value_of(row)


@pytest.mark.parametrize(("path", "row"), rows(Treatment.SCAN))
async def test_what_is_scanned_arms(armed: Lethe, path: str, row: Field) -> None:
    value = SCANNED[path, row.name]
    reply = await asked(armed, path, HARMLESS, **{row.name: value})
    if path == EMBEDDINGS or row.name in FORCED:
        assert reply.status == 400
        assert not armed.engine.seen
    else:
        assert reply.status == 200, reply.raw
        assert "never read" in next(seen.text for seen in armed.engine.seen if seen.path == path)


@pytest.mark.parametrize(("path", "row"), rows(Treatment.REFUSE))
async def test_what_is_refused_reaches_nobody(armed: Lethe, path: str, row: Field) -> None:
    for question in states(path):
        reply = await asked(armed, path, question, **{row.name: value_of(row)})
        assert reply.status == 400
        assert f"'{row.name}' is not available here" in reply.raw.decode()
    assert not armed.engine.seen


@pytest.mark.parametrize(("path", "row"), rows(Treatment.REFUSE_ARMED))
async def test_what_is_refused_when_armed(armed: Lethe, path: str, row: Field) -> None:
    assert (await asked(armed, path, HARMLESS, **{row.name: value_of(row)})).status == 200
    assert sent(armed)[row.name] == value_of(row)
    armed.engine.seen.clear()
    reply = await asked(armed, path, QUESTION, **{row.name: value_of(row)})
    assert reply.status == 400
    assert f"'{row.name}' is not available for this request" in reply.raw.decode()
    assert not any(seen.path in TABLES for seen in armed.engine.seen)


@pytest.mark.parametrize(("path", "row"), rows(Treatment.STRIP_ARMED))
async def test_what_is_removed_when_armed(armed: Lethe, path: str, row: Field) -> None:
    assert (await asked(armed, path, HARMLESS, **{row.name: value_of(row)})).status == 200
    assert sent(armed)[row.name] == value_of(row)
    assert (await asked(armed, path, QUESTION, **{row.name: value_of(row)})).status == 200
    assert row.name not in sent(armed)


@pytest.mark.parametrize(("path", "row"), rows(Treatment.DROP, Treatment.OURS))
async def test_what_is_the_engines_own_never_comes_from_a_client(armed: Lethe, path: str, row: Field) -> None:
    for question in states(path):
        assert (await asked(armed, path, question, **{row.name: value_of(row)})).status == 200
        assert sent(armed).get(row.name) != value_of(row)
        if row.treatment is Treatment.DROP:
            assert row.name not in sent(armed)


@pytest.mark.parametrize(
    ("path", "choice"),
    [
        (CHAT, "required"),
        (CHAT, {"type": "function", "function": {"name": "look_up"}}),
        (RESPONSES, {"type": "function", "name": "look_up"}),
        (MESSAGES, {"type": "any"}),
        (MESSAGES, {"type": "tool", "name": "look_up"}),
    ],
)
async def test_a_call_that_must_be_made_forces_the_answer(armed: Lethe, path: str, choice: Any) -> None:
    """Its arguments are decoded by the tool's schema, which can list the answers to choose from."""
    refused = await asked(armed, path, QUESTION, tool_choice=choice)
    assert refused.status == 400
    assert "'tool_choice' forces a call" in refused.raw.decode()
    assert not any(seen.path in TABLES for seen in armed.engine.seen)
    assert (await asked(armed, path, HARMLESS, tool_choice=choice)).status == 200
    assert sent(armed)["tool_choice"] == choice
