"""Plans: what a verdict becomes, and how a plan climbs its ladder."""

from dataclasses import replace

import pytest

from guards.model import Allow, Amend, Arm, Offset, Plan, Refuse, Verdict, plan_of, strictest, verdict_of
from guards.policy import DEFAULT_POLICY, Policy, Rung, ScanOutput, Style

STERN = Policy(style=Style.REFUSAL)
MILD = Policy(demonstrations=0)
LADDER = (Rung.INSTRUCT, Rung.REFUSE)
WEAK, STRONG = Arm(MILD, LADDER, Offset("uld", 0.5)), Arm(MILD, LADDER, Offset("uld", 1.0))
OTHER = Arm(MILD, LADDER, Offset("pair", 2.0))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], Allow()),
        ([Allow(), Allow()], Allow()),
        ([Allow(), Amend(MILD, ()), Allow()], Amend(MILD, ())),
        ([Amend(MILD, ()), Refuse(STERN), Amend(MILD, ())], Refuse(STERN)),
        ([Refuse(STERN), Refuse(MILD)], Refuse(STERN)),  # of equals the first set's
        ([WEAK, Amend(MILD, ())], Amend(MILD, ())),
        ([Allow(), WEAK], WEAK),
        ([WEAK, STRONG], STRONG),  # of one assistant the strongest
        ([WEAK, OTHER], Amend(MILD, (Rung.REFUSE,))),  # one request carries one assistant
        ([OTHER, Arm(STERN, (), Offset("third", 1.0))], Refuse(STERN)),
    ],
)
def test_the_strictest_verdict_holds(verdicts: list[Verdict], expected: Verdict) -> None:
    assert strictest(verdicts) == expected


@pytest.mark.parametrize("scan", list(ScanOutput))
def test_verdicts_become_plans(scan: ScanOutput) -> None:
    default = replace(STERN, scan_output=scan)
    allowed = plan_of([Allow()], (), default)
    assert (allowed.rung, allowed.armed, allowed.policy) == (None, False, default)
    assert allowed.scan_output is (scan is ScanOutput.ALWAYS)

    amended = plan_of([Amend(MILD, (Rung.REFUSE,))], (), default)
    assert (amended.rungs, amended.armed, amended.policy) == ((Rung.INSTRUCT, Rung.REFUSE), True, MILD)
    assert amended.scan_output

    refused = plan_of([Refuse(MILD)], (), default)
    assert (refused.rungs, refused.armed, refused.policy) == ((Rung.REFUSE,), True, MILD)


def test_a_ladder_ends_in_refusing_and_stays_there() -> None:
    for plan in (Plan(), Plan((Rung.INSTRUCT,)), Plan((Rung.INSTRUCT, Rung.REFUSE)), Plan((Rung.REFUSE,))):
        assert plan.escalate().rung is Rung.REFUSE
        assert plan.escalate().escalate().rung is Rung.REFUSE
        assert plan.escalate().scan_output


def test_a_plan_answers_in_the_style_of_its_policy() -> None:
    assert Plan().style is DEFAULT_POLICY.style
    assert plan_of([Refuse(STERN)], (), MILD).escalate().style is Style.REFUSAL


# -- offsets


def planned(*verdicts: Verdict) -> Plan:
    return plan_of(verdicts, (), STERN)


def test_an_offset_is_carried_up_the_ladder() -> None:
    plan = planned(STRONG)
    assert (plan.rungs, plan.offset) == ((Rung.OFFSET, *LADDER), Offset("uld", 1.0))
    assert plan.scan_output
    assert (plan.escalate().rung, plan.escalate().offset) == (Rung.INSTRUCT, Offset("uld", 1.0))


def test_an_offset_stands_beside_the_stricter_rung_of_another_set() -> None:
    assert (planned(WEAK, Amend(STERN, ())).rungs, planned(WEAK, Amend(STERN, ())).offset) == (
        (Rung.INSTRUCT,),
        Offset("uld", 0.5),
    )
    assert planned(WEAK, OTHER).offset is None
    assert planned(WEAK, Refuse(STERN)).offset is None
    assert planned().offset is None


def test_an_offset_beside_a_note_is_carried_with_it() -> None:
    beside = Amend(MILD, (Rung.REFUSE,), Offset("uld", 0.5))
    assert planned(beside).offset == Offset("uld", 0.5)
    assert planned(beside, STRONG).offset == Offset("uld", 1.0)
    assert (planned(beside, OTHER).rung, planned(beside, OTHER).offset) == (Rung.INSTRUCT, None)


def test_a_plan_whose_offset_is_gone_never_asks_for_the_base_models_answer() -> None:
    assert planned(WEAK).without_offset().rungs == LADDER
    assert planned(Arm(MILD, (), Offset("uld", 1.0))).without_offset().rung is Rung.REFUSE
    beside = planned(WEAK, Amend(STERN, (Rung.REFUSE,)))
    assert (beside.without_offset().rungs, beside.without_offset().offset) == (LADDER, None)


@pytest.mark.parametrize(
    ("had", "wanted", "expected"),
    [
        (planned(), planned(), True),
        (planned(), planned(WEAK), False),
        (planned(WEAK), planned(), True),
        (planned(WEAK), planned(STRONG), True),
        (planned(WEAK), planned(OTHER), False),  # another one subtracts other knowledge
        (planned(WEAK), planned(Amend(MILD, ())), False),
        (planned(Amend(MILD, ())), planned(OTHER), True),
        (planned(Refuse(MILD)), planned(Amend(MILD, ())), True),
    ],
)
def test_what_a_plan_covers(had: Plan, wanted: Plan, *, expected: bool) -> None:
    assert had.covers(wanted) is expected


@pytest.mark.parametrize(
    ("rungs", "offset", "expected"),
    [
        ((), None, Allow()),
        ((Rung.OBSERVE,), None, Allow()),
        ((Rung.OBSERVE, Rung.OFFSET, Rung.REFUSE), Offset("a", 1.0), Arm(MILD, (Rung.REFUSE,), Offset("a", 1.0))),
        ((Rung.OFFSET, Rung.INSTRUCT), None, Amend(MILD, ())),
        ((Rung.OFFSET,), None, Refuse(MILD)),
        ((Rung.INSTRUCT, Rung.REFUSE), Offset("a", 1.0), Amend(MILD, (Rung.REFUSE,))),
    ],
)
def test_a_ladder_begins_where_it_can(rungs: tuple[Rung, ...], offset: Offset | None, expected: Verdict) -> None:
    assert verdict_of(MILD, rungs, offset) == expected
