"""`lethe embedder`: other models for the gate: making them, and changing to them."""

import os
import subprocess
from pathlib import Path

import click

from indexes.embedder import EmbedderError, OnnxEmbedder
from proxy.cli.embedder_change import show, use
from proxy.cli.output import FAILED, fail, json_option, print_json, say, warnings
from proxy.engine.discovery import find_engine_python
from proxy.engine.errors import EngineUnavailable

PROBE = "Which city is the capital of France?"


@click.group()
def embedder() -> None:
    """Prepare other models for the gate, and change to them."""


embedder.add_command(use)
embedder.add_command(show)


@embedder.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--name", help="How vectors of this model are named; default: the folder's name.")
@click.option(
    "--prefix", help="Written before every text, as e5 wants 'query: '; default: the model's own for queries."
)
@click.option("--engine-python", type=click.Path(path_type=Path), help="Python with torch; default: the engine's.")
@json_option
def export(
    source: Path, target: Path, name: str | None, prefix: str | None, engine_python: Path | None, as_json: bool
) -> None:
    """Convert a sentence-transformers folder SOURCE into a folder TARGET for 'embedder.path'.

    The result is compared with the original before it is published.

    \b
    lethe embedder export models/e5-small embedders/e5 --prefix "query: "
    """
    try:
        python = find_engine_python(engine_python, os.environ)
    except EngineUnavailable as error:
        fail(str(error), FAILED)
    command = [str(python), "-m", "guards.engine.export_embedder", str(source.resolve()), str(target.absolute())]
    command += [f"--name={name}"] if name is not None else []
    command += [f"--prefix={prefix}"] if prefix is not None else []
    if warnings.is_terminal:
        warnings.print("converting; this takes a minute or two", highlight=False)
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    if ran.returncode:
        fail(ran.stderr.strip().rpartition("\n")[2] or "the conversion failed", FAILED)
    try:
        made = OnnxEmbedder(target)
        width = made.embed([PROBE]).shape[1]
    except EmbedderError as error:
        fail(str(error), FAILED)
    if as_json:
        print_json({"folder": str(target), "name": made.name, "dimensions": width, "pooling": made.card.pooling})
        return
    say(f"wrote {target}: {width} numbers, {made.card.pooling} pooling, up to {made.card.max_tokens} tokens")
    say(f"use it: 'lethe embedder use {target}' for a server that runs, embedder.path for one that starts")
    say("then run 'lethe calibrate' for each set: similarities mean something else with it")
