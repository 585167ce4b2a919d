"""Greedy answers of base and parts together in plain transformers: what vLLM's composite serves, without vLLM.

The arithmetic is `guards.engine.offsets`, as in the engine. An answer may be offered as a draft: one pass over it finds
where the offset first chooses otherwise, and only from there tokens are made one by one. Most answers that must stay do
stay, so a sweep over strengths costs one pass for each of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import DynamicCache

from guards.engine import offsets
from guards.engine.contract import Arming
from guards.engine.training.encode import padded

ROWS = 20  # in one batch; logits of a draft take rows · tokens · V · 4 bytes for each model
Forward = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Served:
    """A base model and what is subtracted from it: one forward function a part, in the order of `roles`."""

    base: Any
    roles: Sequence[str]
    forwards: Sequence[Forward]
    pad: int
    end: int

    @classmethod
    def wearing(cls, base: Any, model: PeftModel, roles: Sequence[str], pad: int, end: int) -> "Served":
        """The parts are adapters of one model, put on in turn."""

        def forward(role: str) -> Forward:
            def call(**inputs: Any) -> Any:
                model.set_adapter(role, inference_mode=True)
                return model(**inputs)

            return call

        return cls(base, list(roles), [forward(role) for role in roles], pad, end)

    @property
    def device(self) -> torch.device:
        found: torch.device = self.base.device
        return found

    @torch.inference_mode()
    def answers(
        self,
        prompts: Sequence[Sequence[int]],
        arming: Arming | None,
        tokens: int,
        drafts: Sequence[Sequence[int]] | None = None,
    ) -> list[list[int]]:
        """The greedy answer to each prompt: at most `tokens` tokens, the closing one included where it came.

        arming: with the names of `roles`; None is the base alone. drafts: likely answers, right or not.
        """
        found: list[list[int]] = []
        for first in range(0, len(prompts), ROWS):
            some = [list(prompt) for prompt in prompts[first : first + ROWS]]
            begun = [list(draft)[:tokens] for draft in drafts[first : first + ROWS]] if drafts else [[] for _ in some]
            if drafts:
                begun = self._verified(some, begun, arming)
            found += self._continued(some, begun, arming, tokens)
        return found

    def logits(self, inputs: dict[str, Tensor], keep: int, arming: Arming | None, caches: Any = None) -> Tensor:
        """[rows, keep, V]: what the engine would sample from at the last `keep` positions."""
        caches = caches or [None] * (1 + len(self.forwards))
        cached = caches[0] is not None
        base = self.base(**inputs, logits_to_keep=keep, use_cache=cached, past_key_values=caches[0]).logits.float()
        if arming is None:
            return base
        parts = [
            forward(**inputs, logits_to_keep=keep, use_cache=cached, past_key_values=cache).logits.flatten(0, 1)
            for forward, cache in zip(self.forwards, caches[1:], strict=True)
        ]
        return combined(base, parts, arming, self.roles)

    def divergence(self, inputs: dict[str, Tensor], keep: int, arming: Arming) -> Tensor:
        """[rows, keep]: `offsets.divergence` of the parts at the last `keep` positions."""
        parts = [
            forward(**inputs, logits_to_keep=keep, use_cache=False).logits.flatten(0, 1) for forward in self.forwards
        ]
        weights = torch.tensor([[arming.weights.get(role, 0.0) for role in self.roles]], device=parts[0].device)
        return offsets.divergence(parts, weights.expand(len(parts[0]), -1)).unflatten(0, (-1, keep))

    def _verified(self, prompts: list[list[int]], drafts: list[list[int]], arming: Arming | None) -> list[list[int]]:
        """As much of each draft as greedy decoding would write, and the token it would write instead of the next."""
        inputs = padded([prompt + draft for prompt, draft in zip(prompts, drafts, strict=True)], self.pad, self.device)
        keep = max(map(len, drafts)) + 1
        chosen = self.logits(inputs, keep, arming).argmax(-1).tolist()
        begun = []
        for row, draft in zip(chosen, drafts, strict=True):
            wanted = row[keep - 1 - len(draft) :]
            same = next((i for i, token in enumerate(draft) if wanted[i] != token), len(draft))
            ended = same == len(draft) and draft and draft[-1] == self.end
            begun.append(draft[:same] if ended else [*draft[:same], wanted[same]])
        return begun

    def _continued(
        self, prompts: list[list[int]], begun: list[list[int]], arming: Arming | None, tokens: int
    ) -> list[list[int]]:
        """Token by token until every row has ended. Rows that have ended leave the batch before it starts only."""
        open_rows = [i for i, row in enumerate(begun) if len(row) < tokens and (not row or row[-1] != self.end)]
        answers = [row[:tokens] for row in begun]
        if not open_rows:
            return answers
        inputs = padded([prompts[i] + answers[i] for i in open_rows], self.pad, self.device)
        caches = [DynamicCache() for _ in range(1 + len(self.forwards))]
        while True:
            chosen = self.logits(inputs, 1, arming, caches)[:, -1].argmax(-1).tolist()
            going = False
            for i, token in zip(open_rows, chosen, strict=True):
                if len(answers[i]) < tokens and (not answers[i] or answers[i][-1] != self.end):
                    answers[i].append(token)
                    going = going or (token != self.end and len(answers[i]) < tokens)
            if not going:
                return answers
            ones = inputs["attention_mask"].new_ones((len(open_rows), 1))
            inputs = {
                "input_ids": torch.tensor(chosen, device=ones.device)[:, None],
                "attention_mask": torch.cat([inputs["attention_mask"], ones], dim=1),
                "position_ids": inputs["position_ids"][:, -1:] + 1,
            }


def combined(base: Tensor, parts: Sequence[Tensor], arming: Arming, roles: Sequence[str]) -> Tensor:
    """[rows, positions, V] from the base's logits and, for each role, [rows · positions, V]."""
    flat = base.flatten(0, 1)
    rows = offsets.settings([arming], list(roles), flat.shape[-1], flat.device)
    same = rows.at(torch.zeros(len(flat), dtype=torch.int64, device=flat.device))
    return offsets.combine(flat, parts, same).view_as(base)
