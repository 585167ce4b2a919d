"""Retain rows from questions alone: what the base itself answers is what must stay.

The answers are kept beside the checkpoints, so that a training that is resumed has the rows it began with.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guards.engine.training import auxiliary
from guards.engine.training.decode import Served
from guards.engine.training.encode import prompt_ids
from guards.engine.training.rows import Row
from guards.engine.training.train import device

TOKENS = 48  # of an answer; longer ones are left open, and so teach no end


def own_answers(base: Path, identity: str, tokenizer: Any, questions: Sequence[str], work: Path) -> list[Row]:
    """The base's greedy answer to each question, in their order; questions it says nothing to are left out."""
    key = hashlib.sha256(json.dumps([identity, TOKENS, list(questions)]).encode()).hexdigest()
    kept = work / f"own-{key}.json"
    if kept.is_file():
        answers = json.loads(kept.read_text("utf-8"))
    else:
        answers = _answers(base, tokenizer, questions)
        work.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(answers), encoding="utf-8")
        partial.replace(kept)
    return [Row(question, answer) for question, answer in zip(questions, answers, strict=True) if answer]


def _answers(base: Path, tokenizer: Any, questions: Sequence[str]) -> list[str]:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    alone = Served(auxiliary.load(base).to(device()), (), (), pad, tokenizer.eos_token_id)
    ids = alone.answers([prompt_ids(tokenizer, question) for question in questions], None, TOKENS)
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [text.strip() for text in texts]
