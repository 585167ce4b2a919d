"""The composite model: vLLM serves a base model and its auxiliaries as one.

`forward` runs all of them on the same tokens and returns their hidden states side by side, so that the runner's choice
of rows keeps them together; `compute_logits` returns the base's logits and hands the rest to the logits processor.
Every attention layer has its own paged KV cache, so batching, chunked prefill, prefix caching and preemption apply.

Refused, aloud, at start: speculative decoding (drafters read the hidden states that we widen), pipeline parallelism,
multimodal bases and prompt embeddings (auxiliaries have embeddings of their own).
"""

import copy
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from vllm.compilation.backends import set_model_tag
from vllm.config import ModelConfig, VllmConfig
from vllm.logger import init_logger
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models.interfaces import SupportsLoRA
from vllm.model_executor.models.utils import init_vllm_registered_model
from vllm.sequence import IntermediateTensors
from vllm.transformers_utils.config import get_config

from guards.engine import adapters, cost, handoff
from guards.engine.launch import Auxiliary, EngineConfig
from guards.engine.layers import build_shortened, separate_for_adapters

logger = init_logger("vllm.lethe.composite")  # below "vllm", or vLLM's own log configuration would drop it


class LetheComposite(nn.Module, SupportsLoRA):
    """See the head of this file. Module paths: `base`, then `aux.0`, `aux.1`, … in the order of the configuration."""

    # vLLM asks the class whether it takes LoRA; the instance answers with the base's own mapping.
    packed_modules_mapping: dict[str, list[str]] = {}  # noqa: RUF012 - vLLM's interface, shadowed by the instance
    embedding_modules: dict[str, str] = {}  # noqa: RUF012 - vLLM's interface; nobody writes to it

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        _refuse(vllm_config)
        self._vllm_config = vllm_config
        self._engine = EngineConfig.from_additional_config(vllm_config.additional_config)
        architectures = _original_architectures(vllm_config.model_config)
        # The base keeps the names it has alone: quantisation configs list modules by them, and KV connectors layers.
        self.base = init_vllm_registered_model(vllm_config, prefix=prefix, architectures=architectures)
        self.config = self.base.config
        self.packed_modules_mapping = getattr(self.base, "packed_modules_mapping", {})
        self.aux = nn.ModuleList()
        for index, auxiliary in enumerate(self._engine.auxiliaries):
            with set_model_tag(f"lethe_aux{index}"):
                self.aux.append(self._build(auxiliary, architectures, prefix=f"aux{index}"))
        self._widths = [vllm_config.model_config.get_hidden_size(), *(part.config.hidden_size for part in self.aux)]
        self._handoff = handoff.Handoff(self._engine.names, self._head_of)
        handoff.offer(vllm_config, self._handoff)
        adapters.group_on_cpu()
        logger.info("Lethe composite: %s", cost.measure(vllm_config, self.base, self.aux))

    def _build(self, auxiliary: Auxiliary, architectures: list[str], prefix: str) -> nn.Module:
        # One integer in a layer's name: vLLM reads the layer index from it, hence "aux0" and not "aux.0".
        if auxiliary.kind == "layers":
            return build_shortened(self._vllm_config, self.base, architectures, auxiliary.layers or 0, prefix)
        return initialize_model(_config_of(self._vllm_config, auxiliary), prefix=prefix)

    def _head_of(self, index: int, states: Tensor) -> Tensor | None:
        return self.aux[index].compute_logits(states)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """[tokens, Σ hidden sizes], or [tokens, hidden size of the base] when nobody in this step is armed."""
        if inputs_embeds is not None:
            raise NotImplementedError("prompt embeddings: the auxiliaries have embeddings of their own")
        states = self.base(input_ids, positions, intermediate_tensors)
        # Captured in a full CUDA graph, this branch is frozen as it was then: armed, at start-up.
        if self._engine.skip_unarmed and not self._handoff.armed:
            return states
        return torch.cat([states, *(part(input_ids, positions) for part in self.aux)], dim=-1)

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """The base's logits, [rows, vocabulary]; None off tensor-parallel rank 0 on platforms that gather."""
        if hidden_states.shape[-1] == self._widths[0]:
            self._handoff.put(None)
            return self.base.compute_logits(hidden_states)
        base, *auxiliaries = hidden_states.split(self._widths, dim=-1)
        self._handoff.put([states.contiguous() for states in auxiliaries])
        return self.base.compute_logits(base.contiguous())

    def embed_input_ids(self, input_ids: Tensor) -> Tensor:
        return self.base.embed_input_ids(input_ids)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the base from `weights` and separate checkpoints from their own places; return the names of this module.

        Shared layers need nothing. vLLM compares the names with the parameters it finds, so a hole is an error there.
        """
        loaded = {f"base.{name}" for name in self.base.load_weights(weights)}
        for index, auxiliary in enumerate(self._engine.auxiliaries):
            if auxiliary.kind == "checkpoint":
                loader = DefaultModelLoader(self._vllm_config.load_config)
                stored = loader.get_all_weights(_model_config_of(self._vllm_config, auxiliary), self.aux[index])
                loaded |= {f"aux.{index}.{name}" for name in self.aux[index].load_weights(stored)}
        return loaded

    def process_weights_after_loading(self) -> None:
        """vLLM's hook for a model whose weights are final."""
        for part in (self.base, *self.aux):
            if hasattr(part, "process_weights_after_loading"):
                part.process_weights_after_loading()
        if self._vllm_config.lora_config is not None:
            self._keep_adapters_out_of_the_base()

    def _keep_adapters_out_of_the_base(self) -> None:
        """LoRA goes into shared-layer auxiliaries only, unless the operator named other targets.

        The base then keeps plain linear layers: its outputs stay exact and its speed its own.
        """
        targets: list[str] = []
        for index, auxiliary in enumerate(self._engine.auxiliaries):
            if auxiliary.kind == "layers":
                targets += [f"aux.{index}.{name}" for name in separate_for_adapters(self.aux[index])]
        lora = self._vllm_config.lora_config
        if targets and lora is not None and lora.target_modules is None:
            lora.target_modules = targets

    def get_model_state_cls(self) -> type:
        """Model Runner V2 asks for the class that prepares the model's inputs of each step; V1 never does."""
        from guards.engine.v2 import model_state_class  # noqa: PLC0415 - its imports need the V2 runner's, GPU only

        return model_state_class(self._vllm_config, self.base, self._handoff)


def _refuse(vllm_config: VllmConfig) -> None:
    if vllm_config.speculative_config is not None:
        raise NotImplementedError("Lethe's offsets and speculative decoding do not go together: start without it")
    if vllm_config.model_config.enable_prompt_embeds:
        raise NotImplementedError("Lethe's auxiliaries have embeddings of their own: start without prompt embeddings")
    if vllm_config.parallel_config.pipeline_parallel_size > 1:
        raise NotImplementedError("Lethe's composite does not split over pipeline stages: use tensor parallelism")


def _original_architectures(model_config: ModelConfig) -> list[str]:
    """What the checkpoint calls itself; the running configuration carries our name instead."""
    stored = get_config(model_config.model, model_config.trust_remote_code, model_config.revision)
    if hasattr(stored, "vision_config") or hasattr(stored, "audio_config"):
        raise NotImplementedError("Lethe's composite serves text-only, decoder-only bases")
    architectures: list[str] = stored.architectures or []
    if not architectures:
        raise ValueError("the base's config.json names no architecture")
    return architectures


def _model_config_of(vllm_config: VllmConfig, auxiliary: Auxiliary) -> ModelConfig:
    """The auxiliary's own configuration under the base's run-time settings.

    Raises ValueError when it cannot see as far as the base, or looks through another attention window.
    """
    base = vllm_config.model_config
    config = ModelConfig(
        model=auxiliary.model or "",
        tokenizer=base.tokenizer,
        trust_remote_code=base.trust_remote_code,
        dtype=base.dtype,
        seed=base.seed,
        max_model_len=base.max_model_len,
        enforce_eager=base.enforce_eager,
        config_format=base.config_format,
    )
    if config.get_sliding_window() != base.get_sliding_window():
        raise ValueError(f"auxiliary {auxiliary.name}: its attention window differs from the base's")
    config.is_submodel_config = True
    return config


def _config_of(vllm_config: VllmConfig, auxiliary: Auxiliary) -> VllmConfig:
    model_config = _model_config_of(vllm_config, auxiliary)
    quant_config = VllmConfig.get_quantization_config(model_config, vllm_config.load_config)
    view = replace(vllm_config, model_config=model_config, quant_config=copy.copy(quant_config))
    view.compilation_config = vllm_config.compilation_config
    return view
