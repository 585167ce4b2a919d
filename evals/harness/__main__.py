"""`python -m evals.harness`: lets the lm-evaluation-harness ask a multiple-choice task of every arm.

python3 requirements/install.py harness
LETHE_API_KEY=… python -m evals.harness --rows world_facts.json --arms raw,guarded --json -
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from evals.gate.rows import RowsError
from evals.harness.task import NAME, write_task

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / ".venv-harness" / "bin" / "lm_eval"
GUARDED = "guarded"


class HarnessError(Exception):
    """The harness could not be run; the message says why, with the cure."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evals.harness", description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="questions with right and wrong answers")
    parser.add_argument("--arms", default="raw,guarded", help="arms, comma-separated [raw,guarded]")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where clients ask")
    parser.add_argument("--model", required=True, help="a model of GET /v1/models")
    parser.add_argument("--limit", type=int, help="questions [all]")
    parser.add_argument("--tool", type=Path, default=TOOL, help="the harness' lm_eval")
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE, or '-' for standard output")
    arguments = parser.parse_args()
    try:
        found = measured(arguments)
    except (RowsError, HarnessError) as error:
        sys.exit(f"error: {error}")
    text = json.dumps(found, indent=2)
    if arguments.json and arguments.json != "-":
        Path(arguments.json).write_text(text + "\n", "utf-8")
    else:
        print(text)


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Accuracy by arm, and whether all answers are the same. Raises RowsError or HarnessError."""
    if not arguments.tool.exists():
        raise HarnessError(f"{arguments.tool.name} is not installed: python3 requirements/install.py harness")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        number = write_task(folder, arguments.rows, arguments.limit)
        arms = {}
        said: dict[str, list[str]] = {}
        for arm in arguments.arms.split(","):
            model = arguments.model if arm == GUARDED else f"{arguments.model}:{arm}"
            arms[arm], said[arm] = _asked(arguments, folder, folder / arm, model)
    first = next(iter(said.values()))
    return {"questions": number, "accuracy": arms, "same_answers": all(answers == first for answers in said.values())}


def _asked(arguments: argparse.Namespace, folder: Path, out: Path, model: str) -> tuple[float, list[str]]:
    """Accuracy and the answers of one arm."""
    settings = f"model={model},base_url={arguments.url}/v1/chat/completions,num_concurrent=4,max_retries=3"
    # Offline: the task and its rows are local files, and no model hub is to be asked for anything.
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    environment["OPENAI_API_KEY"] = os.environ.get("LETHE_API_KEY") or os.environ.get("LETHE_ADMIN_KEY") or "none"
    command = [
        *(str(arguments.tool), "run", "--model", "local-chat-completions", "--model_args", settings),
        *("--tasks", NAME, "--include_path", str(folder), "--apply_chat_template"),
        *("--output_path", str(out), "--log_samples"),
    ]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise HarnessError(f"lm_eval failed for {model} (status {ran.returncode}):\n{ran.stderr[-2000:]}")
    results = json.loads(next(out.rglob("results_*.json")).read_text("utf-8"))["results"][NAME]
    samples = [json.loads(line) for line in next(out.rglob("samples_*.jsonl")).read_text("utf-8").splitlines()]
    samples.sort(key=lambda sample: sample["doc_id"])
    return float(results["exact_match,letter"]), [str(sample["resps"]) for sample in samples]


if __name__ == "__main__":
    main()
