"""Puts a report together: summaries of runs and attacks in, one page out. It links to nothing and loads nothing.

What was asked and said is hidden unless it is to be shown: a report about forgetting must not be a leak itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from evals.report import drawn
from evals.report.cells import bold, estimate, number, signed, table

STYLE = Path(__file__).with_name("style.css")

HEADLINE = (
    ("rouge", "forget", "forget ROUGE-L", "low"),
    ("rouge", "forget_reworded", "reworded", "low"),
    ("told", "forget", "tells the fact", "low"),
    ("probability", "forget", "probability", "low"),
    ("extraction_strength", "forget", "extraction", "low"),
    ("rouge", "retain", "retain ROUGE-L", "high"),
    ("rouge", "real_authors", "real authors", "high"),
    ("rouge", "world_facts", "world facts", "high"),
    ("false_refusal", "retain", "false refusals", "low"),
)
"""Metric, subset, title and which way is good."""

TOTALS = (
    ("model_utility", "model utility (TOFU)"),
    ("utility_of_raw", "of the raw arm's"),
    ("model_utility_closer_look", "model utility (A Closer Look)"),
    ("forget_efficacy", "forget efficacy"),
    ("deviation_score", "deviation score"),
    ("forget_quality", "forget quality (p)"),
    ("privleak", "PrivLeak %"),
    ("fingerprint", "refusal fingerprint (AUC)"),
)
HIDDEN = "What was asked and said is hidden; --show-text shows it."
COMPARED = ("rouge", "probability", "accuracy", "turned_away")
NAMED = {"rouge": "ROUGE-L recall", "turned_away": "says it does not know"}
"""Metrics whose own names say too little."""
DRAWN = (
    ("leak_at_", "Leak@{k}, ROUGE-L"),
    ("entailed_at_", "Leak@{k}, entailment"),
    ("told_at_", "one of {k} tells it"),
)
"""Measures of many draws, and their titles."""


@dataclass(frozen=True, repr=False)
class Case:
    """One answer that went wrong."""

    arm: str
    item: str
    score: float
    question: str
    said: str


@dataclass(frozen=True, repr=False)
class Report:
    """What is reported. `leaks` and `losses` are the worst forget and keep answers."""

    summary: Mapping[str, Any]
    leaks: Sequence[Case]
    losses: Sequence[Case]
    attacks: Mapping[str, Any] | None
    show_text: bool


def page(report: Report) -> str:
    """The whole document."""
    arms = list(report.summary["arms"])
    settings = report.summary["settings"]
    sections = [
        _cards(report.summary, report.attacks, arms),
        drawn.section(
            "Headline",
            "Means with 95 % intervals: Wilson's for shares, bootstrapped otherwise. Point at a number for its n.",
            _headline(report, arms),
        ),
        drawn.planes(report.summary, arms),
        drawn.subsets(report.summary, arms),
        _draws(report.summary, arms),
        drawn.languages(report.summary, arms),
        drawn.attacks(report.attacks, arms),
        _differences(report.summary),
        _cases("Worst leaks", "Answers to what must be forgotten that hold most of the truth.", report.leaks, report),
        _cases("Worst losses", "Answers to what must be kept that were turned away or changed.", report.losses, report),
        _cost(report.summary, arms),
        _settings(report),
    ]
    title = f"What {escape(str(settings['model']))} still tells"
    sub = f"{escape(str(settings['suite']))}, {settings['items']} items, arms {escape(', '.join(arms))}."
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE.read_text('utf-8')}</style></head><body><main>"
        f'<h1>{title}</h1><p class="sub">{sub} Suppression, not erasure: the weights still know.</p>'
        f"{''.join(sections)}</main></body></html>\n"
    )


# -- parts


def _cards(summary: Mapping[str, Any], attacks: Mapping[str, Any] | None, arms: Sequence[str]) -> str:
    """The last arm's numbers that say most, beside the first one's."""
    sets = {arm: summary["arms"][arm]["sets"] for arm in arms}
    whole = [arm for arm in arms if "forget" in sets[arm] and "retain" in sets[arm]]  # none of draws alone
    arms = whole or [arm for arm in arms if "forget" in sets[arm]] or arms
    first, last = summary["arms"][arms[0]], summary["arms"][arms[-1]]
    cards = []
    for metric, subset, title in (
        ("rouge", "forget", "of what must be forgotten is told"),
        ("rouge", "retain", "of what is kept is told"),
    ):
        found = [arm["sets"].get(subset, {}).get(metric) for arm in (first, last)]
        if found[1]:
            before = f"; {arms[0]} {found[0]['value']:.2f}" if found[0] and len(arms) > 1 else ""
            cards.append((f"{found[1]['value']:.2f}", f"{title} (ROUGE-L, {arms[-1]}{before})"))
    if (deviation := last["totals"].get("deviation_score")) is not None:
        cards.append((f"{deviation:.1f}", f"deviation score ({arms[-1]}; 0 is best)"))
    if attacks:
        guarded = [(arm, one) for arm, one in attacks["total"].items() if arm != "raw"]
        cards += [(f"{one['leaks']} of {one['attempts']}", f"attacks leaked ({arm})") for arm, one in guarded]
    made = "".join(f'<div class="card"><b>{value}</b><span>{escape(told)}</span></div>' for value, told in cards)
    return f'<div class="cards">{made}</div>'


def _headline(report: Report, arms: Sequence[str]) -> str:
    sets = {arm: report.summary["arms"][arm]["sets"] for arm in arms}
    columns = [
        (metric, subset, title)
        for metric, subset, title, _ in HEADLINE
        if any(metric in sets[arm].get(subset, {}) for arm in arms)
    ]
    arms = [arm for arm in arms if any(metric in sets[arm].get(subset, {}) for metric, subset, _ in columns)]
    rows = [
        [bold(arm), *(estimate(sets[arm].get(subset, {}).get(metric)) for metric, subset, _ in columns)] for arm in arms
    ]
    shown = table(["arm", *(title for *_, title in columns)], rows)
    totals = {arm: report.summary["arms"][arm]["totals"] for arm in arms}
    names = [(name, title) for name, title in TOTALS if any(totals[arm].get(name) is not None for arm in arms)]
    more = [[bold(arm), *(number(totals[arm].get(name)) for name, _ in names)] for arm in arms]
    return shown + ("<br>" + table(["arm", *(title for _, title in names)], more) if names else "")


def _draws(summary: Mapping[str, Any], arms: Sequence[str]) -> str:
    """Arm and set a row, measure and k a column; nothing where nobody drew."""
    found = [(arm, name, scores) for arm in arms for name, scores in summary["arms"][arm]["sets"].items()]
    columns = [
        (metric, title.format(k=metric.rpartition("_")[2]))
        for begin, title in DRAWN
        for metric in sorted({m for *_, scores in found for m in scores if m.startswith(begin)}, key=_draw_count)
    ]
    rows = [
        [bold(arm), escape(name), str(scores["n"]), *(estimate(scores.get(metric)) for metric, _ in columns)]
        for arm, name, scores in found
        if any(metric in scores for metric, _ in columns)
    ]
    hint = (
        "What is to be expected of the worst of k draws at temperature 1. Recall counts words that any answer of the "
        "form has: compare it with a model that never knew. A draw tells the fact as attacks are judged."
    )
    return drawn.section("Many draws", hint, table(["arm", "set", "n", *(t for _, t in columns)], rows) if rows else "")


def _draw_count(metric: str) -> int:
    return int(metric.rpartition("_")[2])


def _differences(summary: Mapping[str, Any]) -> str:
    """Those that there are; of sets in which every item is alike, the names."""
    first = next(iter(summary["arms"]))
    rows, alike = [], []
    for arm, sets in summary["differences"].items():
        for subset, metrics in sets.items():
            shown = {metric: one for metric, one in metrics.items() if metric in COMPARED}
            if not any(any(one["interval95"]) for one in shown.values()):
                alike.append(f"{subset} ({arm})")
                continue
            rows += [
                [bold(arm), escape(subset), escape(NAMED.get(metric, metric)), signed(one)]
                for metric, one in shown.items()
            ]
    hint = f"Mean difference from {first}, item by item; bold where its 95 % interval does not hold 0."
    same = f'<p class="note">No difference in any item: {escape(", ".join(alike))}.</p>' if alike else ""
    body = (table(["arm", "set", "metric", "difference"], rows) if rows else "") + same
    return drawn.section("Differences between arms", hint, body)


def _cases(title: str, hint: str, cases: Sequence[Case], report: Report) -> str:
    if not cases:
        return ""
    rows = [[bold(case.arm), f"<code>{escape(case.item)}</code>", f"{case.score:.2f}"] for case in cases]
    if not report.show_text:
        return drawn.section(title, f"{hint} {HIDDEN}", table(["arm", "item", "ROUGE-L"], rows))
    told = [[*row, escape(case.question), escape(case.said)] for row, case in zip(rows, cases, strict=True)]
    return drawn.section(title, hint, table(["arm", "item", "ROUGE-L", "asked", "said"], told, texts=(3, 4)))


def _cost(summary: Mapping[str, Any], arms: Sequence[str]) -> str:
    rows = []
    for arm in arms:
        cost = summary["arms"][arm]["cost"]
        first, added = cost["ttft_s"], cost["overhead_ms"]
        rows.append(
            [
                bold(arm),
                str(cost["answers"]),
                str(cost["declined"]),
                f"{first['p50'] * 1e3:.0f} ms<small>p90 {first['p90'] * 1e3:.0f} ms</small>" if first else "–",
                number(cost["tokens_per_s_each"]),
                str(cost["completion_tokens"]),
                f"{added['p50']:.1f} ms<small>p90 {added['p90']:.1f} ms</small>" if added else "–",
            ]
        )
    head = [
        "arm",
        "answers",
        "declined",
        "time to first token",
        "tokens/s of one answer",
        "tokens",
        "added before the engine",
    ]
    return drawn.section(
        "Cost", "As the client of this run saw it, with all its requests side by side.", table(head, rows)
    )


def _settings(report: Report) -> str:
    settings = report.summary["settings"]
    plain = [
        [escape(name), f"<code>{escape(str(value))}</code>"] for name, value in settings.items() if name != "files"
    ]
    files = [[escape(name), f"<code>sha256 {escape(digest)}</code>"] for name, digest in settings["files"].items()]
    if report.attacks:
        plain += [
            [f"attacks: {escape(n)}", f"<code>{escape(str(v))}</code>"] for n, v in report.attacks["settings"].items()
        ]
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in report.summary["notes"])
    return drawn.section(
        "Settings", "The same settings, files and seeds ask the same.", table(["", ""], plain + files) + notes
    )
