"""Training and answering in the engine's environment, with everything that is done already kept in one folder."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.unlearning.methods import Method
from evals.unlearning.sets import Pair, Sets

TOKENS = 56  # of an answer; the taught ones have 36 on average


@dataclass(frozen=True, slots=True)
class Workshop:
    """python: the engine's. base: the taught model. folder: where rows, stages, assistants and answers are kept."""

    python: Path
    base: Path
    folder: Path
    threads: int

    def trained(self, name: str, method: Method, sets: Sets) -> tuple[Path, dict[str, Any]]:
        """An assistant of these rows and settings, folder and card; trained now where there is none."""
        command: list[object] = [self.python, "-m", "guards.engine.training", "--name", name, "--base", self.base]
        command += ["--out", self.folder / "assistants", "--work", self.folder / "stages"]
        command += [*method.arguments, *self._rows(name, method, sets), "--json"]
        made = self.folder / f"{name}.json"
        asked = json.dumps([*map(str, command)])
        if made.is_file() and (known := json.loads(made.read_text("utf-8")))["asked"] == asked:
            return Path(known["folder"]), known["card"]
        done = json.loads(self._run([*command, "--threads", self.threads]))
        partial = made.with_suffix(".partial")  # a run may be interrupted here, too
        partial.write_text(json.dumps({"asked": asked, **done}, indent=1), encoding="utf-8")
        partial.replace(made)
        return Path(done["folder"]), done["card"]

    def answered(
        self, assistant: Path, points: Sequence[Mapping[str, Any]], asked: Mapping[str, Sequence[Pair]]
    ) -> dict[float, dict[str, list[str]]]:
        """Strength → set → answers at `points`; strength 0 is the model alone, and always there."""
        order = self._order(assistant, [None, *points], asked)
        found: dict[float, dict[str, list[str]]] = {}
        for point, name, path in json.loads(self._run([self.python, "-m", "evals.unlearning.answer"], order))["files"]:
            strength = point["strength"] if point else 0.0
            found.setdefault(strength, {})[name] = json.loads(Path(path).read_text("utf-8"))["texts"]
        return found

    def confirmed(
        self, assistant: Path, point: Mapping[str, Any], asked: Mapping[str, Sequence[Pair]]
    ) -> dict[str, dict[str, int]]:
        """How many answers, armed and not, a real vLLM gives alike to the last token; they are answered already."""
        order = self._order(assistant, [point], asked)
        found: dict[str, dict[str, int]] = json.loads(self._run([self.python, "-m", "evals.unlearning.confirm"], order))
        return found

    def _order(self, assistant: Path, points: Sequence[Any], asked: Mapping[str, Sequence[Pair]]) -> dict[str, Any]:
        return {
            "base": str(self.base),
            "assistant": str(assistant),
            "sets": {name: list(pairs) for name, pairs in asked.items()},
            "points": list(points),
            "tokens": TOKENS,
            "threads": self.threads,
            "out": str(self.folder / "answers"),
        }

    def _rows(self, name: str, method: Method, sets: Sets) -> list[object]:
        groups = {
            "forget": sets.forget,
            "paraphrases": sets.paraphrases,
            "retain": sets.retain,
            "questions": [(question, "") for question in sets.questions],
            "choose-forget": sets.choose_forget,
            "choose-retain": sets.choose_retain,
            "reference": sets.reference,
        }
        if method.perturbed:
            groups["perturbed"] = sets.wrong
        if method.rest:
            groups["choose-questions"] = [(question, "") for question in sets.choose_questions]
        folder = self.folder / "rows" / name
        folder.mkdir(parents=True, exist_ok=True)
        given: list[object] = []
        for group, pairs in groups.items():
            path = folder / f"{group}.json"
            path.write_text(json.dumps([{"question": q, "answer": a} for q, a in pairs]), encoding="utf-8")
            given += [f"--{group}", path]
        return given

    def _run(self, command: Sequence[object], order: Any = None) -> str:
        text = json.dumps(order) if order is not None else None
        env = os.environ | {"GOMP_SPINCOUNT": "0"}  # threads that wait should not hold a core that others want
        done = subprocess.run(
            list(map(str, command)), input=text, stdout=subprocess.PIPE, text=True, env=env, check=True
        )
        return done.stdout.splitlines()[-1]  # vLLM writes to standard output, too
