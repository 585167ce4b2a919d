"""Markdown tables of runs and attacks, and their place in a page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- evidence: made by `make results` -->", "<!-- end of evidence -->"

ROWS = (
    ("rouge", "ROUGE-L recall"),
    ("told", "tells the fact"),
    ("probability", "probability"),
    ("truth_ratio", "truth ratio"),
    ("exact_memorisation", "exact memorisation"),
    ("extraction_strength", "extraction strength"),
    ("cosine_similarity", "cosine similarity to raw"),
    ("token_entropy", "token entropy"),
    ("entailment", "entailment"),
    ("accuracy", "accuracy"),
    ("matched", "guards acted"),
    ("turned_away", "says it does not know"),
    ("false_refusal", "false refusals"),
    ("unchanged", "same as raw, to the letter"),
)
TOTALS = (
    ("model_utility", "model utility (TOFU)"),
    ("utility_of_raw", "of the raw arm's"),
    ("forget_efficacy", "forget efficacy"),
    ("deviation_score", "deviation score"),
    ("forget_quality", "forget quality, p"),
    ("privleak", "PrivLeak, %"),
    ("fingerprint", "refusal fingerprint, AUC"),
)
ONLY_TOLD = frozenset(("turned_away", "unchanged"))
"""Metrics that are shown for what must be forgotten or kept, not for what was never known."""

HEADLINE = (
    ("forget", "rouge", "forget, ROUGE-L recall"),
    ("forget_reworded", "rouge", "asked otherwise"),
    ("forget", "told", "tells the fact"),
    ("forget_reworded", "told", "asked otherwise, tells it"),
    ("forget", "probability", "probability"),
    ("retain", "rouge", "retain, ROUGE-L recall"),
    ("real_authors", "rouge", "real authors"),
    ("world_facts", "rouge", "world facts"),
)
HEADLINE_TOTALS = (
    ("utility_of_raw", "utility, of raw's"),
    ("deviation_score", "deviation score"),
    ("forget_quality", "forget quality, p"),
)
DRAWN = (("leak_at_", "Leak@"), ("entailed_at_", "entailment, Leak@"), ("told_at_", "tells the fact, one of "))
"""Measures of many draws."""
NEVER_TAUGHT = "never taught"
"""In place of an arm: the model before it was taught."""
NARROW = 10  # percent: an interval below it would lose its width without a decimal
KINDS = ("forget", "retain", "world_facts")


def headline(summary: Mapping[str, Any], untaught: Mapping[str, Any] | None = None) -> str:
    """An arm a row: what says most. Sizes stand in the head. Last, what the model said before it was taught."""
    arms = summary["arms"]
    first = next(iter(arms.values()))["sets"]
    columns = [(name, metric, title) for name, metric, title in HEADLINE if metric in first.get(name, {})]
    totals = [
        (name, title)
        for name, title in HEADLINE_TOTALS
        if any(arm["totals"].get(name) is not None for arm in arms.values())
    ]
    head = [
        "arm",
        *(f"{title} ({first[name][metric]['n']})" for name, metric, title in columns),
        *(title for _, title in totals),
    ]
    rows = [
        [
            arm,
            *(_estimate(found["sets"].get(name, {}).get(metric)) for name, metric, _ in columns),
            *(_number(found["totals"].get(name)) for name, _ in totals),
        ]
        for arm, found in arms.items()
    ]
    if untaught:
        before = untaught["arms"]["raw"]["sets"]
        cells = (_estimate(before.get(name, {}).get(metric)) for name, metric, _ in columns)
        rows.append([NEVER_TAUGHT, *cells, *("–" for _ in totals)])
    return _table(head, rows)


def cost_table(summary: Mapping[str, Any]) -> str:
    """An arm a row: time to the first token, speed of a stream, tokens."""
    rows = []
    for arm, found in summary["arms"].items():
        cost = found["cost"]
        first, added = cost["ttft_s"], cost["overhead_ms"]
        rows.append(
            [
                arm,
                f"{first['p50']:.2f} / {first['p90']:.2f} s" if first else "–",
                f"{added['p50']:.0f} / {added['p90']:.0f} ms" if added else "–",
                f"{cost['tokens_per_s_each']:.1f}" if cost["tokens_per_s_each"] else "–",
                str(cost["answers"]),
                f"{cost['prompt_tokens']:,} / {cost['completion_tokens']:,}",
            ]
        )
    head = [
        "arm",
        "time to first token, p50 / p90",
        "of which the proxy's",
        "tokens/s of a stream",
        "answers",
        "tokens read / written",
    ]
    return _table(head, rows)


def draws_table(summary: Mapping[str, Any], untaught: Mapping[str, Any] | None = None) -> str:
    """An arm a row, measure and k a column; last, the model before it was taught."""
    arms = {arm: found["sets"]["forget"] for arm, found in summary["arms"].items()}
    if untaught:
        arms[NEVER_TAUGHT] = untaught["arms"]["raw"]["sets"]["forget"]
    there = {name for sets in arms.values() for name in sets}
    columns = [
        (name, f"{title}{name.rpartition('_')[2]}")
        for measure, title in DRAWN
        for name in sorted((one for one in there if one.startswith(measure)), key=lambda one: int(one.split("_")[2]))
    ]
    head = ["arm (facts)", *(title for _, title in columns)]
    rows = [
        [
            f"{arm} ({min(sets[name]['n'] for name, _ in columns if name in sets)})",
            *(_estimate(sets.get(name)) for name, _ in columns),
        ]
        for arm, sets in arms.items()
    ]
    return _table(head, rows)


def likelihood_table(summary: Mapping[str, Any]) -> str:
    """An arm a row: how likely the true answers are, token by token, and whether it could be one that never knew."""
    metrics = ("probability", "truth_ratio", "exact_memorisation", "extraction_strength")
    arms = {arm: found["sets"]["forget"] for arm, found in summary["arms"].items()}
    count = next(iter(arms.values()))["n"]
    head = [f"arm (n {count})", *(dict(ROWS)[metric] for metric in metrics), dict(TOTALS)["forget_quality"]]
    rows = [
        [
            arm,
            *(_estimate(sets.get(metric)) for metric in metrics),
            _number(summary["arms"][arm]["totals"].get("forget_quality")),
        ]
        for arm, sets in arms.items()
    ]
    return _table(head, rows)


def language_table(summary: Mapping[str, Any]) -> str:
    """A language a row: on what share of each kind of question the last arm acted."""
    arm = list(summary["arms"])[-1]
    sets = summary["arms"][arm]["sets"]
    languages = list(dict.fromkeys(name.rpartition(":")[2] for name in sets))
    rows = [
        [language, *(_hits(sets.get(f"{kind}:{language}", {}).get("matched")) for kind in KINDS)]
        for language in languages
    ]
    return _table(["language", "+ forget", "− retain", "− world facts"], rows)


def refusal_table(summary: Mapping[str, Any]) -> str:
    """A set a row: how often the guards acted, and how often the answer says that it does not know."""
    arm = list(summary["arms"])[-1]
    rows = [
        [name, _hits(sets.get("matched")), _hits(sets.get("turned_away"))]
        for name, sets in summary["arms"][arm]["sets"].items()
    ]
    return _table(["set", "guards acted", "says it does not know"], rows)


def run_table(summary: Mapping[str, Any]) -> str:
    """Every metric by set, an arm a column, with interval; then what holds for an arm as a whole."""
    arms = list(summary["arms"])
    head = ["set (n)", "metric", *arms]
    return _table(head, [*_set_rows(summary, arms), *_total_rows(summary, arms)])


def _set_rows(summary: Mapping[str, Any], arms: Sequence[str]) -> Iterator[list[str]]:
    first = summary["arms"][arms[0]]["sets"]
    for name, scores in first.items():
        told = False
        for metric, title in ROWS:
            found = [summary["arms"][arm]["sets"].get(name, {}).get(metric) for arm in arms]
            if not any(found) or (scores["role"] == "unseen" and metric in ONLY_TOLD):
                continue
            fewer = {one["n"] for one in found if one} - {scores["n"]}
            shown = f"{title} (n {min(fewer)})" if fewer else title
            yield ["" if told else f"{name} ({scores['n']})", shown, *map(_estimate, found)]
            told = True


def _total_rows(summary: Mapping[str, Any], arms: Sequence[str]) -> Iterator[list[str]]:
    told = False
    for name, title in TOTALS:
        found = [summary["arms"][arm]["totals"].get(name) for arm in arms]
        if any(value is not None for value in found):
            yield ["" if told else "all", title, *map(_number, found)]
            told = True


def attack_table(attacks: Mapping[str, Any]) -> str:
    """Families by arm: leaks of attempts, with the interval in percent."""
    arms = list(attacks["total"])
    rows = [
        [family, *(_leaks(found.get(arm)) for arm in arms), _chance(found)]
        for family, found in (*attacks["families"].items(), ("**all**", attacks["total"]))
    ]
    return _table(["family", *arms, "by chance"], rows)


def placed(page: str, section: str) -> str:
    """The page with the section between its marks; at its end where there are none."""
    made = f"{BEGIN}\n\n{section.strip()}\n\n{END}"
    if BEGIN in page and END in page:
        before, _, rest = page.partition(BEGIN)
        return before + made + rest.partition(END)[2]
    return f"{page.rstrip()}\n\n{made}\n"


def write(path: Path, section: str) -> None:
    """Replaces the section in a file."""
    path.write_text(placed(path.read_text("utf-8"), section), "utf-8")


def _estimate(one: Mapping[str, Any] | None) -> str:
    if not one:
        return "–"
    low, high = one["interval95"]
    return f"{one['value']:.2f} ({low:.2f}–{high:.2f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}" if 0 < abs(value) < 0.005 else f"{value:.2f}"


def _hits(one: Mapping[str, Any] | None) -> str:
    """A share as hits of cases."""
    return f"{round(one['value'] * one['n'])} of {one['n']}" if one else "–"


def _chance(found: Mapping[str, Any]) -> str:
    """Of the last arm."""
    one = list(found.values())[-1]
    return f"{100 * one['chance']:.0f} %" if one["chance"] else ""


def _leaks(one: Mapping[str, Any] | None) -> str:
    if not one:
        return "–"
    low, high = (100 * bound for bound in one["interval95"])
    digits = 1 if high < NARROW else 0
    return f"{one['leaks']} of {one['attempts']} ({low:.{digits}f}–{high:.{digits}f} %)"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
