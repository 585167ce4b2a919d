"""Logits processor and model state for vLLM's Model Runner V2 (GPUs, by default). Arithmetic: `offsets`.

Rows are not requests here: a request keeps a slot for its life, a step lists the slots of its logits rows, and under
speculative decoding a slot owns several rows. V2 applies the processor after bias, penalties, bad words and grammar.
"""

import numpy as np
from torch import Tensor
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.logger import init_logger
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcessor, LogitsProcRequestState

from guards.engine import handoff, offsets
from guards.engine.contract import Arming, decode

logger = init_logger("vllm.lethe.v2")


class OffsetLogitsProcessor(LogitsProcessor):
    """Settings stand in tables on the device, one line a slot; a step gathers the lines of its rows."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        handoff.admit(sampling_params)

    def __init__(self, vllm_config: VllmConfig, req_states: LogitsProcRequestState) -> None:
        handoff.expect_composite(vllm_config)
        self._handoff = handoff.find(vllm_config)  # V2 builds its processors after the model
        self._device = req_states.device
        self._vocab = req_states.vocab_size
        self._armings: list[Arming | None] = [None] * req_states.max_num_reqs
        self._armed = np.zeros(req_states.max_num_reqs, dtype=bool)
        self._table: offsets.Settings | None = None

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        arming = decode(sampling_params.extra_args)
        if arming is not None and set(arming.weights) - set(self._handoff.names):
            logger.error("a request names an auxiliary that this engine does not have: it gets no knowledge at all")
        if arming != self._armings[req_idx]:
            self._armings[req_idx] = arming  # the slot's last occupant leaves nothing behind
            self._table = None
        self._armed[req_idx] = arming is not None
        return arming is not None

    def apply_staged_writes(self) -> None:
        """Before the forward pass, once a step: the tables go to the device while the model runs."""
        if self._table is None:
            self._table = offsets.settings(self._armings, self._handoff.names, self._vocab, self._device)

    def apply(self, logits: Tensor, ctx: LogitsContext) -> Tensor:
        if self._table is None or not self._armed[ctx.idx_mapping_np].any():
            return logits
        auxiliaries = self._handoff.take(None, expected=logits.shape[0])
        return offsets.combine(logits, auxiliaries, self._table.at(ctx.expanded_idx_mapping.long()))


def model_state_class(vllm_config: VllmConfig, base: object, found: handoff.Handoff) -> type:
    """The model state that V2 would use for `base`, which also says before each forward whether anyone is armed.

    Replayed full CUDA graphs do not ask: they were captured with the auxiliaries, and run them in every step.
    """
    from vllm.v1.worker.gpu.model_states import resolve_model_state_cls  # noqa: PLC0415 - the V2 runner's own

    state_class: type = resolve_model_state_cls(vllm_config, base)

    class CompositeModelState(state_class):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            self._armed_slots: dict[int, bool] = {}

        def add_request(self, req_index: int, new_req_data: object) -> None:
            super().add_request(req_index, new_req_data)
            params = new_req_data.sampling_params
            self._armed_slots[req_index] = params is not None and decode(params.extra_args) is not None

        def prepare_inputs(self, input_batch: object, req_states: object) -> dict[str, object]:
            slots = input_batch.idx_mapping_np.tolist()
            # Dummy batches use slots that nobody holds: profiling and warm-up must see the whole cost.
            found.armed = any(self._armed_slots.get(slot, True) for slot in slots)
            return super().prepare_inputs(input_batch, req_states)

        def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, object]:
            found.armed = True
            return super().prepare_dummy_inputs(num_reqs, num_tokens)

    return CompositeModelState
