"""The command's options carried out: rows read or made, progress shown."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from guards.engine import cache
from guards.engine.card import Card, CardError
from guards.engine.contract import ContractError
from guards.engine.training import augment, loop
from guards.engine.training.assistant import Material, Says, train_assistant
from guards.engine.training.objectives import OBJECTIVES, Weights
from guards.engine.training.plan import Plan
from guards.engine.training.rows import Row, RowsError, read, read_questions

DEFAULT_K = 20  # Divergence Decoding, rank
_SIDES = ("forget", "retain", "paraphrases", "perturbed", "reference", "choose_forget", "choose_retain")
LINE_EVERY = 10  # steps, where there is no terminal


class TrainingError(Exception):
    """The training cannot be carried out. The message says why and what to do."""


def run(options: argparse.Namespace) -> tuple[Card, Path]:
    """Train as the options say. Raises TrainingError."""
    base = options.base or cache.model_folder(cache.cache_root())
    if options.threads:
        torch.set_num_threads(options.threads)
    work = options.work or options.out / ".training"
    try:
        plan = plan_of(options)
        material = material_of(options)
        with _progress() as says:
            return train_assistant(options.name, plan, base, material, options.out, work, says, options.small)
    except (RowsError, CardError, ContractError, OSError, ValueError) as error:
        raise TrainingError(str(error)) from error


def plan_of(options: argparse.Namespace) -> Plan:
    """Raises ValueError."""
    if not 0 <= options.rest < 1:
        raise ValueError(f"--rest {options.rest:g}: a share from 0 to below 1")
    steps = dict(_steps(text, options.objective) for text in options.steps)
    default = steps.pop("", Plan.__dataclass_fields__["default_steps"].default)
    return Plan(
        objective=options.objective,
        layers=None if options.small else options.layers,
        rank=options.rank,
        alpha=options.alpha,
        rows=options.rows,
        learning_rate=options.learning_rate,
        default_steps=default,
        steps=steps,
        seed=options.seed,
        max_tokens=options.max_tokens,
        precision=options.precision,
        weights=Weights(uniform=options.uniform_weight, anchor=options.anchor),
        combine=options.combine,
        k=(options.k or DEFAULT_K) if options.combine == "rank" else options.k,
        filter_rate=options.filter_rate,
        strengths=tuple(float(text) for text in options.strengths.split(",")),
        keep=options.keep,
        rest=options.rest,
    )


def _steps(text: str, objective: str) -> tuple[str, int]:
    role, _, number = text.rpartition("=")
    if role and role not in OBJECTIVES[objective].roles:
        raise ValueError(f"--steps {text}: {objective} has no part '{role}', but {OBJECTIVES[objective].roles}")
    if not number.isdigit() or int(number) < 1:
        raise ValueError(f"--steps {text}: write N or ROLE=N")
    return role, int(number)


def material_of(options: argparse.Namespace) -> Material:
    """The rows of the files; paraphrases and mistakes that no file brings are made. Raises RowsError, OSError."""
    rows = {name: _rows(getattr(options, name)) for name in _SIDES}
    key = os.environ.get("LETHE_GENERATE_KEY")
    writer = augment.served(options.generate, options.generate_model, key) if options.generate else None
    if not rows["paraphrases"]:
        rows["paraphrases"] = augment.paraphrased(rows["forget"], options.variants, writer)
    if not rows["perturbed"] and options.objective == "uld":
        rows["perturbed"] = augment.perturbed(rows["forget"], options.variants, writer)
    questions = [text for path in options.questions for text in read_questions(path)]
    choose = [text for path in options.choose_questions for text in read_questions(path)]
    return Material(**rows, questions=questions, choose_questions=choose)


def _rows(files: Sequence[Path]) -> list[Row]:
    return [row for path in files for row in read(path)]


@contextmanager
def _progress() -> Iterator[Says]:
    """A bar for each stage on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield Says(_line, lambda strength: _say(f"strength {strength:g}: measured"), _say)
        return
    columns = (
        TextColumn("{task.description:<40}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {}

        def step(said: loop.Progress) -> None:
            if said.role not in tasks:
                tasks[said.role] = bars.add_task(said.role, total=said.steps, left="")
            text = f"{said.role}: loss {said.loss:.3f}"
            bars.update(tasks[said.role], completed=said.step, description=text, left=f"{said.left_s:.0f} s left")

        yield Says(step, lambda strength: bars.console.print(f"strength {strength:g}: measured"), bars.console.print)


def _line(said: loop.Progress) -> None:
    if said.step % LINE_EVERY == 0 or said.step == said.steps:
        _say(f"{said.role}: step {said.step}/{said.steps}, loss {said.loss:.3f}, {said.left_s:.0f} s left")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
