"""`lethe eval report`: runs and attacks as one HTML file."""

from pathlib import Path
from typing import Any

import click
import orjson

from evals.attacks.corpus import families
from evals.attacks.merged import is_result
from evals.attacks.merged import merged as merged_attacks
from evals.report.page import Case, Report, page
from evals.runs.client import RunError
from evals.runs.folder import SUMMARY, RunFolder
from evals.runs.judged import judged
from evals.runs.summary import worst
from evals.suites.items import Role
from proxy.cli.output import FAILED, USAGE, fail, print_json, say

WORST = 8  # answers of each kind and arm: a page, not an archive


@click.command("report")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--attacks",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="JSON of 'lethe attack'; of other families or arms when repeated.",
)
@click.option("--show-text", is_flag=True, help="Show what was asked and said; hidden by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def report(runs: tuple[Path, ...], out: Path, attacks: tuple[Path, ...], show_text: bool, as_json: bool) -> None:
    """Draw finished RUNS as one HTML file that loads nothing.

    Several runs are drawn together: arms of one suite are put side by side, those of later folders behind; sets of
    another suite, such as other languages, are put beside those of the same arm.

    \b
    lethe eval report runs/tofu runs/languages --attacks raw.json --attacks guarded.json --out report.html
    """
    try:
        found = _merged([RunFolder(path) for path in runs], show_text=show_text, attacks=_all_attacks(attacks))
    except RunError as error:
        fail(str(error), USAGE)
    try:
        out.write_text(page(found), "utf-8")
    except OSError as error:
        fail(f"{out} cannot be written ({type(error).__name__})", FAILED)
    if as_json:
        print_json({"report": str(out), "arms": list(found.summary["arms"])})
    else:
        say(f"written to {out}")


def _merged(folders: list[RunFolder], *, show_text: bool, attacks: dict[str, Any] | None) -> Report:
    """Raises RunError."""
    summaries = [_summary(folder) for folder in folders]
    merged: dict[str, Any] = {**summaries[0], "settings": {**summaries[0]["settings"]}, "arms": {}, "differences": {}}
    leaks: list[Case] = []
    losses: list[Case] = []
    for folder, summary in zip(folders, summaries, strict=True):
        suite = summary["settings"]["suite"]
        another = suite != merged["settings"]["suite"]
        answers = judged(folder, None, None)
        for arm, of_arm in summary["arms"].items():
            name = arm if arm not in merged["arms"] or another else f"{arm} ({folder.path.name})"
            before = merged["arms"].get(name)
            merged["arms"][name] = {**before, "sets": {**before["sets"], **of_arm["sets"]}} if before else of_arm
            if arm in summary["differences"]:
                merged["differences"].setdefault(name, {}).update(summary["differences"][arm])
            if arm != "raw":
                leaks += _cases(name, worst(answers[arm], Role.FORGET, WORST), "rouge")
                losses += _cases(name, worst(answers[arm], Role.KEEP, WORST), "rouge")
        if another:
            merged["settings"][f"{suite}: settings"] = summary["settings"]["digest"]
            merged["settings"]["files"] = {**merged["settings"]["files"], **summary["settings"]["files"]}
    return Report(merged, leaks, losses, attacks, show_text)


def _summary(folder: RunFolder) -> dict[str, Any]:
    """Raises RunError."""
    found = folder.read(SUMMARY)
    if not {"settings", "arms", "differences"} <= set(found):
        raise RunError(
            f"{folder.path / SUMMARY} is no summary of a run: run 'lethe eval run --out {folder.path}' again"
        )
    if not found["arms"]:
        raise RunError(f"the run in {folder.path} has no answers: there is nothing to draw")
    return found


def _cases(arm: str, found: list[Any], metric: str) -> list[Case]:
    return [Case(arm, o.item.id, o.metrics.get(metric, 0.0), o.item.prompt, o.text) for o in found]


def _all_attacks(paths: tuple[Path, ...]) -> dict[str, Any] | None:
    """Raises RunError."""
    return merged_attacks([_attacks(path) for path in paths], order=list(families())) if paths else None


def _attacks(path: Path) -> dict[str, Any]:
    try:
        found: Any = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        found = None
    if not is_result(found):
        raise RunError(f"{path} is no result of 'lethe attack --json FILE'")
    attacks: dict[str, Any] = found
    return attacks
