"""Turns of a conversation: what the last ones say together, and what is only said in earlier ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.chain import Chain
from guards.model import Amend, Arm, Offset, Plan, Refuse, Signals, for_earlier_turns
from guards.policy import DEFAULT_POLICY, Policy, Rung
from guards.turns import JOINED_TURNS, JOINED_WORDS, Turns, joined
from indexes.entries import ForgetSet, Kind, State
from indexes.matches import Match, Via

CONVERSATION = Turns(earlier=frozenset({0, 1}), joined=frozenset({3}))


def hit(source: int, entry: str = "e", state: State = State.ACTIVE) -> Match:
    return Match(
        kind=Kind.FACT,
        entry_id=entry,
        set_id="s",
        state=state,
        score=0.9,
        retain_score=0.0,
        source=source,
        span=(0, 1),
        via=Via.EMBEDDING,
        threshold=None,
    )


@pytest.mark.parametrize(
    ("hits", "earlier"),
    [
        ([], False),
        ([hit(0)], True),
        ([hit(0), hit(1, "f")], True),
        ([hit(2)], False),  # the last turn
        ([hit(0), hit(2)], False),
        ([hit(3)], False),  # only together: the question came in pieces
        ([hit(0), hit(3)], True),  # the joined text repeats the earlier turn
        ([hit(0), hit(3, "f")], False),
        ([hit(0, state=State.OBSERVE), hit(3)], False),
        ([hit(0), hit(2, "f", State.OBSERVE)], True),
    ],
)
def test_what_was_said_in_earlier_turns_alone(hits: list[Match], earlier: bool) -> None:
    assert CONVERSATION.only_earlier(hits) is earlier


def test_a_request_of_one_turn_has_no_earlier_one() -> None:
    assert not Turns().only_earlier([hit(0)])


@pytest.mark.parametrize("ladder", [("refuse",), ("instruct", "refuse")])
def test_earlier_turns_arm_but_do_not_silence(ladder: tuple[str, ...]) -> None:
    chain = Chain.of([ForgetSet("s", policy={"on_match": ladder})], DEFAULT_POLICY)
    plan = chain.decide(Signals((hit(0),), turns=CONVERSATION))
    assert plan.rung is Rung.INSTRUCT
    assert plan.scan_output
    assert plan.escalate().rung is Rung.REFUSE
    now = chain.decide(Signals((hit(2),), turns=CONVERSATION))
    assert now.rung is Rung(ladder[0])


def test_other_verdicts_stay() -> None:
    amend, arm = Amend(Policy(), ()), Arm(Policy(), (), Offset("a", 1.0))
    assert [for_earlier_turns(verdict) for verdict in (amend, arm)] == [amend, arm]
    assert for_earlier_turns(Refuse(Policy())) == Amend(Policy(), (Rung.REFUSE,))
    assert Plan().rung is None


@given(st.lists(st.text(alphabet="ab \n", max_size=12), max_size=8))
def test_turns_are_joined_by_their_last_words(turns: list[str]) -> None:
    text = joined(turns)
    words = " ".join(turns[-JOINED_TURNS:]).split()
    assert text == (None if len(turns) < 2 else " ".join(words))


def test_what_is_joined_is_bounded() -> None:
    text = joined([f"w{i} " * 100 for i in range(JOINED_TURNS)])
    assert text is not None
    assert len(text.split()) == JOINED_WORDS
    assert text.startswith(f"w{JOINED_TURNS - 1}")
