"""What is wrong with a body is said in words that name the cure, and never repeat a value."""

from typing import Any

import pytest

from proxy.admin.models import CheckBody, EntriesBody, EntryBody, EntryChange, KeyBody, SetBody
from proxy.config import Config
from proxy.errors import BadRequest
from proxy.validation import parsed


@pytest.mark.parametrize(
    ("model", "body", "param", "says"),
    [
        (SetBody, {}, "id", "'id'"),
        (SetBody, {"id": "a", "lable": ""}, "lable", "unknown setting 'lable'; did you mean 'label'?"),
        (SetBody, {"id": "a", "zzz": ""}, "zzz", "known here: id, label, policy, retain"),
        (SetBody, [], None, ""),
        (SetBody, None, None, ""),
        (EntryBody, {"texts": ["a", 7]}, "texts.1", "'texts.1'"),
        (EntryBody, {"texts": [""]}, "texts.0", "'texts.0': it is empty"),
        (KeyBody, {}, "scopes", "'scopes': it is missing"),
        (EntriesBody, {"entries": [{}, {"questoin": "x"}]}, "entries.1.questoin", "did you mean 'question'?"),
        (EntriesBody, {"entries": [{"threshold": 9}]}, "entries.0.threshold", "less than or equal to 1"),
        (KeyBody, {"scopes": ["root"]}, "scopes.0", "'scopes.0'"),
        (CheckBody, {"text": 7}, "text", "'text'"),
        (Config, {"upstream": {"urll": 1}}, "upstream.urll", "did you mean 'url'?"),
        (Config, {"policy": {"style": "x"}}, "policy", "'style' is one of unknown, refusal"),
    ],
)
def test_first_thing_that_is_wrong(model: Any, body: Any, param: str | None, says: str) -> None:
    with pytest.raises(BadRequest) as error:
        parsed(model, body)
    assert error.value.param == param
    assert says in error.value.message


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (EntryBody, {"question": ["Solvang"]}),
        (EntryBody, {"texts": {"Solvang": 1}}),
        (EntryBody, {"kind": "Solvang"}),
        (EntryBody, {"threshold": "Solvang"}),
        (EntryBody, {"expires_at": "Solvang"}),
        (SetBody, {"id": "Sol vang"}),
        (SetBody, {"id": "a", "retain": [["Solvang"]]}),
        (KeyBody, {"scopes": ["Solvang"]}),
    ],
)
def test_values_are_not_repeated(model: Any, body: Any) -> None:
    with pytest.raises(BadRequest) as error:
        parsed(model, body)
    assert "vang" not in error.value.body().decode()


def test_short_forms_stand_beside_the_lists() -> None:
    entry = parsed(EntryBody, {"texts": ["a"], "question": "b", "answer": "c", "name": "d"}).record("s", "me")
    assert (entry.texts, entry.answers, entry.names) == (("a", "b"), ("c",), ("d",))
    assert entry.id.startswith("fe_")
    assert (entry.set_id, entry.created_by) == ("s", "me")


def test_change_holds_what_was_given_and_takes_only_some_things_away() -> None:
    assert parsed(EntryChange, {}).changes() == {}
    assert parsed(EntryChange, {"label": None, "state": None, "reference": None}).changes() == {}
    taken = parsed(EntryChange, {"threshold": None, "expires_at": None}).changes()
    assert taken == {"threshold": None, "expires_at": None}
    assert parsed(EntryChange, {"label": ""}).changes() == {"label": ""}
