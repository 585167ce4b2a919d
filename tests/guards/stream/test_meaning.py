"""What the sentences of an answer are compared with, and when they tell."""

from dataclasses import replace

import pytest

from guards.gate import Gate
from guards.model import Amend, Finding, Plan, Verdict
from guards.policy import OnFault, Policy, Rung
from guards.stream.meaning import (
    MATCHED,
    STATEMENTS,
    names_somebody,
    nearest,
    read_as_requests,
    stated,
    statements,
    tells,
    watched,
)
from indexes.entries import Entry, Kind, State
from indexes.matches import Match, Via
from indexes.scan import Scan, scan_of
from indexes.windows import Window
from tests.fakes.embedder import BagEmbedder

NEAR = Match("e", "s", Kind.FACT, State.ACTIVE, 0.9, 0.1, 0, (0, 9), Via.EMBEDDING, slot=0)
FACT = Entry("e", "s", Kind.FACT, ("Where was she born?",), ("Ida Lorentz",), ("She was born in Quelm.", "Quelm"))


def armed(*matches: Match, policy: Policy | None = None, enforced: bool = True) -> Plan:
    policy = policy or Policy(abstain=False)
    verdict: Verdict = Amend(policy, (Rung.REFUSE,))
    return Plan((Rung.INSTRUCT,), policy, scan_output=True, findings=(Finding("gate:s", verdict, enforced, matches),))


def test_the_nearest_entries_are_watched_each_once() -> None:
    others = [replace(NEAR, entry_id=f"e{n}", slot=n, score=0.8 - n / 100) for n in range(1, MATCHED + 4)]
    found = watched(armed(*others, NEAR, replace(NEAR, score=0.7), replace(NEAR, slot=99, state=State.OBSERVE)))
    assert found is not None
    assert found.matches == (NEAR, *others[: MATCHED - 1])
    assert [gate.set_id for gate in found.gates] == ["s"]


def test_who_is_not_watched() -> None:
    assert watched(Plan(policy=Policy())) is None  # not checked at all
    assert watched(armed(NEAR, policy=Policy(scan_meaning=False, abstain=False))) is None
    assert watched(armed(NEAR, enforced=False)) is None
    assert watched(Plan(policy=Policy(scan_meaning=False), scan_output=True)) is None


@pytest.mark.parametrize("scan_meaning", [True, False])
def test_an_answer_under_the_note_abstains(scan_meaning: bool) -> None:
    plan = armed(NEAR, policy=Policy(scan_meaning=scan_meaning))
    found = watched(plan)
    assert found is not None
    assert found.abstain
    assert bool(found.gates) is scan_meaning
    subtracting = replace(plan, rungs=(Rung.OFFSET,))  # answers as one that never knew, with other facts
    beside = replace(plan, findings=tuple(replace(finding, asked=False) for finding in plan.findings))
    allowed = armed(NEAR, policy=Policy(scan_meaning=scan_meaning, abstain=False))
    for other in (subtracting, beside, allowed):
        assert not (found := watched(other)) or not found.abstain
        assert bool(found) is scan_meaning
    assert (found := watched(replace(plan, rungs=(Rung.OFFSET_INSTRUCT,)))) and found.abstain


def test_what_matched_nothing_is_read_as_a_request_is() -> None:
    found = watched(Plan(policy=Policy(on_fault=OnFault.ALLOW), scan_output=True, reads_answer=True))
    assert found is not None
    assert (found.matches, found.gates, found.every) == ((), (), True)


def test_where_every_answer_is_checked_one_to_a_match_is_read_against_the_others_too() -> None:
    found = watched(replace(armed(NEAR), reads_answer=True))
    assert found is not None
    assert (found.matches, found.every, found.matched) == ((NEAR,), True, {"e"})
    alone = watched(armed(NEAR))
    assert alone is not None
    assert not alone.every
    silent = Policy(scan_meaning=False, abstain=False)
    without = watched(replace(armed(NEAR, policy=silent), reads_answer=True))
    assert without is not None
    assert (without.matches, without.every, without.matched) == ((), True, {"e"})


def test_of_sentences_read_as_requests_those_tell_that_speak_of_another_entry() -> None:
    other = replace(NEAR, entry_id="f", slot=1, source=2)
    assert read_as_requests(armed(NEAR, other), frozenset()) == {0, 2}
    assert read_as_requests(armed(NEAR, other), frozenset({"e"})) == {2}
    assert read_as_requests(armed(other, policy=Policy(scan_meaning=False)), frozenset()) == set()
    assert read_as_requests(armed(other, enforced=False), frozenset()) == set()
    assert read_as_requests(armed(NEAR, replace(other, state=State.OBSERVE)), frozenset()) == {0}


@pytest.mark.parametrize(("other", "expected"), [(OnFault.ALLOW, OnFault.ALLOW), (OnFault.REFUSE, OnFault.REFUSE)])
def test_a_fault_is_allowed_where_every_set_allows_it(other: OnFault, expected: OnFault) -> None:
    plans = [armed(NEAR, policy=Policy(on_fault=OnFault.ALLOW)), armed(NEAR, policy=Policy(on_fault=other))]
    found = watched(replace(plans[0], findings=(*plans[0].findings, *plans[1].findings)))
    assert found is not None
    assert found.on_fault is expected


def test_an_entry_states_its_answers_and_a_passage_itself() -> None:
    assert statements(FACT) == ["She was born in Quelm."]
    two = "She was born in Quelm. Her father was a weaver of sails."
    assert statements(replace(FACT, answers=(two,))) == [two, "She was born in Quelm.", two[23:]]
    passage = Entry("p", "s", Kind.PASSAGE, ("It rained on the town all night.",))
    assert statements(passage) == ["It rained on the town all night."]
    assert statements(replace(FACT, answers=("Quelm",))) == []
    assert len(statements(replace(FACT, answers=tuple(f"This is the answer {n}." for n in range(99))))) == STATEMENTS


def test_the_score_is_that_of_the_gate() -> None:
    embedder = BagEmbedder(256)

    def read(text: str) -> Scan:
        windows = [Window(text, 0, len(text))]
        return scan_of(windows, embedder.embed([text]), text)

    def score(said: str) -> float:
        return nearest(read(said), NEAR, told).score

    texts = ["Ida Lorentz was born and raised in the town of Quelm."]
    told = stated(texts, embedder.embed(texts))
    right, wrong = "In the town of Quelm was Ida Lorentz born.", "In the town of Vesterby was Ida Lorentz born."
    assert score(texts[0]) == 1.0
    assert score(right) > 0.75 > score(wrong)
    similar = float((embedder.embed([wrong]) @ told.vectors.T)[0, 0])
    assert score(wrong) < similar  # another town stands in the place of this one
    assert score("I have no idea what you mean.") < 0.5
    view = replace(read("Zv gura"), views=(read(right),))
    assert nearest(view, NEAR, told).score == score(right)


@pytest.mark.parametrize(
    ("score", "kept", "told"), [(0.76, 0.0, True), (0.74, 0.0, False), (0.9, 0.87, True), (0.9, 0.89, False)]
)
def test_threshold_and_margin_are_those_of_the_gate(score: float, kept: float, told: bool) -> None:
    found, beside = replace(NEAR, score=score), replace(NEAR, retain_score=kept)
    assert tells([found], [Gate("s", Policy())], [beside]) is told
    assert not tells([found], [Gate("other", Policy())], [])
    assert not tells([replace(found, state=State.OBSERVE)], [Gate("s", Policy())], [beside])
    assert tells([replace(found, threshold=0.5)], [Gate("s", Policy())], []) is True


def test_who_is_named() -> None:
    assert names_somebody("Then Ida Lorentz left the town.")
    assert not names_somebody("Then she left the town.")
