"""Greedy answers of a base with an assistant at several strengths: `python -m evals.unlearning.answer < ORDER`.

Runs in the engine's environment, with plain transformers: the arithmetic is the engine's own, and vLLM was shown to
give the same tokens. ORDER is one JSON object on standard input (see `main`); answers are kept beside it as they come,
so that an interrupted run goes on.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from guards.engine import fingerprint
from guards.engine.card import Card
from guards.engine.training import auxiliary, publish
from guards.engine.training.decode import Served
from guards.engine.training.encode import prompt_ids


class Kept:
    """Answers by what was asked of what, one file each."""

    def __init__(self, folder: Path, base: str, assistant: str) -> None:
        self._folder = folder
        self._base = base
        self._assistant = assistant
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, point: dict[str, Any] | None, questions: Sequence[str], tokens: int) -> Path:
        """A base alone answers alike, whatever assistant stands beside it."""
        said = [self._base, self._assistant if point else None, point, list(questions), tokens]
        return self._folder / f"{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]}.json"


def main() -> None:
    """ORDER: base, assistant (folders), sets (name → [question, true answer]), points, tokens, threads, out (folder).

    A point is null (the base alone) or has strength, combine, k, filter_rate, and may have dead_zone. Prints
    {"files": [[point, set, file]]}; a file holds {"ids": […], "texts": […]}.
    """
    order = json.load(sys.stdin)
    torch.set_num_threads(order["threads"])
    base, assistant = Path(order["base"]), Path(order["assistant"])
    card = Card.read(assistant)
    kept = Kept(Path(order["out"]), fingerprint.of(base), identity_of(assistant))
    served: Served | None = None
    tokenizer = AutoTokenizer.from_pretrained(base)
    files = []
    for number, point in enumerate(order["points"], 1):
        for name, pairs in order["sets"].items():
            questions = [question for question, _ in pairs]
            path = kept.path(point, questions, order["tokens"])
            files.append([point, name, str(path)])
            if path.is_file():
                continue
            served = served or _served(base, assistant, card, tokenizer)
            first = kept.path(None, questions, order["tokens"])
            if first.is_file():  # most of what must stay is the model's own answer, to the letter
                drafts = json.loads(first.read_text("utf-8"))["ids"]
            else:  # and what it was taught is the true one
                end = [tokenizer.eos_token_id]
                drafts = [tokenizer(truth, add_special_tokens=False)["input_ids"] + end for _, truth in pairs]
            prompts = [prompt_ids(tokenizer, question) for question in questions]
            arming = at_point(card, point).arming(point["strength"], served.roles) if point else None
            ids = served.answers(prompts, arming, order["tokens"], drafts)
            texts = [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
            _write(path, {"ids": ids, "texts": texts})
        print(f"{assistant.parent.name}: point {number} of {len(order['points'])}", file=sys.stderr, flush=True)
    print(json.dumps({"files": files}))


def at_point(card: Card, point: dict[str, Any]) -> Card:
    """The card, used as a point says."""
    strength = point["strength"]
    more = {name: point[name] for name in ("combine", "k", "filter_rate")} | {"dead_zone": point.get("dead_zone", 0.0)}
    return replace(card, strength=strength, max_strength=strength, **more)


def _served(base: Path, assistant: Path, card: Card, tokenizer: Any) -> Served:
    roles = [part.role for part in sorted(card.parts, key=lambda part: part.slot)]
    model = publish.read_adapter(assistant, base)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return Served.wearing(auxiliary.load(base), model, roles, pad, tokenizer.eos_token_id)


def identity_of(assistant: Path) -> str:
    """SHA-256 of an assistant's adapter."""
    with (assistant / "adapter" / "adapter_model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, value: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value), encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main()
