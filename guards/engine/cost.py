"""What the auxiliaries of an engine cost in memory, computed from what was built, not from what was planned."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes on this rank. `weights_*`: shared storage counts once. `kv_*`: KV cache of one token of one request."""

    weights_base: int
    weights_auxiliaries: int
    kv_base: int
    kv_auxiliaries: int

    def __str__(self) -> str:
        share = self.kv_base / (self.kv_base + self.kv_auxiliaries or 1)
        return (
            f"weights: base {self.weights_base / MIB:.1f} MiB, "
            f"auxiliaries {self.weights_auxiliaries / MIB:.1f} MiB more; "
            f"KV cache: base {self.kv_base} B/token, auxiliaries {self.kv_auxiliaries} B/token more "
            f"(one memory holds {share:.0%} of the tokens it would hold for the base alone)"
        )


def measure(vllm_config: VllmConfig, base: nn.Module, auxiliaries: Iterable[nn.Module]) -> Cost:
    """Weights as they were created for loading; storage that two modules share is counted once, with the base."""
    seen: set[int] = set()
    weights_base = _bytes_of(base, seen)
    weights_auxiliaries = sum(_bytes_of(auxiliary, seen) for auxiliary in auxiliaries)
    own = {module.layer_name for module in base.modules() if isinstance(module, AttentionLayerBase)}
    kv = {True: 0, False: 0}
    for name, layer in vllm_config.compilation_config.static_forward_context.items():
        if isinstance(layer, AttentionLayerBase) and (spec := layer.get_kv_cache_spec(vllm_config)):
            kv[name in own] += spec.page_size_bytes // spec.block_size
    return Cost(weights_base, weights_auxiliaries, kv[True], kv[False])


def _bytes_of(module: nn.Module, seen: set[int]) -> int:
    total = 0
    for tensor in [*module.parameters(), *module.buffers()]:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total += storage.nbytes()
    return total
