"""Policies: every setting is understood or refused by name, and what is not set stays as it was."""

from typing import Any

import pytest

from guards.policy import DEFAULT_POLICY, OnFault, Policy, PolicyError, Rung, ScanOutput, Style


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, DEFAULT_POLICY),
        ({"on_match": "refuse"}, Policy(on_match=(Rung.REFUSE,))),
        ({"on_match": ["observe"]}, Policy(on_match=(Rung.OBSERVE,))),
        ({"on_match": ["instruct", "refuse"]}, DEFAULT_POLICY),
        ({"threshold": 1, "margin": 0}, Policy(threshold=1.0, margin=0.0)),
        ({"style": "refusal", "scan_output": "always"}, Policy(style=Style.REFUSAL, scan_output=ScanOutput.ALWAYS)),
        ({"on_fault": "allow"}, Policy(on_fault=OnFault.ALLOW)),
        ({"demonstrations": 0, "reasoning": True}, Policy(demonstrations=0, reasoning=True)),
        ({"assistant": "uld-1.b@12", "strength": 1}, Policy(assistant="uld-1.b@12", strength=1.0)),
        (
            {"on_match": ["offset", "instruct", "refuse"], "assistant": "uld"},
            Policy(on_match=(Rung.OFFSET, Rung.INSTRUCT, Rung.REFUSE), assistant="uld"),
        ),
        (
            {"on_match": ["offset_instruct", "refuse"], "assistant": "uld"},
            Policy(on_match=(Rung.OFFSET_INSTRUCT, Rung.REFUSE), assistant="uld"),
        ),
        ({"strength": None, "assistant": None}, DEFAULT_POLICY),
    ],
)
def test_settings_are_read(changes: dict[str, Any], expected: Policy) -> None:
    assert DEFAULT_POLICY.with_changes(changes) == expected


def test_what_is_not_set_stays() -> None:
    policy = Policy(on_match=(Rung.REFUSE,), threshold=0.5, style=Style.REFUSAL)
    assert policy.with_changes({"margin": 0.5}) == Policy(
        on_match=(Rung.REFUSE,), threshold=0.5, margin=0.5, style=Style.REFUSAL
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"threshhold": 0.5}, "unknown policy setting 'threshhold'; did you mean 'threshold'"),
        ({"unheard-of": 1}, "unknown policy setting 'unheard-of'$"),
        ({True: ["observe"]}, "unknown policy setting 'True'"),  # YAML reads a bare `on` so
        ({"threshold": 0}, "above 0"),
        ({"threshold": 1.1}, "'threshold' is a number from 0 to 1"),
        ({"threshold": "0.5"}, "'threshold' is a number"),
        ({"threshold": True}, "'threshold' is a number"),
        ({"threshold": float("nan")}, "'threshold' is a number"),
        ({"threshold": None}, "'threshold' is a number"),
        ({"margin": -0.1}, "'margin' is a number"),
        ({"style": "rude"}, "'style' is one of unknown, refusal"),
        ({"style": ["unknown"]}, "'style' is one of"),
        ({"scan_output": False}, "'scan_output' is one of armed, always"),
        ({"on_fault": "open"}, "'on_fault' is one of refuse, allow"),
        ({"demonstrations": 9}, "'demonstrations' is a number from 0 to 8"),
        ({"demonstrations": True}, "'demonstrations'"),
        ({"demonstrations": 2.0}, "'demonstrations'"),
        ({"reasoning": "yes"}, "'reasoning' is true or false"),
        ({"on_match": []}, "'on_match' is a list of rungs"),
        ({"on_match": {"refuse": 1}}, "'on_match' is a list of rungs"),
        ({"on_match": ["refuse", "instruct"]}, "climbs"),
        ({"on_match": ["refuse", "refuse"]}, "climbs"),
        ({"on_match": ["forget"]}, "'on_match' is one of observe, offset, instruct, offset_instruct, refuse"),
        ({"on_match": ["instruct", "offset"], "assistant": "a"}, "climbs"),
        ({"on_match": ["offset_instruct", "instruct"], "assistant": "a"}, "climbs"),
        ({"on_match": ["offset", "instruct", "offset_instruct"], "assistant": "a"}, "leave one of them out"),
        ({"on_match": ["offset", "refuse"]}, "the rung 'offset' .*: set 'assistant' to a name"),
        ({"on_match": ["offset_instruct"]}, "the rung 'offset_instruct' .*: set 'assistant' to a name"),
        ({"on_match": ["offset"], "assistant": None}, "set 'assistant' to a name"),
        ({"assistant": "two words"}, "'assistant' is the name of an assistant, or name@version"),
        ({"assistant": "a@0"}, "'assistant' is the name"),
        ({"assistant": "a@"}, "'assistant' is the name"),
        ({"assistant": 3}, "'assistant' is the name"),
        ({"strength": 0}, "'strength' is a number above 0"),
        ({"strength": 8.1}, "'strength' is a number above 0 and at most 8"),
        ({"strength": float("nan")}, "'strength' is a number"),
        ({"strength": True}, "'strength' is a number"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        DEFAULT_POLICY.with_changes(changes)


def test_rungs_climb() -> None:
    climbing = (Rung.OBSERVE, Rung.OFFSET, Rung.INSTRUCT, Rung.OFFSET_INSTRUCT, Rung.REFUSE)
    assert [rung.severity for rung in climbing] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("on_match", "ladder"),
    [
        (["observe"], []),
        (["observe", "refuse"], ["refuse"]),
        (["instruct", "refuse"], ["instruct", "refuse"]),
        (["offset", "instruct", "refuse"], ["offset", "offset_instruct", "refuse"]),
        (["offset", "offset_instruct"], ["offset", "offset_instruct"]),
        (["instruct", "offset_instruct"], ["instruct", "offset_instruct"]),
    ],
)
def test_a_rung_after_an_offset_keeps_it(on_match: list[str], ladder: list[str]) -> None:
    assert list(DEFAULT_POLICY.with_changes({"on_match": on_match, "assistant": "uld"}).ladder) == ladder


def test_a_set_may_take_its_assistant_from_the_global_policy() -> None:
    everywhere = DEFAULT_POLICY.with_changes({"assistant": "uld"})
    assert everywhere.with_changes({"on_match": ["offset"]}).assistant == "uld"
