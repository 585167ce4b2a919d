"""`lethe eval run`: a suite asked through a running server, arm beside arm."""

import asyncio
import datetime
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from evals.gate.rows import RowsError
from evals.metrics.entailment import EntailmentError, OnnxEntailment
from evals.runs.arms import Arm, ArmError, parsed
from evals.runs.client import Connection, RunError, connected
from evals.runs.folder import SETTINGS, RunFolder
from evals.runs.run import Settings
from evals.runs.run import run as carry_out
from evals.runs.summary import summarised
from evals.suites.hub import located
from evals.suites.items import Suite
from evals.suites.named import SUITES
from indexes.embedder import EmbedderError, OnnxEmbedder
from proxy.cli.output import CONFIG_WRONG, USAGE, fail, print_table, say, warnings
from proxy.config import load

SHOWN = (
    "rouge",
    "probability",
    "truth_ratio",
    "accuracy",
    "exact_memorisation",
    "turned_away",
    "false_refusal",
    "unchanged",
)
"""Columns of the table for people; the JSON has them all."""

LINE_EVERY = 20  # lines of progress where there is no terminal


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the server is, and the keys."""
    for option in (
        click.option("--admin-key", envvar="LETHE_ADMIN_KEY", help="Better given as LETHE_ADMIN_KEY."),
        click.option(
            "--admin-url",
            envvar="LETHE_ADMIN_URL",
            default="http://127.0.0.1:8081",
            show_default=True,
            help="Where the admin API listens (LETHE_ADMIN_URL).",
        ),
        click.option("--key", envvar="LETHE_API_KEY", help="A key with the raw scope [default: the admin key]."),
        click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where clients ask."),
    ):
        command = option(command)
    return command


@click.command("run")
@click.option("--suite", "suite_name", type=click.Choice(list(SUITES)), required=True, help="How the data is laid out.")
@click.option("--data", required=True, help="Folder or file, or hf:OWNER/NAME for data on the hub.")
@click.option("--split", help="Part of the suite: forget05 (tofu), fr,ru (multilingual), a subject (rwku).")
@click.option("--subsets", help="Only these subsets, comma-separated [default: all].")
@click.option("--rows", multiple=True, metavar="SUBSET=FROM-TO", help="Only these rows of a subset, from 0.")
@click.option("--arms", default="raw,guarded", show_default=True, help="raw, guarded, ladders such as instruct+refuse.")
@click.option("--limit", type=click.IntRange(1), help="Items of each subset, evenly spread.")
@click.option("--samples", type=click.IntRange(0), default=0, show_default=True, help="Further draws, for Leak@k.")
@click.option("--model", help="Default: the first model that is served.")
@click.option("--max-tokens", type=click.IntRange(1), default=96, show_default=True, help="Length of an answer.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="Of the first answer.")
@click.option("--seed", default=0, show_default=True, help="The same seed asks the same.")
@click.option("--probabilities/--no-probabilities", default=True, help="Take log-probabilities (admin key).")
@click.option("--score-limit", type=click.IntRange(1), help="Items of each subset whose log-probabilities are taken.")
@click.option("--reference", type=click.Path(path_type=Path), help="Folder of a run on a model that never saw the set.")
@click.option("--nli", type=click.Path(path_type=Path), help="Folder of an ONNX entailment model.")
@click.option("--concurrency", type=click.IntRange(1), default=8, show_default=True, help="Requests side by side.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; one that exists goes on.")
@click.option("--json", "target", metavar="FILE", help="Write the summary to FILE, or '-' for standard output.")
@server_options
def run(suite_name: str, data: str, target: str | None, **given: Any) -> None:
    """Ask a suite under every arm and judge the answers.

    Answers are kept as they come: the same command goes on where it was stopped. Probabilities are taken in the
    evaluator's role, through the admin API.

    \b
    lethe eval run --suite tofu --data tofu/ --split forget05 --arms raw,guarded --limit 40 --json -
    lethe eval run --suite lines --data mine.jsonl --arms raw,refuse,instruct+refuse --out runs/ladders
    """
    check_json_target(target)
    try:
        whole = SUITES[suite_name](located(data), given["split"])
        suite = (whole.only(given["subsets"].split(",")) if given["subsets"] else whole).cut(
            given["limit"], dict(_window(r) for r in given["rows"])
        )
        if not any(part.startswith("unseen=") for part in given["rows"]) and "holdout" not in " ".join(suite.files):
            suite = _without_unseen(suite)
    except RowsError as error:
        fail(str(error), USAGE)
    try:
        nli = OnnxEntailment(given["nli"]) if given["nli"] else None
        embedder = OnnxEmbedder(load(None).embedder_path, threads=2)
    except (EntailmentError, EmbedderError) as error:
        fail(str(error), CONFIG_WRONG)
    reference = RunFolder(given["reference"]) if given["reference"] else None
    if reference is not None and not reference.items():
        fail(
            f"{given['reference']} is not the folder of a run: --reference names one on a model that never saw the set",
            USAGE,
        )
    out = given["out"] or Path("runs") / f"{suite.name}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"
    folder = RunFolder(out)
    try:
        asyncio.run(_asked(suite, folder, given))
        summary = summarised(folder, embedder, nli, reference)
    except ArmError as error:
        fail(str(error), USAGE)
    except RunError as error:
        fail(f"{error}{_kept(out)}")
    except OSError as error:
        fail(f"{out} cannot be written ({error.strerror}){_kept(out)}")
    if target is None:
        _show(summary, out)
    else:
        write_json(summary, target)


def _kept(out: Path) -> str:
    return " (what was answered so far is kept)" if (out / SETTINGS).exists() else ""


async def _asked(suite: Suite, folder: RunFolder, given: dict[str, Any]) -> None:
    async with connected(given["url"], given["key"], given["admin_url"], given["admin_key"]) as connection:
        model, arms = await chosen(connection, given["model"], given["arms"])
        settings = Settings(
            model=model,
            max_tokens=given["max_tokens"],
            temperature=given["temperature"],
            seed=given["seed"],
            samples=given["samples"],
            probabilities=given["probabilities"],
            score_limit=given["score_limit"],
        )
        with progress_of("asking") as progress:
            await carry_out(
                suite, arms, settings, connection, folder, concurrency=given["concurrency"], progress=progress
            )


async def chosen(connection: Connection, model: str | None, arms: str) -> tuple[str, list[Arm]]:
    """Model and arms of a run. Raises RunError or ArmError."""
    models, served = await connection.server.offer()
    if model and model not in models:
        raise RunError(f"the model '{model}' is not served; there is {', '.join(models)}")
    return model or models[0], parsed(arms, served)


@contextmanager
def progress_of(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar with the time left on a terminal; plain lines elsewhere."""
    if not warnings.is_terminal:
        told = -1

        def line(name: str, done: int, total: int) -> None:
            nonlocal told
            step = done * LINE_EVERY // max(total, 1)
            if step != told:
                told = step
                warnings.print(f"{what} {name} {done}/{total}", highlight=False)

        yield line
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=warnings,
    ) as bar:
        task = bar.add_task(what)
        yield lambda name, done, total: bar.update(
            task, description=f"{what} {name}".strip(), completed=done, total=total
        )


def write_json(value: Any, target: str) -> None:
    """JSON to a file, or to standard output; there also what a file cannot hold, so that no work is lost."""
    raw = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    if target == "-":
        click.echo(raw)
        return
    try:
        Path(target).write_text(raw + "\n", "utf-8")
    except OSError as error:
        click.echo(raw)
        fail(f"{target} cannot be written ({error.strerror}): it is on standard output instead")


def check_json_target(target: str | None) -> None:
    """Ends the command before its work begins where the result could not be written."""
    if target in (None, "-"):
        return
    path = Path(str(target))
    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        fail(f"{target} cannot be written: --json names a file in a folder that there is, or '-'", USAGE)


def _window(given: str) -> tuple[str, tuple[int, int]]:
    """Raises RowsError."""
    found = re.fullmatch(r"(\S+)=(\d+)-(\d+)", given)
    if not found or int(found[2]) > int(found[3]):
        raise RowsError(f"'{given}' names no rows: write SUBSET=FROM-TO, such as forget=0-59")
    return found[1], (int(found[2]), int(found[3]))


def _without_unseen(suite: Suite) -> Suite:
    """Rows of the forget file count as unseen only where they are named as such."""
    return Suite(suite.name, tuple(item for item in suite.items if item.subset != "unseen"), suite.files)


def _show(summary: dict[str, Any], out: Path) -> None:
    rows = [
        {"arm": arm, "set": name, "n": scores["n"]}
        | {metric: f"{scores[metric]['value']:.3f}" for metric in SHOWN if metric in scores}
        for arm, found in summary["arms"].items()
        for name, scores in found["sets"].items()
    ]
    print_table(rows, ("arm", "set", "n", *SHOWN), "nothing was asked")
    totals = [
        {"arm": arm} | {name: f"{value:.3f}" for name, value in found["totals"].items() if value is not None}
        for arm, found in summary["arms"].items()
    ]
    names = list(next(iter(summary["arms"].values()))["totals"])
    say("")
    print_table(totals, ("arm", *names), "")
    for note in summary["notes"]:
        say((f"note: {note}", "dim"))
    say(f"kept in {out}; draw it with: lethe eval report {out} --out report.html")
