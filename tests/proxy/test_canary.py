"""The canary's judgement: alive is a change that follows the weight; everything else is told apart, with a cure."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.assistants.canary import MIN_CHANGE, TOKENS, WEIGHT, Canary, CanaryDead, centred, distance, judged
from proxy.errors import UpstreamFailed
from tests.fakes.composite import LOGITS, Composite
from tests.fakes.vllm_shapes import MODEL

logits = st.lists(st.floats(-20, 20), min_size=TOKENS, max_size=TOKENS)


def row(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values))


def moved(base: list[float], by: list[float], weight: float, bend: float = 0.0) -> dict[int, float]:
    return row([value + weight * step + bend * place for place, (value, step) in enumerate(zip(base, by, strict=True))])


@given(logits, logits, st.floats(0, 0.5))
def test_whatever_is_subtracted_as_asked_is_alive(base: list[float], by: list[float], noise: float) -> None:
    change = distance(centred(moved(base, by, 2 * WEIGHT)), centred(row(base)))
    verdict = judged(row(base), moved(base, by, WEIGHT), moved(base, by, 2 * WEIGHT), noise)
    assert (verdict is None) is (change > MIN_CHANGE + 4 * noise)


@given(logits, logits, st.floats(0, 0.1), st.randoms(use_true_random=False))
def test_an_engine_whose_numbers_vary_is_alive_all_the_same(
    base: list[float], by: list[float], noise: float, rng: random.Random
) -> None:
    """On an accelerator the same request gives other logits in another batch, the base's and the auxiliary's."""

    def varied(values: list[float]) -> list[float]:
        return [value + rng.uniform(-noise / 2, noise / 2) for value in values]

    rows = [moved(varied(base), varied(by), weight) for weight in (0.0, WEIGHT, 2 * WEIGHT)]
    verdict = judged(*rows, noise)
    assert verdict is None or "it is not subtracted" in verdict


@given(logits, st.floats(-5, 5), st.floats(-5, 5))
def test_what_changes_no_choice_is_no_offset(base: list[float], one: float, other: float) -> None:
    same = "it is not subtracted"
    assert same in str(judged(row(base), moved(base, [one] * TOKENS, 1.0), moved(base, [other] * TOKENS, 1.0), 0.0))


@given(logits)
def test_an_offset_that_does_not_follow_the_weight_is_another_one(base: list[float]) -> None:
    changed = moved(base, [0.0] * TOKENS, 1.0, bend=1.0)  # the same at w and 2w
    assert "not what was asked for" in str(judged(row(base), changed, changed, 0.0))


def test_what_is_not_finite_is_not_alive() -> None:
    base = [1.0, 2.0, 3.0, 4.0, 5.0]
    broken = row([float("-inf"), 2.0, 3.0, 4.0, 5.0])
    assert judged(row(base), broken, broken, 0.0) is not None


# -- asking


def asking(composite: Composite) -> tuple[Canary, list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []

    async def ask(body: dict[str, Any]) -> Any:
        seen.append(body)
        tops = {f"token_id:{token}": value for token, value in composite.logprobs(body).items()}
        return {"choices": [{"logprobs": {"top_logprobs": [tops]}}]}

    return Canary(ask, MODEL, "salt"), seen


async def test_a_living_engine_is_asked_five_times_and_twice_for_each_further_auxiliary() -> None:
    canary, seen = asking(Composite(slots=("a0", "a1")))
    await canary.prove("a0")
    assert len(seen) == 5
    await canary.prove("a1")
    assert len(seen) == 7
    assert [body["vllm_xargs"]["lethe_weights"] for body in seen[3:5]] == [[WEIGHT], [2 * WEIGHT]]
    armed = {body["cache_salt"] for body in seen if "vllm_xargs" in body}
    plain = {body.get("cache_salt") for body in seen if "vllm_xargs" not in body}
    assert not armed & plain


@pytest.mark.parametrize(
    ("composite", "said"),
    [
        (Composite(), "it is not subtracted"),  # a plain vLLM passes the fields over
        (Composite(slots=("a0",), alive=False), "it is not subtracted"),
        (Composite(slots=("a1",)), "it is not subtracted"),
        (Composite(slots=("a0",), processed=False), "--logprobs-mode processed_logprobs"),
    ],
)
async def test_what_is_wrong_is_told_with_its_cure(composite: Composite, said: str) -> None:
    canary, _ = asking(composite)
    with pytest.raises(CanaryDead, match=said):
        await canary.prove("a0")


async def test_a_model_that_is_sure_hides_no_raw_logprobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOGITS, 11, 40.0)
    canary, _ = asking(Composite(slots=("a0",), processed=False))
    with pytest.raises(CanaryDead, match="processed_logprobs"):
        await canary.prove("a0")
    canary, _ = asking(Composite(slots=("a0",)))
    await canary.prove("a0")


@pytest.mark.parametrize("answer", [None, {}, {"choices": []}, {"choices": [{"logprobs": None}]}, {"choices": [1]}])
async def test_an_answer_of_another_shape_is_no_proof(answer: Any) -> None:
    async def ask(body: dict[str, Any]) -> Any:
        return answer

    with pytest.raises(CanaryDead, match="unknown shape"):
        await Canary(ask, MODEL, "salt").prove("a0")


async def test_an_engine_that_does_not_answer_is_not_alive() -> None:
    async def ask(body: dict[str, Any]) -> Any:
        raise UpstreamFailed("the engine cannot be reached")

    with pytest.raises(CanaryDead, match="did not answer"):
        await Canary(ask, MODEL, "salt").prove("a0")
