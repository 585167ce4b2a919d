"""Plans: what a verdict becomes, and how a plan climbs its ladder."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.model import Allow, Amend, Arm, Offset, Plan, Refuse, Verdict, plan_of, strictest, verdict_of
from guards.policy import DEFAULT_POLICY, Policy, PolicyError, Rung, ScanOutput, Style

STERN = Policy(style=Style.REFUSAL)
MILD = Policy(demonstrations=0)
LADDER = (Rung.INSTRUCT, Rung.REFUSE)
WEAK, STRONG = Arm(MILD, LADDER, Offset("uld", 0.5)), Arm(MILD, LADDER, Offset("uld", 1.0))
OTHER = Arm(MILD, LADDER, Offset("pair", 2.0))
BOTH = (Rung.OFFSET_INSTRUCT, Rung.REFUSE)
TOLD = Amend(MILD, (Rung.REFUSE,), Offset("uld", 0.5))
TOLD_FIRST = Amend(MILD, BOTH, Offset("uld", 0.5))


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
        ([WEAK, TOLD_FIRST, TOLD], TOLD),  # both at once is more than the note alone
        ([TOLD, Refuse(STERN)], Refuse(STERN)),
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
    assert (plan.rungs, plan.subtracted) == ((Rung.OFFSET, *BOTH), Offset("uld", 1.0))
    assert plan.scan_output
    assert (plan.escalate().rung, plan.escalate().subtracted) == (Rung.OFFSET_INSTRUCT, Offset("uld", 1.0))
    assert plan.escalate().escalate().subtracted is None


def test_an_offset_that_comes_later_is_not_subtracted_before() -> None:
    plan = planned(TOLD_FIRST)
    assert (plan.rungs, plan.instructs, plan.subtracted) == ((Rung.INSTRUCT, *BOTH), True, None)
    assert (plan.escalate().rung, plan.escalate().subtracted) == (Rung.OFFSET_INSTRUCT, Offset("uld", 0.5))
    assert (plan.without_offset().rungs, plan.without_offset().offset) == (LADDER, None)
    # Another set wants it at once, and more of it.
    beside = planned(TOLD_FIRST, STRONG)
    assert (beside.rungs, beside.subtracted) == (BOTH, Offset("uld", 1.0))


def test_an_offset_stands_beside_the_stricter_rung_of_another_set() -> None:
    beside = planned(WEAK, Amend(STERN, (Rung.REFUSE,)))
    assert (beside.rungs, beside.subtracted, beside.policy) == (BOTH, Offset("uld", 0.5), STERN)
    assert (planned(WEAK, OTHER).rungs, planned(WEAK, OTHER).offset) == (LADDER, None)
    assert planned(WEAK, Refuse(STERN)).offset is None
    assert planned().offset is None


def test_an_offset_beside_a_note_is_carried_with_it() -> None:
    assert (planned(TOLD).rungs, planned(TOLD).subtracted) == (BOTH, Offset("uld", 0.5))
    assert planned(TOLD, STRONG).subtracted == Offset("uld", 1.0)
    assert (planned(TOLD, OTHER).rung, planned(TOLD, OTHER).offset) == (Rung.INSTRUCT, None)


def test_a_plan_whose_offset_is_gone_never_asks_for_the_base_models_answer() -> None:
    assert planned(WEAK).without_offset().rungs == LADDER
    assert planned(Arm(MILD, (), Offset("uld", 1.0))).without_offset().rung is Rung.REFUSE
    beside = planned(WEAK, Amend(STERN, (Rung.REFUSE,)))
    assert (beside.without_offset().rungs, beside.without_offset().offset) == (LADDER, None)
    assert planned().without_offset() == planned()


def test_a_note_of_another_set_is_not_enough_for_one_that_knows_only_to_subtract() -> None:
    only = Arm(MILD, (), Offset("uld", 1.0))
    assert planned(only, TOLD).without_offset().rungs == (Rung.REFUSE,)
    assert planned(only, Amend(STERN, (Rung.REFUSE,))).without_offset().rungs == (Rung.REFUSE,)
    # Of two assistants a request cannot carry both.
    other = Amend(MILD, (Rung.REFUSE,), Offset("other", 1.0))
    assert (planned(only, other).rungs, planned(only, other).offset) == ((Rung.REFUSE,), None)


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
        (planned(Amend(MILD, ())), planned(TOLD), False),
        (planned(TOLD), planned(Amend(MILD, ())), True),
        (planned(TOLD), planned(TOLD_FIRST, STRONG), True),
        (planned(TOLD), planned(Amend(MILD, (), Offset("pair", 0.5))), False),
    ],
)
def test_what_a_plan_covers(had: Plan, wanted: Plan, *, expected: bool) -> None:
    assert had.covers(wanted) is expected


@pytest.mark.parametrize(
    ("rungs", "offset", "expected"),
    [
        ((), None, Allow()),
        ((), Offset("a", 1.0), Allow()),
        ((Rung.OFFSET, Rung.REFUSE), Offset("a", 1.0), Arm(MILD, (Rung.REFUSE,), Offset("a", 1.0))),
        ((Rung.OFFSET, Rung.INSTRUCT), None, Amend(MILD, ())),
        ((Rung.OFFSET,), None, Refuse(MILD)),
        ((Rung.INSTRUCT, Rung.REFUSE), Offset("a", 1.0), Amend(MILD, (Rung.REFUSE,))),
        (BOTH, Offset("a", 1.0), Amend(MILD, (Rung.REFUSE,), Offset("a", 1.0))),
        (BOTH, None, Amend(MILD, (Rung.REFUSE,))),
        ((Rung.INSTRUCT, *BOTH), Offset("a", 1.0), Amend(MILD, BOTH, Offset("a", 1.0))),
        ((Rung.INSTRUCT, *BOTH), None, Amend(MILD, (Rung.REFUSE,))),
    ],
)
def test_a_ladder_begins_where_it_can(rungs: tuple[Rung, ...], offset: Offset | None, expected: Verdict) -> None:
    assert verdict_of(MILD, rungs, offset) == expected


# -- any ladders, any number of sets


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    rungs = draw(st.lists(st.sampled_from(Rung), min_size=1, unique=True))
    try:
        return DEFAULT_POLICY.with_changes({"on_match": sorted(rungs, key=lambda r: r.severity), "assistant": "a"})
    except PolicyError:  # after an offset, `instruct` and `offset_instruct` are one
        return DEFAULT_POLICY.with_changes({"on_match": ["offset", "instruct"], "assistant": "a"})


offsets = st.none() | st.builds(Offset, st.sampled_from(["a", "b"]), st.sampled_from([0.5, 1.0]))
sets = st.lists(st.tuples(policies(), offsets), min_size=1, max_size=3)


@given(sets)
def test_a_plan_climbs_to_refusing_and_says_what_each_rung_does(wanted: list[tuple[Policy, Offset | None]]) -> None:
    verdicts = [verdict_of(policy, policy.ladder, offset) for policy, offset in wanted]
    for plan in (planned(*verdicts), planned(*verdicts).without_offset()):
        climb = [plan] if plan.armed else []
        while climb and climb[-1].rung is not Rung.REFUSE:
            climb.append(climb[-1].escalate())
        rungs = [step.rung for step in climb if step.rung]
        assert all(below.severity < above.severity for below, above in pairwise(rungs))
        assert all((step.subtracted is not None) is step.rung.subtracts for step in climb if step.rung)
        subtracting = [rung.subtracts for rung in rungs[:-1]]
        assert subtracting == sorted(subtracting)  # what is subtracted once is subtracted from there on


@given(sets)
def test_a_set_that_acts_alone_acts_beside_others_too(wanted: list[tuple[Policy, Offset | None]]) -> None:
    """No set makes the rung of another milder, and none passes for want of an assistant."""
    verdicts = [verdict_of(policy, policy.ladder, offset) for policy, offset in wanted]
    whole = planned(*verdicts)
    assert [planned(verdict).armed for verdict in verdicts] == [bool(policy.ladder) for policy, _ in wanted]
    assert whole.armed is any(policy.ladder for policy, _ in wanted)
    if (
        len({verdict.offset.assistant for verdict in verdicts if isinstance(verdict, Arm | Amend) and verdict.offset})
        < 2
    ):
        assert all(whole.covers(planned(verdict)) for verdict in verdicts)
    # Where nothing can be subtracted after all, each is served as it would be by itself.
    bare = [planned(verdict_of(policy, policy.ladder)) for policy, _ in wanted]
    assert all(whole.without_offset().covers(alone) for alone in bare)
