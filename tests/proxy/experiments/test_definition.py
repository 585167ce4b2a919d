"""Experiments: assignment sticks, follows the weights, and forgets other experiments; wrong definitions are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.experiments.definition import Experiment

ARMS = {"guarded": 3.0, "strict": 1.0}


@given(st.text())
def test_a_unit_keeps_its_arm(unit: str) -> None:
    assert Experiment(id="e", arms=ARMS).arm_of(unit) == Experiment(id="e", arms=ARMS).arm_of(unit)


def test_shares_follow_the_weights() -> None:
    experiment = Experiment(id="e", arms=ARMS)
    strict = sum(experiment.arm_of(f"user-{i}") == "strict" for i in range(10_000))
    assert 2300 < strict < 2700  # 2,500 expected, standard deviation 43


def test_two_experiments_divide_units_independently() -> None:
    one, other = (Experiment(id=name, arms={"guarded": 1, "strict": 1}) for name in ("one", "other"))
    both = sum(one.arm_of(f"u{i}") == other.arm_of(f"u{i}") for i in range(10_000))
    assert 4700 < both < 5300


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"arms": {}}, "1 to 8 arms"),
        ({"arms": {"guarded": 0}}, "above 0"),
        ({"arms": {"guarded": float("inf")}}, "above 0"),
        ({"arms": {"strict": 1}}, "'guarded' is not one of the arms"),
        ({"arms": ARMS, "guard_rails": [{"arm": "other", "metric": "cut", "at_most": 0.1}]}, "'other' is not one"),
        ({"arms": ARMS, "guard_rails": [{"arm": "strict", "metric": "leak", "at_most": 0.1}]}, "metric"),
        ({"arms": ARMS, "shadow": {"share": 0}}, "share"),
    ],
)
def test_wrong_definitions_are_named(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Experiment.model_validate({"id": "e", **fields})
