"""What the methods did, as Markdown: figures of `python -m evals.unlearning`, by the names of its JSON."""

import math
from collections.abc import Mapping
from typing import Any

from evals.unlearning.sets import FORGOTTEN, KEPT


def at_chosen(methods: Mapping[str, Any]) -> str:
    """A row a set, two columns a method: recall and token entropy at the strength that its training picked."""
    first = next(iter(methods.values()))
    heads = ["before", *(f"{name}, {_at(one, one['strength'])}" for name, one in methods.items())]
    lines = ["| set (n) | " + " | ".join(f"{head} | entropy" for head in heads) + " |"]
    lines.append("|---|" + "---|---|" * len(heads))
    for name, before in first["before"].items():
        cells = [_cell(before)] + [_cell(one["after"][name]) for one in methods.values()]
        lines.append(f"| {name} ({before['recall']['n']}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def over_strengths(methods: Mapping[str, Any]) -> str:
    """A row a strength of a method; bold is what its training picked. `same`: kept answers unchanged to the letter."""
    lines = [f"| method | strength | {FORGOTTEN} | entropy | {KEPT} | entropy | same |", "|---" * 7 + "|"]
    for name, one in methods.items():
        for strength, sides in one["swept"].items():
            at = _at(one, strength)
            cells = [name, f"**{at}**" if strength == one["strength"] else at, _cell(sides[FORGOTTEN])]
            lines.append(f"| {' | '.join(cells)} | {_cell(sides[KEPT])} | {sides[KEPT]['same']:.0%} |")
    return "\n".join(lines)


def line(one: Mapping[str, Any]) -> list[Mapping[str, float]]:
    """Recall over strength, for `curve`: of the rows that are reported if they were swept, else of those that chose."""
    if "swept" not in one:
        return list(one["chosen_from"])
    recall = {at: [sides[side]["recall"]["value"] for side in (FORGOTTEN, KEPT)] for at, sides in one["swept"].items()}
    return [
        {"strength": at, "forget_recall": forgotten, "retain_recall": kept} for at, (forgotten, kept) in recall.items()
    ]


def _at(one: Mapping[str, Any], strength: float) -> str:
    """A strength as a reader knows it: of rank the tokens that are removed."""
    return f"{strength:g}" if one["combine"] == "linear" else f"{math.ceil(one['k'] * strength)} tokens"


def _cell(one: Mapping[str, Any]) -> str:
    recall = one["recall"]
    low, high = recall["interval95"]
    return f"{recall['value']:.3f} ({low:.2f}–{high:.2f}) | {one['entropy']['value']:.3f}"
