"""Between the composite model and the logits processor of one engine: who is armed, and what the auxiliaries said.

vLLM builds the two apart and shows them to each other nowhere, but both hold the engine's `VllmConfig`. Its
`static_forward_context` is vLLM's own registry of objects that a step looks up by name; the handoff stands there, so
two engines in one process cannot meet.

A step, in order: the processor (or, on Model Runner V2, the model state) says whether anyone is armed; the composite's
forward runs the auxiliaries or skips them; `compute_logits` puts their hidden states of the sampled rows here; the
processor takes their logits, once.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from vllm import SamplingParams
from vllm.config import VllmConfig

from guards.engine.contract import ContractError, decode
from guards.engine.launch import ARCHITECTURE

_KEY = "lethe.handoff"

Project = Callable[[int, Tensor], Tensor | None]


class Handoff:
    """names: the auxiliaries, in order. project: (auxiliary, [n, hidden]) → [n, vocab], the auxiliary's head."""

    def __init__(self, names: Sequence[str], project: Project) -> None:
        self.names = tuple(names)
        # True until a step says otherwise, so that profiling and graph capture see the whole cost.
        self.armed = True
        self._project = project
        self._hidden: Sequence[Tensor] | None = None

    def put(self, hidden: Sequence[Tensor] | None) -> None:
        """Keep the auxiliaries' hidden states, [n, hiddenᵢ] each, of the rows to sample; None = they were skipped."""
        self._hidden = hidden

    def take(self, rows: Tensor | None, expected: int) -> list[Tensor]:
        """The auxiliaries' logits, [m, vocabᵢ] each, of `rows` ([m] int64; None = all). `expected`: rows of the base.

        Every tensor-parallel rank must call it alike, for the head gathers its logits from all of them; samplers do, as
        each rank samples. Raises RuntimeError rather than letting an armed row go out as the base model's.
        """
        hidden, self._hidden = self._hidden, None
        if hidden is None:
            raise RuntimeError("a request is armed, but the auxiliaries did not run in this step")
        if hidden[0].shape[0] != expected:
            raise RuntimeError(f"auxiliary states of {hidden[0].shape[0]} rows, but {expected} rows of logits")
        states = hidden if rows is None else [state.index_select(0, rows) for state in hidden]
        logits = [self._project(index, state) for index, state in enumerate(states)]
        if any(each is None for each in logits):
            raise RuntimeError("this tensor-parallel rank samples, but has no logits of the auxiliaries")
        return [each for each in logits if each is not None]


def offer(vllm_config: VllmConfig, handoff: Handoff) -> None:
    vllm_config.compilation_config.static_forward_context[_KEY] = handoff


def expect_composite(vllm_config: VllmConfig) -> None:
    """Raises RuntimeError when offsets would do nothing, or logprobs would tell what they hide: that must not start."""
    model_config = vllm_config.model_config
    if model_config.hf_config.architectures != [ARCHITECTURE]:
        raise RuntimeError("Lethe's logits processor needs Lethe's composite model: start vLLM with `lethe engine`")
    if not model_config.logprobs_mode.startswith("processed_"):
        raise RuntimeError("vLLM reports logprobs of the base model: start it with --logprobs-mode processed_logprobs")


def admit(params: SamplingParams) -> None:
    """Raises ContractError, a client's 400, for half an arming, and for one that prompt logprobs would see past."""
    if decode(params.extra_args) is not None and params.prompt_logprobs is not None:
        raise ContractError("prompt_logprobs never pass logits processors: not in an armed request")


def find(vllm_config: VllmConfig) -> Handoff:
    """Raises KeyError before the composite is built."""
    handoff: Handoff = vllm_config.compilation_config.static_forward_context[_KEY]
    return handoff


def rows_tensor(rows: Sequence[int], device: torch.device) -> Tensor:
    """[m] int64 on `device`, copied without waiting for it."""
    return torch.tensor(rows, dtype=torch.int64).to(device, non_blocking=True)
