"""Entailment score: share of outputs that a natural-language-inference model labels "entailment".

Direction: output → truth on the forget set (does it give the fact away?), truth → output elsewhere (is what it says
right?). An output with ROUGE-L below .1 counts as none. Source: A Closer Look at Machine Unlearning for LLMs.

Any NLI model exported to ONNX serves: a folder with `model.onnx`, `tokenizer.json` and the `config.json` that names the
labels (`id2label`). None is shipped; without one the score is left out, and what depends on it says so.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from evals.metrics.rouge import rouge_l_recall

LOWEST_ROUGE = 0.1
MAX_TOKENS = 512
BATCH = 16

MISSING = (
    "no entailment model is set, so the entailment score is left out, and with it the utility and efficacy of "
    "'A Closer Look': give --nli a folder with model.onnx, tokenizer.json and config.json"
)


class EntailmentError(Exception):
    """The folder holds no model that can be used; the message says what is wrong and the cure."""


class Entailment(Protocol):
    """Judges pairs of texts."""

    def entails(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """For each (premise, hypothesis) whether the first implies the second."""
        ...


def entailment_score(answers: Sequence[str], truths: Sequence[str], judge: Entailment, *, forget: bool) -> list[bool]:
    """For each answer whether it is entailed, in the direction of the set."""
    said = [rouge_l_recall(answer, truth) >= LOWEST_ROUGE for answer, truth in zip(answers, truths, strict=True)]
    pairs = [(answer, truth) if forget else (truth, answer) for answer, truth in zip(answers, truths, strict=True)]
    judged = iter(judge.entails([pair for pair, counts in zip(pairs, said, strict=True) if counts]))
    return [counts and next(judged) for counts in said]


class OnnxEntailment:
    """An NLI model on ONNX Runtime."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        """Raises EntailmentError."""
        import onnxruntime  # noqa: PLC0415 - a run without this model does not wait for it
        from tokenizers import Tokenizer  # noqa: PLC0415

        try:
            labels = json.loads((folder / "config.json").read_text("utf-8"))["id2label"]
            entailing = [int(number) for number, label in labels.items() if str(label).lower() == "entailment"]
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # files, JSON and two libraries with private error types
            raise EntailmentError(
                f"no entailment model can be read from {folder} ({type(error).__name__}): it needs model.onnx, "
                "tokenizer.json and a config.json with 'id2label'"
            ) from error
        if len(entailing) != 1:
            raise EntailmentError(f"config.json in {folder} names no label 'entailment': is it an NLI model?")
        self._label = entailing[0]
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        self._inputs = {node.name for node in self._session.get_inputs()}

    def entails(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        found: list[bool] = []
        for start in range(0, len(pairs), BATCH):
            encoded = self._tokenizer.encode_batch(list(pairs[start : start + BATCH]))
            feed = {
                "input_ids": np.array([one.ids for one in encoded], np.int64),
                "attention_mask": np.array([one.attention_mask for one in encoded], np.int64),
                "token_type_ids": np.array([one.type_ids for one in encoded], np.int64),
            }
            logits = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
            found += [bool(label == self._label) for label in logits.argmax(axis=1)]
        return found
