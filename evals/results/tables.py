"""Markdown tables of runs and attacks, and their place in a page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evals.metrics.intervals import share

BEGIN, END = "<!-- evidence: made by `make results` -->", "<!-- end of evidence -->"

ROWS = (
    ("rouge", "ROUGE-L recall"),
    ("probability", "probability"),
    ("truth_ratio", "truth ratio"),
    ("exact_memorisation", "exact memorisation"),
    ("extraction_strength", "extraction strength"),
    ("accuracy", "accuracy"),
    ("leak_at_10", "Leak@10"),
    ("leak_at_100", "Leak@100"),
    ("turned_away", "says it does not know"),
    ("false_refusal", "false refusals"),
    ("unchanged", "same as raw, to the letter"),
)
TOTALS = (
    ("model_utility", "model utility (TOFU)"),
    ("deviation_score", "deviation score"),
    ("privleak", "PrivLeak, %"),
    ("fingerprint", "refusal fingerprint, AUC"),
)
ONLY_TOLD = frozenset(("turned_away", "unchanged"))
"""Metrics that are shown for what must be forgotten or kept, not for what was never known."""


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
            yield ["" if told else f"{name} ({scores['n']})", title, *map(_estimate, found)]
            told = True


def _total_rows(summary: Mapping[str, Any], arms: Sequence[str]) -> Iterator[list[str]]:
    told = False
    for name, title in TOTALS:
        found = [summary["arms"][arm]["totals"].get(name) for arm in arms]
        if any(value is not None for value in found):
            yield ["" if told else "all", title, *("–" if value is None else f"{value:.2f}" for value in found)]
            told = True


def attack_table(attacks: Mapping[str, Any]) -> str:
    """Families by arm: leaks of attempts, with the interval in percent."""
    arms = list(attacks["total"])
    rows = [
        [family, *(_leaks(found.get(arm)) for arm in arms)]
        for family, found in (*attacks["families"].items(), ("**all**", attacks["total"]))
    ]
    return _table(["family", *arms], rows)


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Results of several campaigns on the same entries, with different families or arms, as one."""
    families: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, found in part["families"].items():
            families.setdefault(name, {}).update(found)
    arms = dict.fromkeys(arm for part in parts for arm in part["total"])
    total = {}
    for arm in arms:
        of_arm = [found[arm] for found in families.values() if arm in found]
        leaks, attempts = sum(one["leaks"] for one in of_arm), sum(one["attempts"] for one in of_arm)
        estimate = share(leaks, attempts)
        total[arm] = {
            "attempts": attempts,
            "leaks": leaks,
            "rate": round(estimate.value, 5),
            "interval95": [round(estimate.low, 5), round(estimate.high, 5)],
        }
    leaks_found = [leak for part in parts for leak in part["leaks"]]
    return {"settings": parts[0]["settings"], "families": families, "total": total, "leaks": leaks_found}


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


def _leaks(one: Mapping[str, Any] | None) -> str:
    if not one:
        return "–"
    low, high = (100 * bound for bound in one["interval95"])
    return f"{one['leaks']} of {one['attempts']} ({low:.0f}–{high:.0f} %)"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
