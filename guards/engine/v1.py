"""Logits processor for vLLM's V1 model runner (CPUs, GPUs without Triton, vLLM before 0.31). Arithmetic: `offsets`.

Name it on the command line, not as an entry point: with speculative decoding V1 drops entry points silently, while a
named class is refused aloud.
"""

import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.logger import init_logger
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from guards.engine import handoff, offsets
from guards.engine.contract import Arming, decode

logger = init_logger("vllm.lethe.v1")


class OffsetLogitsProcessor(LogitsProcessor):
    """One logits row per request. Assumes that V1's batch holds exactly the requests of the coming step."""

    @classmethod
    def validate_params(cls, params: SamplingParams) -> None:
        handoff.admit(params)

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        handoff.expect_composite(vllm_config)
        self._config = vllm_config
        self._device = device
        self._vocab = vllm_config.model_config.get_vocab_size()
        self._armings: dict[int, Arming] = {}
        self._rows: Tensor | None = None
        self._settings: offsets.Settings | None = None  # both laid out when the first arming comes
        self._found: handoff.Handoff | None = None  # the model is built after its processors

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Called before every forward, so it is here that a step learns whether the auxiliaries are needed."""
        changed = process_dict_updates(
            self._armings, batch_update, lambda params, prompt, output: decode(params.extra_args)
        )
        if changed:
            self._lay_out()
        self._handoff().armed = bool(self._armings)

    def apply(self, logits: Tensor) -> Tensor:
        if not self._armings or self._rows is None or self._settings is None:
            return logits
        auxiliaries = self._handoff().take(self._rows, expected=logits.shape[0])
        logits[self._rows] = offsets.combine(logits[self._rows], auxiliaries, self._settings)
        return logits

    def _lay_out(self) -> None:
        order = sorted(self._armings)
        armings = [self._armings[row] for row in order]
        names = self._handoff().names
        if any(set(arming.weights) - set(names) for arming in armings):
            logger.error("a request names an auxiliary that this engine does not have: it gets no knowledge at all")
        self._rows = handoff.rows_tensor(order, self._device)
        self._settings = offsets.settings(armings, names, self._vocab, self._device)

    def _handoff(self) -> handoff.Handoff:
        if self._found is None:
            self._found = handoff.find(self._config)
        return self._found
