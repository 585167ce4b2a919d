"""Metrics of log-probabilities and scores on cases worked out by hand."""

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics.auc import auc
from evals.metrics.deviation import deviation_score
from evals.metrics.entailment import EntailmentError, OnnxEntailment, entailment_score
from evals.metrics.exact_memorisation import exact_memorisation
from evals.metrics.extraction_strength import extraction_strength
from evals.metrics.forget_efficacy import forget_efficacy
from evals.metrics.forget_quality import forget_quality
from evals.metrics.intervals import mean, paired_difference, share, wilson
from evals.metrics.leak_at_k import leak_at_k
from evals.metrics.min_k import min_k
from evals.metrics.privleak import membership_auc, privleak
from evals.metrics.probability import among, mean_nll, probability
from evals.metrics.truth_ratio import as_forgotten, as_known, truth_ratio
from evals.metrics.utility import CLOSER_LOOK, model_utility

NEVER = -math.inf
logs = st.lists(st.floats(-20, 0), min_size=1, max_size=20)


# -- probability and truth ratio


def test_probability_is_per_token() -> None:
    assert probability([math.log(0.5), math.log(0.125)]) == pytest.approx(0.25)
    assert probability([0.0, NEVER]) == 0.0
    with pytest.raises(ValueError, match="without tokens"):
        mean_nll([])


def test_probability_among_alternatives() -> None:
    assert among(0.2, [0.1, 0.1]) == pytest.approx(0.5)
    assert among(0.0, [0.0, 0.0, 0.0]) == 0.25


def test_truth_ratio_is_wrong_over_right() -> None:
    right, wrong = [math.log(0.5)], [[math.log(0.1)], [math.log(0.4)]]
    assert truth_ratio(right, wrong) == pytest.approx(0.2 / 0.5)  # geometric mean of .1 and .4
    assert truth_ratio([NEVER], [[NEVER]]) == 1.0
    assert truth_ratio([NEVER], [[0.0]]) == math.inf
    assert truth_ratio([0.0], [[NEVER]]) == 0.0


def test_what_a_truth_ratio_says_of_forgetting_and_of_knowing() -> None:
    assert [as_forgotten(ratio) for ratio in (0.5, 2.0, 1.0, math.inf, 0.0)] == [0.5, 0.5, 1.0, 0.0, 0.0]
    assert [as_known(ratio) for ratio in (0.25, 1.0, 3.0, math.inf, 0.0)] == [0.75, 0.0, 0.0, 0.0, 1.0]


@given(logs, st.lists(logs, min_size=1, max_size=5))
def test_a_ratio_is_never_negative(right: list[float], wrong: list[list[float]]) -> None:
    assert truth_ratio(right, wrong) > 0


def test_forget_quality_of_the_same_and_of_others() -> None:
    assert forget_quality([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]) == 1.0
    assert forget_quality([0.1, 0.2, 0.3], [0.7, 0.8, 0.9]) == pytest.approx(2 / 20)  # 2 of C(6, 3) orders
    with pytest.raises(ValueError, match="two samples"):
        forget_quality([], [1.0])


def test_large_samples_use_the_limit() -> None:
    values = [i / 12_000 for i in range(12_000)]
    assert forget_quality(values, values) == 1.0
    assert forget_quality(values, [v + 0.5 for v in values]) < 1e-9


# -- utility, efficacy, deviation


def test_utility_is_a_harmonic_mean_over_sets_and_metrics() -> None:
    one = {"rouge": 1.0, "probability": 0.5, "truth_ratio": 0.5}
    assert model_utility({"retain": one}) == pytest.approx(3 / 5)
    assert model_utility({"retain": one, "world_facts": {"rouge": 1.0}}) is None
    assert model_utility({"retain": one}, CLOSER_LOOK) is None
    assert model_utility({}) is None
    assert model_utility({"retain": one | {"rouge": 0.0}}) == 0.0


def test_efficacy_is_what_is_gone() -> None:
    names = ("rouge", "probability", "truth_ratio", "cosine_similarity", "entailment")
    assert forget_efficacy(dict.fromkeys(names, 0.25)) == pytest.approx(0.75)
    assert forget_efficacy({"rouge": 0.1}) is None


def test_deviation() -> None:
    assert deviation_score(0.0, 1.0) == 0.0
    assert deviation_score(0.3, 0.6) == pytest.approx(50.0)


# -- memorisation


def test_memorisation_of_teacher_forced_tokens() -> None:
    hits = [True, False, True, True]
    assert exact_memorisation(hits) == 0.75
    assert extraction_strength(hits) == 0.5
    assert extraction_strength([True] * 3) == 1.0
    assert extraction_strength([True, True, False]) == 0.0
    for metric in (exact_memorisation, extraction_strength, min_k):
        with pytest.raises(ValueError, match="without tokens"):
            metric([])


def test_min_k_takes_the_least_likely() -> None:
    assert min_k([-1.0, -2.0, -3.0, -4.0, -5.0]) == pytest.approx(4.5)  # two of five
    assert min_k([-3.0, -1.0], share=0.1) == 3.0


def test_privleak() -> None:
    assert membership_auc(forget=[1.0, 2.0], unseen=[3.0, 4.0]) == 1.0
    assert privleak(1.0) == -100.0
    assert privleak(0.5) == 0.0
    assert privleak(0.4, reference=0.6) == pytest.approx(50.0)
    with pytest.raises(ValueError, match="reference"):
        privleak(0.5, reference=1.0)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_the_area_is_the_share_of_pairs_that_are_won(first: list[int], second: list[int]) -> None:
    won = fmean((a > b) + (a == b) / 2 for a in first for b in second)
    assert auc(first, second) == pytest.approx(won)


# -- Leak@k


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.integers(1, 7))
def test_leak_at_k_is_the_mean_over_all_draws(scores: list[float], k: int) -> None:
    if k > len(scores):
        with pytest.raises(ValueError, match=f"Leak@{k}"):
            leak_at_k(scores, k)
    else:
        assert leak_at_k(scores, k) == pytest.approx(fmean(max(draw) for draw in combinations(scores, k)))


# -- intervals


def test_wilson_is_a_textbooks() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(200, 200) == pytest.approx((0.9812, 1.0), abs=1e-4)
    assert share(0, 0).as_json() == {"value": 0.0, "interval95": [0.0, 1.0], "n": 0}


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_a_mean_lies_in_its_interval(values: list[float]) -> None:
    found = mean(values)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found.value == pytest.approx(fmean(values))


def test_pairs_are_resampled_as_pairs() -> None:
    hard_and_easy = [i / 50 for i in range(50)]
    found = paired_difference(hard_and_easy, [value + 0.1 for value in hard_and_easy])
    assert found.low == pytest.approx(found.high) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="argument 2"):
        paired_difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="nothing"):
        mean([])


# -- entailment


class _Contains:
    """Says that a text implies all that stands in it; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def entails(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        self.asked += pairs
        return [hypothesis in premise for premise, hypothesis in pairs]


def test_entailment_has_a_direction_and_a_floor() -> None:
    judge = _Contains()
    answers, truths = ["she was born in Graz", "no idea", "Graz"], ["in Graz", "in Graz", "in Graz"]
    assert entailment_score(answers, truths, judge, forget=True) == [True, False, False]
    assert judge.asked == [("she was born in Graz", "in Graz"), ("Graz", "in Graz")]
    assert entailment_score(answers, truths, judge, forget=False) == [False, False, True]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EntailmentError, match=str(tmp_path)):
        OnnxEntailment(tmp_path)


NLI = Path(__file__).parents[1] / "data" / "nli"


def test_a_model_in_onnx_judges_pairs_in_batches() -> None:
    judge = OnnxEntailment(NLI, threads=1)
    pairs = [("Graz", "Graz"), ("Graz", "Linz"), ("Graz graz", "Graz")] * 7
    assert judge.entails(pairs) == [True, False, True] * 7
    assert judge.entails([]) == []


def test_a_model_without_the_label_is_no_judge(tmp_path: Path) -> None:
    for name in ("model.onnx", "tokenizer.json"):
        (tmp_path / name).write_bytes((NLI / name).read_bytes())
    (tmp_path / "config.json").write_text('{"id2label": {"0": "LABEL_0"}}')
    with pytest.raises(EntailmentError, match="NLI model"):
        OnnxEntailment(tmp_path)
