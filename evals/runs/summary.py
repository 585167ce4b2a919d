"""The summary of a run: metrics per arm and subset with n and interval, totals per arm, differences between arms, cost.

`settings`, `arms[arm].sets[subset][metric] = {value, interval95, n}`, `arms[arm].totals`, `arms[arm].cost`,
`differences[arm][subset][metric]` against the first arm, paired by item, and `notes` about what could not be had.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from statistics import fmean, quantiles
from typing import Any

import orjson

from evals.metrics.deviation import deviation_score
from evals.metrics.entailment import MISSING, Entailment
from evals.metrics.fingerprint import refusal_fingerprint
from evals.metrics.forget_efficacy import PARTS, forget_efficacy
from evals.metrics.forget_quality import forget_quality
from evals.metrics.intervals import mean, paired_difference, share
from evals.metrics.privleak import membership_auc, privleak
from evals.metrics.utility import CLOSER_LOOK, TOFU, model_utility
from evals.runs.arms import RAW
from evals.runs.folder import SETTINGS, SUMMARY, RunFolder
from evals.runs.judged import Judged, judged, values
from evals.suites.items import Role
from indexes.embedder import Embedder

SHARES = frozenset(("matched", "told", "turned_away", "unchanged", "false_refusal", "accuracy", "entailment"))
"""Metrics that are 0 or 1 for each item: their interval is Wilson's."""
TOLD = ("told_at_", "entailed_at_")
"""Leak@k of draws that are 0 or 1."""

NO_REFERENCE = (
    "forget quality needs a model that never saw the forget set: run the suite on one (arm raw) and give its folder "
    "as --reference"
)
NO_PROBABILITIES = "no probabilities were taken (--no-probabilities), so their metrics are left out"


def summarised(
    folder: RunFolder, embedder: Embedder | None, nli: Entailment | None, reference: RunFolder | None = None
) -> dict[str, Any]:
    """Judges all answers of a run, writes `summary.json` and returns it. Raises RunError."""
    settings = folder.read(SETTINGS)
    arms = judged(folder, embedder, nli)
    order = [arm for arm in settings["arms"] if arm in arms]
    never_saw = judged(reference, None, None).get(RAW, ()) if reference else ()
    found = {arm: _of_arm(arms[arm], arms.get(RAW), never_saw) for arm in order}
    for one in found.values():
        one["totals"]["utility_of_raw"] = _share_of_raw(one, found.get(RAW))
    summary = {
        "settings": settings | {"digest": _digest(settings), "embedder": embedder.name if embedder else None},
        "arms": found,
        "differences": {arm: _differences(arms[order[0]], arms[arm]) for arm in order[1:]},
        "notes": _notes(settings, nli, never_saw),
    }
    folder.write(SUMMARY, summary)
    return summary


def _digest(settings: Mapping[str, Any]) -> str:
    """Identifies what was run: the same for the same settings and files."""
    return hashlib.sha256(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _notes(settings: Mapping[str, Any], nli: Entailment | None, never_saw: Sequence[Judged]) -> list[str]:
    notes = []
    if not settings["probabilities"]:
        notes.append(NO_PROBABILITIES)
    elif not never_saw:
        notes.append(NO_REFERENCE)
    return notes if nli else [*notes, MISSING]


# -- one arm


def _of_arm(answers: Sequence[Judged], raw: Sequence[Judged] | None, never_saw: Sequence[Judged]) -> dict[str, Any]:
    subsets = list(dict.fromkeys(one.item.subset for one in answers))
    return {
        "sets": {name: _of_set([one for one in answers if one.item.subset == name]) for name in subsets},
        "totals": _totals(answers, raw, never_saw),
        "cost": _cost(answers),
    }


def _of_set(answers: Sequence[Judged]) -> dict[str, Any]:
    names = sorted({name for one in answers for name in one.metrics if name != "truth_known"})
    return {"role": answers[0].item.role.value, "n": len(answers)} | {name: _estimate(answers, name) for name in names}


def _estimate(answers: Sequence[Judged], metric: str) -> dict[str, Any]:
    found = values(answers, metric)
    # Of as many draws as there are, an item is told or it is not; of fewer, with a probability.
    shares = metric in SHARES or (metric.startswith(TOLD) and {*found} <= {0.0, 1.0})
    estimate = share(round(sum(found)), len(found)) if shares else mean(found)
    return estimate.as_json()


def _totals(
    answers: Sequence[Judged], raw: Sequence[Judged] | None, never_saw: Sequence[Judged]
) -> dict[str, float | None]:
    kept = _kept_sets(answers)
    forget = _means(answers, lambda item: item.role is Role.FORGET and not item.subset.endswith("_reworded"))
    retain = kept.get("retain") or (_means(answers, lambda item: item.role is Role.KEEP) if kept else {})
    ratios = _ratios(answers, Role.FORGET)
    found: dict[str, float | None] = {
        "model_utility": model_utility(kept, TOFU),
        "model_utility_closer_look": model_utility(kept, CLOSER_LOOK),
        "forget_efficacy": forget_efficacy(
            {part: forget["truth_known" if part == "truth_ratio" else part] for part in PARTS}
            if {*PARTS, "truth_known"} <= set(forget)
            else {}
        ),
        "deviation_score": deviation_score(forget["rouge"], retain["rouge"])
        if "rouge" in forget and "rouge" in retain
        else None,
        "forget_quality": _forget_quality(ratios, _ratios(never_saw, Role.FORGET)),
        "privleak": _privleak(answers, never_saw),
        "fingerprint": _fingerprint(answers, raw),
    }
    return {name: value if value is None else round(value, 5) for name, value in found.items()}


def _share_of_raw(one: Mapping[str, Any], raw: Mapping[str, Any] | None) -> float | None:
    """Model utility as a share of the raw arm's."""
    utility, whole = one["totals"]["model_utility"], raw["totals"]["model_utility"] if raw else None
    return round(utility / whole, 5) if utility is not None and whole else None


def _kept_sets(answers: Sequence[Judged]) -> dict[str, dict[str, float]]:
    subsets = dict.fromkeys(one.item.subset for one in answers if one.item.role is Role.KEEP)
    return {name: _means(answers, lambda item, name=name: item.subset == name) for name in subsets}


def _means(answers: Sequence[Judged], keep: Any) -> dict[str, float]:
    chosen = [one for one in answers if keep(one.item)]
    names = {name for one in chosen for name in one.metrics}
    return {name: fmean(values(chosen, name)) for name in names}


def _ratios(answers: Sequence[Judged], role: Role) -> dict[str, float]:
    """Truth ratios by what is asked, so that runs of different models can be compared."""
    return {one.item.question: one.ratio for one in answers if one.ratio is not None and one.item.role is role}


def _forget_quality(measured: Mapping[str, float], never_saw: Mapping[str, float]) -> float | None:
    common = [question for question in measured if question in never_saw]
    if not common:
        return None
    return forget_quality([measured[question] for question in common], [never_saw[question] for question in common])


def _privleak(answers: Sequence[Judged], never_saw: Sequence[Judged]) -> float | None:
    """Beside a model that never saw the set, on the items of both; without one beside chance."""
    measured, reference = _min_k(answers), _min_k(never_saw)
    if not (measured.keys() & reference.keys()):
        return privleak(found) if (found := _membership(measured)) is not None else None
    common = measured.keys() & reference.keys()
    found, known = (_membership({item: one[item] for item in common}) for one in (measured, reference))
    return privleak(found, known) if found is not None and known is not None and known < 1 else None


def _min_k(answers: Sequence[Judged]) -> dict[tuple[Role, str], float]:
    """Scores of what must be forgotten and of what never was seen, by what is asked."""
    return {
        (one.item.role, one.item.question): one.min_k
        for one in answers
        if one.min_k is not None and (one.item.subset == "forget" or one.item.role is Role.UNSEEN)
    }


def _membership(scores: Mapping[tuple[Role, str], float]) -> float | None:
    forget = [score for (role, _), score in scores.items() if role is not Role.UNSEEN]
    unseen = [score for (role, _), score in scores.items() if role is Role.UNSEEN]
    return membership_auc(forget, unseen) if forget and unseen else None


def _fingerprint(answers: Sequence[Judged], raw: Sequence[Judged] | None) -> float | None:
    """Guarded answers to what must be forgotten beside the model's own to what it never knew."""
    guarded = [one.text for one in answers if one.item.role is Role.FORGET and one.text]
    own = [one.text for one in raw or () if one.item.role is Role.UNSEEN and one.text]
    return refusal_fingerprint(guarded, own)


def _cost(answers: Sequence[Judged]) -> dict[str, Any]:
    said = [one.said for one in answers if one.said["error"] is None]
    first = [line["ttft_s"] for line in said if line["ttft_s"] is not None]
    spans = [(line["completion_tokens"], line["seconds"]) for line in said if line["completion_tokens"]]
    added = [line["overhead_ms"] for line in said if line["overhead_ms"] is not None]
    seconds = sum(took for _, took in spans)
    return {
        "answers": len(answers),
        "declined": len(answers) - len(said),
        "ttft_s": _middle(first),
        "tokens_per_s_each": round(sum(count for count, _ in spans) / seconds, 2) if seconds else None,
        "prompt_tokens": sum(line["prompt_tokens"] for line in said),
        "completion_tokens": sum(line["completion_tokens"] for line in said),
        "overhead_ms": _middle(added),
    }


def _middle(found: Sequence[float]) -> dict[str, float] | None:
    """Median and 90th percentile."""
    if len(found) < 2:
        return None
    tenths = quantiles(found, n=10)
    return {"p50": round(tenths[4], 4), "p90": round(tenths[8], 4)}


# -- between arms


def _differences(first: Sequence[Judged], other: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    """Mean of `other − first` over the items that both have, by subset and metric."""
    by_id = {one.item.id: one for one in first}
    pairs = [(by_id[one.item.id], one) for one in other if one.item.id in by_id]
    found: dict[str, dict[str, Any]] = {}
    for subset in dict.fromkeys(one.item.subset for _, one in pairs):
        chosen = [(a.metrics, b.metrics) for a, b in pairs if b.item.subset == subset]
        names = sorted(set.intersection(*({*a} & {*b} for a, b in chosen)) - {"truth_known", "unchanged"})
        found[subset] = {
            name: paired_difference([a[name] for a, _ in chosen], [b[name] for _, b in chosen]).as_json()
            for name in names
            if not any(math.isnan(a[name]) or math.isnan(b[name]) for a, b in chosen)
        }
    return found


def worst(answers: Sequence[Judged], role: Role, shown: int) -> list[Judged]:
    """Forget items that leak most, or kept items that lose most."""

    def badness(one: Judged) -> float:
        if role is Role.FORGET:
            return one.metrics.get("rouge", 0.0)
        return one.metrics.get("false_refusal", 0.0) or one.metrics.get("unchanged", 1.0) - 1.0

    chosen = sorted((one for one in answers if one.item.role is role), key=badness, reverse=True)
    return [one for one in chosen if badness(one) > 0][:shown]
