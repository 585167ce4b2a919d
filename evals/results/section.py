"""The section of docs/results.md that is made: Markdown, from the files of those steps that have run."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evals.attacks.corpus import families
from evals.attacks.merged import merged
from evals.results.steps import DRAWS_UNTAUGHT, FOREIGN, SIDE_BY_SIDE, UNTAUGHT
from evals.results.tables import (
    attack_table,
    cost_table,
    draws_table,
    headline,
    language_table,
    likelihood_table,
    refusal_table,
    run_table,
)
from evals.runs.folder import SUMMARY

STEPS = ("tofu", "author", "likelihood", "draws", "refusals", "languages", UNTAUGHT, DRAWS_UNTAUGHT)


NEVER = (
    "*Never taught* is SmolLM2 itself, before it was taught, asked the same. It is the reference of forget quality: "
    "the p-value of a Kolmogorov–Smirnov test between truth ratios on the forget set, of an arm and of the model that "
    "never knew. High: the two cannot be told apart by it."
)


def section(out: Path) -> str:
    """All parts that there are."""
    return "\n\n".join(["## Leakage, utility and attacks", *_parts(out)])


def _parts(out: Path) -> Iterator[str]:
    tofu, author, likelihood, draws, refusals, languages, untaught, undrawn = (_summary(out / name) for name in STEPS)
    if tofu:
        yield f"### Three authors\n\nAll that was taught of forget05. {_how(tofu)}\n\n" + headline(tofu, untaught)
        if untaught:
            yield NEVER
    if author:
        yield (
            "### One author, with an assistant\n\nThe author whom the assistant of the section above forgets; "
            "`ladder` is offset, instruct, refuse; `both` is offset and note at once, then refuse. "
            f"{_how(author)}\n\n" + headline(author)
        )
        yield f"What it costs, {SIDE_BY_SIDE} requests side by side:\n\n" + cost_table(author)
    if likelihood:
        yield "Probabilities of the true answers, in the evaluator's role:\n\n" + likelihood_table(likelihood)
    if draws:
        settings = draws["settings"]
        yield (
            "### Many draws\n\nLeak@k: the highest ROUGE-L recall to be expected of k draws at temperature 1. Beside "
            "it how likely one of k draws tells the fact: half of the content words of the answer that the question "
            f"does not tell, or a whole name or title. {settings['samples']} draws of each fact; intervals over "
            "facts.\n\n" + draws_table(draws, undrawn)
        )
    if languages:
        yield (
            "### Languages\n\nQuestions of forget01, entered in English, asked in other languages: on how many the "
            "guards acted. The model was not taught these facts.\n\n" + language_table(languages)
        )
    if refusals:
        yield "### False refusals\n\nAll questions that must stay, default policy.\n\n" + refusal_table(refusals)
    if campaigns := _campaigns(out / "attacks"):
        found = merged(campaigns, order=list(families()))
        yield (
            f"### Attacks\n\n`lethe attack`, entries drawn with seed {found['settings']['seed']} "
            f"({_entries(campaigns)}), one attempt of each family on each. Leaks by the words of the answer, 95 % "
            "intervals; by chance: how often who knows nothing passes for one who leaks."
            f"{_failed(found)}\n\n" + attack_table(found)
        )
    if (file := out / FOREIGN).exists():
        yield _foreign(json.loads(file.read_text("utf-8")))
    for title, summary in (("three authors", tofu), ("one author", author)):
        if summary:
            yield f"### Every metric, {title}\n\n" + run_table(summary)


def _foreign(found: dict[str, Any]) -> str:
    accuracy = ", ".join(f"{arm} {share:.3f}" for arm, share in found["accuracy"].items())
    same = "all answers are the same, to the letter" if found["same_answers"] else "some answers differ"
    return (
        "### A foreign tool\n\nThe lm-evaluation-harness asks world facts as multiple choice, through the API that any "
        f"tool uses ({found['questions']} questions, exact match of the letter): {accuracy}; {same}."
    )


def _how(summary: dict[str, Any]) -> str:
    settings = summary["settings"]
    return (
        f"`lethe eval run --suite tofu`, {settings['model']}, greedy, at most {settings['max_tokens']} tokens, "
        f"settings {settings['digest']}. 95 % intervals."
    )


def _summary(folder: Path) -> dict[str, Any] | None:
    file = folder / SUMMARY
    found: dict[str, Any] | None = json.loads(file.read_text("utf-8")) if file.exists() else None
    return found


def _campaigns(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for arm in _arms(folder) for path in sorted(arm.glob("*.json"))]


def _arms(folder: Path) -> Sequence[Path]:
    """One folder an arm, the raw one first."""
    found = (path for path in folder.glob("*") if path.is_dir())
    return sorted(found, key=lambda path: (path.name != "raw", path.name != "guarded", path.name))


def _entries(campaigns: Sequence[dict[str, Any]]) -> str:
    """How many each arm was attacked on, in a family."""
    counts: dict[str, set[int]] = {}
    for one in campaigns:
        for arm in one["total"]:
            counts.setdefault(arm, set()).add(one["settings"]["entries"])
    return ", ".join(f"{arm}: {' or '.join(map(str, sorted(found)))}" for arm, found in counts.items())


def _failed(found: dict[str, Any]) -> str:
    """A server that fails tells nothing: said where it happened."""
    told = [f"{one['failed']} under {arm}" for arm, one in found["total"].items() if one["failed"]]
    return f" Attempts that the server failed to answer, of which nothing is known: {', '.join(told)}." if told else ""
