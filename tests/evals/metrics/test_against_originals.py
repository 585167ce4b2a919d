"""The metrics beside the packages that the papers used (see originals.py)."""

import json
from pathlib import Path

import pytest

from evals.metrics.auc import auc
from evals.metrics.cotaeval import levenshtein
from evals.metrics.forget_quality import ks_test
from evals.metrics.intervals import mean
from evals.metrics.rouge import rouge_1, rouge_l, rouge_l_recall

CASES = json.loads(Path(__file__).with_name("originals.json").read_text("utf-8"))


def test_rouge_is_that_of_rouge_score() -> None:
    for answer, truth, recall, f1, one in CASES["rouge"]:
        found = rouge_l_recall(answer, truth), rouge_l(answer, truth), rouge_1(answer, truth)
        assert found == pytest.approx((recall, f1, one)), (answer, truth)


@pytest.mark.parametrize("case", CASES["ks"], ids=lambda case: f"{len(case[0])}x{len(case[1])}")
def test_the_test_of_forget_quality_is_scipys(case: tuple[list[float], list[float], float, float]) -> None:
    first, second, statistic, p = case
    assert ks_test(first, second) == pytest.approx((statistic, p), rel=1e-6, abs=1e-12)


def test_the_area_is_that_of_ranks() -> None:
    for first, second, area in CASES["auc"]:
        assert auc(first, second) == pytest.approx(area)


def test_the_bootstrap_is_scipys_up_to_chance() -> None:
    for values, low, high in CASES["bootstrap"]:
        found = mean(values)
        width = high - low
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * width)


def test_the_distance_is_levenshteins() -> None:
    for first, second, distance in CASES["levenshtein"]:
        assert levenshtein(first, second) == distance
