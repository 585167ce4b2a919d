"""The parts of the page that are charts."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from evals.metrics.deviation import deviation_score
from evals.report.cells import bold, table
from evals.report.charts import Bar, colour, forget_retain_plane, grouped_bars, utility_plane
from evals.report.published import DEVIATIONS, UTILITIES

NOTHING = {"rate": 0.0}
"""Of a family that was not tried under an arm."""


def section(title: str, hint: str, body: str) -> str:
    """One part of the page; nothing where it has no body (markup)."""
    return f'<section><h2>{escape(title)}</h2><p class="hint">{escape(hint)}</p>{body}</section>' if body else ""


def _legend(shown: Sequence[str], arms: Sequence[str] | None = None) -> str:
    """Colours of some arms, by their place among all."""
    places = {arm: place for place, arm in enumerate(arms or shown)}
    marks = (f'<span><i class="{colour(places[arm])}"></i>{escape(arm)}</span>' for arm in shown)
    return f'<div class="legend">{"".join(marks)}</div>'


def planes(summary: Mapping[str, Any], arms: Sequence[str]) -> str:
    """Each arm between forgetting and keeping, beside published results."""
    near, ours = {}, {}
    for arm in arms:
        sets, totals = summary["arms"][arm]["sets"], summary["arms"][arm]["totals"]
        forget, retain = sets.get("forget", {}).get("rouge"), sets.get("retain", {}).get("rouge")
        if forget and retain:
            near[arm] = (retain["value"], forget["value"])
        if totals.get("forget_efficacy") is not None and totals.get("model_utility_closer_look") is not None:
            ours[arm] = (totals["model_utility_closer_look"], totals["forget_efficacy"])
    if not near and not ours:
        return ""
    charts = forget_retain_plane(near, DEVIATIONS, arms) + _ranked(near) if near else ""
    charts += utility_plane(ours, UTILITIES, arms) if ours else ""
    hint = (
        "The upper right corner forgets all and keeps all. Dashed arcs: deviation scores published for TOFU with "
        "Llama-2-7B; other models and data, for orientation only."
    )
    return section(
        "Forgetting and keeping",
        hint,
        f'{_legend([arm for arm in arms if arm in near or arm in ours], arms)}<div class="side">{charts}</div>',
    )


def _ranked(points: Mapping[str, tuple[float, float]]) -> str:
    """Arms and published results by deviation score, best first."""
    measured = [(deviation_score(forget, retain), bold(arm), "this run") for arm, (retain, forget) in points.items()]
    published = [(one.score, escape(one.name), "published") for one in DEVIATIONS]
    rows = [[name, f"{score:.1f}", source] for score, name, source in sorted(measured + published)]
    return f"<div>{table(['', 'deviation score', ''], rows)}</div>"


def subsets(summary: Mapping[str, Any], arms: Sequence[str]) -> str:
    """Bars by set."""
    body = ""
    for metric, title in (
        ("rouge", "ROUGE-L recall"),
        ("accuracy", "Accuracy"),
        ("turned_away", "Answers that say they do not know"),
    ):
        groups = _bars(summary, arms, metric, _is_plain)
        if groups:
            shown = [arm for arm in arms if any(arm in bars for bars in groups.values())]
            body += f"<p class=hint>{title}</p>{grouped_bars(groups, arms)}"
    return section(
        "By set",
        "Bars are means, whiskers 95 % intervals; point at one for its numbers.",
        body and _legend(shown, arms) + body,
    )


def _is_plain(name: str) -> bool:
    return not _is_language(name)


def _is_language(name: str) -> bool:
    """Whether a set is one of another language: forget:fr."""
    _, colon, language = name.rpartition(":")
    return bool(colon) and len(language) == 2


def languages(summary: Mapping[str, Any], arms: Sequence[str]) -> str:
    """Bars by language, where there are several."""
    body = ""
    for metric, title in (("matched", "Questions on which the guards acted"), ("rouge", "ROUGE-L recall")):
        groups = _bars(summary, arms, metric, _is_language)
        spoken = [arm for arm in arms if any(arm in bars for bars in groups.values())]
        if groups:
            body += f"<p class=hint>{title}</p>{grouped_bars(groups, arms)}"
    return section("By language", "Each set and language.", body and _legend(spoken, arms) + body)


def _bars(
    summary: Mapping[str, Any], arms: Sequence[str], metric: str, wanted: Callable[[str], bool]
) -> dict[str, dict[str, Bar]]:
    groups: dict[str, dict[str, Bar]] = {}
    for arm in arms:
        for name, scores in summary["arms"][arm]["sets"].items():
            if metric in scores and wanted(name):
                one = scores[metric]
                groups.setdefault(name, {})[arm] = _bar(one, one["value"], one["n"])
    return groups


def _bar(one: Mapping[str, Any], value: float, n: int) -> Bar:
    low, high = one["interval95"]
    return Bar(value, low, high, n)


def attacks(attacks: Mapping[str, Any] | None, known: Sequence[str]) -> str:
    """Bars of all attacks together, then by family; arms that are known already keep their colours."""
    if not attacks:
        return ""
    arms = sorted(attacks["total"], key=lambda arm: arm != "raw")  # whichever file came first
    colours = [*known, *(arm for arm in arms if arm not in known)]
    families = sorted(attacks["families"].items(), key=lambda pair: -pair[1].get(arms[0], NOTHING)["rate"])
    groups = {
        name: {arm: _bar(found[arm], found[arm]["rate"], found[arm]["attempts"]) for arm in arms if arm in found}
        for name, found in (("all families", attacks["total"]), *families)
    }
    attempts = sum(one["attempts"] for one in attacks["total"].values())
    hint = f"Share of {attempts} attempts that gave the fact away, judged by words of the answer, not by the guards."
    return section("Attacks", hint, _legend(arms, colours) + grouped_bars(groups, colours))
