"""Plans: what a verdict becomes, and how a plan climbs its ladder."""

import pytest

from guards.model import Allow, Amend, Plan, Refuse, Verdict, plan_of, strictest
from guards.policy import DEFAULT_POLICY, Policy, Rung, ScanOutput, Style

STERN = Policy(style=Style.REFUSAL)
MILD = Policy(demonstrations=0)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], Allow()),
        ([Allow(), Allow()], Allow()),
        ([Allow(), Amend(MILD, ()), Allow()], Amend(MILD, ())),
        ([Amend(MILD, ()), Refuse(STERN), Amend(MILD, ())], Refuse(STERN)),
        ([Refuse(STERN), Refuse(MILD)], Refuse(STERN)),  # of equals the first set's
    ],
)
def test_the_strictest_verdict_holds(verdicts: list[Verdict], expected: Verdict) -> None:
    assert strictest(verdicts) == expected


@pytest.mark.parametrize("scan", list(ScanOutput))
def test_verdicts_become_plans(scan: ScanOutput) -> None:
    allowed = plan_of(Allow(), (), scan, STERN)
    assert (allowed.rung, allowed.armed, allowed.policy) == (None, False, STERN)
    assert allowed.scan_output is (scan is ScanOutput.ALWAYS)

    amended = plan_of(Amend(MILD, (Rung.REFUSE,)), (), scan, STERN)
    assert (amended.rungs, amended.armed, amended.policy) == ((Rung.INSTRUCT, Rung.REFUSE), True, MILD)
    assert amended.scan_output

    refused = plan_of(Refuse(MILD), (), scan, STERN)
    assert (refused.rungs, refused.armed, refused.policy) == ((Rung.REFUSE,), True, MILD)


def test_a_ladder_ends_in_refusing_and_stays_there() -> None:
    for plan in (Plan(), Plan((Rung.INSTRUCT,)), Plan((Rung.INSTRUCT, Rung.REFUSE)), Plan((Rung.REFUSE,))):
        assert plan.escalate().rung is Rung.REFUSE
        assert plan.escalate().escalate().rung is Rung.REFUSE
        assert plan.escalate().scan_output


def test_a_plan_answers_in_the_style_of_its_policy() -> None:
    assert Plan().style is DEFAULT_POLICY.style
    assert plan_of(Refuse(STERN), (), ScanOutput.ARMED, MILD).escalate().style is Style.REFUSAL
