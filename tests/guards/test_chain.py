"""The chain: the strictest verdict holds, faults close, whoever only looks on changes nothing."""

from collections.abc import Callable

import pytest

from guards.chain import Chain, GuardFault, Link
from guards.gate import Gate
from guards.model import Allow, Amend, Arm, Assistant, Offset, Refuse, Signals
from guards.policy import DEFAULT_POLICY, OnFault, Policy, PolicyError, Rung, ScanOutput, Style
from guards.stream.meaning import watched
from indexes.entries import ForgetSet, Kind, State
from indexes.matches import Match, Via


def match_in(set_id: str, score: float = 0.9, state: State = State.ACTIVE) -> Match:
    return Match("e1", set_id, Kind.FACT, state, score, -1.0, 0, (0, 9), Via.EMBEDDING)


BOTH = Signals((match_in("s1"), match_in("s2")))


class BrokenGate(Gate):
    """A guard with a bug."""

    def judge(self, hits: tuple[Match, ...], assistants: object) -> Allow:
        raise KeyError("the secret of the tower")


class BlindGate(Gate):
    """A guard that fails while it looks."""

    def hits(self, signals: Signals) -> tuple[Match, ...]:
        raise ZeroDivisionError


def chain_of(**policies: dict[str, object]) -> Chain:
    return Chain.of([ForgetSet(set_id, policy=policy) for set_id, policy in policies.items()], DEFAULT_POLICY)


def test_nothing_near_means_nothing_to_do() -> None:
    plan = chain_of(s1={}, s2={}).decide(Signals())
    assert (plan.rungs, plan.findings, plan.scan_output, plan.policy) == ((), (), False, DEFAULT_POLICY)


def test_the_strictest_set_wins_and_every_finding_stays() -> None:
    plan = chain_of(s1={"on_match": ["instruct"]}, s2={"on_match": ["refuse"], "style": "refusal"}).decide(BOTH)
    assert plan.rungs == (Rung.REFUSE,)
    assert plan.style is Style.REFUSAL
    assert [(f.guard, type(f.verdict), f.enforced, f.fault) for f in plan.findings] == [
        ("gate:s1", Amend, True, None),
        ("gate:s2", Refuse, True, None),
    ]
    assert [f.matches for f in plan.findings] == [(match_in("s1"),), (match_in("s2"),)]


def test_each_set_is_judged_by_its_own_policy() -> None:
    chain = chain_of(s1={"threshold": 0.95, "on_match": ["refuse"]}, s2={"threshold": 0.85})
    plan = chain.decide(BOTH)
    assert [finding.guard for finding in plan.findings] == ["gate:s2"]
    assert plan.rungs == (Rung.INSTRUCT, Rung.REFUSE)


def test_a_set_in_observe_is_found_and_not_enforced() -> None:
    plan = chain_of(s1={"on_match": ["observe"]}).decide(BOTH)
    assert not plan.armed
    assert [(f.guard, f.enforced) for f in plan.findings] == [("gate:s1", False)]
    assert chain_of(s1={"on_match": ["observe"]}, s2={}).decide(BOTH).armed


def test_an_entry_in_observe_is_found_and_leads_to_nothing() -> None:
    plan = chain_of(s1={"on_match": ["refuse"]}).decide(Signals((match_in("s1", state=State.OBSERVE),)))
    assert not plan.armed
    assert [type(f.verdict) for f in plan.findings] == [Allow]


def test_a_guard_that_is_linked_to_look_on_is_not_enforced() -> None:
    refuse = Policy(on_match=(Rung.REFUSE,))
    plan = Chain((Link(Gate("s1", refuse), enforce=False),), DEFAULT_POLICY).decide(BOTH)
    assert not plan.armed
    assert [(type(f.verdict), f.enforced) for f in plan.findings] == [(Refuse, False)]


# -- faults


@pytest.mark.parametrize(("broken", "fault"), [(BrokenGate, "KeyError"), (BlindGate, "ZeroDivisionError")])
def test_a_guard_that_fails_closes_the_request(broken: type[Gate], fault: str) -> None:
    chain = Chain((Link(Gate("s2", DEFAULT_POLICY)), Link(broken("s1", DEFAULT_POLICY))), DEFAULT_POLICY)
    with pytest.raises(GuardFault) as closed:
        chain.decide(BOTH)
    assert (closed.value.guard, closed.value.fault) == ("gate:s1", fault)
    assert "secret" not in str(closed.value)


@pytest.mark.parametrize(
    "link",
    [
        lambda gate: Link(gate, OnFault.ALLOW),
        lambda gate: Link(gate, OnFault.ALLOW, enforce=False),
        lambda gate: Link(gate, OnFault.REFUSE, enforce=False),  # who only looks on cannot close anything
    ],
)
def test_a_fault_that_does_not_close_is_a_finding_and_the_others_still_decide(link: Callable[[Gate], Link]) -> None:
    broken = link(BrokenGate("s1", DEFAULT_POLICY))
    plan = Chain((broken, Link(Gate("s2", DEFAULT_POLICY))), DEFAULT_POLICY).decide(BOTH)
    assert [(f.guard, f.fault, f.enforced) for f in plan.findings] == [
        ("gate:s1", "KeyError", broken.enforce),
        ("gate:s2", None, True),
    ]
    assert plan.armed
    alone = Chain((broken,), DEFAULT_POLICY).decide(BOTH)
    assert not alone.armed
    assert (alone.scan_output, alone.reads_answer) == (broken.enforce, broken.enforce)  # what was not measured


def test_only_failures_are_faults() -> None:
    class Interrupted(Gate):
        def hits(self, signals: Signals) -> tuple[Match, ...]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Chain((Link(Interrupted("s1", DEFAULT_POLICY), OnFault.ALLOW),), DEFAULT_POLICY).decide(BOTH)


# -- how sets and the global policy make a chain


def test_a_chain_follows_the_sets_in_order() -> None:
    chain = chain_of(b={"on_fault": "allow"}, a={"on_match": "observe"})
    assert [(link.guard.name, link.on_fault, link.enforce) for link in chain.links] == [
        ("gate:b", OnFault.ALLOW, True),
        ("gate:a", OnFault.REFUSE, False),
    ]


@pytest.mark.parametrize(
    ("policy", "default", "expected"),
    [({}, "armed", False), ({"scan_output": "always"}, "armed", True), ({}, "always", True), (None, "always", True)],
)
def test_one_set_that_scans_always_scans_every_answer(
    policy: dict[str, object] | None, default: str, *, expected: bool
) -> None:
    sets = [] if policy is None else [ForgetSet("s1", policy=policy)]
    chain = Chain.of(sets, DEFAULT_POLICY.with_changes({"scan_output": default}))
    assert chain.decide(Signals()).scan_output is expected


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ({"a": {"scan_output": "always"}}, True),
        ({"a": {"scan_output": "always", "scan_meaning": False}}, False),
        ({"a": {"scan_output": "always", "scan_meaning": False}, "b": {}}, False),  # of armed requests only
        ({"a": {"scan_output": "always", "scan_meaning": False}, "b": {"scan_output": "always"}}, True),
    ],
)
def test_answers_to_all_are_judged_by_meaning_where_a_set_that_scans_them_says_so(
    policies: dict[str, dict[str, object]], *, expected: bool
) -> None:
    plan = chain_of(**policies).decide(Signals())
    assert plan.scan_output
    assert (watched(plan) is not None) is expected


def test_also_an_answer_to_a_match_is_read_against_everything_where_every_answer_is() -> None:
    plan = chain_of(s1={}, s2={"scan_output": "always"}).decide(Signals((match_in("s1"),)))
    assert (plan.armed, plan.reads_answer) == (True, True)
    assert not chain_of(s1={}, s2={}).decide(BOTH).reads_answer


def test_who_only_looks_on_has_no_answer_checked() -> None:
    always = {"scan_output": "always"}
    assert not chain_of(s1={"on_match": "observe", **always}, s2={}).decide(Signals()).scan_output
    looking_on = Chain.of([ForgetSet("s1", policy=always)], DEFAULT_POLICY, {"on_match": ["observe"]})
    assert not looking_on.decide(Signals()).scan_output


def test_a_request_that_no_set_claims_is_answered_by_the_global_policy() -> None:
    default = Policy(style=Style.REFUSAL, scan_output=ScanOutput.ALWAYS)
    assert Chain.of([], default).decide(Signals()).escalate().style is Style.REFUSAL


def test_a_set_with_a_policy_that_is_not_understood_makes_no_chain() -> None:
    with pytest.raises(PolicyError):
        chain_of(s1={"treshold": 1})


# -- offsets

OFFSET = {"on_match": ["offset", "instruct"], "assistant": "uld"}
ULD = Assistant("uld", 2, strength=1.0, max_strength=1.5)
LOADED = {"uld": ULD, "uld@2": ULD}


def test_an_offset_is_planned_where_its_assistant_is_loaded() -> None:
    plan = chain_of(s1=OFFSET).decide(Signals((match_in("s1"),), LOADED))
    assert (plan.rungs, plan.offset) == ((Rung.OFFSET, Rung.OFFSET_INSTRUCT), Offset("uld", 1.0))
    assert [(type(f.verdict), f.lacked) for f in plan.findings] == [(Arm, None)]


@pytest.mark.parametrize("assistants", [{}, {"other": ULD}, {"uld@2": ULD}])
def test_without_its_assistant_a_ladder_goes_without_its_offset_and_says_so(assistants: dict[str, Assistant]) -> None:
    plan = chain_of(s1=OFFSET).decide(Signals((match_in("s1"),), assistants))
    assert (plan.rungs, plan.offset) == ((Rung.INSTRUCT,), None)
    assert [(type(f.verdict), f.lacked) for f in plan.findings] == [(Amend, "uld")]
    together = chain_of(s1={**OFFSET, "on_match": ["offset_instruct", "refuse"]})
    plan = together.decide(Signals((match_in("s1"),), assistants))
    assert (plan.rungs, [f.lacked for f in plan.findings]) == ((Rung.INSTRUCT, Rung.REFUSE), ["uld"])
    alone = chain_of(s1={**OFFSET, "on_match": ["offset"]}).decide(Signals((match_in("s1"),), assistants))
    assert alone.rungs == (Rung.REFUSE,)


def test_a_pinned_version_is_that_version() -> None:
    pinned = chain_of(s1={**OFFSET, "assistant": "uld@2"})
    assert pinned.decide(Signals((match_in("s1"),), LOADED)).offset == Offset("uld@2", 1.0)
    assert pinned.decide(Signals((match_in("s1"),), {"uld": ULD, "uld@3": ULD})).offset is None


def test_nobody_lacks_an_assistant_that_no_request_asks_for() -> None:
    far = chain_of(s1=OFFSET).decide(Signals((match_in("s1", 0.5),)))
    observed = chain_of(s1=OFFSET).decide(Signals((match_in("s1", state=State.OBSERVE),)))
    assert [f.lacked for f in (*far.findings, *observed.findings)] == [None]
