"""The transformers reference in float32: from which logits should each token of an engine's answer have been chosen?"""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from guards.engine.launch import adapter_tensor_name

TOLERANCE = 1e-3  # of a logprob
CLOSE_CALL = 1e-4  # logits; where the reference's two best are this near, either may win
SCALE = 0.02  # of the random adapter: changes the text, keeps activations in range


def load(folder: Path, layers: int | None = None) -> Any:
    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    if layers is not None:
        model.model.layers = model.model.layers[:layers]
        model.config.num_hidden_layers = layers
    return model


def write_adapter(base: Path, layers: int, rank: int, root: Path) -> tuple[Path, Path]:
    """A seeded random LoRA adapter on the shortened base: PEFT's folder, and the folder vLLM loads."""
    wrapped = get_peft_model(load(base, layers), LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear"))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data = SCALE * torch.randn(parameter.shape, generator=generator)
    stored, served = root / "peft", root / "served"
    wrapped.save_pretrained(stored)
    served.mkdir()
    tensors = load_file(stored / "adapter_model.safetensors")
    renamed = {adapter_tensor_name(name, 0): tensor for name, tensor in tensors.items()}
    save_file(renamed, served / "adapter_model.safetensors")
    (served / "adapter_config.json").write_text((stored / "adapter_config.json").read_text())
    return stored, served


def wear(model: Any, adapter: Path) -> Any:
    return PeftModel.from_pretrained(model, adapter)


@torch.inference_mode()
def is_exact(
    base: Any, auxiliaries: list[tuple[Any, float]], prompt: list[int], tokens: list[int], logprobs: list[float]
) -> bool:
    """Whether `tokens` are the greedy choice from base + Σ weight·auxiliary, and `logprobs` theirs.

    One pass without caches over prompt and answer.
    """
    ids, first = torch.tensor([[*prompt, *tokens]]), len(prompt) - 1
    rows = base(input_ids=ids).logits[0, first:-1]
    for model, weight in auxiliaries:
        rows = rows + weight * model(input_ids=ids).logits[0, first:-1]
    best = rows.topk(2)
    clear = best.values[:, 0] - best.values[:, 1] > CLOSE_CALL
    chosen = torch.tensor(tokens)
    want = rows.log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
    same = torch.equal(chosen[clear], best.indices[clear, 0])
    return same and bool((torch.tensor(logprobs) - want).abs().max() < TOLERANCE)
