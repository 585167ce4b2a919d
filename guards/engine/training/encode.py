"""Rows as tokens, as the served model will see them: the question as the user's turn, the answer as the assistant's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from guards.engine.training.rows import Row

IGNORED = -100  # a label that no loss counts; torch's own default


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row as token ids; the first `prompt` of them are the question in its template."""

    ids: tuple[int, ...]
    prompt: int

    @property
    def answer(self) -> tuple[int, ...]:
        return self.ids[self.prompt :]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one length, padded on the left, so that the answers end together.

    inputs: what the model takes. keep: last positions whose logits are wanted. labels: [rows, keep] the token that each
    of those positions should predict, `IGNORED` where none counts.
    """

    inputs: dict[str, Tensor]
    keep: int
    labels: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            {name: tensor.to(device) for name, tensor in self.inputs.items()}, self.keep, self.labels.to(device)
        )


def prompt_ids(tokenizer: Any, question: str) -> list[int]:
    """The question by the tokenizer's chat template, up to where the answer begins; plain text where it has none."""
    if tokenizer.chat_template is None:
        ids: list[int] = tokenizer(f"{question}\n")["input_ids"]
        return ids
    turns = [{"role": "user", "content": question}]
    found = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    return list(found)


def encode(tokenizer: Any, row: Row, max_tokens: int) -> Encoded:
    """A row, its answer closed by the end-of-text token and cut at `max_tokens` in all.

    Raises ValueError when the question alone is longer.
    """
    prompt = prompt_ids(tokenizer, row.question)
    if len(prompt) >= max_tokens:
        raise ValueError(f"a question has {len(prompt)} tokens, {max_tokens} are allowed for question and answer")
    answer = [*tokenizer(row.answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return Encoded((*prompt, *answer)[:max_tokens], len(prompt))


def batch(rows: Sequence[Encoded], pad: int, whole: Sequence[bool] | None = None) -> Batch:
    """Rows beside each other. whole: for which of them the question's tokens are labels, too."""
    whole = whole or [False] * len(rows)
    ids = [row.ids for row in rows]
    inputs, place = padded(ids, pad), _places(ids)
    first = [1 if all_of_it else row.prompt for row, all_of_it in zip(rows, whole, strict=True)]
    keep = max(len(row.ids) - start for row, start in zip(rows, first, strict=True)) + 1
    labels = torch.where(place >= torch.tensor(first)[:, None], inputs["input_ids"], IGNORED)
    # Position t predicts token t + 1: the last position predicts nothing.
    shifted = torch.cat([labels[:, 1:], torch.full((len(rows), 1), IGNORED)], dim=1)
    return Batch(inputs, keep, shifted[:, -keep:])


def logits_of(model: Any, rows: Batch) -> Tensor:
    """[rows, keep, vocabulary] float32: the logits at the last `keep` positions."""
    found: Tensor = model(**rows.inputs, logits_to_keep=rows.keep, use_cache=False).logits
    return found.float()


def padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device | None = None) -> dict[str, Tensor]:
    """Rows of token ids beside each other, padded on the left, as a model takes them."""
    place = _places(rows)
    longest = place.shape[1]
    inputs = {
        "input_ids": torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows]),
        "attention_mask": (place >= 0).long(),
        "position_ids": place.clamp(min=0),
    }
    return {name: tensor.to(device) for name, tensor in inputs.items()}


def _places(rows: Sequence[Sequence[int]]) -> Tensor:
    """Of each token in its row, counted from 0; negative in the padding."""
    longest = max(map(len, rows))
    return torch.arange(longest) - torch.tensor([longest - len(row) for row in rows])[:, None]
