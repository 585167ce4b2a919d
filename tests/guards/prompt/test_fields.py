"""The fields of a request: each row of the table does what its treatment says, and what is no row is refused."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.prompt.fields import Field, FieldRefused, Treatment, check_fields, forwarded, texts_in
from guards.prompt.tables import CHAT, COMPLETIONS, MESSAGES, RESPONSES, TABLES

Table = Mapping[str, Field]

ROWS = [pytest.param(table, row, id=f"{name}:{row.name}") for name, table in TABLES.items() for row in table.values()]
GENERATING = {"chat": CHAT, "completions": COMPLETIONS}
ON: Any = {"a value": ["that asks", 1]}
SHAPES = ("response_format", "structured_outputs", "tool_choice")  # judged by what they hold, in tests of their own


def passed(table: Table, name: str, value: Any, *, armed: bool, raw: bool = False) -> bool:
    """Whether the engine gets the field. Raises FieldRefused."""
    check_fields({name: value}, table, strict=True)
    kept = forwarded({name: value}, table, armed=armed, raw=raw)
    assert kept in ({}, {name: value})
    return bool(kept)


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_every_row_does_what_its_treatment_says(table: Table, row: Field) -> None:
    name = row.name
    assert row.reason
    assert row.asks(ON)
    if row.nested:
        with pytest.raises(FieldRefused, match=rf"'{name}\.a value' is not a field"):
            check_fields({name: ON}, table, strict=True)
        check_fields({name: ON}, table, strict=False)
        check_fields({name: dict.fromkeys(row.nested, 1)}, table, strict=True)
        return
    match row.treatment:
        case Treatment.PASS:
            assert passed(table, name, ON, armed=False)
            assert passed(table, name, ON, armed=True)
        case Treatment.SCAN:
            assert passed(table, name, ON, armed=False)
            assert name in SHAPES or passed(table, name, ON, armed=True)
        case Treatment.REFUSE:
            for armed in (False, True):
                with pytest.raises(FieldRefused, match=f"'{name}' is not available here: "):
                    passed(table, name, ON, armed=armed)
            # Should the check be forgotten somewhere, it is still not passed on.
            assert forwarded({name: ON}, table, armed=False) == {}
            assert not any(passed(table, name, off, armed=True) for off in (*row.off, [], {}))
        case Treatment.REFUSE_ARMED:
            assert passed(table, name, ON, armed=False)
            with pytest.raises(FieldRefused, match=f"'{name}' is not available for this request: ") as refused:
                passed(table, name, ON, armed=True)
            assert refused.value.field == name
            assert all(passed(table, name, off, armed=True) for off in row.off)
        case Treatment.STRIP_ARMED:
            assert passed(table, name, ON, armed=False)
            assert not passed(table, name, ON, armed=True)
        case Treatment.DROP | Treatment.OURS:
            assert not passed(table, name, ON, armed=False)
            assert not passed(table, name, ON, armed=True)


def test_rows_are_named_as_their_keys() -> None:
    assert all(name == row.name for table in TABLES.values() for name, row in table.items())


@pytest.mark.parametrize("name", ["logprobs", "top_logprobs", "prompt_logprobs", "echo"])
def test_zero_is_not_off(name: str) -> None:
    # Zero alternatives still give the likelihood of every token that was chosen.
    with pytest.raises(FieldRefused):
        passed(COMPLETIONS, name, 0, armed=True)


def test_a_generation_prompt_is_dangerous_when_it_is_missing() -> None:
    assert passed(CHAT, "add_generation_prompt", True, armed=True)
    with pytest.raises(FieldRefused):
        passed(CHAT, "add_generation_prompt", False, armed=True)
    with pytest.raises(FieldRefused):
        passed(CHAT, "continue_final_message", True, armed=True)
    assert passed(CHAT, "continue_final_message", False, armed=True)


@pytest.mark.parametrize("table", GENERATING.values(), ids=GENERATING)
def test_what_the_table_does_not_know_is_refused_in_strict_mode(table: Table) -> None:
    with pytest.raises(FieldRefused, match=r"'logit_bais' is not a field.*did you mean 'logit_bias'"):
        check_fields({"model": "m", "logit_bais": {}}, table, strict=True)
    with pytest.raises(FieldRefused, match="'guided_choice' is not a field") as refused:
        check_fields({"guided_choice": None}, table, strict=True)
    assert refused.value.field == "guided_choice"
    check_fields({"qqqq": 1}, table, strict=False)
    assert forwarded({"qqqq": 1}, table, armed=True) == {"qqqq": 1}


def test_permissive_mode_still_refuses_what_it_knows() -> None:
    with pytest.raises(FieldRefused, match="echo"):
        check_fields({"qqqq": 1, "echo": True}, COMPLETIONS, strict=False)


def test_the_raw_arm_keeps_what_only_suppressed_requests_must_not_have() -> None:
    assert passed(CHAT, "logprobs", True, armed=False, raw=True)
    assert forwarded({"echo": True, "priority": 1, "cache_salt": "x"}, COMPLETIONS, armed=False, raw=True) == {
        "echo": True
    }


@pytest.mark.parametrize(
    ("field", "value", "refused"),
    [
        ("structured_outputs", {"choice": ["yes", "no"]}, True),
        ("structured_outputs", {"regex": "a|b"}, True),
        ("structured_outputs", None, False),
        ("structured_outputs", {}, False),
        ("response_format", {"type": "json_schema", "json_schema": {}}, True),
        ("response_format", {"type": "structural_tag"}, True),
        ("response_format", {}, True),  # whatever the engine makes of it
        ("response_format", {"type": "json_object"}, False),
        ("response_format", {"type": "text"}, False),
        ("response_format", None, False),
    ],
)
@pytest.mark.parametrize("table", GENERATING.values(), ids=GENERATING)
def test_an_armed_request_cannot_force_its_answer(table: Table, field: str, value: Any, *, refused: bool) -> None:
    assert passed(table, field, value, armed=False)
    if refused:
        with pytest.raises(FieldRefused, match="forces") as raised:
            passed(table, field, value, armed=True)
        assert raised.value.field == field
    else:
        assert passed(table, field, value, armed=True)


FORCED = [
    (CHAT, "tool_choice", {"tool_choice": "required"}),
    (CHAT, "tool_choice", {"tool_choice": {"type": "function", "function": {"name": "submit"}}}),
    (CHAT, "tool_choice", {"tool_choice": {"function": {"name": "submit"}}}),
    (CHAT, "tool_choice", {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}}),
    (RESPONSES, "tool_choice", {"tool_choice": {"type": "function", "name": "submit"}}),
    (RESPONSES, "tool_choice", {"tool_choice": {"type": "custom", "name": "submit"}}),
    (RESPONSES, "tool_choice", {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}}),
    (RESPONSES, "tool_choice", {"tool_choice": {"name": "submit"}}),
    (MESSAGES, "tool_choice", {"tool_choice": {"type": "any"}}),
    (MESSAGES, "tool_choice", {"tool_choice": {"type": "tool", "name": "submit"}}),
    (RESPONSES, "text.format", {"text": {"format": {"type": "json_schema", "schema": {}}}}),
    (MESSAGES, "output_config.format", {"output_config": {"format": {"type": "json_schema", "schema": {}}}}),
    (RESPONSES, "input", {"input": [{"role": "assistant", "content": "It is", "status": "incomplete"}]}),
    (RESPONSES, "input", {"input": [{"role": "assistant", "content": "It is", "status": "in_progress"}]}),
]


@pytest.mark.parametrize(("table", "field", "body"), FORCED)
def test_nor_can_it_in_the_newer_routes(table: Table, field: str, body: dict[str, Any]) -> None:
    assert forwarded(body, table, armed=False) == body
    with pytest.raises(FieldRefused) as refused:
        forwarded(body, table, armed=True)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("table", "body"),
    [
        (RESPONSES, {"text": {"format": {"type": "text"}, "verbosity": "low"}, "input": "Hello"}),
        (RESPONSES, {"text": {"format": {"type": "json_object"}}, "input": []}),
        (RESPONSES, {"input": [{"role": "assistant", "content": "It is", "status": "completed"}], "top_logprobs": 0}),
        (MESSAGES, {"output_config": {"effort": "low"}}),
        (CHAT, {"tool_choice": "auto"}),
        (CHAT, {"tool_choice": "none"}),
        (CHAT, {"tool_choice": None}),
        (CHAT, {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}),
        (RESPONSES, {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}),
        (MESSAGES, {"tool_choice": {"type": "auto"}}),
        (MESSAGES, {"tool_choice": {"type": "none"}}),
    ],
)
def test_what_forces_nothing_passes_when_armed(table: Table, body: dict[str, Any]) -> None:
    assert forwarded(body, table, armed=True) == body


def test_the_body_of_the_client_is_not_changed() -> None:
    body = {"model": "m", "logit_bias": {"1": 1}, "cache_salt": "x"}
    before = dict(body)
    forwarded(body, CHAT, armed=True)
    assert body == before


# -- texts inside JSON

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *strings(item))]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


@given(json_values)
def test_every_string_in_a_value_is_found_in_order(value: Any) -> None:
    assert [text for _, text in texts_in(value, "x")] == strings(value)


def test_texts_come_with_their_places() -> None:
    value = {"tools": [{"name": "f", "enum": ["a", 1, None]}]}
    assert list(texts_in(value, "x")) == [
        ("x.tools", "tools"),
        ("x.tools[0].name", "name"),
        ("x.tools[0].name", "f"),
        ("x.tools[0].enum", "enum"),
        ("x.tools[0].enum[0]", "a"),
    ]


def test_depth_is_no_way_out() -> None:
    value: Any = "deep"
    for _ in range(3000):
        value = [value]
    assert [text for _, text in texts_in(value, "x")] == ["deep"]
