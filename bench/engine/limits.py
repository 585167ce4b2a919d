"""What no implementation of the method can beat: the share of the work that is the base's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama-like decoder. Sizes in elements."""

    hidden: int
    intermediate: int
    query: int  # heads · head size
    key_value: int  # key-value heads · head size
    layers: int
    vocab: int

    @classmethod
    def of(cls, config: Any) -> "Shape":
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            query=config.num_attention_heads * head,
            key_value=config.num_key_value_heads * head,
            layers=config.num_hidden_layers,
            vocab=config.vocab_size,
        )

    def layer_weights(self) -> int:
        return self.hidden * (2 * self.query + 2 * self.key_value + 3 * self.intermediate)

    def lora_weights(self, rank: int) -> int:
        """Of one layer, LoRA on all seven linear modules."""
        wide = (
            2 * (self.hidden + self.query) + 2 * (self.hidden + self.key_value) + 3 * (self.hidden + self.intermediate)
        )
        return rank * wide


def decode_flops(shape: Shape, layers: int, context: float, rank: int = 0) -> float:
    """Floating-point operations of one token through `layers` layers and the head, at a mean context length."""
    weights = layers * (shape.layer_weights() + (shape.lora_weights(rank) if rank else 0)) + shape.vocab * shape.hidden
    return 2.0 * weights + layers * 4.0 * context * shape.query


def decode_bytes(shape: Shape, layers: int, context: float, batch: int, rank: int = 0, width: int = 4) -> float:
    """Bytes read in one step of `batch` requests: weights once, keys and values of each. `width`: bytes an element."""
    weights = layers * (shape.layer_weights() + (shape.lora_weights(rank) if rank else 0)) + shape.vocab * shape.hidden
    return width * (weights + batch * layers * 2.0 * context * shape.key_value)


@dataclass(frozen=True, slots=True)
class Part:
    """One auxiliary: the shape of the model it is cut from, its layers, and the rank of its adapter (0: none)."""

    shape: Shape
    layers: int
    rank: int = 0


def armed_limit(shape: Shape, parts: Sequence[Part], context: float, batch: int, width: int = 4) -> float:
    """Largest possible armed/plain throughput: base work over base plus auxiliaries, 0 … 1.

    Of the two ceilings, arithmetic and memory, the higher: whichever resource binds, no implementation is above it, so
    the bench is measured against the harder mark.
    """
    flops = decode_flops(shape, shape.layers, context)
    more_flops = sum(decode_flops(part.shape, part.layers, context, part.rank) for part in parts)
    read = decode_bytes(shape, shape.layers, context, batch, width=width)
    more_read = sum(decode_bytes(part.shape, part.layers, context, batch, part.rank, width) for part in parts)
    return max(flops / (flops + more_flops), read / (read + more_read))
