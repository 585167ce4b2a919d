"""Auxiliaries of kind `layers`: the first N layers of the base under a second set of attention layers.

A shortened model is built without memory for its weights, and every leaf of it that is not attention is replaced by the
base's own module. What stays its own are the attention layers: each registers under its own name, and so gets its own
paged KV cache. Weights are shared, not copied, whatever the quantisation makes of them after loading.
"""

import copy
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from vllm.config import VllmConfig
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.layers.fused_moe import MoERunner
from vllm.model_executor.layers.linear import LinearBase
from vllm.model_executor.models.utils import init_vllm_registered_model


def build_shortened(
    vllm_config: VllmConfig, base: nn.Module, architectures: list[str], layers: int, prefix: str
) -> nn.Module:
    """The first `layers` layers of `base` with its embeddings, norm and head. Call it inside the model's `__init__`.

    Raises ValueError when the base is shorter, or made of parts that two passes cannot share.
    """
    total = base.config.num_hidden_layers
    if layers > total:
        raise ValueError(f"an auxiliary of {layers} layers was asked for, but the base has {total}")
    _refuse_unshareable(base)
    config = copy.deepcopy(base.config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    with _Weightless():
        skeleton = init_vllm_registered_model(vllm_config, prefix=prefix, hf_config=config, architectures=architectures)
    _graft(skeleton, base)
    tensors = chain(skeleton.named_parameters(), skeleton.named_buffers())
    if left := [name for name, tensor in tensors if tensor.is_meta]:
        raise ValueError(f"the base's layers have parts that cannot be shared: {left[:3]}")
    return skeleton


def separate_for_adapters(auxiliary: nn.Module) -> list[str]:
    """Give the auxiliary linear modules of its own that hold the base's weights; return their names inside it.

    vLLM puts LoRA into a module, once for each object: one that base and auxiliary share would take the base along.
    Call it when the weights are final; a copy shares parameters, buffers and prepacked forms with its original.
    """
    linear = [
        name for name, module in auxiliary.named_modules(remove_duplicate=False) if isinstance(module, LinearBase)
    ]
    for name in linear:
        parent, _, last = name.rpartition(".")
        auxiliary.get_submodule(parent)._modules[last] = copy.copy(auxiliary.get_submodule(name))
    return linear


def _refuse_unshareable(base: nn.Module) -> None:
    for name, module in base.named_modules():
        # Mixtures of experts and latent attention keep references to each other's modules outside the module tree.
        other_attention = isinstance(module, AttentionLayerBase) and not isinstance(module, Attention)
        if isinstance(module, MoERunner) or other_attention:
            raise ValueError(f"no auxiliary of kind 'layers' on this base: {name} is a {type(module).__name__}")


def _graft(skeleton: nn.Module, base: nn.Module) -> None:
    for name, own in skeleton.named_children():
        twin = base._modules[name]
        if twin is None or type(twin) is not type(own):
            raise ValueError(
                f"the shortened base has a {type(own).__name__} where the base has a {type(twin).__name__}"
            )
        if isinstance(own, AttentionLayerBase):
            continue
        if own._modules and not isinstance(own, LinearBase):
            _graft(own, twin)
        else:
            skeleton._modules[name] = twin
    skeleton._parameters.update({name: base._parameters[name] for name in skeleton._parameters})
    skeleton._buffers.update({name: base._buffers[name] for name in skeleton._buffers})


class _Weightless(TorchFunctionMode):
    """Uninitialised tensors, which is what vLLM makes weights from, take no memory inside this block."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
