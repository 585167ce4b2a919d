"""Does it unlearn, at strength alone? `python -m evals.unlearning --data TOFU --adapter LORA [--json -] [--curve SVG]`.

A small model that was taught six authors of TOFU forgets one of them: by ULD, and by Divergence Decoding, linear and
rank. Gate and output filters are off. Settings and strengths come from another author (see `sets` and `methods`).
Everything is kept in --work, so that an interrupted run goes on, and a second one only scores.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.gate.rows import RowsError
from evals.unlearning.curve import curve
from evals.unlearning.methods import METHODS, TRAININGS, Method
from evals.unlearning.score import KEEP, Scores, chosen, scored
from evals.unlearning.sets import CHOICE, REPORT, Pair, Sets, sets
from evals.unlearning.work import Workshop
from guards.engine import cache
from proxy.engine.discovery import find_engine_python
from proxy.engine.errors import EngineNotInstalled

FORGOTTEN, OTHERWISE, KEPT, WORLD, STRANGERS = "forgotten", "asked otherwise", "kept", "world facts", "never taught"
DRAWN = (FORGOTTEN, OTHERWISE, KEPT, WORLD)
TAUGHT = "smollm2-135m-tofu"


def main() -> int:
    """The command. Returns the exit status."""
    options = _parser().parse_args()
    root = cache.cache_root()
    work = options.work or root / "unlearning"
    try:
        python = find_engine_python(None, os.environ)
        model = _taught(python, options, root)
        workshop = Workshop(python, model, work, options.threads)
        found = {
            name: _compared(workshop, options.data, method, quick=options.quick) for name, method in METHODS.items()
        }
    except (EngineNotInstalled, RowsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: a step in the engine's environment ended with status {error.returncode}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    figures = {"model": model.name, "keep": KEEP, "methods": {name: one["figures"] for name, one in found.items()}}
    if options.json:
        text = json.dumps(figures, indent=1)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n", encoding="utf-8")
    else:
        print(_table(figures))
    if options.curve:
        panels = {name: one["scores"] for name, one in found.items()}
        marks = {name: one["figures"]["strength"] for name, one in found.items()}
        level = next(iter(found.values()))["figures"]["level"]
        options.curve.write_text(curve(panels, DRAWN, level, marks), encoding="utf-8")
    return 0


def _compared(workshop: Workshop, data: Path, method: Method, *, quick: bool) -> dict[str, Any]:
    """Choose a strength with one author, report with the other; `quick` reports the chosen strength alone."""
    training = TRAININGS[method.training]
    choice, report = sets(data, CHOICE), sets(data, REPORT)
    assistant = workshop.trained(f"{method.training}-choice", training, choice)
    asked = _forgotten(choice) | dict(choice.choosing) | {STRANGERS: report.reported[STRANGERS]}
    tuned = scored(workshop.answered(assistant, method, method.strengths, asked), asked)
    level = tuned[0.0][STRANGERS].recall.value
    strength = chosen(tuned, level, [FORGOTTEN, OTHERWISE], list(choice.choosing))

    assistant = workshop.trained(f"{method.training}-report", training, report)
    asked = _forgotten(report) | dict(report.reported)
    reported = scored(workshop.answered(assistant, method, [strength] if quick else method.strengths, asked), asked)
    figures = {
        "strength": strength,
        "filter_rate": method.filter_rate,
        "combine": method.combine,
        "k": method.k,
        "level": reported[0.0][STRANGERS].recall.value,
        "before": {name: one.as_json() for name, one in reported[0.0].items()},
        "after": {name: one.as_json() for name, one in reported[strength].items()},
        "choice": _recalls(tuned),
        "sweep": _recalls(reported),
    }
    return {"figures": figures, "scores": reported}


def _forgotten(of: Sets) -> dict[str, list[Pair]]:
    return {FORGOTTEN: list(of.forget), OTHERWISE: list(of.asked_otherwise)}


def _recalls(scores: Scores) -> list[dict[str, float]]:
    return [
        {"strength": strength} | {name: round(one.recall.value, 4) for name, one in by_set.items()}
        for strength, by_set in sorted(scores.items())
    ]


def _table(figures: Mapping[str, Any]) -> str:
    """Markdown: a row a set, a column a method."""
    methods = figures["methods"]
    first = next(iter(methods.values()))
    lines = [
        "| set (n) | before | " + " | ".join(f"{name}, {one['strength']:g}" for name, one in methods.items()) + " |"
    ]
    lines.append("|---|---|" + "---|" * len(methods))
    for name, before in first["before"].items():
        cells = [_cell(before)] + [_cell(one["after"][name]) for one in methods.values()]
        lines.append(f"| {name} ({before['recall']['n']}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(one: Mapping[str, Any]) -> str:
    recall = one["recall"]
    low, high = recall["interval95"]
    return f"{recall['value']:.3f} ({low:.2f}–{high:.2f}), entropy {one['entropy']['value']:.3f}"


def _taught(python: Path, options: argparse.Namespace, root: Path) -> Path:
    """The model that was taught, merged once into the model cache."""
    if options.model:
        return Path(options.model)
    if not options.adapter:
        raise OSError(
            "give --adapter (the LoRA that teaches the small model), or --model (a checkpoint that was taught)"
        )
    out = cache.model_folder(root, TAUGHT)
    command = [python, "-m", "guards.engine.merge", "--base", cache.model_folder(root), "--adapter", options.adapter]
    subprocess.run([*command, "--out", out], check=True, stdout=sys.stderr)
    return out


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evals.unlearning", description="Does it unlearn?")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="TOFU's files")
    parser.add_argument("--adapter", type=Path, metavar="DIR", help="the LoRA that teaches the prepared small model")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a checkpoint that was taught already")
    parser.add_argument("--work", type=Path, metavar="DIR", help="what is kept (default: unlearning/ in the cache)")
    parser.add_argument("--threads", type=int, default=2, help="of the processor")
    parser.add_argument("--quick", action="store_true", help="only the chosen strengths are reported, no curve")
    parser.add_argument("--json", metavar="FILE", help="figures; - is standard output (default: a table)")
    parser.add_argument("--curve", type=Path, metavar="FILE", help="recall over strength, as SVG")
    return parser


if __name__ == "__main__":
    sys.exit(main())
