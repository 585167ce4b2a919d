"""Does it unlearn, at strength alone? `python -m evals.unlearning --data TOFU --adapter LORA [--json -] [--curve SVG]`.

A small model that was taught six authors of TOFU forgets one of them: by ULD, and by Divergence Decoding, linear and
rank. Gate and output filters are off. The strength is the one that the training picks (see `sets`); with --sweep the
others are shown on the rows that are reported, too. Everything is kept in --work, so that an interrupted run goes on,
and a second one only scores.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evals.gate.rows import RowsError
from evals.unlearning import tables
from evals.unlearning.curve import Panel, curve
from evals.unlearning.methods import METHODS, ZONED, Method
from evals.unlearning.score import scored
from evals.unlearning.sets import CHOICE, FORGOTTEN, KEPT, REPORT, WORLD, Sets, sets
from evals.unlearning.work import Workshop
from guards.engine import cache
from proxy.engine.discovery import find_engine_python
from proxy.engine.errors import EngineNotInstalled

TAUGHT = "smollm2-135m-tofu"
PYTHON = ".venv/bin/python"


def main() -> int:
    """The command. Returns the exit status."""
    parser = _parser()
    options = parser.parse_args()
    if find_spec("nltk") is None:  # the engine's environment, say: hours later the scores would be missing it
        parser.error(f"{sys.executable} has no nltk, which scores the answers: use the proxy's Python, {PYTHON}")
    root = cache.cache_root()
    work = options.work or root / "unlearning"
    try:
        python = find_engine_python(None, os.environ)
        model = _taught(python, options, root)
        workshop = Workshop(python, model, work, options.threads)
        rows = sets(options.data, CHOICE if options.choice else REPORT)
        author = "choice" if options.choice else "report"
        methods = {
            name: compared(workshop, f"{_plain(name)}-{author}", METHODS[name], rows, options)
            for name in options.method or METHODS
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
    figures = {"model": model.name, "methods": methods}
    if options.json:
        text = json.dumps(figures, indent=1)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n", encoding="utf-8")
    else:
        print("\n\n".join([tables.at_chosen(methods), *([tables.over_strengths(methods)] if options.sweep else [])]))
    if options.curve:
        options.curve.write_text(curve(panels(methods)), encoding="utf-8")
    return 0


def panels(methods: Mapping[str, Any]) -> dict[str, Panel]:
    """What `curve` draws: a method with a dead zone in the panel of the published one, where both were asked for."""
    found = {}
    for name, one in methods.items():
        published = name.removesuffix(ZONED)
        if published != name and published in methods:
            continue
        zoned = methods.get(published + ZONED) if published == name else None
        unit = one["k"] if one["combine"] == "rank" else 1
        line = tables.line(zoned) if zoned else ()
        found[name] = Panel(tables.line(one), one["level"], one["strength"], line, unit)
    return found


def compared(workshop: Workshop, name: str, method: Method, rows: Sets, options: argparse.Namespace) -> dict[str, Any]:
    """Train, and report at the strength that the training picked; with --sweep what is forgotten and kept at all."""
    assistant, card = workshop.trained(name, method, rows)
    strength, zone = card["strength"], card.get("dead_zone", 0.0)
    told = scored(workshop.answered(assistant, [method.point(strength, zone)], rows.reported), rows.reported)
    figures = {
        "strength": strength,
        "dead_zone": zone,
        "combine": method.combine,
        "k": method.k,
        "filter_rate": method.filter_rate,
        "before": {group: one.as_json() for group, one in told[0.0].items()},
        "after": {group: one.as_json() for group, one in told[strength].items()},
        "chosen_from": card["sweep"],
        "level": card["settings"]["level"],
    }
    if options.sweep:
        asked = {side: rows.reported[side] for side in (FORGOTTEN, KEPT)}
        points = [method.point(one, zone) for one in method.strengths]
        found = scored(workshop.answered(assistant, points, asked), asked)
        figures["swept"] = {at: {side: one.as_json() for side, one in sides.items()} for at, sides in found.items()}
    if options.confirm:
        point = method.point(strength, zone)
        asked = {name: rows.reported[name] for name in (FORGOTTEN, WORLD)}
        figures["vllm"] = workshop.confirmed(assistant, point, asked)
    return figures


def _plain(name: str) -> str:
    """A method's name as the name of an assistant."""
    return name.lower().replace(", ", "-").replace(" ", "-")


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
    parser.add_argument("--method", action="append", choices=list(METHODS), help="only this one; may be repeated")
    parser.add_argument("--choice", action="store_true", help="the author that settings were chosen with, instead")
    parser.add_argument("--json", metavar="FILE", help="figures; - is standard output (default: a table)")
    parser.add_argument("--sweep", action="store_true", help="what is forgotten and kept at every strength")
    parser.add_argument("--confirm", action="store_true", help="ask a real vLLM at the chosen strength as well")
    parser.add_argument(
        "--curve",
        type=Path,
        metavar="FILE",
        help="the sweep, or the one that picked the strength, as SVG",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
