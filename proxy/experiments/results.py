"""What an experiment shows so far: each arm's means and intervals, and differences from the control."""

from typing import Any

from indexes.ledger.records import Per, Tally
from proxy.experiments.definition import Experiment, GuardRail, Metric, ShadowMetric
from proxy.experiments.sequential import ALPHA, difference, interval
from proxy.experiments.stored import Stored

Counts = dict[tuple[str, str, str], Tally]


def results(stored: Stored, counts: Counts) -> dict[str, Any]:
    """The report of an experiment as JSON.

    Requests of one unit depend on each other, so that intervals and differences are made of the first request of each
    unit: these are independent. What all requests show stands beside them, without an interval.
    """
    experiment = stored.experiment
    return {
        "experiment": experiment.model_dump(mode="json"),
        "state": "running" if stored.runs else "stopped",
        "started_at": stored.started_at,
        "stopped_at": stored.stopped_at,
        "reason": stored.reason,
        "confidence": 1 - ALPHA,
        "arms": {arm: _arm(experiment, arm, counts) for arm in experiment.arms},
        "shadow": _shadow(counts) if experiment.shadow else None,
    }


def breached(experiment: Experiment, counts: Counts) -> GuardRail | None:
    """The first guard rail that is crossed with confidence, over all requests: stopping too early does no harm.

    All rails together err with probability `ALPHA` while requests are independent, however often this is asked.
    """
    for rail in experiment.guard_rails:
        tally = counts.get((rail.arm, Per.REQUEST, rail.metric), Tally())
        if interval(tally, ALPHA / len(experiment.guard_rails)).low > rail.at_most:
            return rail
    return None


def _arm(experiment: Experiment, arm: str, counts: Counts) -> dict[str, Any]:
    def tally(of: str, per: str, metric: Metric) -> Tally:
        return counts.get((of, per, metric), Tally())

    shown: dict[str, Any] = {
        "weight": experiment.arms[arm],
        "requests": tally(arm, Per.REQUEST, Metric.FAILED).n,
        "units": tally(arm, Per.UNIT, Metric.FAILED).n,
        "metrics": {},
    }
    for metric in Metric:
        units, control = tally(arm, Per.UNIT, metric), tally(experiment.control, Per.UNIT, metric)
        found = _figures(units) | {"of_requests": tally(arm, Per.REQUEST, metric).mean}
        if arm != experiment.control:
            # Every metric and every arm is looked at, so each gets its part of the chance to err.
            looks = len(Metric) * max(1, len(experiment.arms) - 1)
            apart = difference(control, units, ALPHA / looks)
            sure = "higher" if apart.low > 0 else "lower" if apart.high < 0 else "not known"
            found["from_control"] = {"low": apart.low, "high": apart.high, "verdict": sure}
        shown["metrics"][metric.value] = found
    return shown


def _shadow(counts: Counts) -> dict[str, Any]:
    per_arm: dict[str, Any] = {}
    for arm in sorted({arm for arm, per, _ in counts if per == Per.PAIR}):
        tallies = {metric: counts.get((arm, Per.PAIR, metric), Tally()) for metric in ShadowMetric}
        per_arm[arm] = {metric.value: _figures(tally) for metric, tally in tallies.items()}
    return per_arm


def _figures(tally: Tally) -> dict[str, Any]:
    found = interval(tally)
    return {"n": tally.n, "mean": tally.mean, "low": found.low, "high": found.high}
