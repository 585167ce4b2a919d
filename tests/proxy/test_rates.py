"""Allowances fill evenly, nothing is taken of a request that is turned away, and one key knows nothing of another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Limits
from proxy.errors import RateLimited
from proxy.keys import Caller
from proxy.metrics import Metrics
from proxy.rates import Rates

ANN, BOB = (Caller(name, frozenset({"client"})) for name in ("ann", "bob"))
OPERATOR = Caller("op", frozenset({"admin"}))


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def rates(clock: Clock, **limits: int) -> Rates:
    return Rates(Limits.model_validate(limits), Metrics(), clock)


def ask(of: Rates, caller: Caller = ANN, tokens: int = 0) -> dict[str, str]:
    """One request with its answer; what the key had left when it was let in."""
    with of.asking(caller) as asking:
        asking.tokens = tokens
    return asking.headers


def wait_of(of: Rates, caller: Caller = ANN) -> tuple[str, int | None]:
    """The limit that turns a request away, and when to come again."""
    with pytest.raises(RateLimited) as refused:
        ask(of, caller)
    return refused.value.limit, refused.value.retry_after_s


def test_requests_fill_up_evenly() -> None:
    clock = Clock()
    limited = rates(clock, requests_per_minute=3)
    for left in ("2", "1", "0"):
        assert ask(limited)["x-ratelimit-remaining-requests"] == left
    assert wait_of(limited) == ("requests", 20)
    assert ask(limited, BOB)  # a key of its own
    clock.now += 19
    assert wait_of(limited) == ("requests", 1)
    clock.now += 1
    assert ask(limited) == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "60.000s",
    }
    clock.now += 3600
    for _ in range(3):  # no more than a minute's worth, however long it was silent
        ask(limited)
    assert wait_of(limited) == ("requests", 20)


def test_tokens_are_paid_for_when_the_answer_ends() -> None:
    clock = Clock()
    limited = rates(clock, tokens_per_minute=60)
    ask(limited, tokens=59)
    ask(limited, tokens=100)  # one was left: how long an answer will be, nobody knows
    assert wait_of(limited) == ("tokens", 100)
    clock.now += 100
    assert ask(limited)["x-ratelimit-remaining-tokens"] == "1"


def test_what_fills_up_during_a_long_answer_is_no_more_than_a_minute() -> None:
    clock = Clock()
    limited = rates(clock, tokens_per_minute=60)
    with limited.asking(ANN) as asking:
        clock.now += 3600
        asking.tokens = 50
    assert ask(limited)["x-ratelimit-remaining-tokens"] == "10"


def test_who_is_turned_away_is_counted_by_the_limit() -> None:
    metrics = Metrics()
    limited = Rates(Limits.model_validate({"requests_per_minute": 2, "answers_at_once": 1}), metrics, Clock())
    with limited.asking(ANN):
        wait_of(limited)
    ask(limited)
    wait_of(limited)
    wait_of(limited)
    counted = [
        metrics.registry.get_sample_value("lethe_limited_total", {"limit": limit})
        for limit in ("answers", "requests", "tokens")
    ]
    assert counted == [1, 2, None]


def test_answers_at_once_are_given_back_however_they_end() -> None:
    limited = rates(Clock(), answers_at_once=2)
    with limited.asking(ANN):
        with pytest.raises(ZeroDivisionError), limited.asking(ANN):
            _ = 1 / 0
        with limited.asking(ANN):
            assert wait_of(limited) == ("answers", 1)
            assert ask(limited, BOB) == {}
        ask(limited)


def test_a_request_that_is_turned_away_costs_nothing() -> None:
    limited = rates(Clock(), requests_per_minute=2, answers_at_once=1)
    with limited.asking(ANN):
        for _ in range(5):
            assert wait_of(limited)[0] == "answers"
    assert ask(limited)["x-ratelimit-remaining-requests"] == "0"


def test_operators_and_keys_without_limits_are_never_turned_away() -> None:
    limited, unlimited = rates(Clock(), requests_per_minute=1, answers_at_once=1), rates(Clock())
    for _ in range(5):
        assert ask(limited, OPERATOR) == ask(unlimited) == {}


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), max_size=60), st.integers(1, 90))
def test_no_key_gets_more_than_a_minute_and_what_has_filled_since(steps: list[tuple[float, int]], most: int) -> None:
    clock = Clock()
    limited = rates(clock, requests_per_minute=most)
    let_in, began = 0, clock.now
    for passed, tries in steps:
        clock.now += passed
        for _ in range(tries):
            try:
                ask(limited)
            except RateLimited as refused:
                assert refused.retry_after_s is not None
                assert refused.retry_after_s >= 1
                break
            let_in += 1
        assert let_in <= most + (clock.now - began) * most / 60 + 1e-6
