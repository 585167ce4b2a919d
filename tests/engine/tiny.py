"""Tiny random checkpoints of several families, and the reference they are compared with: transformers, float32.

The reference shares nothing with `guards.engine.offsets`: its formulas are written out here, a row at a time.
"""

import math
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from guards.engine.contract import Arming

VOCAB = 131
WINDOW = 512
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": WINDOW,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
    # At the usual .02 a random model repeats one token for ever, whatever an offset does to it.
    "initializer_range": 0.25,
}
FAMILIES = {
    "llama": {},
    "qwen2": {"use_sliding_window": False},
    "qwen3": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 64},
    "gemma2": {"sliding_window": 64, "query_pre_attn_scalar": 32, "tie_word_embeddings": True},
    "gemma3_text": {"sliding_window": 64, "query_pre_attn_scalar": 32, "tie_word_embeddings": True},
}


def write_checkpoint(folder: Path, family: str, seed: int, **changes) -> Path:
    """A seeded random checkpoint in float32. The same arguments give the same weights."""
    shape = {**SHAPE, **FAMILIES[family], **changes}
    if family.startswith("gemma"):
        shape["layer_types"] = (["sliding_attention", "full_attention"] * 8)[: shape["num_hidden_layers"]]
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape), dtype=torch.float32)
    for name, parameter in model.named_parameters():
        if "norm" in name:  # all ones (or Gemma's zeros) would hide a norm applied twice or not at all
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    if family.startswith("gemma"):
        # Gemma scales its tied embeddings by √hidden: left alone, each token predicts itself.
        model.model.embed_tokens.weight.data.mul_(0.1)
        model.model.norm.weight.data.add_(9.0)
    model.save_pretrained(folder)
    return folder


def load(folder: Path):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def offset_row(base: torch.Tensor, auxiliaries: dict[str, torch.Tensor], arming: Arming | None) -> torch.Tensor:
    """[V] float32: methods.md §2 for one row."""
    if arming is None:
        return base
    offset = sum(weight * auxiliaries[name] for name, weight in arming.weights.items())
    if arming.combine == "linear":
        out = base + offset
    else:
        out = base.clone()
        out[offset.argsort()[: arming.k]] = -math.inf
    if arming.filter_rate:
        log_p = base.log_softmax(-1)
        at_rank = log_p.sort(descending=True).values[max(1, int(arming.filter_rate * len(base))) - 1]
        out = out.masked_fill(log_p < min(log_p.max() + math.log(arming.filter_rate), at_rank), -math.inf)
    return base if apart(auxiliaries, arming) < arming.dead_zone else out


def apart(auxiliaries: dict[str, torch.Tensor], arming: Arming) -> torch.Tensor:
    """Of one auxiliary from uniform, or of two with opposite weights: what the likelier tokens of one have more."""
    chosen = [auxiliaries[name].double().softmax(-1) for name, weight in arming.weights.items() if weight]
    first, second = chosen if len(chosen) == 2 else (chosen[0], torch.full_like(chosen[0], 1 / chosen[0].shape[-1]))
    return (first - second).clamp(min=0).sum(-1)


@torch.inference_mode()
def follow(base, auxiliaries: dict, prompt: list[int], tokens: list[int], arming: Arming | None) -> torch.Tensor:
    """[steps, V]: the logits from which each of `tokens` should have been chosen, had all before it been chosen so.

    One pass without any cache: nothing that an engine's caches could get wrong has a counterpart here.
    """
    models = {"": base, **{name: auxiliaries[name] for name in (arming.weights if arming else ())}}
    ids, first = torch.tensor([[*prompt, *tokens]]), len(prompt) - 1
    logits = {name: model(input_ids=ids).logits[0, first:-1].float() for name, model in models.items()}
    rows = [{name: table[step] for name, table in logits.items()} for step in range(len(tokens))]
    return torch.stack([offset_row(row.pop(""), row, arming) for row in rows])
