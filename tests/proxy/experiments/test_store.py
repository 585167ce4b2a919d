"""The file of experiments: one runs at a time, units count once, workers add up, nothing is half added."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.experiments.definition import Experiment, GuardRail, Metric
from proxy.experiments.results import breached, results
from proxy.experiments.sequential import Tally
from proxy.experiments.store import REQUEST, SHADOW, UNIT, ExperimentExists, Observation, Store

AT = "2026-01-01T00:00:00+00:00"
EXPERIMENT = Experiment(id="e", arms={"guarded": 1, "strict": 1})
EVERY = dict.fromkeys(Metric, 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "experiments.sqlite3")
    yield opened
    opened.close()


def test_one_experiment_runs_at_a_time(store: Store) -> None:
    store.start(EXPERIMENT, AT)
    with pytest.raises(ExperimentExists, match="'e' is running"):
        store.start(Experiment(id="other", arms={"guarded": 1}), AT)
    assert store.stop("e", AT, "enough")
    assert not store.stop("e", AT, "again")
    with pytest.raises(ExperimentExists, match="choose another id"):
        store.start(EXPERIMENT, AT)
    store.start(Experiment(id="other", arms={"guarded": 1}), AT)
    assert [(one.experiment.id, one.reason) for one in store.all()] == [("e", "enough"), ("other", None)]
    assert store.all()[0].experiment == EXPERIMENT


def test_only_a_stopped_experiment_can_be_removed(store: Store) -> None:
    store.start(EXPERIMENT, AT)
    store.add("e", [Observation("guarded", {"cut": 1.0}, b"u")])
    assert not store.remove("e")
    store.stop("e", AT, "")
    assert store.remove("e")
    assert store.all() == []
    assert store.counts("e") == {}


def test_a_unit_counts_once_a_request_each_time(tmp_path: Path, store: Store) -> None:
    """Two workers with one file."""
    store.start(EXPERIMENT, AT)
    other = Store(tmp_path / "experiments.sqlite3")
    store.add("e", [Observation("guarded", {"cut": 1.0}, b"a"), Observation("guarded", {"cut": 0.0}, b"b")])
    other.add("e", [Observation("guarded", {"cut": 0.5}, b"a"), Observation("guarded", {"same": 1.0})])
    other.close()
    assert store.counts("e") == {
        ("guarded", REQUEST, "cut"): Tally(3, 1.5),
        ("guarded", UNIT, "cut"): Tally(2, 1.0),
        ("guarded", SHADOW, "same"): Tally(1, 1.0),
    }


def test_what_fails_is_not_half_added(store: Store) -> None:
    store.start(EXPERIMENT, AT)
    wrong = Observation("guarded", {"cut": "text"}, b"b")  # type: ignore[dict-item]
    with pytest.raises(Exception, match="cannot store"):
        store.add("e", [Observation("guarded", {"cut": 1.0}, b"a"), wrong])
    assert store.counts("e") == {}
    store.add("e", [Observation("guarded", {"cut": 1.0}, b"a")])
    assert store.counts("e")["guarded", UNIT, "cut"] == Tally(1, 1.0)


def test_the_report_says_what_is_known_and_what_is_not(store: Store) -> None:
    store.start(EXPERIMENT, AT)
    for i in range(600):
        arm = "strict" if i % 2 else "guarded"
        values = EVERY | {Metric.REFUSED: float(arm == "strict" and i % 4 == 1)}
        store.add("e", [Observation(arm, values, str(i).encode())] * 2)
    shown = results(store.all()[0], store.counts("e"))
    strict = shown["arms"]["strict"]
    assert (strict["units"], strict["requests"]) == (300, 600)
    assert strict["metrics"]["refused"]["mean"] == 0.5
    assert strict["metrics"]["refused"]["from_control"]["verdict"] == "higher"
    assert strict["metrics"]["cut"]["from_control"]["verdict"] == "not known"
    assert "from_control" not in shown["arms"]["guarded"]["metrics"]["cut"]


def test_a_guard_rail_is_crossed_with_confidence_or_not_at_all() -> None:
    rail = GuardRail(arm="strict", metric=Metric.REFUSED, at_most=0.1)
    experiment = EXPERIMENT.model_copy(update={"guard_rails": (rail,)})
    key = ("strict", REQUEST, Metric.REFUSED)
    assert breached(experiment, {}) is None
    assert breached(experiment, {key: Tally(3, 1.0)}) is None  # above, but who knows
    assert breached(experiment, {key: Tally(300, 100.0)}) is rail
    assert breached(EXPERIMENT, {key: Tally(300, 100.0)}) is None
