"""The gate: which matches count, and what they lead to."""

from dataclasses import replace

import pytest

from guards.gate import Gate
from guards.model import Allow, Amend, Arm, Assistant, Offset, Refuse, Signals, Verdict
from guards.policy import Policy, Rung
from indexes.entries import Kind, State
from indexes.matches import Match, Via

POLICY = Policy(threshold=0.75, margin=0.25)
NEAR = Match("e1", "s1", Kind.FACT, State.ACTIVE, 0.8, 0.3, 0, (0, 9), Via.EMBEDDING)


def hits(*matches: Match, policy: Policy = POLICY) -> tuple[Match, ...]:
    return Gate("s1", policy).hits(Signals(matches))


def judged(*matches: Match, policy: Policy = POLICY) -> Verdict:
    gate = Gate("s1", policy)
    return gate.judge(gate.hits(Signals(matches)), {})


@pytest.mark.parametrize(
    ("match", "counts"),
    [
        (NEAR, True),
        (replace(NEAR, score=0.75), True),
        (replace(NEAR, score=0.7499), False),
        (replace(NEAR, retain_score=0.55), True),
        (replace(NEAR, retain_score=0.5501), False),
        (replace(NEAR, set_id="s2"), False),
        (replace(NEAR, threshold=0.9), False),  # the entry's own threshold stands before the set's
        (replace(NEAR, score=0.5, retain_score=-1.0, threshold=0.4), True),
        (replace(NEAR, score=1.0, retain_score=0.9, via=Via.NAME), False),  # a name inside a retain example
        (replace(NEAR, score=1.0, retain_score=-1.0, via=Via.NAME, threshold=1.0), True),
        (replace(NEAR, state=State.OBSERVE), True),  # it is a finding, though nothing follows
    ],
)
def test_which_matches_count(match: Match, *, counts: bool) -> None:
    assert hits(match) == ((match,) if counts else ())


def test_hits_keep_their_order() -> None:
    matches = tuple(replace(NEAR, entry_id=f"e{number}", score=0.8 + number / 100) for number in range(5))
    assert hits(*matches) == matches


@pytest.mark.parametrize(
    ("ladder", "expected"),
    [
        ((Rung.OBSERVE,), Allow),
        ((Rung.INSTRUCT,), Amend),
        ((Rung.INSTRUCT, Rung.REFUSE), Amend),
        ((Rung.REFUSE,), Refuse),
        ((Rung.OBSERVE, Rung.REFUSE), Refuse),
    ],
)
def test_the_ladder_decides_what_a_hit_leads_to(ladder: tuple[Rung, ...], expected: type) -> None:
    policy = replace(POLICY, on_match=ladder)
    verdict = judged(NEAR, policy=policy)
    assert type(verdict) is expected
    if isinstance(verdict, Amend):
        assert (verdict.policy, verdict.rest) == (policy, ladder[1:])
    if isinstance(verdict, Refuse):
        assert verdict.policy == policy


def test_without_an_active_hit_nothing_follows() -> None:
    observed = replace(NEAR, state=State.OBSERVE)
    assert judged() == judged(observed) == judged(replace(NEAR, score=0.1)) == Allow()
    assert isinstance(judged(observed, NEAR), Amend)


# -- offsets

SUBTRACTING = replace(POLICY, on_match=(Rung.OFFSET, Rung.REFUSE), assistant="uld")
ULD = {"uld": Assistant("uld", 1, strength=1.0, max_strength=1.25)}


def armed(*matches: Match, policy: Policy = SUBTRACTING) -> Offset:
    gate = Gate("s1", policy)
    verdict = gate.judge(gate.hits(Signals(matches)), ULD)
    assert isinstance(verdict, Arm)
    assert verdict.rest == (Rung.REFUSE,)
    return verdict.offset


def test_the_nearest_acting_hit_sets_the_strength() -> None:
    edge, sure = replace(NEAR, score=0.75), replace(NEAR, score=0.9)
    assert armed(edge) == Offset("uld", 0.5)
    assert armed(edge, sure) == armed(sure) == Offset("uld", 1.0)
    assert armed(edge, replace(sure, state=State.OBSERVE)) == Offset("uld", 0.5)
    assert armed(replace(sure, threshold=0.9)) == Offset("uld", 0.5)  # an entry's own threshold counts


def test_the_policys_strength_holds_up_to_what_the_assistant_was_tried_with() -> None:
    sure = replace(NEAR, score=0.9)
    assert armed(sure, policy=replace(SUBTRACTING, strength=1.2)).strength == 1.2
    assert armed(sure, policy=replace(SUBTRACTING, strength=8.0)).strength == 1.25


@pytest.mark.parametrize(
    ("ladder", "raised", "expected"),
    [
        ((Rung.INSTRUCT, Rung.REFUSE), 0, Amend),
        ((Rung.INSTRUCT, Rung.REFUSE), 1, Refuse),
        ((Rung.INSTRUCT, Rung.REFUSE), 3, Refuse),
        ((Rung.INSTRUCT,), 1, Refuse),  # the last rung of every ladder
        ((Rung.OBSERVE, Rung.INSTRUCT, Rung.REFUSE), 1, Refuse),
        ((Rung.OBSERVE,), 3, Allow),  # a set that looks on enforces nothing
        ((Rung.OFFSET_INSTRUCT,), 0, Amend),
        ((Rung.OFFSET_INSTRUCT, Rung.REFUSE), 1, Refuse),
        ((Rung.OFFSET, Rung.INSTRUCT), 1, Amend),
    ],
)
def test_an_entry_that_leaked_begins_higher(ladder: tuple[Rung, ...], raised: int, expected: type) -> None:
    policy = replace(POLICY, on_match=ladder)
    assert type(judged(replace(NEAR, raised=raised), policy=policy)) is expected
    assert type(judged(NEAR, replace(NEAR, entry_id="e2", raised=raised), policy=policy)) is expected
    watching = replace(NEAR, raised=raised, state=State.OBSERVE)
    assert type(judged(NEAR, watching, policy=policy)) is type(judged(NEAR, policy=policy))


def test_an_entry_that_begins_above_the_offset_keeps_it() -> None:
    policy = replace(SUBTRACTING, on_match=(Rung.OFFSET, Rung.INSTRUCT))
    gate = Gate("s1", policy)
    leaked = gate.hits(Signals((replace(NEAR, score=0.9, raised=1),)))
    assert gate.judge(leaked, ULD) == Amend(policy, (), Offset("uld", 1.0))
    assert gate.judge(leaked, {}) == Amend(policy, ())
    without = Gate("s1", replace(policy, on_match=(Rung.INSTRUCT,)))
    assert without.judge((replace(NEAR, score=0.9),), ULD) == Amend(without.policy, ())


@pytest.mark.parametrize(
    ("ladder", "raised", "expected"),
    [
        ((Rung.OFFSET_INSTRUCT, Rung.REFUSE), 0, Amend(POLICY, (Rung.REFUSE,), Offset("uld", 1.0))),
        ((Rung.INSTRUCT, Rung.OFFSET_INSTRUCT), 0, Amend(POLICY, (Rung.OFFSET_INSTRUCT,), Offset("uld", 1.0))),
        ((Rung.INSTRUCT, Rung.OFFSET_INSTRUCT), 1, Amend(POLICY, (), Offset("uld", 1.0))),
    ],
)
def test_offset_and_note_together(ladder: tuple[Rung, ...], raised: int, expected: Amend) -> None:
    policy = replace(SUBTRACTING, on_match=ladder)
    gate = Gate("s1", policy)
    near = gate.hits(Signals((replace(NEAR, score=0.9, raised=raised),)))
    assert gate.judge(near, ULD) == replace(expected, policy=policy)
    assert gate.lacks(near, ULD) is None
    # What remains without its assistant is the note, and that is told.
    bare = gate.judge(near, {})
    assert isinstance(bare, Amend)
    assert (bare.rung, bare.offset) == (Rung.INSTRUCT, None)
    assert gate.lacks(near, {}) == "uld"


def test_an_assistant_is_lacking_only_where_it_is_wanted() -> None:
    near = replace(NEAR, score=0.9)
    gate = Gate("s1", SUBTRACTING)
    assert gate.lacks((near,), {}) == SUBTRACTING.assistant
    assert gate.lacks((replace(near, state=State.OBSERVE),), {}) is None  # nothing follows from it
    assert gate.lacks((), {}) is None
    assert Gate("s1", replace(SUBTRACTING, on_match=(Rung.INSTRUCT,))).lacks((near,), {}) is None
