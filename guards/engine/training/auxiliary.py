"""The model that is trained: the first layers of the base, wearing one LoRA adapter for each part."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging


def load(folder: Path, layers: int | None = None) -> Any:
    """The checkpoint in float32, or its first `layers` layers. Raises ValueError when it has fewer."""
    logging.set_verbosity_error()  # weights of the layers that are left out would be reported
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(folder)
    if layers is not None:
        if layers > config.num_hidden_layers:
            raise ValueError(f"{layers} layers were asked for, but {folder} has {config.num_hidden_layers}")
        config.num_hidden_layers = layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:layers]
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32)
    return model.eval()


def dress(model: Any, roles: list[str], rank: int, alpha: int, seed: int) -> PeftModel:
    """LoRA on all linear modules of the layers, an adapter a role. The same seed gives the same adapters.

    No dropout: the loss of a step must depend on the step alone, or a resumed training would differ.
    """
    settings = {"r": rank, "lora_alpha": alpha, "lora_dropout": 0.0, "target_modules": "all-linear", "bias": "none"}
    torch.manual_seed(seed)
    worn = get_peft_model(model, LoraConfig(**settings), adapter_name=roles[0])
    for role in roles[1:]:
        worn.add_adapter(role, LoraConfig(**settings))
    return worn


def wear(model: PeftModel, role: str, *, train: bool = False) -> PeftModel:
    """Put on the adapter of `role`, and make its weights, and no others, trainable or not."""
    model.set_adapter(role)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(train and f".{role}." in name)
    return model


def weights_of(model: PeftModel, role: str) -> dict[str, Tensor]:
    """The adapter of a role under PEFT's stored names, on the CPU."""
    found = get_peft_model_state_dict(model, adapter_name=role)
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}


def set_weights(model: PeftModel, role: str, weights: Mapping[str, Tensor]) -> None:
    """Give a role's adapter the weights that `weights_of` returned, of this role or another."""
    outcome = set_peft_model_state_dict(model, dict(weights), adapter_name=role)
    if outcome.unexpected_keys:
        raise ValueError(f"the adapter has tensors that this model does not: {sorted(outcome.unexpected_keys)[:3]}")
