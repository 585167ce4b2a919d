"""Train an assistant: `python -m guards.engine.training --name NAME --objective uld --forget FILE --retain FILE`.

Files hold rows with `question` and `answer`, as a JSON list or JSON lines. An interrupted training goes on where it
stopped when the same command is given again. Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from guards.engine import cache
from guards.engine.card import OBJECTIVES

OBJECTIVE_NOTES = "uld: one part; divergence, offset-me, offset-idk: a pair"


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = parser().parse_args(arguments)
    _quiet_libraries()
    # torch and its company take seconds to import, and --help should not wait.
    from guards.engine.training import command  # noqa: PLC0415

    try:
        card, folder = command.run(options)
    except command.TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; give the same command again to go on", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps({"folder": str(folder), "card": card.to_json()}))
    else:
        before, after = card.metrics["before"], card.metrics["after"]
        print(f"{folder}: strength {card.strength:g}")
        for side in ("forget", "retain"):
            print(f"  held-out {side} recall {before[side]['recall']:.2f} -> {after[side]['recall']:.2f}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The options, with their defaults from the published methods."""
    made = argparse.ArgumentParser(prog="python -m guards.engine.training", description="Train an assistant.")
    made.add_argument("--name", required=True, help="of the assistant; a training adds a version")
    made.add_argument("--objective", required=True, choices=OBJECTIVES, help=OBJECTIVE_NOTES)
    made.add_argument("--base", type=Path, help="the checkpoint it subtracts from (default: the prepared small model)")
    made.add_argument("--small", type=Path, metavar="DIR", help="a smaller model of the base's tokenizer for the parts")
    rows = made.add_argument_group("rows", "files of question and answer; each may be given more than once")
    for name, text in _FILES.items():
        needed = name == "forget"
        rows.add_argument(
            f"--{name}", type=Path, action="append", default=[], metavar="FILE", required=needed, help=text
        )
    rows.add_argument(
        "--generate", metavar="URL", help="an OpenAI-compatible server that writes paraphrases and mistakes"
    )
    rows.add_argument("--generate-model", default="", metavar="NAME", help="its model; key in LETHE_GENERATE_KEY")
    rows.add_argument("--variants", type=int, default=2, metavar="N", help="paraphrases and mistakes to make a row")
    model = made.add_argument_group("training")
    for flag, (kind, default, text) in _NUMBERS.items():
        model.add_argument(f"--{flag}", type=kind, default=default, help=f"{text} (default: %(default)s)")
    model.add_argument("--steps", action="append", default=[], metavar="[ROLE=]N", help="of all stages, or of one")
    model.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of matrix products")
    use = made.add_argument_group("use")
    use.add_argument("--combine", choices=("linear", "rank"), default="linear")
    use.add_argument("--k", type=int, help="tokens that 'rank' removes at strength 1 (default: 20)")
    use.add_argument("--strengths", default="0.25,0.5,0.75,1,1.25,1.5,2", help="to try (default: %(default)s)")
    use.add_argument(
        "--keep", type=float, default=0.98, help="share of the retain recall to leave (default: %(default)s)"
    )
    use.add_argument(
        "--rest",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the tokens of answers to --choose-questions that a dead zone spares (default: no dead zone)",
    )
    root = cache.cache_root() / "assistants"
    made.add_argument(
        "--out", type=Path, default=root, metavar="DIR", help="where NAME/VERSION goes (default: %(default)s)"
    )
    made.add_argument("--work", type=Path, metavar="DIR", help="checkpoints of stages (default: OUT/.training)")
    made.add_argument("--threads", type=int, help="of the processor (default: torch's choice)")
    made.add_argument("--json", action="store_true", help="the card as one JSON object on standard output")
    return made


_FILES = {
    "forget": "what must be forgotten",
    "retain": "what must stay; near the forget rows and far from them",
    "paraphrases": "other ways to ask the forget questions, or to answer them",
    "questions": "what the base may be asked, and its own answer must stay",
    "perturbed": "forget questions with wrong answers",
    "reference": "questions on what the model never learned: the level to fall to",
    "choose-forget": "rows that choose the strength (default: a fifth of the paraphrases, held out)",
    "choose-retain": "rows that choose the strength (default: a fifth of the retain rows, held out)",
    "choose-questions": "what chooses the dead zone, with --rest (default: the rows that choose the strength)",
}
_NUMBERS: dict[str, tuple[Any, Any, str]] = {
    "layers": (int, 8, "of the base that each part runs"),
    "rank": (int, 16, "of the adapter"),
    "alpha": (int, 32, "LoRA's scale"),
    "rows": (int, 16, "a step"),
    "learning-rate": (float, 1e-3, "at its highest"),
    "uniform-weight": (float, 5.0, "ULD's weight of the retain term"),
    "anchor": (float, 0.0, "of a pair's second part to its first on retain rows, divergence and offset-me"),
    "filter-rate": (float, 0.01, "of the plausibility filter; 0 is off"),
    "max-tokens": (int, 256, "of question and answer"),
    "seed": (int, 0, "of adapters and orders"),
}


def _quiet_libraries() -> None:
    """Offline, and no bars or notes other than ours; must run before the libraries are imported."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "DO_NOT_TRACK": "1"}
    warnings.filterwarnings("ignore", module="peft")  # advice on adapters that are not ours


if __name__ == "__main__":
    sys.exit(main())
