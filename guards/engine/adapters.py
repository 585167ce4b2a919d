"""LoRA on a CPU: the rows of a step that wear one adapter are multiplied with it together.

vLLM's own way there gathers an adapter's weights for every token anew (`torch_ops.lora_ops`), which costs more than the
layers themselves where prompts are read, and gives rows without an adapter the weights of the last slot. Usually all
armed requests wear the same adapter, so that two small products a module are the whole work.
"""

from typing import Any

from torch import Tensor
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms import current_platform


def group_on_cpu() -> None:
    """Let vLLM's LoRA manager, which is made after the model, take this way in this process; on a CPU only."""
    if current_platform.is_cpu():
        current_platform.get_punica_wrapper = lambda: f"{__name__}.{GroupedAdapters.__name__}"


class GroupedAdapters(PunicaWrapperCPU):
    """What linear modules ask for; embeddings and logits, in which Lethe puts no adapter, stay vLLM's."""

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Called when a step has other rows than the one before."""
        super().update_metadata(*args, **kwargs)
        self._tokens = len(self.token_lora_indices)
        self._groups = groups(self.token_lora_indices)

    def add_lora_linear(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: tuple[Tensor, ...],
        lora_b_stacked: tuple[Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **_: Any,
    ) -> None:
        """`y` [tokens, Σ slices] += scale · x · Aᵀ · Bᵀ by slices; A is [slots, 1, rank, in], B [slots, 1, out, rank].

        Raises RuntimeError when the rows are not those that were announced: some would wear another's adapter.
        """
        if len(x) != self._tokens:
            raise RuntimeError(f"{len(x)} rows, but adapters were announced for {self._tokens}")
        parts = y.split(output_slices, dim=-1)
        for slot, rows in self._groups:
            chosen = x if rows is None else x[rows]
            for part, a, b in zip(parts, lora_a_stacked, lora_b_stacked, strict=True):
                delta = (chosen.to(a.dtype) @ a[slot, 0].T @ b[slot, 0].T).to(y.dtype)
                if rows is None:
                    part.add_(delta, alpha=scale)
                else:
                    part.index_add_(0, rows, delta, alpha=scale)


def groups(indices: Tensor) -> list[tuple[int, Tensor | None]]:
    """Each adapter slot worn by some row, with its rows; None stands for all. indices: [tokens], below 0 for none."""
    worn = set(indices.tolist())
    if len(worn) == 1:
        return [(slot, None) for slot in worn if slot >= 0]
    return [(slot, (indices == slot).nonzero().flatten()) for slot in sorted(worn) if slot >= 0]
