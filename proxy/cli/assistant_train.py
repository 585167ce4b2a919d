"""`lethe assistant train`: writes a forget set's rows to a file and runs the training in the engine's environment."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from guards.engine.card import OBJECTIVES
from proxy.cli.admin_client import AdminClient, admin_options
from proxy.cli.entries import entries_of
from proxy.cli.output import USAGE, count, fail, json_option, warnings
from proxy.engine.discovery import find_engine_python
from proxy.engine.errors import EngineNotInstalled

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_ROWS = "may be repeated."


@click.command()
@click.option("--set", "set_id", help="The forget set of a running server whose facts are to be forgotten.")
@click.option("--forget", type=_FILE, multiple=True, help=f"Rows to forget, instead of a set or besides; {_ROWS}")
@click.option("--retain", type=_FILE, multiple=True, help=f"Rows that must stay; {_ROWS}")
@click.option("--questions", type=_FILE, multiple=True, help=f"Rows of which the model's own answer must stay; {_ROWS}")
@click.option("--name", help="Of the assistant; default: the set's.")
@click.option(
    "--objective", type=click.Choice(OBJECTIVES), default="divergence", show_default=True, help="What the parts learn."
)
@click.option("--base", type=_FOLDER, help="The checkpoint that the engine serves; default: the prepared small model.")
@click.option(
    "--small", type=_FOLDER, help="A smaller model of its tokenizer for the parts; default: its first layers."
)
@click.option("--paraphrases", type=_FILE, multiple=True, help=f"Other ways to ask the forget questions; {_ROWS}")
@click.option("--perturbed", type=_FILE, multiple=True, help=f"Forget questions with wrong answers; {_ROWS}")
@click.option("--reference", type=_FILE, multiple=True, help=f"Rows the model never learned: the level; {_ROWS}")
@click.option("--choose-forget", type=_FILE, multiple=True, help="Rows that choose the strength; default: held out.")
@click.option("--choose-retain", type=_FILE, multiple=True, help="Rows that choose the strength; default: held out.")
@click.option("--choose-questions", type=_FILE, multiple=True, help="What chooses the dead zone; default: held out.")
@click.option("--generate", metavar="URL", help="A server (engine or raw arm) that writes paraphrases and mistakes.")
@click.option("--generate-model", metavar="NAME", help="Its model; its key is read from LETHE_GENERATE_KEY.")
@click.option("--variants", type=click.IntRange(1), help="Paraphrases and mistakes to make for each row.")
@click.option("--layers", type=click.IntRange(1), help="First layers of the base that each part runs.")
@click.option("--rank", type=click.IntRange(1), help="Of the adapter.")
@click.option("--alpha", type=click.IntRange(1), help="LoRA's scale.")
@click.option("--steps", multiple=True, metavar="[ROLE=]N", help="Of all stages, or of one.")
@click.option("--rows", type=click.IntRange(1), help="Rows a step.")
@click.option("--learning-rate", type=float, help="At its highest.")
@click.option("--uniform-weight", type=float, help="ULD's weight of the retain term.")
@click.option("--anchor", type=click.FloatRange(0), help="How much a pair's parts are held together on retain rows.")
@click.option("--max-tokens", type=click.IntRange(8), help="Of question and answer.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), help="Of the matrix products in training.")
@click.option("--seed", type=int, help="Decides adapters and orders.")
@click.option("--combine", type=click.Choice(["linear", "rank"]), help="How the parts are subtracted.")
@click.option("--k", type=click.IntRange(1), help="Tokens that 'rank' removes at strength 1.")
@click.option("--filter-rate", type=click.FloatRange(0, 1, max_open=True), help="Of the plausibility filter.")
@click.option("--strengths", metavar="LIST", help="To try, such as 0.5,1,1.5.")
@click.option("--keep", type=click.FloatRange(0, 1), help="Share of the retain recall that a strength must leave.")
@click.option("--rest", type=click.FloatRange(0, 1, max_open=True), help="Share of tokens that a dead zone spares.")
@click.option(
    "--out", type=_FOLDER, default=Path(".lethe/assistants"), show_default=True, help="Where NAME/VERSION goes."
)
@click.option("--work", type=_FOLDER, help="Checkpoints of an interrupted training; default: below --out.")
@click.option("--threads", type=click.IntRange(1), help="Of the processor.")
@admin_options
@json_option
def train(admin: AdminClient, set_id: str | None, name: str | None, as_json: bool, **given: Any) -> None:
    """Train an assistant: what the engine subtracts to forget a set.

    Runs in the engine's environment, on a GPU where there is one. An interrupted training goes on where it stopped
    when the same command is given again. It ends with the assistant's card; 'lethe assistant load' takes it into use.

    \b
    lethe assistant train --set authors --objective uld --retain keep.jsonl
    lethe assistant train --set authors --questions daily.jsonl --generate http://127.0.0.1:8000 --json
    """
    if set_id is None and not given["forget"]:
        fail("nothing to forget: give --set or --forget ('lethe assistant train --help')", USAGE)
    if name is None and set_id is None:
        fail("an assistant needs a name: give --name", USAGE)
    try:
        python = find_engine_python(None, os.environ)
    except EngineNotInstalled as error:
        fail(str(error))
    with tempfile.TemporaryDirectory(prefix="lethe-train-") as folder:  # readable by its owner only
        files = _of_set(admin, set_id, Path(folder)) if set_id is not None else {}
        command = [str(python), "-m", "guards.engine.training", "--name", name or set_id or "", *_arguments(given)]
        command += [text for option, path in files.items() for text in (option, str(path))]
        sys.exit(_run([*command, *(["--json"] if as_json else [])]))


def _run(command: Sequence[str]) -> int:
    """The exit status of the training. An interrupt reaches it from the terminal; it ends by itself."""
    with subprocess.Popen(command) as training:
        while True:
            try:
                return training.wait()
            except KeyboardInterrupt:
                continue


def _arguments(given: Mapping[str, Any]) -> Iterator[str]:
    """The options that were given, as the training's own command takes them: by the same names."""
    for name, value in given.items():
        for one in value if isinstance(value, tuple) else [value]:
            if one is not None:
                yield from (f"--{name.replace('_', '-')}", str(one))


def _of_set(admin: AdminClient, set_id: str, folder: Path) -> dict[str, Path]:
    """The set's rows in files: what must be forgotten, and the questions of its retain examples."""
    rows, idle = forget_rows(list(entries_of(admin, set_id)))
    if not rows:
        fail(f"'{set_id}' has no active entry with a question and an answer, nor a passage: nothing to train from")
    if idle:
        warnings.print(
            f"{count(idle, 'entry holds', 'entries hold')} no question with an answer: nothing to train from"
        )
    files = {"--forget": folder / "forget.jsonl"}
    _write(files["--forget"], rows)
    retain = admin.call("GET", f"/admin/v1/sets/{quote(set_id, safe='')}").get("retain") or []
    if retain:
        files["--questions"] = folder / "questions.jsonl"
        _write(files["--questions"], [{"question": text} for text in retain])
    return files


def forget_rows(entries: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, str]], int]:
    """Questions with answers from a set's active entries, and how many of these hold none.

    A fact gives each question with each answer, a passage its first third with the rest. Names and topics alone say
    nothing that could be subtracted.
    """
    rows, idle = [], 0
    for entry in entries:
        if entry["state"] != "active":
            continue
        if entry["kind"] == "passage":
            found = [pair for text in entry["texts"] if (pair := _continued(text))]
        else:
            found = [(question, answer) for question in entry["texts"] for answer in entry["answers"]]
        rows += [{"question": question, "answer": answer} for question, answer in found]
        idle += not found
    return rows, idle


def _continued(text: str) -> tuple[str, str] | None:
    words = text.split()
    third = len(words) // 3
    return (" ".join(words[:third]), " ".join(words[third:])) if third else None


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    path.touch(mode=0o600)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
