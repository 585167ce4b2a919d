"""Turns of a conversation: what the last ones say together, and what is only said in earlier ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.chain import Chain
from guards.model import Amend, Arm, Offset, Plan, Refuse, Signals, for_earlier_turns
from guards.policy import DEFAULT_POLICY, Policy, Rung
from guards.turns import AFTER, BEFORE, EVERY, Turns, seams
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


@pytest.mark.parametrize(
    ("hits", "asked"),
    [
        ([], False),
        ([hit(2)], True),
        ([hit(0)], False),
        ([hit(4)], False),  # a system prompt
        ([hit(4), hit(2)], True),
        ([hit(3)], True),  # in pieces
        ([hit(4), hit(3)], False),  # the joined text repeats the system prompt
        ([hit(4), hit(3, "f")], True),
        ([hit(2, state=State.OBSERVE), hit(4)], False),
    ],
)
def test_what_the_last_turn_asks_for_itself(hits: list[Match], asked: bool) -> None:
    turns = Turns(earlier=frozenset({0, 1}), joined=frozenset({3}), beside=frozenset({0, 1, 4}))
    assert turns.asked(hits) is asked


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


@given(st.lists(st.integers(0, 40), max_size=12))
def test_whatever_lies_in_several_texts_is_read_as_one(sizes: list[int]) -> None:
    words = [f"w{i}" for i in range(sum(sizes))]
    owners = [place for place, size in enumerate(sizes) for _ in range(size)]
    texts = [" ".join(word for word, owner in zip(words, owners, strict=True) if owner == n) for n in range(len(sizes))]
    read = [f" {text} " for _, text in seams(texts)]
    for start in range(len(words)):
        end = min(len(words), start + AFTER)
        run = f" {' '.join(words[start:end])} "
        assert owners[start] == owners[end - 1] or any(run in text for text in read)


@given(st.lists(st.text(alphabet="ab \n", max_size=12), max_size=8))
def test_what_was_read_does_not_change_when_the_conversation_goes_on(texts: list[str]) -> None:
    before, after = [list(seams([*texts, more])) for more in ("", "and on")]
    assert after[: len(before) - 1] == before[:-1]
    assert all(text.strip() and texts[place].strip() for place, text in before)


def test_reading_seams_is_bounded() -> None:
    assert list(seams(["one text", " ", ""])) == []
    found = list(seams(["word"] * 1200))
    assert len(found) <= 1200 / EVERY + 1
    assert max(len(text.split()) for _, text in found) <= BEFORE + AFTER
    assert len(next(iter(seams(["word " * 1000] * 3)))[1].split()) == BEFORE + AFTER
